"""Results of a fair test: metrics, intervals, and the rows of ``results.json``."""

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import NamedTuple

import jax
import numpy as np

from ..interfaces import Batch, Data
from ..training.evaluate import make_eval_targets
from ..training.metric_registry import Metric, compute_metrics, metrics_to_report
from ..training.tasks import RATING, Task
from .contenders import Contender


class Splits(NamedTuple):
    """The data of a test; ``valid`` chooses, ``test`` is looked at last."""

    train: Data
    valid: Batch
    test: Batch


class Outcome(NamedTuple):
    """What the test says of one loss."""

    contender: Contender
    learning_rate: float
    weight_decay: float
    epochs: int
    valid: Mapping[str, np.ndarray]  # metric -> one value a seed
    test: Mapping[str, np.ndarray]
    resampled: np.ndarray  # test metric [R], mean over seeds, with the users drawn anew


RESAMPLES, TOGETHER = 500, 10  # draws of users, and how many are weighed at once


def measure(
    valid: np.ndarray, test: np.ndarray, splits: Splits, task: Task = RATING
) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Give the metrics of what was kept, ``valid`` [S, n] and ``test`` [S, m], of S seeds.

    Each has one value a seed. The thresholds of accuracy and F1 are those that are best on
    validation, seed by seed. A metric that a split cannot give, as that of users without likes and
    dislikes, is left out.
    """
    metrics = metrics_to_report(task.metric, task.family)
    of_valid, of_test = make_eval_targets(splits.valid), make_eval_targets(splits.test)
    pairs = [
        compute_metrics(metrics, v, of_valid, t, of_test) for v, t in zip(valid, test, strict=True)
    ]
    both = [side for pair in pairs for side in pair]
    own = task.metric.name
    finite = {name: np.isfinite([side[name] for side in both]).all() for name in both[0]}
    given = [name for name in finite if finite[name] or name == own]
    return tuple(
        {name: np.asarray([float(pair[side][name]) for pair in pairs]) for name in given}
        for side in (0, 1)
    )


def resample_users(
    valid: np.ndarray, test: np.ndarray, splits: Splits, task: Task = RATING
) -> np.ndarray:
    """Give the test metric [J, R] of what was kept, ``test`` [S, J, m], with users drawn anew.

    It is the mean over seeds. Users are drawn with replacement, all interactions of a user
    together: the cluster bootstrap. The draws are the same for every loss, so that differences
    between losses are paired. Thresholds are those of ``valid`` [S, J, n], as in ``measure``.
    """
    of_valid, of_test = make_eval_targets(splits.valid), make_eval_targets(splits.test)
    _, user = np.unique(np.asarray(of_test.user), return_inverse=True)
    users = user.max() + 1
    rng, even = np.random.default_rng(0), np.full(users, 1 / users)
    threshold, value = _compiled(task.metric.threshold), _compiled(task.metric.value)
    cuts = [[np.asarray(threshold(kept, of_valid)) for kept in of_seed] for of_seed in valid]
    blocks = []
    for _ in range(RESAMPLES // TOGETHER):
        drawn = rng.multinomial(users, even, size=TOGETHER)
        again = of_test._replace(weight=drawn[:, user].astype(np.float32))
        by_seed = [
            [value(kept - cut, again) for kept, cut in zip(*of_seed, strict=True)]
            for of_seed in zip(test, cuts, strict=True)
        ]
        blocks.append(np.mean(by_seed, axis=0))
    return np.concatenate(blocks, axis=1)


_compiled = lru_cache(jax.jit)


def confidence_interval(values: np.ndarray) -> list[float] | None:
    """Give the 95 % interval of the mean by Student's t; None for fewer than two values.

    >>> [round(x, 3) for x in confidence_interval(np.array([1.0, 2.0, 3.0]))]
    [-0.484, 4.484]
    """
    from scipy.special import stdtrit  # takes a while, and a run needs it last

    if len(values) < 2:
        return None
    half = stdtrit(len(values) - 1, 0.975) * values.std(ddof=1) / np.sqrt(len(values))
    return [float(values.mean() - half), float(values.mean() + half)]


def _bounds(contender: Contender) -> list[float | None] | None:
    """Give what a found loss clips to, None for a side without end; a named loss clips nothing."""
    if not contender.found:
        return None
    return [bound if np.isfinite(bound) else None for bound in contender.loss.bounds]


def result_records(
    outcomes: Sequence[Outcome], *, model: str, dataset: str, metric: Metric = RATING.metric
) -> list[dict]:
    """Give outcomes as the ``losses`` of ``results.json``.

    Differences are in the test ``metric``, in its own units, seed by seed, to the usual loss that
    is best on validation. Their interval ``ci95`` is over seeds, for these users; ``ci95_users`` is
    over users.
    """
    usual = [outcome for outcome in outcomes if not outcome.contender.found]
    name, sign = metric.name, -1 if metric.lower_is_better else 1

    def on_validation(outcome: Outcome) -> float:
        mean = sign * outcome.valid[name].mean()
        return mean if np.isfinite(mean) else -np.inf

    best = max(usual, key=on_validation)

    def against_best(outcome: Outcome) -> dict | None:
        if outcome is best:
            return None
        by_seed = outcome.test[name] - best.test[name]
        by_users = outcome.resampled - best.resampled
        known = by_users[np.isfinite(by_users)]  # a draw of users may lack a class
        return {
            "metric": name,
            "difference": float(by_seed.mean()),
            "ci95": confidence_interval(by_seed),
            "ci95_users": np.quantile(known, (0.025, 0.975)).tolist() if known.size else None,
        }

    def summary(values: np.ndarray) -> dict:
        std = float(values.std(ddof=1)) if len(values) > 1 else None
        return {"mean": float(values.mean()), "std": std, "ci95": confidence_interval(values)}

    return [
        {
            "name": outcome.contender.name,
            "formula": outcome.contender.formula,
            "tokens": list(outcome.contender.tokens) if outcome.contender.tokens else None,
            "found": outcome.contender.found,
            "bounds": _bounds(outcome.contender),
            "model": model,
            "dataset": dataset,
            "learning_rate": outcome.learning_rate,
            "weight_decay": outcome.weight_decay,
            "seeds": list(range(len(outcome.test[name]))),
            "epochs": outcome.epochs,
            "valid": {key: float(v.mean()) for key, v in outcome.valid.items()},
            "test": {key: summary(v) for key, v in outcome.test.items()},
            "vs_best_baseline": against_best(outcome),
        }
        for outcome in outcomes
    ]
