"""Which candidates are trained, against the rule written as a loop."""

import jax
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from autolossgen.configs import base
from autolossgen.search.dedup import select_to_train
from autolossgen.search.hall_of_fame import init_seen_losses, remember
from autolossgen.search.screening import FILTERS, Verdict

pytestmark = pytest.mark.slow

FILTER = FILTERS["graded"](**base.get_config().filter.graded)._replace(tolerance=0.1)
COUNT, LANES, PROBES = 12, 4, 2
jitted_remember = jax.jit(remember)
jitted_select = jax.jit(lambda *given: select_to_train(FILTER, *given, LANES))

# A candidate is a whole number, which is also its fingerprint, and the verdict of the screening.
candidates = st.tuples(
    st.integers(1, 8), st.sampled_from([Verdict.TRAINED] * 3 + [Verdict.LABEL_BLIND])
)


def fingerprints_of(numbers):
    return np.tile(np.float32(numbers)[:, None], PROBES)


def by_hand(losses, known):
    """Returns the verdict, lane and remembered gain of each candidate in turn."""
    lane_of, rows, free = {}, [], 1
    for number, found in losses:
        if found != Verdict.TRAINED:
            rows.append((found, 0, -np.inf))
        elif number in known:
            rows.append((Verdict.TWIN, 0, known[number]))
        elif number in lane_of:
            rows.append((Verdict.TWIN, lane_of[number], -np.inf))
        else:
            lane_of[number] = free if free < LANES else 0
            verdict = Verdict.TRAINED if lane_of[number] else Verdict.OVER_CAPACITY
            rows.append((verdict, lane_of[number], -np.inf))
            free += 1
    return rows, {lane: number for number, lane in lane_of.items() if lane}


@given(
    st.lists(candidates, min_size=COUNT, max_size=COUNT),
    st.lists(st.integers(1, 8), min_size=2, max_size=2, unique=True),
)
def test_the_first_distinct_sound_candidates_get_the_lanes(losses, remembered):
    gains = np.float32(remembered) / 8
    seen = jitted_remember(
        init_seen_losses(5, PROBES), fingerprints_of(remembered), gains, np.array([True, True])
    )
    numbers, found = zip(*losses, strict=True)
    selection = jitted_select(seen, np.int32(found), fingerprints_of(numbers))
    selection = jax.tree.map(np.asarray, selection)
    rows, in_lane = by_hand(losses, dict(zip(remembered, gains.tolist(), strict=True)))
    verdict, lane, gain = zip(*rows, strict=True)
    assert selection.verdict.tolist() == list(verdict)
    np.testing.assert_array_equal(selection.seen_gain, np.float32(gain))
    sound = np.asarray(found) == Verdict.TRAINED
    np.testing.assert_array_equal(selection.lane[sound], np.asarray(lane)[sound])
    assert selection.trained.tolist() == [k in in_lane for k in range(LANES)]
    for k, number in in_lane.items():
        assert numbers[int(selection.sample[k])] == number


@pytest.mark.parametrize("last", [31, 32, 39])
def test_only_the_first_sound_candidates_are_compared(last):
    """Eight for each lane; the cost of comparing them grows with their square."""
    found, numbers = np.full(40, Verdict.TRAINED, np.int32), np.ones(40)
    numbers[last] = 2
    selection = jitted_select(init_seen_losses(5, PROBES), found, fingerprints_of(numbers))
    compared = last < 8 * LANES
    assert selection.trained.tolist() == [False, True, compared, False]
    assert selection.verdict[last] == (Verdict.TRAINED if compared else Verdict.OVER_CAPACITY)
