"""Deduplication: which of the sampled losses are trained, and which are twins of others."""

from functools import partial
from typing import NamedTuple

import chex
import jax.numpy as jnp

from ..interfaces import Array
from .hall_of_fame import SeenLosses
from .screening import Filter, Verdict, are_twins

COMPARED_PER_LANE = 8
"""Valid samples that are compared with one another, for each lane. The cost of comparing grows with
the square of their number, and a lane is rarely still free after so many."""


class Selection(NamedTuple):
    """Which of M samples are trained, in which lane, and the twins of the others."""

    verdict: Array  # int32 [M]
    lane: Array  # int32 [M], lane of a sample, or of the one whose twin it is; 0 for none
    seen_gain: Array  # float32 [M], gain of the seen loss whose twin it is; -inf for none
    sample: Array  # int32 [K], sample in each lane; lane 0 is for the reference
    trained: Array  # bool [K], whether a sample is trained in the lane


def select_to_train(
    filter_: Filter, seen: SeenLosses, verdict: Array, fingerprints: Array, num_lanes: int
) -> Selection:
    """Selects the first valid samples without a twin, one for each lane.

    The rule, as it would be written for one sample after the other::

      free = 1  # lane 0 trains the reference
      for sample in the first 8 * num_lanes valid samples:
          if it is a twin of a seen loss:          TWIN, with the gain of that loss
          elif it is a twin of an earlier sample:  TWIN, with the lane of that sample, if any
          elif free < num_lanes:                   TRAINED, in lane ``free``; free += 1
          else:                                    OVER_CAPACITY

    Valid samples after those are ``OVER_CAPACITY`` without a comparison; samples that screening
    rejected keep their verdict. Of several seen losses, or earlier samples, the first counts.

    Args:
      filter_: says how far apart twins may be.
      seen: losses trained before [R].
      verdict: of the screening [M], ``TRAINED`` for valid samples.
      fingerprints: of the samples [M, P].
      num_lanes: K, the reference's included.
    """
    chex.assert_rank(verdict, 1)
    chex.assert_shape(fingerprints, (verdict.shape[0], seen.fingerprints.shape[1]))
    num_samples = verdict.shape[0]
    num_compared = min(num_samples, COMPARED_PER_LANE * num_lanes)
    valid = verdict == Verdict.TRAINED
    compared = jnp.argsort(~valid, stable=True)[:num_compared]  # valid ones first, in order
    is_valid = valid[compared]
    is_twin = partial(are_twins, fingerprints[compared], tolerance=filter_.tolerance)

    seen_twin = is_twin(seen.fingerprints)  # [num_compared, R]
    earlier_twin = jnp.tril(is_twin(fingerprints[compared]), -1) & is_valid[None, :]
    seen_before, repeats_earlier = seen_twin.any(1), earlier_twin.any(1)
    is_new = is_valid & ~seen_before & ~repeats_earlier

    lane = jnp.where(is_new, jnp.cumsum(is_new), 0)
    no_lane_left = lane >= num_lanes
    lane = jnp.where(no_lane_left, 0, lane)
    lane_of_twin = lane[jnp.argmax(earlier_twin, axis=1)]
    gain_of_twin = seen.gain[jnp.argmax(seen_twin, axis=1)]

    compared_verdict = jnp.select(
        [~is_valid, seen_before | repeats_earlier, no_lane_left],
        [verdict[compared], Verdict.TWIN, Verdict.OVER_CAPACITY],
        Verdict.TRAINED,
    )
    compared_lane = jnp.where(repeats_earlier & ~seen_before, lane_of_twin, lane)
    compared_gain = jnp.where(is_valid & seen_before, gain_of_twin, -jnp.inf)
    not_compared = jnp.where(valid, Verdict.OVER_CAPACITY, verdict)
    slot = jnp.where(is_new & ~no_lane_left, lane, num_lanes)  # out of range, so that it is dropped
    return Selection(
        verdict=not_compared.at[compared].set(compared_verdict).astype(jnp.int32),
        lane=jnp.zeros(num_samples, jnp.int32).at[compared].set(compared_lane),
        seen_gain=jnp.full(num_samples, -jnp.inf).at[compared].set(compared_gain),
        sample=jnp.zeros(num_lanes, jnp.int32).at[slot].set(compared, mode="drop"),
        trained=jnp.zeros(num_lanes, bool).at[slot].set(True, mode="drop"),
    )
