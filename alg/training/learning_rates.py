"""Learning rates and weight decays that are tried for a loss."""

from collections.abc import Sequence
from itertools import product

import numpy as np


def settings_grid(
    learning_rates: Sequence[float], weight_decays: Sequence[float], *, l2: float, scale: str
) -> np.ndarray:
    """Give every learning rate with every weight decay: [V, 2].

    Raises:
      ValueError: for values out of range.

    >>> settings_grid((1.0, 3.0), (1e-4,), l2=0.0, scale="gradient").shape
    (2, 2)
    """
    if scale not in ("gradient", "raw"):
        raise ValueError(f"scale is 'gradient' or 'raw', got {scale!r}")
    given = f"learning rates {learning_rates}, weight decays {weight_decays} and l2 {l2}"
    if not learning_rates or not weight_decays:
        raise ValueError(f"at least one learning rate and one weight decay are needed, got {given}")
    # Written so that NaN is refused.
    if not (min(learning_rates) > 0 and min(weight_decays) >= 0 and l2 >= 0):
        raise ValueError(
            f"learning rates are positive, weight decays and l2 not negative, got {given}"
        )
    if not max(learning_rates) * (max(weight_decays) + 2 * l2) < 1:
        raise ValueError(
            "the largest learning rate times the largest weight decay (and twice l2) stays below "
            f"1, got {given}"
        )
    return np.asarray(list(product(learning_rates, weight_decays)))
