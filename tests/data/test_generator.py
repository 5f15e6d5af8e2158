"""The synthetic set: seeded, exact in its counts, and with a truth that can be learnt."""

import numpy as np
import pytest

from autolossgen import data
from autolossgen.data.generator import compute_preference_logits, make_preferences, make_synthetic


def auc(score, label):
    """Share of pairs that `score` puts in the right order, by looking at each pair."""
    liked, disliked = score[label == 1][:, None], score[label == 0][None, :]
    return np.mean((liked > disliked) + 0.5 * (liked == disliked))


@pytest.fixture(scope="module")
def dataset():
    return make_synthetic(seed=5)


def everything(dataset):
    splits = (data.merge_reward_rows(dataset), dataset.valid, dataset.test)
    return {f: np.concatenate([s.ids[f] for s in splits]) for f in ("user", "item")}


def test_as_many_distinct_pairs_as_asked_for(dataset):
    ids = everything(dataset)
    assert np.unique(ids["user"] * 10_000 + ids["item"]).size == ids["user"].size == 100_000
    assert dataset.sizes["user"] == np.unique(ids["user"]).size + 1 == 944
    assert (ids["item"].min(), ids["item"].max() <= 1682) == (1, True)
    assert ids["user"].dtype == ids["item"].dtype == np.int32


@pytest.mark.parametrize(
    ("num_users", "num_items", "num_interactions"),
    [(40, 30, 1200), (40, 30, 1199), (400, 3, 1000)],
)
def test_counts_are_met_up_to_every_pair(num_users, num_items, num_interactions):
    counts = {"num_users": num_users, "num_items": num_items}
    options = {"min_interactions": 1, "reward_split": "valid"}
    ids = everything(make_synthetic(**counts, num_interactions=num_interactions, **options))
    assert np.unique(ids["user"] * 10_000 + ids["item"]).size == num_interactions


def test_the_truth_ranks_well_and_better_than_popularity(dataset):
    truth = make_preferences(num_users=943, num_items=1682, seed=5)
    liked = dataset.train.label == 1
    popularity = np.bincount(dataset.train.ids["item"][liked], minlength=1683)
    for split in (dataset.reward, dataset.valid, dataset.test):
        best = auc(compute_preference_logits(truth, split.ids), split.label)
        popular = auc(popularity[split.ids["item"]], split.label)
        assert 0.80 < best < 0.90
        assert 0.55 < popular < best - 0.1
    assert 0.5 < dataset.train.label.mean() < 0.6


def test_labels_are_drawn_with_the_true_odds(dataset):
    truth = make_preferences(num_users=943, num_items=1682, seed=5)
    train = data.merge_reward_rows(dataset)
    expected = 1 / (1 + np.exp(-compute_preference_logits(truth, train.ids)))
    for low in (0.1, 0.3, 0.5, 0.7):
        near = (expected > low) & (expected < low + 0.2)
        # 0.03 is over three standard deviations; the split itself moves a few positives out.
        assert abs(train.label[near].mean() - expected[near].mean()) < 0.03


def test_the_seed_decides_everything():
    options = {"num_users": 60, "num_items": 50, "num_interactions": 1500}
    first, again = (make_synthetic(**options, seed=1) for _ in range(2))
    other = make_synthetic(**options, seed=2)
    assert first.train.ids["item"].tolist() == again.train.ids["item"].tolist()
    assert first.train.label.tolist() == again.train.label.tolist()
    assert first.train.ids["item"].tolist() != other.train.ids["item"].tolist()


@pytest.mark.parametrize(
    "wrong",
    [
        {"num_users": 0},
        {"num_items": -1},
        {"num_interactions": 10},
        {"num_interactions": 10**7},
        {"seed": -1},
    ],
)
def test_counts_that_cannot_be_met_are_refused(wrong):
    with pytest.raises(data.DataError, match="synthetic data needs num_users >= 1"):
        make_synthetic(**wrong)
    with pytest.raises(data.DataError, match="reward_split"):
        make_synthetic(reward_split="none")
