"""The vectorised split against one that walks each user's rows as the rule says."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from autolossgen import data
from autolossgen.data.generator import make_synthetic
from autolossgen.data.splitting import (
    REWARD_SPLITS,
    SPLITS,
    SplitRule,
    check_rule,
    count_later_positives,
    leave_out,
    make_dataset,
    split_rows,
)
from autolossgen.data.types import take

histories = st.lists(st.tuples(st.integers(0, 4), st.booleans()), max_size=60)


def interactions(user, label):
    ids = {"user": np.array(user, np.int32), "item": np.arange(len(user), dtype=np.int32)}
    return data.Interactions(ids, np.array(label, np.float32))


def walk(history, *, min_interactions):
    """Rows of train, valid, test and reward, one user at a time."""
    split = {name: [] for name in ("train", "valid", "test", "reward")}
    for user in {u for u, _ in history}:
        rows = [k for k, (u, _) in enumerate(history) if u == user]
        liked = [k for k in rows if history[k][1]]
        train = rows
        if len(rows) >= min_interactions and len(liked) >= 2:
            split["test"] += [k for k in rows if k >= liked[-1]]
            split["valid"] += [k for k in rows if liked[-2] <= k < liked[-1]]
            train = [k for k in rows if k < liked[-2]]
        liked = [k for k in train if history[k][1]]
        if len(train) >= min_interactions and liked:
            split["reward"] += [k for k in train if k >= liked[-1]]
            train = [k for k in train if k < liked[-1]]
        split["train"] += train
    return {name: sorted(rows) for name, rows in split.items()}


@given(histories, st.integers(1, 6))
def test_splits_are_those_of_the_walk_through_each_user(history, min_interactions):
    rows = interactions([u for u, _ in history], [y for _, y in history])
    expected = walk(history, min_interactions=min_interactions)
    train, valid, test = split_rows(rows, SplitRule(min_interactions=min_interactions))
    reward = leave_out(
        train.ids["user"], train.label, positives=1, min_interactions=min_interactions
    )
    # Items number the rows, so they tell which row went where, and that order is kept.
    assert take(train, reward == 0).ids["item"].tolist() == expected["train"]
    assert take(train, reward == 1).ids["item"].tolist() == expected["reward"]
    assert valid.ids["item"].tolist() == expected["valid"]
    assert test.ids["item"].tolist() == expected["test"]


@given(histories)
def test_each_users_parts_follow_one_another_and_start_with_their_only_positive(history):
    user, label = np.array(history).reshape(-1, 2).T
    part = leave_out(user, label, positives=2, min_interactions=3)
    for one in np.unique(user):
        of_one = part[user == one]
        assert of_one.tolist() == sorted(of_one, key=lambda p: (0, 2, 1).index(p))
        for p in set(of_one.tolist()) - {0}:
            assert label[(user == one) & (part == p)][0] == 1
            assert label[(user == one) & (part == p)].sum() == 1


def test_positives_after_does_not_need_memory_for_the_largest_id():
    user = np.array([2**31 - 2, 7, 2**31 - 2])
    assert count_later_positives(user, np.ones(3)).tolist() == [1, 0, 0]


def a_dataset(reward_split="leave_one_out"):
    history = [(k % 7, k * k % 5 < 2) for k in range(200)]
    rows = interactions([u for u, _ in history], [y for _, y in history])
    train, valid, test = split_rows(rows, SplitRule())
    return train, finished(train, valid, test, SplitRule(reward_split=reward_split))


def finished(train, valid, test, rule):
    return make_dataset(
        name="d", source="here", train=train, valid=valid, test=test, rule=rule, notes=(), sizes={},
        sides={},
    )  # fmt: skip


def test_full_train_puts_the_reward_rows_back_where_they_were():
    train, dataset = a_dataset()
    assert 0 < dataset.reward.label.size < dataset.train.label.size
    whole = data.merge_reward_rows(dataset)
    assert whole.ids["item"].tolist() == train.ids["item"].tolist()
    assert whole.ids["user"].tolist() == train.ids["user"].tolist()
    assert whole.label.tolist() == train.label.tolist()
    assert (whole.ids["item"].dtype, whole.label.dtype) == (np.int32, np.float32)


def test_reward_on_validation_keeps_train_whole():
    train, dataset = a_dataset("valid")
    assert dataset.reward is dataset.valid
    assert (
        dataset.train.label.size == train.label.size == data.merge_reward_rows(dataset).label.size
    )


@pytest.mark.parametrize("split", ["train", "valid", "test"])
@pytest.mark.parametrize(
    ("labels", "came"),
    [([], "no rows"), ([0], "only label 0 in 1 rows")],
)
def test_a_split_without_positives_is_refused(split, labels, came):
    good = interactions([1, 1], [0, 1])
    splits = {"train": good, "valid": good, "test": good}
    splits[split] = interactions([1] * len(labels), labels)
    with pytest.raises(data.DataError, match=f"^here: the {split} split .* got {came}. Use "):
        finished(**splits, rule=SplitRule(min_interactions=1, reward_split="valid"))


def test_both_labels_are_asked_for_where_they_are_needed():
    good, liked = interactions([1, 1], [0, 1]), interactions([1, 1], [1, 1])
    some = finished(liked, good, liked, SplitRule(min_interactions=1, reward_split="valid"))
    data.check_both_labels("d", {"valid": some.valid, "reward": some.reward})
    for split in ("train", "test"):
        with pytest.raises(data.DataError, match=rf"^d: the {split} split .* label 1 in 2 rows\."):
            data.check_both_labels("d", {"valid": some.valid, split: getattr(some, split)})


def test_a_reward_split_that_cannot_be_cut_is_refused():
    good = interactions([1, 1, 2, 2], [0, 1, 0, 1])
    few = r"no user has more than 2 rows in train, .*data\.min_interactions=2, or rewa.*split=valid"
    with pytest.raises(data.DataError, match=few):
        finished(good, good, good, SplitRule())
    disliked = interactions([1, 1, 2], [0, 0, 1])
    with pytest.raises(data.DataError, match=r"min_interactions=2 rows in train has a like there"):
        finished(disliked, good, good, SplitRule(min_interactions=2))
    with pytest.raises(data.DataError, match=r"data\.shares=\(0\.1, 0\.1\) of 4 rows .* are none"):
        finished(good, good, good, SplitRule("random", min_interactions=2, reward_split="same"))


@pytest.mark.parametrize(
    ("rows", "label", "message"),
    [
        (4, 1, r"no user has data\.min_interactions=5 rows, the most is 4.*min_interactions=4, or"),
        (6, 0, r"no user has more than one like, and data\.split=leave_one_out .*data\.threshold"),
    ],
)
def test_users_with_too_few_rows_to_hold_any_out_are_said(rows, label, message):
    whole = interactions([1] * rows, [1, *[label] * (rows - 1)])
    parts = split_rows(whole, SplitRule())
    with pytest.raises(data.DataError, match=message):
        finished(*parts, SplitRule())


def ratio_walk(history, rule, shares, least):
    """Rows of test and valid, by counting; for the rules without chance."""
    counts = {u: [v for v, _ in history].count(u) for u, _ in history}
    movable = [k for k, (u, _) in enumerate(history) if counts[u] >= least]
    if rule == "ratio_by_time":
        ends = np.round(np.cumsum(shares) * len(movable)).astype(int)
        late = movable[::-1]
        return sorted(late[: ends[0]]), sorted(late[ends[0] : ends[1]])
    test, valid = [], []
    for user in {history[k][0] for k in movable}:
        late = [k for k in movable if history[k][0] == user][::-1]
        sizes = [-(-len(late) * round(100 * share) // 100) for share in shares]
        test += late[: sizes[0]]
        valid += late[sizes[0] : sum(sizes)]
    return sorted(test), sorted(valid)


@given(
    histories,
    st.sampled_from(["ratio_by_time", "ratio_per_user"]),
    st.sampled_from([(0.1, 0.1), (0.25, 0.3), (0.07, 0.5)]),
    st.integers(1, 6),
)
def test_shares_are_the_latest_rows(history, rule, shares, least):
    rows = interactions([u for u, _ in history], [y for _, y in history])
    cut = SplitRule(rule, shares, min_interactions=least)
    train, valid, test = split_rows(rows, cut)
    expected = ratio_walk(history, rule, shares[::-1], least)
    assert (test.ids["item"].tolist(), valid.ids["item"].tolist()) == expected
    assert train.label.size + valid.label.size + test.label.size == len(history)


@pytest.mark.parametrize("rule", ["random", "by_user"])
def test_chance_splits_by_share_and_seed_and_leaves_short_histories_in_train(rule):
    user = [k % 100 for k in range(2_000)] + [200, 200, 201]
    rows = interactions(user, [0] * len(user))
    one, again, other = (
        split_rows(rows, SplitRule(rule, (0.2, 0.1), seed=seed)) for seed in (0, 0, 1)
    )
    for part, same, different in zip(one, again, other, strict=True):
        assert part.ids["item"].tolist() == same.ids["item"].tolist()
        assert part.ids["item"].tolist() != different.ids["item"].tolist()
        assert part.ids["item"].tolist() == sorted(part.ids["item"].tolist())
    train, valid, test = one
    assert (valid.label.size, test.label.size) == (400, 200)
    assert {200, 201} <= set(train.ids["user"].tolist())
    seen = [set(part.ids["user"].tolist()) for part in one]
    apart = not (seen[0] & seen[1] or seen[0] & seen[2] or seen[1] & seen[2])
    assert apart == (rule == "by_user")


@pytest.mark.parametrize("rule", SPLITS)
@pytest.mark.parametrize("reward", REWARD_SPLITS)
def test_every_split_with_every_reward_split(rule, reward):
    options = {"num_users": 60, "num_items": 50, "num_interactions": 1_500}
    d = make_synthetic(**options, split=rule, reward_split=reward, shares=(0.2, 0.1))
    pairs = [
        set(zip(part.ids["user"].tolist(), part.ids["item"].tolist(), strict=True))
        for part in (data.merge_reward_rows(d), d.valid, d.test)
    ]
    assert sum(map(len, pairs)) == len(set.union(*pairs)) == 1_500
    assert (d.reward is d.valid) == (reward == "valid")
    held = set(zip(*(d.reward.ids[f].tolist() for f in ("user", "item")), strict=True))
    assert held <= pairs[reward == "valid"]
    if reward == "same" and rule == "by_user":
        assert not set(d.train.ids["user"].tolist()) & set(d.reward.ids["user"].tolist())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"split": "by_users"}, r"data\.split='by_users' is not known.* mean 'by_user'"),
        ({"reward_split": "sane"}, r"data\.reward_split='sane' .* mean 'same'"),
        ({"min_interactions": 0}, r"data\.min_interactions must be at least 1, got 0"),
        ({"seed": -1}, r"data\.seed must be at least 0"),
        ({"shares": (0.5, 0.5)}, r"data\.shares .* got \(0\.5, 0\.5\)"),
        ({"shares": (0.1,)}, r"data\.shares .* got \(0\.1,\)"),
        ({"shares": (0.0, 0.1)}, r"data\.shares .* over 0"),
        ({"shares": ("a", 0.1)}, r"data\.shares .* got \('a', 0\.1\)"),
    ],
)
def test_a_cut_that_cannot_be_made_names_its_key(change, message):
    with pytest.raises(data.DataError, match=message):
        check_rule(SplitRule()._replace(**change))
