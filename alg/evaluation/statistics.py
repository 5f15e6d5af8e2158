"""Statistics of a fair test: metrics, confidence intervals, and the records of the results."""

from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import chex
import jax
import numpy as np

from ..interfaces import Batch, Data
from ..language.simplify import to_text_by_label
from ..training.evaluate import make_eval_targets
from ..training.metric_registry import Metric, compute_metrics, metrics_to_report
from ..training.tasks import RATING, Task
from .contenders import Contender

NUM_RESAMPLES = 500
"""Draws of users for an interval over users."""

RESAMPLE_BATCH = 10
"""Draws of users that are weighed together: the metrics of one are quick, and many take memory."""

_compiled = lru_cache(jax.jit)  # a metric compiles once for all losses, seeds and draws


class Splits(NamedTuple):
    """The data of a test: ``valid`` chooses, ``test`` is looked at last."""

    train: Data
    valid: Batch
    test: Batch


class FairTestResult(NamedTuple):
    """Result of the fair test for one loss: settings, metrics by seed, resamples of users."""

    contender: Contender
    learning_rate: float
    weight_decay: float
    epochs: int
    valid: Mapping[str, np.ndarray]  # metric -> one value for each seed, [S]
    test: Mapping[str, np.ndarray]  # the same
    resampled: np.ndarray  # test metric [num_resamples], mean over seeds
    course: Sequence[float] = ()  # reward after each epoch of the test, mean over seeds
    tuning: Sequence[Mapping[str, float]] = ()  # settings that were tried, with their best reward


def measure(
    valid: np.ndarray, test: np.ndarray, splits: Splits, task: Task = RATING
) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Computes the metrics of a loss.

    The thresholds of accuracy and F1 are the best ones on validation, seed by seed. A metric that a
    split cannot give, such as that of users without likes and dislikes, is left out.

    Args:
      valid: predictions (logits, or ranks) for validation [S, n].
      test: predictions for test [S, m].
      splits: that the predictions are for.
      task: whose metrics are computed.

    Returns:
      Metrics of validation and of test: name -> [S].
    """
    chex.assert_rank([valid, test], 2)
    metrics = metrics_to_report(task.metric, task.family)
    valid_targets, test_targets = make_eval_targets(splits.valid), make_eval_targets(splits.test)
    by_seed = [
        compute_metrics(metrics, of_valid, valid_targets, of_test, test_targets)
        for of_valid, of_test in zip(valid, test, strict=True)
    ]
    both = [values for pair in by_seed for values in pair]
    finite = {name: np.isfinite([values[name] for values in both]).all() for name in both[0]}
    names = [name for name in finite if finite[name] or name == task.metric.name]
    valid_metrics, test_metrics = (
        {name: np.asarray([float(pair[side][name]) for pair in by_seed]) for name in names}
        for side in (0, 1)
    )
    return valid_metrics, test_metrics


def resample_users(
    valid: np.ndarray, test: np.ndarray, splits: Splits, task: Task = RATING
) -> np.ndarray:
    """Computes the test metric of J losses for random draws of users.

    Users are drawn with replacement, all interactions of a user together: the cluster bootstrap.
    The draws are the same for every loss, so that differences between losses are paired. Thresholds
    are chosen on validation, as in ``measure``.

    Args:
      valid: predictions for validation [S, J, n].
      test: predictions for test [S, J, m].
      splits: that the predictions are for.
      task: whose metric is computed.

    Returns:
      Means over the seeds, [J, num_resamples].
    """
    chex.assert_rank([valid, test], 3)
    valid_targets, test_targets = make_eval_targets(splits.valid), make_eval_targets(splits.test)
    _, user = np.unique(np.asarray(test_targets.user), return_inverse=True)
    num_users = user.max() + 1
    rng, even = np.random.default_rng(0), np.full(num_users, 1 / num_users)
    threshold, value = _compiled(task.metric.threshold), _compiled(task.metric.value)
    thresholds = [
        [np.asarray(threshold(predictions, valid_targets)) for predictions in of_seed]
        for of_seed in valid
    ]
    blocks = []
    for _ in range(NUM_RESAMPLES // RESAMPLE_BATCH):
        draws = rng.multinomial(num_users, even, size=RESAMPLE_BATCH)
        weighted = test_targets._replace(weight=draws[:, user].astype(np.float32))
        by_seed = [
            [
                value(predictions - cut, weighted)
                for predictions, cut in zip(of_seed, cuts, strict=True)
            ]
            for of_seed, cuts in zip(test, thresholds, strict=True)
        ]
        blocks.append(np.mean(by_seed, axis=0))
    return np.concatenate(blocks, axis=1)


def compute_confidence_interval(values: np.ndarray) -> list[float] | None:
    """Computes the 95 % interval of the mean by Student's t; None for fewer than two values.

    Example:
      >>> [round(x, 3) for x in compute_confidence_interval(np.array([1.0, 2.0, 3.0]))]
      [-0.484, 4.484]
    """
    from scipy.special import stdtrit  # slow to import, and a run needs it last

    if len(values) < 2:
        return None
    half = stdtrit(len(values) - 1, 0.975) * values.std(ddof=1) / np.sqrt(len(values))
    return [float(values.mean() - half), float(values.mean() + half)]


def make_result_records(
    results: Sequence[FairTestResult], *, model: str, dataset: str, metric: Metric = RATING.metric
) -> list[dict[str, Any]]:
    """Returns the results of losses as ``results.json`` has them in ``losses``.

    Differences are in the test metric, in its own units, seed by seed, from the baseline that is
    best on validation. Their interval ``ci95`` is over seeds, for these users; ``ci95_users`` is
    over users.

    Args:
      results: of found losses and baselines.
      model: its name.
      dataset: its name.
      metric: that compares.
    """
    best = _best_baseline(results, metric)
    return [
        {
            "name": result.contender.name,
            "formula": result.contender.formula,
            "by_label": _json_by_label(result.contender),
            "tokens": list(result.contender.tokens) if result.contender.tokens else None,
            "found": result.contender.found,
            "bounds": _json_bounds(result.contender),
            "model": model,
            "dataset": dataset,
            "learning_rate": result.learning_rate,
            "weight_decay": result.weight_decay,
            "seeds": list(range(len(result.test[metric.name]))),
            "epochs": result.epochs,
            "course": make_course(enumerate(result.course, start=1)),
            "tuning": make_tuning(result.tuning),
            "valid": {name: float(values.mean()) for name, values in result.valid.items()},
            "test": {name: summarize_seeds(values) for name, values in result.test.items()},
            "vs_best_baseline": None
            if result is best
            else _compare_with_baseline(result, best, metric.name),
        }
        for result in results
    ]


def make_course(points: Iterable[tuple[int, float]]) -> dict[str, list[Any]]:
    """Returns the reward on validation over epochs, as ``results.json`` has it.

    Example:
      >>> make_course([(5, 0.25), (10, 0.5)])
      {'epochs': [5, 10], 'valid': [0.25, 0.5]}
    """
    epochs, values = zip(*points, strict=True) if (points := list(points)) else ((), ())
    return {"epochs": list(epochs), "valid": [_finite_or_none(value) for value in values]}


def make_tuning(trials: Iterable[Mapping[str, float]]) -> list[dict[str, Any]]:
    """Returns the settings that were tried and their results, as ``results.json`` has them."""
    return [{name: _finite_or_none(value) for name, value in trial.items()} for trial in trials]


def _finite_or_none(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None


def _best_baseline(results: Sequence[FairTestResult], metric: Metric) -> FairTestResult:
    """Returns the baseline that is best on validation."""
    sign = -1 if metric.lower_is_better else 1

    def get_validation_score(result: FairTestResult) -> float:
        mean = sign * result.valid[metric.name].mean()
        return mean if np.isfinite(mean) else -np.inf

    return max(
        (result for result in results if not result.contender.found), key=get_validation_score
    )


def _compare_with_baseline(
    result: FairTestResult, baseline: FairTestResult, metric: str
) -> dict[str, Any]:
    """Returns the difference of a loss from a baseline, with its intervals."""
    by_seed = result.test[metric] - baseline.test[metric]
    by_resample = result.resampled - baseline.resampled
    finite = by_resample[np.isfinite(by_resample)]  # a draw of users may lack a class
    return {
        "metric": metric,
        "difference": float(by_seed.mean()),
        "ci95": compute_confidence_interval(by_seed),
        "ci95_users": np.quantile(finite, (0.025, 0.975)).tolist() if finite.size else None,
    }


def summarize_seeds(values: np.ndarray) -> dict[str, Any]:
    """Returns mean, standard deviation and interval of one value for each seed."""
    std = float(values.std(ddof=1)) if len(values) > 1 else None
    return {"mean": float(values.mean()), "std": std, "ci95": compute_confidence_interval(values)}


def _json_bounds(contender: Contender) -> list[float | None] | None:
    """Returns the bounds of a found loss, None for an infinite side; baselines are not clipped."""
    if not contender.found:
        return None
    return [bound if np.isfinite(bound) else None for bound in contender.loss.bounds]


def _json_by_label(contender: Contender) -> dict[str, str] | None:
    """Returns a pointwise loss as two formulas, for a like and for a dislike."""
    if contender.loss.family.is_pairwise:
        return None
    return to_text_by_label(contender.loss)._asdict()
