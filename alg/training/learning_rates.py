"""Learning rates in proportion to the size of a loss's gradient, which makes losses comparable.

Multiply a loss by 10, and SGD takes steps that are 10 times as long: with one learning rate for
all, a comparison of losses mostly measures the size of their gradients. So a learning rate is
given for a gradient of a common size, that of the task's reference on an untrained recommender,
and every loss gets its own:

  ``factor = common size / size of the loss's gradient``
  ``learning rate = rate * factor``, ``weight decay = decay / factor``, ``l2 penalty = l2 / factor``

The factor acts as if the loss were multiplied by it: a step moves a parameter ``p`` by ``rate *
factor * gradient``, and decay moves it by ``learning rate * weight decay * p = rate * decay * p``,
whatever the factor. The fair test, promotion and the search all rely on this; the search multiplies
the loss itself, as all its lanes share one learning rate.
"""

from collections.abc import Sequence
from itertools import product

import jax.numpy as jnp
import numpy as np

from ..interfaces import AnyArray, Array
from .optimizers import Hyper

SCALES = ("gradient", "raw")
"""Whether learning rates are in proportion to gradients, or used as given (the paper)."""


def make_settings_grid(
    learning_rates: Sequence[float], weight_decays: Sequence[float], *, l2: float, scale: str
) -> np.ndarray:
    """Returns every learning rate with every weight decay, [num_settings, 2].

    Args:
      learning_rates: to try, for a gradient of the common size.
      weight_decays: to try with each of them.
      l2: penalty in the loss, the same in every setting; only checked here.
      scale: ``"gradient"``, or ``"raw"`` for learning rates that are used as given.

    Raises:
      ValueError: for values out of range.

    Example:
      >>> make_settings_grid((1.0, 3.0), (1e-4,), l2=0.0, scale="gradient").shape
      (2, 2)
    """
    if scale not in SCALES:
        raise ValueError(f"scale is 'gradient' or 'raw', got {scale!r}")
    settings = f"learning rates {learning_rates}, weight decays {weight_decays} and l2 {l2}"
    if not learning_rates or not weight_decays:
        raise ValueError(
            f"at least one learning rate and one weight decay are needed, got {settings}"
        )
    # Written so that NaN is refused.
    if not (min(learning_rates) > 0 and min(weight_decays) >= 0 and l2 >= 0):
        raise ValueError(
            f"learning rates are positive, weight decays and l2 not negative, got {settings}"
        )
    if not max(learning_rates) * (max(weight_decays) + 2 * l2) < 1:
        raise ValueError(
            "the largest learning rate times the largest weight decay (and twice l2) stays below "
            f"1, got {settings}"
        )
    return np.asarray(list(product(learning_rates, weight_decays)))


def compute_factors(gradient_size: Array, common_size: Array | float) -> Array:
    """Returns the factor [K] that brings each gradient to a common size.

    Args:
      gradient_size: root mean square of each loss's gradient, [K].
      common_size: the size to bring it to; broadcasts with ``gradient_size``.

    Example:
      >>> compute_factors(jnp.array([0.25, 1.0]), 0.5).tolist()
      [2.0, 0.5]
    """
    return common_size / jnp.maximum(gradient_size, 1e-30)


def scale_settings(settings: np.ndarray, factors: AnyArray, *, l2: float) -> Hyper:
    """Returns hyper-parameters that treat each loss as if it were multiplied by its factor.

    Args:
      settings: learning rate and weight decay, [..., 2], as of ``make_settings_grid``.
      factors: of each loss, [...], that broadcasts with the settings; ones to use them as given.
      l2: penalty in the loss.

    Returns:
      Learning rate, weight decay and penalty, whose shapes broadcast.

    Example:
      >>> grid = make_settings_grid((1.0,), (0.1,), l2=0.0, scale="gradient")
      >>> hyper = scale_settings(grid, np.array([2.0]), l2=0.0)
      >>> hyper.learning_rate.tolist(), hyper.weight_decay.tolist()
      ([2.0], [0.05])
    """
    return Hyper(
        learning_rate=settings[..., 0] * factors,
        weight_decay=settings[..., 1] / factors,
        l2=l2 / factors,
    )
