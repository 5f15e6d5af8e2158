"""Trials of a tuner: where they lie, round by round."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autolossgen.ranking.tuning import (
    SHRINKING,
    Range,
    Trials,
    add_trials,
    find_best,
    find_edges,
    propose,
    to_settings,
)

RANGES = {
    "learning_rate": Range(1e-3, 1.0),
    "temperature": Range(0.02, 2.0),
    "margin": Range(-1.0, 3.0, log=False),
}


def run_rounds(counts, seed, score):
    """Returns the trials of each round, and all trials before it."""
    before, rounds = None, []
    for number, count in enumerate(counts):
        units = propose(RANGES, count, number=number, seed=seed, before=before)
        rounds.append((units, before))
        before = add_trials(before, Trials(tuple(RANGES), units, score(units)))
    return rounds, before


@settings(max_examples=40)
@given(seed=st.integers(0, 2**32 - 1), best=st.lists(st.floats(0, 1), min_size=3, max_size=3))
def test_each_round_fills_a_smaller_box_around_the_best(seed, best):
    rounds, trials = run_rounds((5, 8, 8), seed, lambda units: -np.abs(units - best).sum(1))
    for number, (units, before) in enumerate(rounds):
        assert 0 <= units.min()
        assert units.max() <= 1
        side, count = SHRINKING**number, len(units)
        low = np.zeros(3)
        if before is not None:
            around = before.units[np.argmax(before.scores)]
            # The best is in the middle, but where the box would leave the ranges.
            low = np.minimum(np.maximum(around - side / 2, 0), 1 - side)
            assert np.all(np.abs(units - around) <= side + 1e-9)
        # A Latin hypercube: along each axis, one trial in each slice of the box.
        slices = np.sort(np.floor((units - low) / side * count + 1e-9), axis=0)
        np.testing.assert_array_equal(slices, np.tile(np.arange(count)[:, None], 3))
    assert len(trials.scores) == len(trials.units) == 21


def test_trials_are_drawn_again_only_with_the_same_seed():
    first, again, other = (
        propose(RANGES, 6, number=0, seed=seed, before=None) for seed in (1, 1, 2)
    )
    np.testing.assert_array_equal(first, again)
    assert np.abs(first - other).max() > 0.1
    next_round = propose(RANGES, 6, number=1, seed=1, before=Trials((), first, np.arange(6)))
    assert np.any(np.argsort(next_round, axis=0) != np.argsort(first, axis=0))


@pytest.mark.parametrize(
    ("scores", "best"),
    [
        ([0.1, np.nan, 0.3], 2),
        ([np.nan, 0.0, np.nan], 1),
        ([np.nan, -5.0, -7.0], 1),
        ([-np.inf, np.nan, 0.0], 2),
        ([np.nan, np.nan, np.nan], 0),
    ],
)
def test_nan_is_the_worst(scores, best):
    units = np.array([[0.9] * 3, [0.5] * 3, [0.2] * 3])
    trials = Trials(tuple(RANGES), units, np.array(scores))
    assert find_best(trials) == best
    after = propose(RANGES, 4, number=2, seed=0, before=trials)
    assert np.all(np.abs(after - units[best]) <= SHRINKING**2)


@pytest.mark.parametrize(("count", "published"), [(8, 4), (5, 2), (1, 0)])
def test_half_of_the_first_round_has_the_published_constants(count, published):
    constants = {"temperature": 0.2, "margin": 0.5}
    units = propose(RANGES, count, number=0, seed=0, before=None, published=constants)
    tried = to_settings(RANGES, units)
    for name, value in constants.items():
        assert np.isclose(tried[name], value).tolist() == [True] * published + [False] * (
            count - published
        )
    assert len({*tried["learning_rate"]}) == count  # which has no published value
    trials = Trials(tuple(RANGES), units, np.arange(count))
    again = propose(RANGES, count, number=1, seed=0, before=trials, published=constants)
    assert not np.isclose(to_settings(RANGES, again)["temperature"], 0.2).any()


def test_places_are_even_over_the_range_or_over_its_logarithm():
    units = np.array([[0.0, 0.5, 0.0], [1.0, 1.0, 0.25], [2 / 3, 0.0, 1.0]])
    tried = to_settings(RANGES, units)
    np.testing.assert_allclose(tried["learning_rate"], [1e-3, 1.0, 0.1])
    np.testing.assert_allclose(tried["temperature"], [0.2, 2.0, 0.02])
    np.testing.assert_allclose(tried["margin"], [-1.0, 0.0, 3.0])
    for i, (name, one_range) in enumerate(RANGES.items()):
        places = [one_range.to_unit(value) for value in tried[name]]
        np.testing.assert_allclose(places, units[:, i], atol=1e-12)


@pytest.mark.parametrize("one_range", RANGES.values(), ids=RANGES)
def test_a_value_outside_its_range_is_at_the_nearest_edge(one_range):
    assert one_range.to_unit(-7.0) == 0
    assert one_range.to_unit(100.0) == 1


@pytest.mark.parametrize("log", [True, False])
def test_a_range_of_one_value_pins_it(log):
    pinned = {"temperature": Range(0.3, 0.3, log=log)}
    published = {"temperature": 0.3}
    units = propose(pinned, 4, number=0, seed=0, before=None, published=published)
    np.testing.assert_allclose(to_settings(pinned, units)["temperature"], 0.3)


def test_edges_are_those_of_the_best_trial():
    units = np.array([[0.99, 0.0, 0.5], [0.01, 0.985, 0.03], [0.5, 0.5, 0.999]])
    names = tuple(RANGES)
    by_best = [
        find_edges(Trials(names, units, np.eye(3)[best]), harmless=("learning_rate",))
        for best in range(3)
    ]
    assert by_best == [
        ["learning_rate at its highest", "temperature at its lowest"],
        ["temperature at its highest"],
        ["margin at its highest"],
    ]
    assert find_edges(Trials(names, units, np.array([np.nan, 1, 0])))[0] == (
        "learning_rate at its lowest"
    )
