"""Results of a fair test: metrics, intervals, and the rows of ``results.json``."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import jax
import numpy as np
from scipy import stats

from .losses import LossFn
from .metrics import accuracy, auc, best_threshold, f1, log_loss
from .types import Array, Batch


class Contender(NamedTuple):
    """A loss in the test."""

    name: str
    formula: str
    loss: LossFn  # over logits
    found: bool
    tokens: tuple[str, ...] | None = None


class Splits(NamedTuple):
    """The data of a test; ``valid`` chooses, ``test`` is looked at last."""

    train: Batch
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
    resampled: np.ndarray  # test AUC [R], mean over seeds, with the users drawn anew


RESAMPLES = 500

_AT_THRESHOLD = {"accuracy": accuracy, "f1": f1}


@jax.jit
def _measure(valid: Array, test: Array, valid_label: Array, test_label: Array):
    cuts = {name: best_threshold(m, valid, valid_label) for name, m in _AT_THRESHOLD.items()}

    def metrics(scores: Array, label: Array) -> dict[str, Array]:
        plain = {"auc": auc(scores, label), "logloss": log_loss(scores, label)}
        return plain | {name: m(scores, label, cuts[name]) for name, m in _AT_THRESHOLD.items()}

    return metrics(valid, valid_label), metrics(test, test_label)


def measure(
    valid: np.ndarray, test: np.ndarray, splits: Splits
) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Give the metrics of logits ``valid`` [S, n] and ``test`` [S, m] of S seeds, one value each.

    The thresholds of accuracy and F1 are those that are best on validation, seed by seed.
    """
    labels = splits.valid.label, splits.test.label
    pairs = [_measure(v, t, *labels) for v, t in zip(valid, test, strict=True)]
    return tuple(
        {name: np.asarray([float(pair[side][name]) for pair in pairs]) for name in pairs[0][side]}
        for side in (0, 1)
    )


def resample_users(test: np.ndarray, data: Batch) -> np.ndarray:
    """Give the test AUC [R] of logits ``test`` [S, m], mean over seeds, with users drawn anew.

    Users are drawn with replacement, all interactions of a user together: the cluster bootstrap.
    The draws are the same for every loss, so that differences between losses are paired.
    """
    _, user = np.unique(np.asarray(data.ids["user"]), return_inverse=True)
    users = user.max() + 1
    rng = np.random.default_rng(0)
    drawn = rng.multinomial(users, np.full(users, 1 / users), size=RESAMPLES)
    weights = drawn[:, user].astype(np.float32)
    return np.mean([np.asarray(_auc(scores, data.label, weights)) for scores in test], axis=0)


_auc = jax.jit(auc)


def interval(values: np.ndarray) -> list[float] | None:
    """Give the 95 % interval of the mean by Student's t; None for fewer than two values.

    >>> [round(x, 3) for x in interval(np.array([1.0, 2.0, 3.0]))]
    [-0.484, 4.484]
    """
    if len(values) < 2:
        return None
    half = stats.t.ppf(0.975, len(values) - 1) * values.std(ddof=1) / np.sqrt(len(values))
    return [float(values.mean() - half), float(values.mean() + half)]


def rows(outcomes: Sequence[Outcome], *, model: str, dataset: str) -> list[dict]:
    """Give outcomes as the ``losses`` of ``results.json``.

    Differences are in test AUC, seed by seed, to the usual loss that is best on validation. Their
    interval ``ci95`` is over seeds, for these users; ``ci95_users`` is over users.
    """
    usual = [outcome for outcome in outcomes if not outcome.contender.found]
    best = max(usual, key=lambda outcome: outcome.valid["auc"].mean())

    def against_best(outcome: Outcome) -> dict | None:
        if outcome is best:
            return None
        by_seed = outcome.test["auc"] - best.test["auc"]
        by_users = np.nanquantile(outcome.resampled - best.resampled, (0.025, 0.975))
        return {
            "metric": "auc",
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
            "seeds": list(range(len(outcome.test["auc"]))),
            "epochs": outcome.epochs,
            "valid": {name: float(v.mean()) for name, v in outcome.valid.items()},
            "test": {name: summary(v) for name, v in outcome.test.items()},
            "vs_best_baseline": against_best(outcome),
        }
        for outcome in outcomes
    ]
