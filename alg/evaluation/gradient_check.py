"""The gradient check: does the gradient of a found loss point the right way?"""

from typing import NamedTuple

import chex
import jax
import jax.numpy as jnp
import numpy as np

from ..search.screening import is_label_blind, pairwise_probes, split_by_label
from ..training.loss_gradients import LogitGradFn, LossBatch


class GradientCheck(NamedTuple):
    """Result of the gradient check, one entry per loss [J]."""

    right: np.ndarray  # share of the grid on which the gradient points the right way
    uses_label: np.ndarray  # bool
    sound: np.ndarray  # bool, whether the loss uses the label and mostly points the right way


def check_gradients(
    logit_grads: LogitGradFn,
    losses: LossBatch,
    *,
    points: int = 1000,
    share: float = 0.6,
    group: int = 1,
) -> GradientCheck:
    """Checks the gradients of J losses on a fine grid.

    For pointwise losses the grid has predictions in (0, 1), for both labels; for pairwise ones,
    groups of a positive and its negatives, whose logits differ as in ``pairwise_probes``.

    The gradient is that of the executed loss, clipping included, not that of its text. Right is a
    derivative by the prediction (pairwise: the logit) above 1e-6 of the largest at label 0 or a
    negative, and below minus that at label 1 or a positive; the original asks for the same on 60 %
    of its points (1,200 of 2,000).

    Args:
      logit_grads: what computes the gradients.
      losses: J losses.
      points: predictions of the grid, or groups.
      share: a sound loss points the right way on more than this share of the grid.
      group: examples of a group, G; 1 for pointwise losses.

    Example:
      >>> from ..language.inputs import as_program
      >>> from ..training.loss_gradients import stack_losses, traced_logit_grads
      >>> squares = as_program("square(label - pred)")
      >>> losses = stack_losses([squares], [(-1e5, 1e5)])
      >>> check_gradients(traced_logit_grads(sorted({*squares.op})), losses).sound
      array([ True])
    """
    logit, label, logit_per_pred = _make_grid(points, group)
    logits = jnp.broadcast_to(logit, (losses.scale.shape[0], logit.size))
    of_logit = jax.jit(logit_grads)(losses, logits, label)
    chex.assert_equal_shape([of_logit, logits])
    derivative = np.nan_to_num(of_logit) / logit_per_pred
    of_zeros, of_ones = map(np.asarray, split_by_label(derivative, group))
    limit = 1e-6 * np.abs(derivative).max(1, keepdims=True)
    right = 0.5 * ((of_zeros > limit).mean(1) + (of_ones < -limit).mean(1))
    uses_label = ~np.asarray(is_label_blind(derivative, group))
    return GradientCheck(right=right, uses_label=uses_label, sound=uses_label & (right > share))


def _make_grid(points: int, group: int) -> tuple[jax.Array, jax.Array, np.ndarray]:
    """Returns logits, labels, and the divisor that turns logit gradients into those checked."""
    if group > 1:
        probe = pairwise_probes(2 * points, group)
        return jnp.asarray(probe.logit), jnp.asarray(probe.label), np.ones_like(probe.logit)
    pred = (jnp.arange(points) + 0.5) / points
    logit = jnp.tile(jnp.log(pred) - jnp.log1p(-pred), 2)
    label = jnp.repeat(jnp.array([0.0, 1.0]), points)
    return logit, label, np.tile(pred * (1 - pred), 2)
