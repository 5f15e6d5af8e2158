"""Comparisons of rankings over users and seeds, corrected for how many there are."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy import stats


class Difference(NamedTuple):
    """By how much a mean is ahead of another."""

    mean: float
    low: float  # interval of 95 %, simultaneous for all that are compared
    high: float
    p: float  # of no difference, corrected by Holm


def compare_to(values: Sequence[np.ndarray], other: np.ndarray) -> list[Difference]:
    """Compares J losses with another one, user by user and seed by seed.

    A difference varies with the users, who are a sample of those that may come, and with the seeds.
    Its squared standard error is the sum of both: the variance over users of the mean over seeds,
    divided by the number of users, and that over seeds of the mean over users, divided by theirs.
    Seeds are paired where both have as many; a recommender without random numbers has one.

    Args:
      values: for each loss the metric of each seed and user, [S, E].
      other: the same of what they are compared with.

    Returns:
      A difference for each loss. P-values are corrected by Holm's method (1979); intervals have
      Bonferroni's level, 1 - 0.05 / J, and so hold for all J together.

    Example:
      >>> rng = np.random.default_rng(0)
      >>> base = rng.random((1, 5, 200))
      >>> found = compare_to(base + 0.1 + 0.01 * rng.normal(size=base.shape), base[0])[0]
      >>> round(found.mean, 2), found.low < 0.1 < found.high, found.p < 0.001
      (0.1, True, True)
    """
    other = np.asarray(other, np.float64)
    means = np.asarray([np.mean(one) - other.mean() for one in values])
    errors = np.asarray([_standard_error(np.asarray(one, np.float64), other) for one in values])
    level = 0.05 / max(len(values), 1)
    half = stats.norm.ppf(1 - level / 2) * errors
    with np.errstate(divide="ignore", invalid="ignore"):
        z = np.where(errors > 0, np.abs(means) / errors, np.where(means == 0, 0.0, np.inf))
    p_values = correct_by_holm(2 * stats.norm.sf(z))
    return [
        Difference(mean=float(m), low=float(m - h), high=float(m + h), p=float(p))
        for m, h, p in zip(means, half, p_values, strict=True)
    ]


def _standard_error(values: np.ndarray, other: np.ndarray) -> float:
    """Returns the standard error of the difference of two means, of [S, E] each."""
    by_seed, other_by_seed = values.mean(1), other.mean(1)
    variance = _variance_of_mean(values.mean(0) - other.mean(0))
    if by_seed.size == other_by_seed.size:
        variance += _variance_of_mean(by_seed - other_by_seed)
    else:
        variance += _variance_of_mean(by_seed) + _variance_of_mean(other_by_seed)
    return float(np.sqrt(variance))


def _variance_of_mean(values: np.ndarray) -> float:
    """Returns the variance of the mean of values [n]; 0 for one value."""
    return float(values.var(ddof=1) / values.size) if values.size > 1 else 0.0


def correct_by_holm(p_values: Sequence[float] | np.ndarray) -> np.ndarray:
    """Corrects p-values for their number by Holm's method.

    Example:
      >>> correct_by_holm([0.01, 0.04, 0.03]).round(2).tolist()
      [0.03, 0.06, 0.06]
    """
    p_values = np.asarray(p_values, np.float64)
    order = np.argsort(p_values)
    factors = np.arange(p_values.size, 0, -1)
    corrected = np.empty_like(p_values)
    corrected[order] = np.minimum(np.maximum.accumulate(p_values[order] * factors), 1.0)
    return corrected
