"""Results of a fair test: metrics, intervals, and the rows of ``results.json``."""

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import NamedTuple

import jax
import numpy as np
from scipy import stats

from .losses import LossFn
from .tasks import RATING, Task
from .types import Array, Batch, Data


class Contender(NamedTuple):
    """A loss in the test."""

    name: str
    formula: str
    loss: LossFn  # of logits
    found: bool
    tokens: tuple[str, ...] | None = None


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


RESAMPLES = 500


def measure(
    valid: np.ndarray, test: np.ndarray, splits: Splits, task: Task = RATING
) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Give the metrics of what was kept, ``valid`` [S, n] and ``test`` [S, m], of S seeds.

    Each has one value a seed. The thresholds of accuracy and F1 are those that are best on
    validation, seed by seed.
    """
    of_valid, of_test = (_first(part.label) for part in (splits.valid, splits.test))
    pairs = [task.measure(v, of_valid, t, of_test) for v, t in zip(valid, test, strict=True)]
    return tuple(
        {name: np.asarray([float(pair[side][name]) for pair in pairs]) for name in pairs[0][side]}
        for side in (0, 1)
    )


def _first(values: Array) -> Array:
    """Give the value of each interaction [n], or that of the first of each group [n, G]."""
    return values if values.ndim == 1 else values[:, 0]


def resample_users(test: np.ndarray, data: Batch, task: Task = RATING) -> np.ndarray:
    """Give the test metric [R] of what was kept, ``test`` [S, m], with users drawn anew.

    It is the mean over seeds. Users are drawn with replacement, all interactions of a user
    together: the cluster bootstrap. The draws are the same for every loss, so that differences
    between losses are paired.
    """
    _, user = np.unique(np.asarray(_first(data.ids["user"])), return_inverse=True)
    users = user.max() + 1
    rng = np.random.default_rng(0)
    drawn = rng.multinomial(users, np.full(users, 1 / users), size=RESAMPLES)
    weights, label = drawn[:, user].astype(np.float32), _first(data.label)
    judge = _compiled(task.judge)
    return np.mean([np.asarray(judge(kept, label, weights)) for kept in test], axis=0)


_compiled = lru_cache(jax.jit)


def interval(values: np.ndarray) -> list[float] | None:
    """Give the 95 % interval of the mean by Student's t; None for fewer than two values.

    >>> [round(x, 3) for x in interval(np.array([1.0, 2.0, 3.0]))]
    [-0.484, 4.484]
    """
    if len(values) < 2:
        return None
    half = stats.t.ppf(0.975, len(values) - 1) * values.std(ddof=1) / np.sqrt(len(values))
    return [float(values.mean() - half), float(values.mean() + half)]


def rows(
    outcomes: Sequence[Outcome], *, model: str, dataset: str, metric: str = "auc"
) -> list[dict]:
    """Give outcomes as the ``losses`` of ``results.json``.

    Differences are in the test ``metric``, seed by seed, to the usual loss that is best on
    validation. Their interval ``ci95`` is over seeds, for these users; ``ci95_users`` is over
    users.
    """
    usual = [outcome for outcome in outcomes if not outcome.contender.found]
    best = max(usual, key=lambda outcome: outcome.valid[metric].mean())

    def against_best(outcome: Outcome) -> dict | None:
        if outcome is best:
            return None
        by_seed = outcome.test[metric] - best.test[metric]
        by_users = np.nanquantile(outcome.resampled - best.resampled, (0.025, 0.975))
        return {
            "metric": metric,
            "difference": float(by_seed.mean()),
            "ci95": interval(by_seed),
            "ci95_users": by_users.tolist(),
        }

    def summary(values: np.ndarray) -> dict:
        std = float(values.std(ddof=1)) if len(values) > 1 else None
        return {"mean": float(values.mean()), "std": std, "ci95": interval(values)}

    return [
        {
            "name": outcome.contender.name,
            "formula": outcome.contender.formula,
            "tokens": list(outcome.contender.tokens) if outcome.contender.tokens else None,
            "found": outcome.contender.found,
            "model": model,
            "dataset": dataset,
            "learning_rate": outcome.learning_rate,
            "weight_decay": outcome.weight_decay,
            "seeds": list(range(len(outcome.test[metric]))),
            "epochs": outcome.epochs,
            "valid": {name: float(v.mean()) for name, v in outcome.valid.items()},
            "test": {name: summary(v) for name, v in outcome.test.items()},
            "vs_best_baseline": against_best(outcome),
        }
        for outcome in outcomes
    ]
