"""The splits of a data set, as a task trains on them and as its metric evaluates them."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from autolossgen import data
from autolossgen.interfaces import Batch, Data, StreamedData
from autolossgen.training.evaluate import make_eval_targets
from autolossgen.training.tasks import Task

from .checks import describe_short_rankings

EVAL_SPLITS = ("reward", "valid", "test")


class RunSplits(NamedTuple):
    """What losses train on and what evaluates them."""

    train: Data
    full_train: Data  # train, and what rewards a search
    reward: Batch
    valid: Batch
    test: Batch


def make_splits(
    dataset: data.Dataset, task: Task, *, negatives: int, seed: int, **ranking: int
) -> tuple[RunSplits, tuple[str, ...]]:
    """Builds what the task trains on and what its metric evaluates.

    A task trains on interactions or on positives; a metric evaluates interactions, or groups in
    which a positive is ranked.

    Args:
      dataset: the interactions of all splits.
      task: of the losses.
      negatives: drawn once for each positive to train on, of pointwise losses.
      seed: of what is drawn.
      **ranking: numbers of candidates to rank among, see ``data.make_rankings``.

    Returns:
      The splits, and notes for the user.

    Raises:
      ValueError: if a split lacks what the task or the metric needs, or for numbers out of range.
    """
    if negatives and task.group > 1:
        raise ValueError(
            "implicit.negatives are of pointwise losses, pairwise ones have train.negatives"
        )
    rows = {name: getattr(dataset, name) for name in ("train", *EVAL_SPLITS)}
    rows["full_train"] = data.merge_reward_rows(dataset)
    rows |= data.add_negatives(dataset, negatives=negatives, seed=seed) if negatives else {}
    with_labels = ([] if task.group > 1 else ["train"]) + (
        [] if task.metric.of_ranks else [*EVAL_SPLITS]
    )
    data.check_both_labels(dataset.name, {name: rows[name] for name in with_labels})
    splits = RunSplits(
        train=_as_data(rows["train"]),
        full_train=_as_data(rows["full_train"]),
        reward=_as_batch(rows["reward"]),
        valid=_as_batch(rows["valid"]),
        test=_as_batch(rows["test"]),
    )
    notes: tuple[str, ...] = ()
    if task.metric.of_ranks:
        ranked = data.make_rankings(dataset, seed=seed, **ranking)
        groups = {name: getattr(ranked, name) for name in EVAL_SPLITS}
        splits, notes = splits._replace(**groups), ranked.notes
    if task.group > 1:
        train, full_train = data.make_positives(dataset)
        splits = splits._replace(train=train, full_train=full_train)
    for name in EVAL_SPLITS:
        _check_metric_has_value(getattr(splits, name), task, name)
        notes += (*_describe_metric(getattr(splits, name), task, name),)
    return splits, notes


def make_all_data(
    dataset: data.Dataset, task: Task, *, negatives: int, seed: int, **ranking: int
) -> tuple[data.Interactions, Data]:
    """Builds what a recommender that stays trains on: the interactions of all splits.

    Args:
      dataset: in memory.
      task: of the losses.
      negatives: as in ``make_splits``, as is ``seed``.
      seed: of what is drawn.
      **ranking: of evaluation alone.

    Returns:
      The interactions, and what the task makes of them.
    """
    del ranking  # nothing is evaluated
    full_train = data.merge_reward_rows(dataset)
    assert isinstance(full_train, data.Interactions), "the data are in memory"
    parts = [full_train, dataset.valid, dataset.test]
    ids = {field: np.concatenate([part.ids[field] for part in parts]) for field in parts[1].ids}
    rows = data.Interactions(ids, np.concatenate([part.label for part in parts]))
    whole = dataset._replace(train=rows, reward_rows=np.zeros(0, np.int64))
    if task.group > 1:
        return rows, data.make_positives(whole)[0]
    if negatives:
        drawn = data.add_negatives(whole, negatives=negatives, seed=seed)
        return rows, _as_data(drawn["train"])
    return rows, _as_data(rows)


def _as_data(part: data.Interactions | data.Streamed) -> Batch | StreamedData:
    """Returns a split as it is trained on."""
    if isinstance(part, data.Streamed):
        return StreamedData(
            rows=part.rows,
            chunk_rows=part.chunk_rows,
            draw=lambda start, count: _as_batch(part.draw(start, count)),
        )
    return _as_batch(part)


def _as_batch(part: data.Interactions) -> Batch:
    """Returns interactions, each with weight 1."""
    return Batch(*part, weight=np.ones_like(part.label))


def _check_metric_has_value(split: Batch, task: Task, name: str) -> None:
    """Checks that a split has what the metric needs, such as users with likes and dislikes."""
    targets = make_eval_targets(split)
    value = jax.jit(task.metric.value)  # operator by operator, it would compile for a second
    if not np.isfinite(value(jnp.ones(targets.label.shape), targets)):
        raise ValueError(
            f"{task.metric.name} has no value on the {name} split: none of its users has both "
            "likes and dislikes there; choose another search.reward, such as auc, or another "
            "data.split, such as ratio_per_user"
        )


def _describe_metric(split: Batch, task: Task, name: str) -> list[str]:
    """Returns warnings where the metric says little on a split.

    Raises:
      ValueError: if it says nothing.
    """
    label, user = np.asarray(split.label), np.asarray(split.ids["user"])
    if task.metric.of_ranks:
        return describe_short_rankings(task.metric.name, name, np.asarray(split.weight).sum(1))
    if task.metric.name != "user_auc":
        return []
    liked, disliked = (np.unique(user[is_so]) for is_so in (label > 0, label == 0))
    num_both, num_all = np.intersect1d(liked, disliked).size, np.union1d(liked, disliked).size
    if 2 * num_both >= num_all:
        return []
    return [
        f"WARNING: user_auc is a mean over {num_both:,} of {num_all:,} users of the {name} split: "
        f"the others have no likes or no dislikes there. Choose search.reward=auc, or another "
        f"data.split, such as ratio_per_user"
    ]
