"""The check: does the gradient of a found loss point the right way?"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from ..search.screening import is_blind, pairwise_probes, sides
from ..training.loss_gradients import LogitGradFn, LossBatch


class GradientCheck(NamedTuple):
    """What the check found, [J] each."""

    right: np.ndarray  # share of the grid on which the gradient points the right way
    uses_label: np.ndarray  # bool
    sound: np.ndarray  # bool


def check_gradients(
    slopes: LogitGradFn,
    losses: LossBatch,
    *,
    points: int = 1000,
    share: float = 0.6,
    group: int = 1,
) -> GradientCheck:
    """Check the gradients of J losses on a fine grid.

    For pointwise losses it has predictions in (0, 1), for both labels; for pairwise ones, groups of
    a positive and its negatives, whose logits differ as in ``filters.pairs``.

    The gradient is that of the executed loss, clipping included, not that of its text. Right is a
    derivative by the prediction (pairwise: the logit) above 1e-6 of the largest at label 0 or a
    negative, and below minus that at label 1 or a positive; the original asks for the same on 60 %
    of its points (1,200 of 2,000).

    Args:
      slopes: what gives the gradients.
      losses: an objective of J losses.
      points: of the grid.
      share: a sound loss points the right way on more than this share of the grid.
      group: examples of a group, 1 for pointwise losses.

    >>> from .losses import as_program
    >>> from .objectives import objective, traced_logit_grads
    >>> squares = as_program("square(label - pred)")
    >>> losses = objective([squares], [(-1e5, 1e5)])
    >>> check_gradients(traced_logit_grads(sorted({*squares.op})), losses).sound
    array([ True])
    """
    logit, label, by_logit = _grid(points, group)
    every = jnp.broadcast_to(logit, (losses.scale.shape[0], logit.size))
    slope = np.nan_to_num(jax.jit(slopes)(losses, every, label))
    derivative = slope / by_logit
    low, high = map(np.asarray, sides(derivative, group))
    limit = 1e-6 * np.abs(derivative).max(1, keepdims=True)
    right = 0.5 * ((low > limit).mean(1) + (high < -limit).mean(1))
    uses_label = ~np.asarray(is_blind(derivative, group))
    return GradientCheck(right, uses_label, uses_label & (right > share))


def _grid(points: int, group: int) -> tuple[jax.Array, jax.Array, np.ndarray]:
    """Give logits and labels, and what turns a derivative by the logit into the one checked."""
    if group > 1:
        probe = pairwise_probes(2 * points, group)
        return jnp.asarray(probe.logit), jnp.asarray(probe.label), np.ones_like(probe.logit)
    pred = (jnp.arange(points) + 0.5) / points
    logit = jnp.tile(jnp.log(pred) - jnp.log1p(-pred), 2)
    label = jnp.repeat(jnp.array([0.0, 1.0]), points)
    return logit, label, np.tile(pred * (1 - pred), 2)
