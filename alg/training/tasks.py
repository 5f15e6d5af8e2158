"""Tasks: what the losses of a family are trained on, and the metric that they are judged by."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple

from ..interfaces import Array, Batch, Data
from ..language.families import PAIRWISE, POINTWISE, Family, as_family
from ..language.inputs import LossFn
from .loss_gradients import LogitGradFn, static_logit_grads, traced_logit_grads
from .metric_registry import CUTOFF, Metric, get_metric, get_metric_for
from .negative_sampling import sample_negatives


class Task(NamedTuple):
    """What differs between families, besides their language, and the metric.

    Losses train on interactions [n], or on groups [n, G] of a positive and drawn items, the
    positive first. They are judged on interactions, or on groups, as their metric is.
    """

    family: Family
    metric: Metric  # that rewards, chooses and compares
    group: int  # examples that a loss takes together in training, G: 1, or a positive's and its own
    examples: Callable[[Data, Array], Batch]  # data, key -> interactions [n] or groups [n, G]
    reference: str  # formula of the loss beside which the search sees all others
    baselines: tuple[str, ...]  # named losses that found ones are tested against
    common_gradient_size: (
        float  # of slopes that learning rates are given for: the usual loss's, untrained
    )

    def traced_logit_grads(self, operators: Sequence[int]) -> LogitGradFn:
        """Make the slopes of losses that are traced data."""
        return traced_logit_grads(operators, group=self.group, table=self.family.table)

    def static_logit_grads(self, losses: Sequence[LossFn]) -> LogitGradFn:
        """Make the slopes of losses known beforehand."""
        return static_logit_grads(losses, group=self.group)


def _as_they_are(data: Batch, key: Array) -> Batch:
    del key  # nothing is drawn
    return data


RATING = Task(
    family=POINTWISE,
    metric=get_metric("auc"),
    group=1,
    examples=_as_they_are,
    reference="-(label * log(pred) + add(1, -label) * log(add(1, -pred)))",
    baselines=("bce", "mse", "hinge", "focal", "maxr", "sumr", "logmin"),
    common_gradient_size=0.5,
)
"""Likes and dislikes, judged by the area under the ROC curve. The reference is BCE in operators of
the paper, whose slope on untrained predictions is about one half."""


def make_ranking_task(negatives: int) -> Task:
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
        metric=get_metric(f"ndcg@{CUTOFF}"),
        group=group,
        examples=partial(sample_negatives, count=negatives),
        reference="softplus(-diff)",
        baselines=("bpr", "hinge_rank", "sampled_softmax", "ccl", "gbce", "bce_mean", "bce_sum"),
        # BPR's slopes are one half at the positive and share one half among its negatives.
        common_gradient_size=0.5 * group / negatives**0.5,
    )


def make_task(family: str | Family, negatives: int, reward: str | None = None) -> Task:
    """Give the task of a family's name, judged by the metric named ``reward``.

    Args:
      family: ``"pointwise"``, ``"pairwise"``, or one of them with a user's own operators.
      negatives: see ``make_ranking_task``.
      reward: a metric of labels or of ranks; None for the family's own, AUC or NDCG at 10.

    Raises:
      ValueError: for unknown names, a metric that the family cannot be judged by, or less than one
        negative.

    >>> make_task("pointwise", negatives=4).metric.name, make_task("pairwise", negatives=4).metric.name
    ('auc', 'ndcg@10')
    >>> make_task("pointwise", negatives=4, reward="recall@20").metric.of_ranks
    True
    """
    family = as_family(family)
    task = make_ranking_task(negatives) if family.is_pairwise else RATING
    task = task._replace(family=family)
    return task if reward is None else task._replace(metric=get_metric_for(reward, task.family))
