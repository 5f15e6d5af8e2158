"""The hall of fame and the losses seen before, against lists in Python."""

import jax
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from autolossgen.search.hall_of_fame import HallOfFame, admit, init_hall, init_seen_losses, remember

pytestmark = pytest.mark.slow

ROWS, LENGTH, PROBES, NEW, TOLERANCE = 4, 2, 3, 5, 0.1
jitted_admit = jax.jit(admit, static_argnames="tolerance")
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
        assert np.all(np.isnan(hall.fingerprints[filled:]))  # what is empty is a twin of nothing


def test_a_twin_stays_out_even_if_it_scored_better():
    nothing = dict.fromkeys((1, 2, 3), float("nan"))
    hall = admitted(init_hall(ROWS, LENGTH, PROBES), as_rows({7: 0.25, 8: 0.0} | nothing, 1))
    new = as_rows({7: 0.9, 9: 0.1} | nothing, 2)
    new.fingerprints[0] += 0.05
    assert admitted(hall, new).tokens[:3, 0].tolist() == [7, 9, 8]
    new.fingerprints[0] += 0.2
    assert admitted(hall, new).tokens[:4, 0].tolist() == [7, 7, 9, 8]


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
        held = ~np.isnan(seen.fingerprints[:, 0])
        assert sorted(seen.fingerprints[held, 0].tolist()) == sorted(expected[-rows:])
        assert sorted((-seen.gain[held]).tolist()) == sorted(expected[-rows:])
        np.testing.assert_array_equal(seen.fingerprints[held, 0], -seen.gain[held])
