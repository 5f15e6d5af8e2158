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
    Student's distribution has the degrees of freedom of Welch and Satterthwaite. Seeds are paired
    where both have as many. A single seed says nothing of others: then the interval is over users
    alone, as it should be for a recommender without random numbers.

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
    values = [np.asarray(one, np.float64) for one in values]
    means = np.asarray([one.mean() - other.mean() for one in values])
    errors, freedom = np.asarray([_measure_error(one, other) for one in values]).reshape(-1, 2).T
    level = 0.05 / max(len(values), 1)
    half = stats.t.ppf(1 - level / 2, freedom) * errors
    with np.errstate(divide="ignore", invalid="ignore"):
        t = np.where(errors > 0, np.abs(means) / errors, np.where(means == 0, 0.0, np.inf))
    p_values = correct_by_holm(2 * stats.t.sf(t, freedom))
    return [
        Difference(mean=float(m), low=float(m - h), high=float(m + h), p=float(p))
        for m, h, p in zip(means, half, p_values, strict=True)
    ]


def _measure_error(values: np.ndarray, other: np.ndarray) -> tuple[float, float]:
    """Returns the standard error of the difference of two means, of [S, E] each, and its freedom.

    One user alone leaves the error unknown.
    """
    if values.shape[1] < 2:
        return np.inf, 1.0
    by_seed, other_by_seed = values.mean(1), other.mean(1)
    samples = [values.mean(0) - other.mean(0)]
    if by_seed.size == other_by_seed.size:
        samples.append(by_seed - other_by_seed)
    else:
        samples += [by_seed, other_by_seed]
    samples = [sample for sample in samples if sample.size > 1]
    variances = np.asarray([sample.var(ddof=1) / sample.size for sample in samples])
    if not variances.sum():
        return 0.0, np.inf
    freedom = np.asarray([sample.size - 1 for sample in samples])
    return variances.sum() ** 0.5, variances.sum() ** 2 / (variances**2 / freedom).sum()


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
