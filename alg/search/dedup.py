"""Selection: which of the sampled candidates are trained, and whose twins the others are."""

from functools import partial
from typing import NamedTuple

import jax.numpy as jnp

from ..interfaces import Array
from .hall_of_fame import SeenLosses
from .screening import Filter, Verdict, twins


class Selection(NamedTuple):
    """Which of M candidates are trained, in which lane, and whose twins the others are."""

    verdict: Array  # int32 [M]
    lane: Array  # int32 [M], lane of a candidate or of its match; 0 for none
    gain: Array  # float32 [M], what memory says; NaN for what it does not know
    candidate: Array  # int32 [K], candidate in a lane; lane 0 is the reference's
    trained: Array  # bool [K]


def select_to_train(
    filter_: Filter, memory: SeenLosses, found: Array, prints: Array, lanes: int
) -> Selection:
    """Pick what is trained: the first K - 1 sound candidates without a twin.

    Args:
      filter_: says what a twin is.
      memory: of the losses trained before.
      found: verdicts of the screening [M], TRAINED for what may be trained.
      prints: fingerprints [M, P].
      lanes: K, one of which is the reference's.
    """
    count, width = found.shape[0], min(found.shape[0], 8 * lanes)
    sound = found == Verdict.TRAINED
    first = jnp.argsort(~sound, stable=True)[:width]  # the sound come first, in order
    waiting, theirs = sound[first], prints[first]
    close = partial(twins, theirs, tolerance=filter_.tolerance)
    known = close(memory.prints)
    earlier = jnp.tril(close(theirs), -1) & waiting[None, :]
    is_known, is_repeat = known.any(1), earlier.any(1)
    fresh = waiting & ~is_known & ~is_repeat
    lane = jnp.where(fresh, jnp.cumsum(fresh), 0)
    full = lane >= lanes
    lane = jnp.where(full, 0, lane)
    repeat_lane = lane[jnp.argmax(earlier, axis=1)]
    own = jnp.where(is_repeat & ~is_known, repeat_lane, lane)
    verdict = jnp.select(
        [~waiting, is_known | is_repeat, full],
        [found[first], Verdict.TWIN, Verdict.OVER_CAPACITY],
        Verdict.TRAINED,
    )
    target = jnp.where(fresh & ~full, lane, lanes)
    beyond = jnp.where(sound, Verdict.OVER_CAPACITY, found)  # sound, but past the first
    return Selection(
        beyond.at[first].set(verdict).astype(jnp.int32),
        jnp.zeros(count, jnp.int32).at[first].set(own),
        jnp.full(count, jnp.nan)
        .at[first]
        .set(jnp.where(waiting & is_known, memory.gain[jnp.argmax(known, axis=1)], jnp.nan)),
        jnp.zeros(lanes, jnp.int32).at[target].set(first, mode="drop"),
        jnp.zeros(lanes, bool).at[target].set(True, mode="drop"),
    )
