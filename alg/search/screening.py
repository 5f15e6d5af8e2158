"""Filters: what can be told about a candidate from its gradient, before any training.

A candidate's fingerprint is its slope, d loss / d logit, at probe points: for a pointwise loss a
grid of logits, once with label 0 and once with label 1; for a pairwise one, groups of a positive
and its negatives. Filters come in order of cost; a candidate's verdict names the
first that stops it.
"""

from collections.abc import Callable
from enum import IntEnum
from functools import partial
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np

from ..interfaces import Array


class Verdict(IntEnum):
    """How far a candidate came, in order."""

    NOT_FINITE = 0
    NO_GRADIENT = 1
    LABEL_BLIND = 2
    WRONG_DIRECTION = 3
    TWIN = 4
    OVER_CAPACITY = 5  # sound, but lanes were full; far behind the last lane twins are not told
    TRAINED = 6


class ProbePoints(NamedTuple):
    """Probe points: of ``pointwise_probes`` for pointwise losses, of ``pairwise_probes`` for pairwise ones."""

    logit: np.ndarray  # [P]
    label: np.ndarray  # [P]


class Filter(NamedTuple):
    """What decides if a candidate is trained."""

    probe: ProbePoints
    screen: Callable[[Array], "Screening"]  # slopes [M, P]
    fingerprint: Callable[[Array], Array]  # slopes [M, P] -> what is compared [M, P]
    tolerance: float  # twins differ by no more at any probe
    forgets: bool  # twins are looked for in the same round only
    rewards_twins: bool  # with the reward of their match; otherwise they teach nothing
    stops_blind: bool  # whether what ignores the label is never trained


class Screening(NamedTuple):
    """What the slopes of candidates tell, [M] each."""

    verdict: Array  # NOT_FINITE to WRONG_DIRECTION, or TRAINED for what may be trained
    reward: Array  # graded reward of the rejected, in [-1, 0); higher for those that came further


def pointwise_probes(points: int, limit: float = 5.0) -> ProbePoints:
    """Give ``points`` probes: logits evenly from ``-limit`` to ``limit``, with either label."""
    if points < 4 or points % 2:
        raise ValueError(f"probe points come in pairs and at least 4, got {points}")
    logit = np.linspace(-limit, limit, points // 2, dtype=np.float32)
    label = np.repeat(np.float32([0, 1]), points // 2)
    return ProbePoints(np.tile(logit, 2), label)


def pairwise_probes(points: int, group: int) -> ProbePoints:
    """Give ``points // 2`` groups of a positive and ``group - 1`` negatives, one after the other.

    Negatives are from 3 below the positive to 5 above it, or two more where they are several: what
    is far below is in good order, and a sound loss may leave it alone. The middle of a positive and
    its negatives is from -3 to 3; a step of the golden ratio covers differences and middles evenly.

    >>> pairwise_probes(4, group=2).label.tolist()
    [1.0, 0.0, 1.0, 0.0]
    """
    count = points // 2
    if points < 4 or points % 2:
        raise ValueError(f"probe points come in pairs and at least 4, got {points}")
    ahead = np.linspace(-5, 3, count)[:, None]
    middle = 6 * (np.arange(count)[:, None] * 0.618034 % 1) - 3
    apart = np.linspace(-1, 1, group - 1) if group > 2 else np.zeros(1)
    logit = np.hstack([middle + ahead / 2, middle - ahead / 2 + apart]).astype(np.float32)
    label = np.zeros_like(logit)
    label[:, 0] = 1
    return ProbePoints(logit.ravel(), label.ravel())


def even_probe(points: int, group: int = 1) -> ProbePoints:
    """Give the probes that ``sides`` cuts in two: ``pointwise_probes``, or ``pairwise_probes`` for groups."""
    return pointwise_probes(points) if group == 1 else pairwise_probes(points, group)


def sides(slopes: Array, group: int = 1) -> tuple[Array, Array]:
    """Cut slopes [..., P] into those that should be positive and those that should be negative.

    The first are of label 0 or negatives, the second of label 1 or positives.
    """
    if group == 1:
        return tuple(jnp.split(slopes, 2, axis=-1))
    grouped = slopes.reshape(*slopes.shape[:-1], -1, group)
    return grouped[..., 1:].reshape(*slopes.shape[:-1], -1), grouped[..., 0]


def is_blind(slopes: Array, group: int = 1, *, tolerance: float = 1e-4) -> Array:
    """Say if slopes [..., P] move the two sides alike, within ``tolerance`` of the largest: bool.

    For a group, if its positive moves as each negative does, or as all of them together.
    """
    low, high = sides(slopes, group)
    limit = tolerance * jnp.abs(slopes).max(-1)
    if group == 1:
        return jnp.abs(low - high).max(-1) <= limit
    low = low.reshape(*high.shape, group - 1)
    as_each = jnp.abs(low - high[..., None]).max((-1, -2)) <= limit
    return as_each | (jnp.abs(low.sum(-1) - high).max(-1) <= limit)


def direction(slopes: Array, tolerance: float = 1e-6, group: int = 1) -> Array:
    """Give the share of probes [..., P] that point the right way less the share pointing wrong.

    Right is down for label 0 and up for label 1: a positive slope moves the logit down. A slope
    within ``tolerance`` of the largest one's size counts neither way. Both sides count alike.
    """
    low, high = sides(slopes, group)
    limit = tolerance * jnp.max(jnp.abs(slopes), axis=-1, keepdims=True)
    right = (low > limit).mean(-1) + (high < -limit).mean(-1)
    wrong = (low < -limit).mean(-1) + (high > limit).mean(-1)
    return 0.5 * (right - wrong)


def screen(
    slopes: Array, *, min_gradient: float, min_direction: float, group: int = 1
) -> Screening:
    """Judge candidates by their slopes [M, P], before training.

    Args:
      slopes: slopes at the probes of ``pointwise_probes``, or of ``pairwise_probes``.
      min_gradient: a largest slope below it is no gradient.
      min_direction: a lower ``direction`` is wrong.
      group: examples of a group, 1 for pointwise losses.
    """
    finite = jnp.isfinite(slopes).all(-1)
    slopes = jnp.where(finite[:, None], slopes, 0.0)
    size = jnp.abs(slopes).max(-1)
    blind = is_blind(slopes, group)
    score = direction(slopes, group=group)
    verdict = jnp.select(
        [~finite, size < min_gradient, blind, score < min_direction],
        [Verdict.NOT_FINITE, Verdict.NO_GRADIENT, Verdict.LABEL_BLIND, Verdict.WRONG_DIRECTION],
        Verdict.TRAINED,
    )
    # One step for each filter passed; among the wrong, more for pointing right more often.
    graded = -1.0 + 0.2 * jnp.minimum(verdict, Verdict.WRONG_DIRECTION)
    graded += jnp.where(verdict == Verdict.WRONG_DIRECTION, 0.15 * (score + 1.0), 0.0)
    return Screening(verdict, graded)


def screen_paper(slopes: Array, *, min_gradient: float) -> Screening:
    """Judge candidates as the original does: only a vanishing slope is stopped, at -1."""
    finite = jnp.isfinite(slopes).all(-1)
    size = jnp.where(finite, jnp.abs(slopes).max(-1), 0.0)
    verdict = jnp.select(
        [~finite, size < min_gradient],
        [Verdict.NOT_FINITE, Verdict.NO_GRADIENT],
        Verdict.TRAINED,
    )
    return Screening(verdict, jnp.full(size.shape, -1.0))


def twins(prints: Array, others: Array, *, tolerance: float) -> Array:
    """Say which fingerprints [S, P] are within ``tolerance`` of which others [R, P]: bool [S, R].

    The distance is the largest difference at a probe.
    """
    # One probe at a time keeps the memory at S times R.
    distance = jnp.zeros((prints.shape[0], others.shape[0]))
    for p in range(prints.shape[1]):
        distance = jnp.maximum(distance, jnp.abs(prints[:, p, None] - others[None, :, p]))
    return distance <= tolerance


def unit_length(slopes: Array) -> Array:
    """Scale slopes [M, P] to length 1."""
    length = jnp.linalg.norm(slopes, axis=-1, keepdims=True)
    return slopes / jnp.maximum(length, 1e-30)


def make_graded_filter(
    *,
    probes: int,
    min_gradient: float,
    min_direction: float,
    tolerance: float,
    group: int = 1,
) -> Filter:
    """Make the default filter: graded rewards, and twins by the shape of the gradient alone.

    Fingerprints are of unit length, so that a loss and its multiple are twins; two losses are
    twins if no slope differs by more than ``tolerance``.
    """
    if not -1 <= min_direction <= 1:
        raise ValueError(f"min_direction is in [-1, 1], got {min_direction}")
    limits = {"min_gradient": min_gradient, "min_direction": min_direction}
    screening = partial(screen, **limits, group=group)
    probe = even_probe(probes, group)
    # A policy that is paid for twins writes one loss over and over, and lanes stay empty.
    options = {"forgets": False, "rewards_twins": False, "stops_blind": True}
    return Filter(probe, screening, unit_length, tolerance, **options)


def make_paper_filter(
    *, probes: int, min_gradient: float, tolerance: float, seed: int, group: int = 1
) -> Filter:
    """Make the original's filter: random probes, gradients with respect to the prediction.

    Predictions are uniform in (0.1, 0.9) and labels in (0, 1). A largest gradient below
    ``min_gradient`` gives -1; a twin within the round takes the reward of its match. The rest of
    the original's filter, -1 for rewards below the moving average, is ``below_average`` of the policy.

    Raises:
      ValueError: for a group, or without probes.
    """
    if probes < 1:
        raise ValueError(f"filter 'paper' needs at least 1 probe point, got {probes}")
    if group != 1:
        raise ValueError("filter 'paper' judges pointwise losses; for pairwise ones take 'graded'")
    rng = np.random.default_rng(seed)
    pred = rng.uniform(0.1, 0.9, probes).astype(np.float32)
    label = rng.uniform(0.0, 1.0, probes).astype(np.float32)
    by_pred = 1 / (pred * (1 - pred))  # d logit / d pred

    def screening(slopes: Array) -> Screening:
        return screen_paper(slopes * by_pred, min_gradient=min_gradient)

    probe = ProbePoints(np.log(pred / (1 - pred)), label)
    options = {"forgets": True, "rewards_twins": True, "stops_blind": False}
    return Filter(probe, screening, lambda slopes: slopes * by_pred, tolerance, **options)


FILTERS = {"graded": make_graded_filter, "paper": make_paper_filter}
