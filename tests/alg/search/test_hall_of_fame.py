"""The hall of fame and the losses seen before, against lists in Python."""

import jax
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from autolossgen.search.hall_of_fame import (
    HallOfFame,
    admit,
    compute_scores,
    init_hall,
    init_seen_losses,
    keep_shortest,
    remember,
)

pytestmark = pytest.mark.slow

ROWS, LENGTH, PROBES, NEW, TOLERANCE = 4, 2, 3, 5, 0.1
jitted_admit = jax.jit(admit, static_argnames=("tolerance", "parsimony"))
jitted_shortest = jax.jit(keep_shortest, static_argnames=("tolerance", "parsimony"))
jitted_remember = jax.jit(remember)

# A loss here is a whole number, which is also its fingerprint; gains may be NaN or no gain at all.
gains = st.sampled_from([-0.5, 0.0, 0.25, 0.5, 1.0, float("nan"), float("-inf")])
batches_of_new = st.lists(
    st.dictionaries(st.integers(1, 12), gains, min_size=NEW, max_size=NEW), max_size=4
)


def as_rows(losses, generation):
    number, gain = (np.asarray(column, np.float32) for column in zip(*losses.items(), strict=True))
    return HallOfFame(
        np.int32(np.stack([number, number], 1)),
        np.tile(number[:, None], PROBES),
        gain,
        gain + np.float32(0.5),
        np.full(len(gain), generation, np.int32),
    )


def admitted(hall, new):
    return jax.tree.map(np.asarray, jitted_admit(hall, new, tolerance=TOLERANCE))


@given(batches_of_new)
def test_the_best_distinct_losses_are_kept_best_first(batches):
    hall, kept = init_hall(ROWS, LENGTH, PROBES), []
    for generation, losses in enumerate(batches):
        hall = admitted(hall, as_rows(losses, generation))
        known = {loss for loss, _, _ in kept}
        fresh = [(loss, gain, generation) for loss, gain in losses.items() if np.isfinite(gain)]
        kept += [row for row in fresh if row[0] not in known]
        kept = sorted(kept, key=lambda row: -row[1])[:ROWS]  # stable: the older first
        filled = len(kept)
        assert hall.tokens[:filled, 0].tolist() == [loss for loss, _, _ in kept]
        assert hall.gain[:filled].tolist() == [gain for _, gain, _ in kept]
        assert hall.reward[:filled].tolist() == [gain + 0.5 for _, gain, _ in kept]
        assert hall.generation[:filled].tolist() == [row[2] for row in kept]
        assert np.all(np.isneginf(hall.gain[filled:]))
        assert np.all(np.isposinf(hall.fingerprints[filled:]))  # what is empty is a twin of nothing


def test_a_twin_stays_out_even_if_it_scored_better():
    nothing = dict.fromkeys((1, 2, 3), float("nan"))
    hall = admitted(init_hall(ROWS, LENGTH, PROBES), as_rows({7: 0.25, 8: 0.0} | nothing, 1))
    new = as_rows({7: 0.9, 9: 0.1} | nothing, 2)
    new.fingerprints[0] += 0.05
    assert admitted(hall, new).tokens[:3, 0].tolist() == [7, 9, 8]
    new.fingerprints[0] += 0.2
    assert admitted(hall, new).tokens[:4, 0].tolist() == [7, 7, 9, 8]


def test_the_order_is_by_gain_less_the_price_of_the_tokens():
    new = as_rows({1: 0.5, 2: 0.4, 3: 0.41, 4: float("nan"), 5: float("-inf")}, 1)
    new.tokens[1, 1] = new.tokens[2, 0] = 0  # one token less than the first
    orders = {}
    for parsimony in (0.0, 0.05, 0.2):
        hall = jitted_admit(
            init_hall(ROWS, LENGTH, PROBES), new, tolerance=TOLERANCE, parsimony=parsimony
        )
        orders[parsimony] = np.asarray(hall.fingerprints)[:3, 0].tolist()
        scores = np.asarray(compute_scores(hall, parsimony))
        assert np.all(np.diff(scores[:3]) <= 0)
        assert np.isneginf(scores[3])
    assert orders == {0.0: [1, 3, 2], 0.05: [1, 3, 2], 0.2: [3, 2, 1]}


def as_sequences(*numbers):
    return np.int32([[number, 0] if number % 2 else [number, number] for number in numbers])


def test_a_loss_is_kept_in_the_shortest_form_that_is_written_for_it():
    nothing = dict.fromkeys((4, 5), float("nan"))
    hall = admitted(
        init_hall(ROWS, LENGTH, PROBES), as_rows({1: 0.3, 2: 0.2, 3: 0.195} | nothing, 1)
    )
    written = as_sequences(9, 8, 7, 11, 13)  # odd numbers are one token, even ones two
    of_losses = np.float32(
        [[2.05] * PROBES, [3] * PROBES, [6] * PROBES, [1] * PROBES, [3.2] * PROBES]
    )
    shorter = jitted_shortest(
        hall,
        written,
        of_losses,
        np.array([True, True, True, False, True]),
        tolerance=TOLERANCE,
        parsimony=0.01,
    )
    assert np.asarray(shorter.tokens)[:3].tolist() == [[1, 1], [9, 0], [3, 3]]
    np.testing.assert_array_equal(shorter.fingerprints, hall.fingerprints)  # of what was trained
    np.testing.assert_array_equal(shorter.gain, hall.gain)
    ahead = jitted_shortest(
        hall, written, of_losses, np.ones(5, bool), tolerance=0.25, parsimony=0.5
    )
    assert np.asarray(ahead.fingerprints)[:3, 0].tolist() == [1, 2, 3]
    assert np.asarray(ahead.tokens)[:3].tolist() == [[11, 0], [9, 0], [13, 0]]
    assert compute_scores(ahead, 0.5)[0] > compute_scores(hall, 0.5)[0]  # never falls


@given(st.lists(st.lists(st.booleans(), min_size=NEW, max_size=NEW), max_size=5))
def test_the_last_that_were_trained_are_seen(generations):
    rows, seen, expected = 7, init_seen_losses(7, PROBES), []
    for g, trained in enumerate(generations):
        numbers = 10.0 * g + np.arange(NEW)
        fingerprints = np.float32(np.tile(numbers[:, None], PROBES))
        seen = jitted_remember(seen, fingerprints, np.float32(-numbers), np.asarray(trained))
        seen = jax.tree.map(np.asarray, seen)
        expected += numbers[np.asarray(trained)].tolist()
        assert int(seen.num_written) == len(expected)
        held = np.isfinite(seen.fingerprints[:, 0])
        assert sorted(seen.fingerprints[held, 0].tolist()) == sorted(expected[-rows:])
        assert sorted((-seen.gain[held]).tolist()) == sorted(expected[-rows:])
        np.testing.assert_array_equal(seen.fingerprints[held, 0], -seen.gain[held])
