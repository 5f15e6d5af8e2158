"""Tasks: what the losses of a family are trained on, and the metric that evaluates them."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

from ..interfaces import Array, Batch
from ..language.families import PAIRWISE, POINTWISE, Family, as_family
from ..language.inputs import LossFn
from .loss_gradients import (
    ExactLossFn,
    LogitGradFn,
    static_logit_grads,
    traced_exact_losses,
    traced_logit_grads,
)
from .metric_registry import CUTOFF, Metric, get_metric, get_metric_for
from .negative_sampling import sample_negatives


class Task(NamedTuple):
    """What differs between families of losses, apart from their language, and the metric.

    Losses train on interactions [n], or on groups [n, G] of a positive and sampled items, the
    positive first. They are evaluated on interactions or on groups, as the metric needs them.
    """

    family: Family
    metric: Metric  # that rewards, chooses and compares
    group: int  # examples that a loss takes together in training, G; 1 if pointwise
    # data of the task's kind, interactions or positives; key -> interactions [n] or groups [n, G]
    examples: Callable[[Any, Array], Batch]
    reference: str  # formula of the loss with which the search compares all others
    common_gradient_size: float  # of gradients that learning rates are given for: the reference's

    def traced_logit_grads(self, operators: Sequence[int]) -> LogitGradFn:
        """Builds the gradients of losses that are traced data."""
        return traced_logit_grads(operators, group=self.group, table=self.family.table)

    def traced_exact_losses(self, operators: Sequence[int]) -> ExactLossFn:
        """Builds losses that are traced data as their formulas say, without protection."""
        return traced_exact_losses(operators, group=self.group, table=self.family.table)

    def static_logit_grads(self, losses: Sequence[LossFn]) -> LogitGradFn:
        """Builds the gradients of losses that are known when the program is compiled."""
        return static_logit_grads(losses, group=self.group)


def _return_unchanged(data: Batch, key: Array) -> Batch:
    del key  # nothing is drawn
    return data


RATING = Task(
    family=POINTWISE,
    metric=get_metric("auc"),
    group=1,
    examples=_return_unchanged,
    reference="-(label * log(pred) + add(1, -label) * log(add(1, -pred)))",
    common_gradient_size=0.5,
)
"""Likes and dislikes, evaluated by the area under the ROC curve. The reference is BCE in operators
of the paper; its gradient on untrained predictions is about one half."""


def make_ranking_task(negatives: int) -> Task:
    """Builds the task of ranking positives above other items, evaluated by NDCG at 10.

    Args:
      negatives: sampled for each positive, again in every epoch.

    Raises:
      ValueError: for less than one negative.
    """
    if negatives < 1:
        raise ValueError(f"a pairwise loss needs at least 1 negative, got {negatives}")
    group = 1 + negatives
    return Task(
        family=PAIRWISE,
        metric=get_metric(f"ndcg@{CUTOFF}"),
        group=group,
        examples=partial(sample_negatives, count=negatives),
        reference="softplus(-diff)",
        # BPR's gradient is one half at the positive, and one half shared among its negatives.
        common_gradient_size=0.5 * group / negatives**0.5,
    )


def make_task(family: str | Family, negatives: int, reward: str | None = None) -> Task:
    """Returns the task of a family, evaluated by the metric named ``reward``.

    Args:
      family: ``"pointwise"``, ``"pairwise"``, or one of them with a user's own operators.
      negatives: see ``make_ranking_task``.
      reward: a metric of labels or of ranks; None for the family's own, AUC or NDCG at 10.

    Raises:
      ValueError: for unknown names, a metric that does not suit the family, or less than one
        negative.

    Example:
      >>> [make_task(family, negatives=4).metric.name for family in ("pointwise", "pairwise")]
      ['auc', 'ndcg@10']
      >>> make_task("pointwise", negatives=4, reward="recall@20").metric.of_ranks
      True
    """
    family = as_family(family)
    task = make_ranking_task(negatives) if family.is_pairwise else RATING
    task = task._replace(family=family)
    return task if reward is None else task._replace(metric=get_metric_for(reward, task.family))
