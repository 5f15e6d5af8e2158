"""Screening: what the gradient of a loss says about it, before any training.

A loss is looked at through its logit gradient, d loss / d logit, at probe points: for a pointwise
loss a grid of logits, once with label 0 and once with label 1; for a pairwise loss, groups of a
positive and its negatives. The checks come in order of cost, and the verdict on a loss names the
first that it fails. The logit gradient, scaled by the filter, is also the loss's fingerprint: two
losses with the same fingerprint are twins.
"""

from collections.abc import Callable
from enum import IntEnum
from functools import partial
from typing import NamedTuple

import chex
import jax.numpy as jnp
import numpy as np

from ..interfaces import AnyArray, Array


class Verdict(IntEnum):
    """How far a sampled loss came, in order."""

    NOT_FINITE = 0
    NO_GRADIENT = 1
    LABEL_BLIND = 2
    WRONG_DIRECTION = 3
    PROTECTED = 4  # a protection makes the value or the gradient: the formula says another loss
    TWIN = 5
    # Valid, but all lanes were taken. Only the first 8 K valid samples are compared, so twins
    # further back land here, too.
    OVER_CAPACITY = 6
    TRAINED = 7


class ProbePoints(NamedTuple):
    """Points at which gradients of losses are looked at."""

    logit: np.ndarray  # [P]
    label: np.ndarray  # [P]


class Screening(NamedTuple):
    """What the logit gradients of M losses say."""

    verdict: Array  # [M], NOT_FINITE to PROTECTED, or TRAINED for what may be trained
    reward: Array  # [M], of the rejected, in [-1, 0); higher for those that came further


class Filter(NamedTuple):
    """What decides whether a loss is trained."""

    probe: ProbePoints
    screen: Callable[[Array], Screening]  # logit gradients [M, P] -> verdicts and rewards
    fingerprint: Callable[[Array], Array]  # logit gradients [M, P] -> what is compared [M, P]
    tolerance: float  # twins differ by no more than this at any probe point
    forgets: bool  # whether twins are looked for in the same round only
    rewards_twins: bool  # with the reward of the other twin; otherwise they teach nothing
    rejects_label_blind: bool  # whether a loss that ignores the label is never trained
    protection: float  # share of a gradient that a protection may make; 0 for any


# Rewards of the rejected: -1 and one step for each check passed. A loss that points the wrong way
# gets up to two times SHARE_OF_DIRECTION more, which leaves it below the next step.
REWARD_STEP, SHARE_OF_DIRECTION = 0.2, 0.09


def pointwise_probes(num_points: int, limit: float = 5.0) -> ProbePoints:
    """Returns probe points with logits evenly from ``-limit`` to ``limit``, for either label.

    Args:
      num_points: P, an even number.
      limit: the largest logit.

    Raises:
      ValueError: for an odd number of points or fewer than 4.
    """
    if num_points < 4 or num_points % 2:
        raise ValueError(f"probe points come in pairs and at least 4, got {num_points}")
    logit = np.linspace(-limit, limit, num_points // 2, dtype=np.float32)
    label = np.repeat(np.array([0, 1], np.float32), num_points // 2)
    return ProbePoints(logit=np.tile(logit, 2), label=label)


def pairwise_probes(num_points: int, group: int) -> ProbePoints:
    """Returns ``num_points // 2`` groups of a positive and its negatives, one after the other.

    Negatives are from 3 below the positive to 5 above it, or two more where there are several: what
    is far below is in good order, and a valid loss may leave it alone. The middle of a positive and
    its negatives is from -3 to 3; a step of the golden ratio covers differences and middles evenly.

    Args:
      num_points: twice the number of groups.
      group: examples of a group, G.

    Raises:
      ValueError: for an odd number of points or fewer than 4.

    Example:
      >>> pairwise_probes(4, group=2).label.tolist()
      [1.0, 0.0, 1.0, 0.0]
    """
    count = num_points // 2
    if num_points < 4 or num_points % 2:
        raise ValueError(f"probe points come in pairs and at least 4, got {num_points}")
    difference = np.linspace(-5, 3, count)[:, None]
    middle = 6 * (np.arange(count)[:, None] * 0.618034 % 1) - 3
    spread = np.linspace(-1, 1, group - 1) if group > 2 else np.zeros(1)
    positive, negatives = middle + difference / 2, middle - difference / 2 + spread
    logit = np.hstack([positive, negatives]).astype(np.float32)
    label = np.zeros_like(logit)
    label[:, 0] = 1
    return ProbePoints(logit=logit.ravel(), label=label.ravel())


def make_probes(num_points: int, group: int = 1) -> ProbePoints:
    """Returns the probe points of a family: ``pointwise_probes``, or ``pairwise_probes``."""
    return pointwise_probes(num_points) if group == 1 else pairwise_probes(num_points, group)


def split_by_label(logit_grads: Array, group: int = 1) -> tuple[Array, Array]:
    """Splits logit gradients by what their sign should be.

    Args:
      logit_grads: [..., P], at the points of ``make_probes``.
      group: examples of a group, G; 1 for pointwise losses.

    Returns:
      Those of label 0, or of negatives, which should be positive; those of label 1, or of
      positives, which should be negative. [..., P / 2] each; of groups [..., P (G - 1) / G] and
      [..., P / G].
    """
    if group == 1:
        of_zero, of_one = jnp.split(logit_grads, 2, axis=-1)
        return of_zero, of_one
    grouped = logit_grads.reshape(*logit_grads.shape[:-1], -1, group)
    return grouped[..., 1:].reshape(*logit_grads.shape[:-1], -1), grouped[..., 0]


def is_label_blind(logit_grads: Array, group: int = 1, *, tolerance: float = 1e-4) -> Array:
    """Whether losses move both labels alike.

    For a group: whether its positive moves as each negative does, or as all of them together.

    Args:
      logit_grads: [..., P], at the points of ``make_probes``.
      group: examples of a group, G; 1 for pointwise losses.
      tolerance: largest difference, relative to the largest gradient.

    Returns:
      bool [...].
    """
    of_zeros, of_ones = split_by_label(logit_grads, group)
    limit = tolerance * jnp.abs(logit_grads).max(-1)
    if group == 1:
        return jnp.abs(of_zeros - of_ones).max(-1) <= limit
    of_zeros = of_zeros.reshape(*of_ones.shape, group - 1)
    like_each = jnp.abs(of_zeros - of_ones[..., None]).max((-1, -2)) <= limit
    return like_each | (jnp.abs(of_zeros.sum(-1) - of_ones).max(-1) <= limit)


def compute_directions(logit_grads: Array, tolerance: float = 1e-6, group: int = 1) -> Array:
    """Computes the share of probe points that point the right way minus the share pointing wrong.

    Right is down for label 0, or negatives, and up for label 1, or positives: a positive gradient
    moves the logit down.

    Args:
      logit_grads: [..., P], at the points of ``make_probes``.
      tolerance: a gradient within it, relative to the largest, counts neither way.
      group: examples of a group, G; 1 for pointwise losses.

    Returns:
      Of either label, [..., 2], from -1 to 1.
    """
    of_zeros, of_ones = split_by_label(logit_grads, group)
    limit = tolerance * jnp.max(jnp.abs(logit_grads), axis=-1, keepdims=True)
    right = (of_zeros > limit).mean(-1), (of_ones < -limit).mean(-1)
    wrong = (of_zeros < -limit).mean(-1), (of_ones > limit).mean(-1)
    return jnp.stack(right, axis=-1) - jnp.stack(wrong, axis=-1)


def screen_graded(
    logit_grads: Array,
    *,
    min_gradient: float,
    min_direction: float,
    min_of_each: float = -1.0,
    group: int = 1,
) -> Screening:
    """Screens losses by their logit gradients, with a reward for each check that they pass.

    Args:
      logit_grads: [M, P], at the points of ``make_probes``.
      min_gradient: a largest gradient below it is no gradient.
      min_direction: a lower mean of ``compute_directions`` is wrong.
      min_of_each: a lower one of either label is wrong, too.
      group: examples of a group, G; 1 for pointwise losses.
    """
    chex.assert_rank(logit_grads, 2)
    finite = jnp.isfinite(logit_grads).all(-1)
    logit_grads = jnp.where(finite[:, None], logit_grads, 0.0)
    size = jnp.abs(logit_grads).max(-1)
    blind = is_label_blind(logit_grads, group)
    directions = compute_directions(logit_grads, group=group)
    direction = directions.mean(-1)
    is_wrong = (direction < min_direction) | (directions.min(-1) < min_of_each)
    verdict = jnp.select(
        [~finite, size < min_gradient, blind, is_wrong],
        [Verdict.NOT_FINITE, Verdict.NO_GRADIENT, Verdict.LABEL_BLIND, Verdict.WRONG_DIRECTION],
        Verdict.TRAINED,
    )
    reward = -1.0 + REWARD_STEP * jnp.minimum(verdict, Verdict.WRONG_DIRECTION)
    wrong = verdict == Verdict.WRONG_DIRECTION
    reward += jnp.where(wrong, SHARE_OF_DIRECTION * (direction + 1.0), 0.0)
    return Screening(verdict=verdict, reward=reward)


def is_protected(
    logit_grads: Array, exact_values: Array, exact_grads: Array, *, tolerance: float
) -> Array:
    """Whether losses are not what their formulas say, because a protection acts.

    Operators are protected where they have a pole (``log``, ``reciprocal``, ``div``, ``sqrt``) or
    overflow (``exp``), and every result is clipped to the bounds of the space. A sound loss is the
    same without: ``log(log(label))`` has no value for either label, and ``log(pred * pred)`` has.

    Args:
      logit_grads: of the losses as they train, [M, P].
      exact_values: without protection, [M, ...].
      exact_grads: without protection, [M, P].
      tolerance: largest difference, relative to the largest gradient.

    Returns:
      bool [M].
    """
    chex.assert_equal_shape([logit_grads, exact_grads])
    limit = tolerance * jnp.abs(logit_grads).max(-1, keepdims=True)
    is_same = jnp.abs(logit_grads - exact_grads) <= limit  # false for NaN
    return ~(is_same.all(-1) & jnp.isfinite(exact_values).all(-1))


def reject_protected(screening: Screening, protected: Array) -> Screening:
    """Rejects losses [M] that passed all other checks and are not what their formulas say."""
    rejected = protected & (screening.verdict == Verdict.TRAINED)
    reward = -1.0 + REWARD_STEP * Verdict.PROTECTED
    return Screening(
        verdict=jnp.where(rejected, Verdict.PROTECTED, screening.verdict),
        reward=jnp.where(rejected, reward, screening.reward),
    )


def screen_paper(logit_grads: Array, *, min_gradient: float) -> Screening:
    """Screens losses as the original does: only a vanishing gradient [M, P] is rejected, at -1."""
    chex.assert_rank(logit_grads, 2)
    finite = jnp.isfinite(logit_grads).all(-1)
    size = jnp.where(finite, jnp.abs(logit_grads).max(-1), 0.0)
    verdict = jnp.select(
        [~finite, size < min_gradient],
        [Verdict.NOT_FINITE, Verdict.NO_GRADIENT],
        Verdict.TRAINED,
    )
    return Screening(verdict=verdict, reward=jnp.full(size.shape, -1.0))


def are_twins(fingerprints: Array, others: Array, *, tolerance: float) -> Array:
    """Whether each fingerprint is that of a twin of each other one; NaN and inf are like nothing.

    Args:
      fingerprints: [n, P].
      others: [m, P].
      tolerance: largest difference at any probe point between twins.

    Returns:
      bool [n, m].
    """
    chex.assert_rank([fingerprints, others], 2)
    chex.assert_equal_shape_suffix([fingerprints, others], 1)
    # One probe point at a time keeps the memory at n times m.
    distance = jnp.zeros((fingerprints.shape[0], others.shape[0]))
    for p in range(fingerprints.shape[1]):
        distance = jnp.maximum(distance, jnp.abs(fingerprints[:, p, None] - others[None, :, p]))
    return distance <= tolerance


def scale_to_unit_length(logit_grads: AnyArray) -> Array:
    """Scales logit gradients [M, P] to length 1."""
    length = jnp.linalg.norm(logit_grads, axis=-1, keepdims=True)
    return jnp.divide(logit_grads, jnp.maximum(length, 1e-30))


def make_graded_filter(
    *,
    tolerance: float,
    num_probes: int = 32,
    min_gradient: float = 1e-4,
    min_direction: float = 0.6,
    min_of_each: float = -1.0,
    protection: float = 0.05,
    group: int = 1,
) -> Filter:
    """Builds the default filter: graded rewards, and twins by the shape of the gradient alone.

    Fingerprints have length 1, so a loss and its multiples are twins.

    Args:
      tolerance: largest difference between the fingerprints of twins.
      num_probes: probe points, or twice the number of groups.
      min_gradient: a largest gradient below it is no gradient.
      min_direction: share of probe points that point right minus the share that point wrong.
      min_of_each: the same, of either label alone.
      protection: largest difference between the gradient of a loss and that of its formula without
        protection, relative to the largest gradient; 0 for any.
      group: examples of a group, G; 1 for pointwise losses.

    Raises:
      ValueError: for values out of range.
    """
    if not -1 <= min_direction <= 1:
        raise ValueError(f"min_direction is in [-1, 1], got {min_direction}")
    if not protection >= 0:
        raise ValueError(
            "filter.graded.protection is a share of the gradient, or 0.0 to keep losses that live "
            f"off a protection, got {protection}"
        )
    return Filter(
        probe=make_probes(num_probes, group),
        screen=partial(
            screen_graded,
            min_gradient=min_gradient,
            min_direction=min_direction,
            min_of_each=min_of_each,
            group=group,
        ),
        fingerprint=scale_to_unit_length,
        tolerance=tolerance,
        forgets=False,
        # A policy that is paid for twins writes one loss over and over, and lanes stay empty.
        rewards_twins=False,
        rejects_label_blind=True,
        protection=protection,
    )


def make_paper_filter(
    *,
    num_probes: int = 20,
    min_gradient: float = 1e-4,
    tolerance: float = 1e-4,
    seed: int = 0,
    group: int = 1,
) -> Filter:
    """Builds the original's filter: random probe points, gradients by the prediction.

    Predictions are uniform in (0.1, 0.9) and labels in (0, 1). A largest gradient below
    ``min_gradient`` earns -1; a twin within the round earns the reward of the other twin. The rest
    of the original's filter, -1 for rewards below the moving average, is an option of the policy.

    Args:
      num_probes: probe points.
      min_gradient: a largest gradient below it is no gradient.
      tolerance: largest difference between the fingerprints of twins.
      seed: of the random probe points.
      group: 1, as the filter is for pointwise losses.

    Raises:
      ValueError: for a group, or without probe points.
    """
    if num_probes < 1:
        raise ValueError(f"filter 'paper' needs at least 1 probe point, got {num_probes}")
    if group != 1:
        raise ValueError("filter 'paper' is for pointwise losses; for pairwise ones take 'graded'")
    rng = np.random.default_rng(seed)
    pred = rng.uniform(0.1, 0.9, num_probes).astype(np.float32)
    label = rng.uniform(0.0, 1.0, num_probes).astype(np.float32)
    logit_per_pred = 1 / (pred * (1 - pred))  # d logit / d pred

    def screen(logit_grads: Array) -> Screening:
        return screen_paper(logit_grads * logit_per_pred, min_gradient=min_gradient)

    return Filter(
        probe=ProbePoints(logit=np.log(pred / (1 - pred)), label=label),
        screen=screen,
        fingerprint=lambda logit_grads: logit_grads * logit_per_pred,
        tolerance=tolerance,
        forgets=True,
        rewards_twins=True,
        rejects_label_blind=False,
        protection=0.0,
    )


FILTERS: dict[str, Callable[..., Filter]] = {
    "graded": make_graded_filter,
    "paper": make_paper_filter,
}
