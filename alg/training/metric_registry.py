"""Judges: the metrics that can reward a search, choose and compare, by name."""

import difflib
import re
from collections.abc import Callable, Sequence
from functools import lru_cache, partial
from typing import NamedTuple

import jax
import jax.numpy as jnp

from ..interfaces import Array
from ..language.families import Family
from ..suggest import did_you_mean
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
    """Of n interactions or groups, what a metric needs beside the recommender's scores."""

    label: Array  # float32 [n]
    user: Array  # int32 [n]
    weight: Array  # float32 [..., n], 0 for padding


class Metric(NamedTuple):
    """A metric of interactions with labels, or of groups in which a positive is ranked.

    What it needs of an interaction or a group is one number: its logit, or the positive's rank.
    """

    name: str
    of_ranks: bool
    value: Callable[[Array, EvalTargets], Array]  # kept [n] -> [...]; accuracy and F1 cut at 0
    lower_is_better: bool = False
    as_reward: Callable[[Array], Array] = lambda value: value  # from 0 to 1, the higher the better
    at_threshold: Callable | None = None  # accuracy or F1, which need a threshold on the logits
    of_probability: bool = False  # needs logits that mean a probability

    def threshold(self, kept: Array, judged: EvalTargets) -> Array:
        """Give the threshold that is best for kept [n]; 0 for metrics that need none."""
        if self.at_threshold is None:
            return jnp.zeros(())
        return best_threshold(self.at_threshold, kept, judged.label, judged.weight)

    def reward(self, kept: Array, judged: EvalTargets) -> Array:
        """Give the reward of kept [n], from 0 to 1, at the best threshold where there is one."""
        return self.as_reward(self.value(kept - self.threshold(kept, judged), judged))


def _of_labels(metric: Callable) -> Callable[[Array, EvalTargets], Array]:
    return lambda kept, judged: metric(kept, judged.label, judged.weight)


def _at_zero(metric: Callable) -> Callable[[Array, EvalTargets], Array]:
    return lambda kept, judged: metric(count_predictions(kept, judged.label, judged.weight))


def _error(name: str, metric: Callable, as_reward: Callable = lambda value: 1 - value) -> Metric:
    return Metric(name, False, _of_labels(metric), True, as_reward, of_probability=True)


_OF_LABELS = (
    Metric("auc", False, _of_labels(auc)),
    Metric("user_auc", False, lambda kept, j: user_auc(kept, j.label, j.user, j.weight)),
    # The geometric mean of the probabilities that were given to what came true.
    _error("logloss", log_loss, lambda value: jnp.exp(-value)),
    _error("rmse", rmse),
    _error("mae", mae),
    Metric("accuracy", False, _at_zero(accuracy), at_threshold=accuracy),
    Metric("f1", False, _at_zero(f1), at_threshold=f1),
)
_NAMED = {metric.name: metric for metric in _OF_LABELS}


def _hits(kept: Array, judged: EvalTargets, k: int) -> Array:
    return hit_rate(kept, judged.user, judged.weight, k=k)


def _of_ranks(metric: Callable) -> Callable:
    return lambda kept, judged, **k: metric(kept, judged.weight, **k)


_RANKED = {
    "ndcg": _of_ranks(ndcg),
    "recall": _of_ranks(recall),
    "hit": _hits,
    "mrr": _of_ranks(mrr),
}
_ALSO = {"gauc": "user_auc", "uauc": "user_auc", "roc_auc": "auc", "hr": "hit", "acc": "accuracy"}
"""What others call a metric; only meant as a hint."""
METRIC_NAMES = (*_NAMED, *(f"{name}@{CUTOFF}" for name in _RANKED), "mrr")


@lru_cache(maxsize=64)
def get_metric(name: str) -> Metric:
    """Give the metric of a name: of labels, or of ranks with the number of them that count.

    Raises:
      ValueError: for an unknown name, or a number of ranks that is missing or none.

    >>> get_metric("auc").of_ranks, get_metric("ndcg@5").of_ranks, get_metric("rmse").lower_is_better
    (False, True, True)
    >>> get_metric("ncdg@10")
    Traceback (most recent call last):
    ...
    ValueError: 'ncdg@10' is no metric (did you mean 'ndcg@10'?)
    """
    if name in _NAMED:
        return _NAMED[name]
    if name == "mrr":
        return Metric(name, True, _RANKED[name])
    plain, _, ranks = name.partition("@")
    if plain not in _RANKED:
        raise ValueError(f"{name!r} is no metric{_meant(name)}")
    if not re.fullmatch("[1-9][0-9]*", ranks):
        raise ValueError(f"{plain} counts the first ranks, as in '{plain}@{CUTOFF}', got {name!r}")
    return Metric(name, True, partial(_RANKED[plain], k=int(ranks)))


def _meant(name: str) -> str:
    """Give a hint at the metric with a name like that, at the same number of ranks."""
    plain, _, ranks = name.lower().partition("@")
    names = [*_NAMED, *_RANKED, *_ALSO]
    near = plain if plain in names else next(iter(difflib.get_close_matches(plain, names, n=1)), "")
    if not near:
        return did_you_mean(name, METRIC_NAMES)
    near = _ALSO.get(near, near)
    cutoff = ranks if re.fullmatch("[1-9][0-9]*", ranks) else CUTOFF
    return f" (did you mean '{near}{f'@{cutoff}' if near in _RANKED else ''}'?)"


def get_metric_for(name: str, family: Family) -> Metric:
    """Give the metric of a name, if losses of a family can be judged by it.

    Raises:
      ValueError: for an unknown name, or one that the family's logits have no meaning for.
    """
    metric = get_metric(name)
    if metric.of_probability and family.is_pairwise:
        others = ", ".join(other for other in METRIC_NAMES if not get_metric(other).of_probability)
        raise ValueError(
            f"{name} needs probabilities, and the logits of pairwise losses only order items; "
            f"judge by one of {others}, or search pointwise losses"
        )
    return metric


def metrics_to_report(metric: Metric, family: Family) -> tuple[Metric, ...]:
    """Give the metrics that results report of losses judged by ``metric``, itself among them."""
    names = [name for name in METRIC_NAMES if get_metric(name).of_ranks == metric.of_ranks]
    metrics = (
        [metric, *map(get_metric, names)] if metric.name not in names else map(get_metric, names)
    )
    return tuple(m for m in metrics if not m.of_probability or not family.is_pairwise)


@partial(jax.jit, static_argnums=0)
def compute_metrics(
    metrics: Sequence[Metric],
    valid: Array,
    of_valid: EvalTargets,
    test: Array,
    of_test: EvalTargets,
) -> tuple[dict[str, Array], dict[str, Array]]:
    """Give the metrics of what was kept of validation [n] and of test [m], by name.

    Thresholds are those that are best on validation.
    """
    cuts = {metric.name: metric.threshold(valid, of_valid) for metric in metrics}
    sides = ((valid, of_valid), (test, of_test))
    return tuple(
        {metric.name: metric.value(kept - cuts[metric.name], of) for metric in metrics}
        for kept, of in sides
    )
