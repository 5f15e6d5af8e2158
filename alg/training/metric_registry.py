"""The registry of metrics, by name: they reward a search, choose settings and compare losses.

A metric says here what it reads, whether lower is better, and how it becomes a reward.
"""

import re
from collections.abc import Callable, Sequence
from functools import lru_cache, partial
from typing import NamedTuple

import chex
import jax
import jax.numpy as jnp

from ..interfaces import AnyArray, Array
from ..language.families import Family
from ..suggest import did_you_mean, find_nearest
from .metrics import (
    accuracy,
    auc,
    best_threshold,
    count_predictions,
    f1,
    hit_rate,
    log_loss,
    mae,
    mrr,
    ndcg,
    recall,
    rmse,
    user_auc,
)

CUTOFF = 10
"""Ranks that count in the metrics that are reported of every ranking."""


class EvalTargets(NamedTuple):
    """Targets of n interactions or groups: what a metric needs in addition to predictions."""

    label: AnyArray  # float32 [n]
    user: AnyArray  # int32 [n]
    weight: AnyArray  # float32 [..., n], 0 for padding


class Metric(NamedTuple):
    """A metric of interactions with labels, or of groups in which a positive is ranked.

    Its predictions [n] are one number each: the logit of an interaction, or the rank of a group's
    positive.
    """

    name: str
    of_ranks: bool
    value: Callable[
        [Array, EvalTargets], Array
    ]  # predictions [n] -> [...]; accuracy and F1 cut at 0
    lower_is_better: bool = False
    as_reward: Callable[[Array], Array] = lambda value: value  # from 0 to 1, the higher the better
    at_threshold: Callable | None = None  # accuracy or F1, which need a threshold on the logits
    of_probability: bool = False  # needs logits that mean a probability

    def threshold(self, predictions: Array, targets: EvalTargets) -> Array:
        """Returns the threshold that is best for predictions [n]; 0 if the metric needs none."""
        if self.at_threshold is None:
            return jnp.zeros(())
        return best_threshold(self.at_threshold, predictions, targets.label, targets.weight)

    def reward(self, predictions: Array, targets: EvalTargets) -> Array:
        """Returns the reward of predictions [n], from 0 to 1, at the best threshold if any."""
        cut = self.threshold(predictions, targets)
        return self.as_reward(self.value(predictions - cut, targets))


def _of_labels(metric: Callable) -> Callable[[Array, EvalTargets], Array]:
    return lambda logits, targets: metric(logits, targets.label, targets.weight)


def _at_zero(metric: Callable) -> Callable[[Array, EvalTargets], Array]:
    return lambda logits, targets: metric(count_predictions(logits, targets.label, targets.weight))


def _error(name: str, metric: Callable, as_reward: Callable = lambda value: 1 - value) -> Metric:
    return Metric(
        name=name,
        of_ranks=False,
        value=_of_labels(metric),
        lower_is_better=True,
        as_reward=as_reward,
        of_probability=True,
    )


_OF_LABELS = (
    Metric(name="auc", of_ranks=False, value=_of_labels(auc)),
    Metric(
        name="user_auc",
        of_ranks=False,
        value=lambda logits, t: user_auc(logits, t.label, t.user, t.weight),
    ),
    # The geometric mean of the probabilities that were given to what came true.
    _error("logloss", log_loss, lambda value: jnp.exp(-value)),
    _error("rmse", rmse),
    _error("mae", mae),
    Metric(name="accuracy", of_ranks=False, value=_at_zero(accuracy), at_threshold=accuracy),
    Metric(name="f1", of_ranks=False, value=_at_zero(f1), at_threshold=f1),
)
_NAMED = {metric.name: metric for metric in _OF_LABELS}


def _hits(ranks: Array, targets: EvalTargets, k: int) -> Array:
    return hit_rate(ranks, targets.user, targets.weight, k=k)


def _of_ranks(metric: Callable) -> Callable:
    return lambda ranks, targets, **k: metric(ranks, targets.weight, **k)


_RANKED: dict[str, Callable[..., Array]] = {
    "ndcg": _of_ranks(ndcg),
    "recall": _of_ranks(recall),
    "hit": _hits,
    "mrr": _of_ranks(mrr),
}
_OTHER_NAMES = {
    "gauc": "user_auc",
    "uauc": "user_auc",
    "roc_auc": "auc",
    "hr": "hit",
    "acc": "accuracy",
}
"""What others call a metric; used only for hints."""
METRIC_NAMES = (*_NAMED, *(f"{name}@{CUTOFF}" for name in _RANKED), "mrr")


@lru_cache(maxsize=64)
def get_metric(name: str) -> Metric:
    """Returns the metric of a name: of labels, or of ranks with the number of ranks that count.

    Raises:
      ValueError: for an unknown name, or a number of ranks that is missing or none.

    Example:
      >>> get_metric("auc").of_ranks, get_metric("ndcg@5").of_ranks
      (False, True)
      >>> get_metric("rmse").lower_is_better
      True
      >>> get_metric("ncdg@10")
      Traceback (most recent call last):
      ...
      ValueError: 'ncdg@10' is no metric (did you mean 'ndcg@10'?)
    """
    if name in _NAMED:
        return _NAMED[name]
    if name == "mrr":
        return Metric(name=name, of_ranks=True, value=_RANKED[name])
    plain, _, ranks = name.partition("@")
    if plain not in _RANKED:
        raise ValueError(f"{name!r} is no metric{_hint(name)}")
    if not re.fullmatch("[1-9][0-9]*", ranks):
        raise ValueError(f"{plain} counts the first ranks, as in '{plain}@{CUTOFF}', got {name!r}")
    return Metric(name=name, of_ranks=True, value=partial(_RANKED[plain], k=int(ranks)))


def _hint(name: str) -> str:
    """Returns a hint at the metric with a name like that, at the same number of ranks."""
    plain, _, ranks = name.lower().partition("@")
    names = [*_NAMED, *_RANKED, *_OTHER_NAMES]
    nearest = plain if plain in names else find_nearest(plain, names)
    if nearest is None:
        return did_you_mean(name, METRIC_NAMES)
    nearest = _OTHER_NAMES.get(nearest, nearest)
    cutoff = ranks if re.fullmatch("[1-9][0-9]*", ranks) else CUTOFF
    return f" (did you mean '{nearest}{f'@{cutoff}' if nearest in _RANKED else ''}'?)"


def get_metric_for(name: str, family: Family) -> Metric:
    """Returns the metric of a name, if it suits the losses of a family.

    Raises:
      ValueError: for an unknown name, or one that the family's logits have no meaning for.
    """
    metric = get_metric(name)
    if metric.of_probability and family.is_pairwise:
        others = ", ".join(other for other in METRIC_NAMES if not get_metric(other).of_probability)
        raise ValueError(
            f"{name} needs probabilities, and the logits of pairwise losses only order items; "
            f"choose one of {others}, or search pointwise losses"
        )
    return metric


def metrics_to_report(metric: Metric, family: Family) -> tuple[Metric, ...]:
    """Returns the metrics that results report if ``metric`` chooses, itself among them."""
    names = [name for name in METRIC_NAMES if get_metric(name).of_ranks == metric.of_ranks]
    metrics = (
        [metric, *map(get_metric, names)] if metric.name not in names else map(get_metric, names)
    )
    return tuple(m for m in metrics if not m.of_probability or not family.is_pairwise)


@partial(jax.jit, static_argnums=0)
def compute_metrics(
    metrics: Sequence[Metric],
    valid: Array,
    valid_targets: EvalTargets,
    test: Array,
    test_targets: EvalTargets,
) -> tuple[dict[str, Array], dict[str, Array]]:
    """Computes metrics on validation and test, at the thresholds that are best on validation.

    Args:
      metrics: to compute.
      valid: predictions [n] on validation.
      valid_targets: of the n.
      test: predictions [m] on test.
      test_targets: of the m.

    Returns:
      The values on validation, and those on test, by the metrics' names.
    """
    for predictions, targets in ((valid, valid_targets), (test, test_targets)):
        chex.assert_rank(predictions, 1)
        chex.assert_equal_shape([predictions, targets.label, targets.user])
    cuts = {metric.name: metric.threshold(valid, valid_targets) for metric in metrics}

    def compute_all(predictions: Array, targets: EvalTargets) -> dict[str, Array]:
        return {
            metric.name: metric.value(predictions - cuts[metric.name], targets)
            for metric in metrics
        }

    return compute_all(valid, valid_targets), compute_all(test, test_targets)
