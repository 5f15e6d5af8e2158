"""The check: does the gradient of a found loss point the right way?"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from .losses import LossFn


class Validity(NamedTuple):
    """What the check of one loss found."""

    right: float  # share of the grid on which the gradient points the right way
    uses_label: bool
    sound: bool


def check(loss: LossFn, *, points: int = 1000, share: float = 0.6) -> Validity:
    """Check the gradient of a loss on a fine grid of predictions in (0, 1), for both labels.

    The gradient is that of the executed loss, clipping included, not that of its text. Right is a
    derivative by the prediction above 1e-6 of the largest at label 0, and below minus that at
    label 1; the original asks for the same on 60 % of its points (1,200 of 2,000).

    Args:
      loss: over logits.
      points: of the grid.
      share: a sound loss points the right way on more than this share of the grid.

    >>> from .losses import named_loss
    >>> check(named_loss("bce")).sound
    True
    """
    pred = (jnp.arange(points) + 0.5) / points
    logits = jnp.log(pred) - jnp.log1p(-pred)

    def derivative(label: float) -> np.ndarray:
        def value(z):
            return loss(z, jnp.full_like(z, label), reduce_fn=None)

        slope = jax.jvp(value, (logits,), (jnp.ones_like(logits),))[1]
        return np.nan_to_num(np.asarray(slope / (pred * (1 - pred))))

    low, high = derivative(0.0), derivative(1.0)
    size = max(np.abs(low).max(), np.abs(high).max())
    if not size > 0:
        return Validity(0.0, False, False)
    right = float(np.mean(np.append(low > 1e-6 * size, high < -1e-6 * size)))
    uses_label = bool(np.abs(low - high).max() > 1e-4 * size)
    return Validity(right, uses_label, uses_label and right > share)
