"""Tasks: what the losses of a family are trained on and judged by."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple

import jax

from .families import PAIRWISE, POINTWISE, Family, as_family
from .losses import LossFn
from .metrics import accuracy, auc, best_threshold, f1, first_rank, log_loss, mrr, ndcg, recall
from .negatives import draw
from .objectives import Slopes, static_slopes, traced_slopes
from .types import Array, Batch, Data

CUTOFF = 10
"""Ranks that count in the metrics of rankings."""


class Task(NamedTuple):
    """What differs between families, besides their language.

    Interactions are [n], or groups [n, G] of a positive and other items, the positive first. What
    metrics need of an interaction or a group is one number: its logit, or the positive's rank.
    """

    family: Family
    group: int  # examples that a loss takes together in training, G: 1, or a positive's and its own
    metric: str  # that rewards, chooses and compares
    examples: Callable[[Data, Array], Batch]  # data, key -> interactions [n] or groups [n, G]
    keep: Callable[[Array, Array], Array]  # logits and weights [..., n, G] -> kept [..., n]
    judge: Callable[[Array, Array, Array | None], Array]  # kept, labels [n], weights -> metric
    # kept and labels of validation, then of test -> two dicts, metric -> value
    measure: Callable[[Array, Array, Array, Array], tuple[dict, dict]]
    reference: str  # formula of the loss beside which the search sees all others
    baselines: tuple[str, ...]  # named losses that found ones are tested against
    common_size: float  # of slopes that learning rates are given for: the usual loss's, untrained

    def traced_slopes(self, operators: Sequence[int]) -> Slopes:
        """Make the slopes of losses that are traced data."""
        return traced_slopes(operators, group=self.group)

    def static_slopes(self, losses: Sequence[LossFn]) -> Slopes:
        """Make the slopes of losses known beforehand."""
        return static_slopes(losses, group=self.group)


_AT_THRESHOLD = {"accuracy": accuracy, "f1": f1}


@jax.jit
def _of_labels(valid: Array, valid_label: Array, test: Array, test_label: Array):
    cuts = {name: best_threshold(m, valid, valid_label) for name, m in _AT_THRESHOLD.items()}

    def metrics(scores: Array, label: Array) -> dict[str, Array]:
        plain = {"auc": auc(scores, label), "logloss": log_loss(scores, label)}
        return plain | {name: m(scores, label, cuts[name]) for name, m in _AT_THRESHOLD.items()}

    return metrics(valid, valid_label), metrics(test, test_label)


@jax.jit
def _of_ranks(valid: Array, valid_label: Array, test: Array, test_label: Array):
    del valid_label, test_label  # the first of a group is the positive
    metrics = {"ndcg": ndcg, "recall": recall, "mrr": mrr}
    of = {f"{name}@{CUTOFF}": partial(metric, k=CUTOFF) for name, metric in metrics.items()}
    return tuple({name: m(ranks) for name, m in of.items()} for ranks in (valid, test))


def _as_they_are(data: Batch, key: Array) -> Batch:
    del key  # nothing is drawn
    return data


def _first_logit(logits: Array, weights: Array) -> Array:
    del weights
    return logits[..., 0]


def _ndcg(ranks: Array, labels: Array, weights: Array | None) -> Array:
    del labels
    return ndcg(ranks, weights, k=CUTOFF)


RATING = Task(
    family=POINTWISE,
    group=1,
    metric="auc",
    examples=_as_they_are,
    keep=_first_logit,
    judge=auc,
    measure=_of_labels,
    reference="-(label * log(pred) + add(1, -label) * log(add(1, -pred)))",
    baselines=("bce", "mse", "hinge", "focal", "maxr", "sumr", "logmin"),
    common_size=0.5,
)
"""Likes and dislikes, judged by the area under the ROC curve. The reference is BCE in operators of
the paper, whose slope on untrained predictions is about one half."""


def ranking(negatives: int) -> Task:
    """Give the task of ranking positives above other items, judged by NDCG at 10.

    Args:
      negatives: drawn beside each positive, afresh for every epoch, S.

    Raises:
      ValueError: for less than one negative.
    """
    if negatives < 1:
        raise ValueError(f"a pairwise loss needs at least 1 negative, got {negatives}")
    group = 1 + negatives
    return Task(
        family=PAIRWISE,
        group=group,
        metric=f"ndcg@{CUTOFF}",
        examples=partial(draw, count=negatives),
        keep=first_rank,
        judge=_ndcg,
        measure=_of_ranks,
        reference="softplus(-diff)",
        baselines=("bpr", "hinge_rank", "sampled_softmax", "ccl", "gbce", "bce_mean", "bce_sum"),
        # BPR's slopes are one half at the positive and share one half among its negatives.
        common_size=0.5 * group / negatives**0.5,
    )


def task_of(family: str, negatives: int) -> Task:
    """Give the task of a family's name.

    Raises:
      ValueError: for an unknown name, or less than one negative.

    >>> task_of("pointwise", negatives=4).metric, task_of("pairwise", negatives=4).metric
    ('auc', 'ndcg@10')
    """
    return ranking(negatives) if as_family(family) == PAIRWISE else RATING
