"""What is said of a metric on the splits of a data set, before anything trains."""

import numpy as np
import pytest

from autolossgen import data
from autolossgen.pipeline.splits import make_splits
from autolossgen.search.space import load_family
from autolossgen.training.tasks import make_task

RANKING = {"negatives": 0, "seed": 0, "candidates": 0, "test_candidates": 0}


def make_dataset(num_both):
    """Returns a data set of ten users, of whom some have both labels in every split."""
    user = np.repeat(np.arange(10), 2)
    label = np.tile([1.0, 0.0], 10)
    label[2 * num_both :] = 1.0
    label[-1] = 0.0
    item = np.arange(20)
    rows = data.Interactions({"user": user, "item": item}, label.astype(np.float32))
    return data.Dataset(
        name="made",
        train=rows,
        reward=rows,
        valid=rows,
        test=rows,
        reward_rows=np.zeros(0, np.int64),
        sizes={"user": 10, "item": 20},
        notes=(),
    )


def task_of(metric, family="pointwise"):
    return make_task(load_family(family, ""), 1, metric)


def test_a_mean_over_few_users_is_warned_of():
    _, notes = make_splits(make_dataset(2), task_of("user_auc"), **RANKING)
    told = "WARNING: user_auc is a mean over 3 of 10 users of the reward split"
    assert [note.startswith(told) for note in notes] == [True, False, False]
    for num_both, metric in ((2, "auc"), (9, "user_auc")):
        assert make_splits(make_dataset(num_both), task_of(metric), **RANKING)[1] == ()


def test_a_rank_beyond_all_candidates_is_refused_or_warned_of():
    dataset = make_dataset(5)
    with pytest.raises(ValueError, match=r"hit@30 is 1 for every loss: .*the reward split"):
        make_splits(dataset, task_of("hit@30", "pairwise"), **RANKING)
    _, notes = make_splits(dataset, task_of("ndcg@30", "pairwise"), **RANKING)
    assert sum("ndcg@30 cuts nothing off there" in note for note in notes) == 3


def test_labels_that_are_none_are_refused():
    dataset = make_dataset(5)
    for label in (-1.0, 0.5, 2.0, np.nan):
        wrong = dataset.test.label.copy()
        wrong[3] = label
        other = dataset._replace(test=dataset.test._replace(label=wrong))
        with pytest.raises(ValueError, match=r"labels of the test split are 0 and 1, got from"):
            make_splits(other, task_of("auc"), **RANKING)
