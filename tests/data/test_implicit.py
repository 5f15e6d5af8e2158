"""Groups of positives and other items against a naive walk over users and items."""

import numpy as np
import pytest

import data


def rows(*triples):
    user, item, label = np.array(triples).T
    ids = {"user": user.astype(np.int32), "item": item.astype(np.int32)}
    return data.Interactions(ids, label.astype(np.float32))


@pytest.fixture(scope="module", params=["leave_one_out", "valid"])
def dataset(request):
    return data.synthetic(
        num_users=30, num_items=25, num_interactions=400, seed=2, reward_split=request.param
    )


def liked(interactions):
    """Give each user's positives."""
    found = {}
    triples = zip(*interactions.ids.values(), interactions.label, strict=True)
    for user, item, label in triples:
        found.setdefault(int(user), set()).update([int(item)] if label else [])
    return found


def catalogue(dataset):
    splits = (dataset.train, dataset.reward, dataset.valid, dataset.test)
    return {int(item) for split in splits for item in split.ids["item"]}


def positives(interactions):
    triples = zip(*interactions.ids.values(), interactions.label, strict=True)
    return [(int(user), int(item)) for user, item, label in triples if label]


def heads(groups):
    user, item = (groups.ids[field][:, 0].tolist() for field in ("user", "item"))
    return list(zip(user, item, strict=True))


@pytest.mark.parametrize("name", ["train", "full_train"])
def test_training_groups_are_positives_with_items_that_the_user_did_not_like(dataset, name):
    groups = getattr(data.implicit(dataset, negatives=200, candidates=0, seed=0), name)
    trained = data.full_train(dataset) if name == "full_train" else dataset.train
    known, items = liked(trained), catalogue(dataset)
    assert heads(groups) == positives(trained)
    assert groups.label.shape == groups.weight.shape == (len(positives(trained)), 201)
    assert np.all(groups.label[:, 0] == 1)
    assert np.all(groups.label[:, 1:] == 0)
    assert np.all(groups.weight == 1)
    for user, item in zip(groups.ids["user"], groups.ids["item"], strict=True):
        assert set(user.tolist()) == {user[0]}
        # With so many drawn, each item that may come has come.
        assert set(item[1:].tolist()) == items - known[int(user[0])]


def test_negatives_are_drawn_evenly():
    train = rows(*((1, item, item in (2, 3, 7)) for item in range(1, 9)))
    empty = rows((1, 9, 1), (1, 10, 0))
    dataset = data.Dataset("d", train, empty, empty, empty, np.zeros(0, int), {}, ())
    groups = data.implicit(dataset, negatives=20_000, candidates=0, seed=1).train
    item, count = np.unique(groups.ids["item"][:, 1:], return_counts=True)
    assert item.tolist() == [1, 4, 5, 6, 8, 9, 10]
    np.testing.assert_allclose(count / count.sum(), 1 / 7, atol=0.005)


@pytest.mark.parametrize("name", ["reward", "valid", "test"])
@pytest.mark.parametrize("candidates", [0, 300])
def test_a_held_out_positive_is_ranked_among_items_not_known_to_be_liked(dataset, name, candidates):
    groups = getattr(data.implicit(dataset, negatives=1, candidates=candidates, seed=0), name)
    before = {
        "reward": [dataset.train],
        "valid": [data.full_train(dataset)],
        "test": [data.full_train(dataset), dataset.valid],
    }[name]
    held_out, items = getattr(dataset, name), catalogue(dataset)
    assert heads(groups) == positives(held_out)
    for user, item, weight in zip(
        groups.ids["user"][:, 0], groups.ids["item"], groups.weight, strict=True
    ):
        known = set().union(*(liked(part).get(int(user), set()) for part in [held_out, *before]))
        assert weight[0] == 1
        ranked = item[1:][weight[1:] > 0].tolist()
        assert set(ranked) == items - known
        assert candidates or len(ranked) == len(items - known)


def test_the_seed_decides_what_is_drawn(dataset):
    one, again, other = (
        data.implicit(dataset, negatives=4, candidates=10, seed=seed) for seed in (0, 0, 1)
    )
    for name in data.Implicit._fields:
        first, second, third = (getattr(part, name).ids["item"] for part in (one, again, other))
        np.testing.assert_array_equal(first, second)
        assert np.array_equal(first, third) == (name in ("valid", "test"))  # nothing is drawn


def test_a_user_who_likes_everything_is_left_out():
    train = rows(*((1, item, 1) for item in range(5)), (2, 0, 1), (2, 3, 0))
    held_out = rows((1, 4, 1), (2, 1, 1), (2, 2, 0))
    dataset = data.Dataset("d", train, held_out, held_out, held_out, np.zeros(0, int), {}, ())
    groups = data.implicit(dataset, negatives=2, candidates=0, seed=0)
    assert heads(groups.train) == [(2, 0)]
    assert heads(groups.valid) == [(2, 1)]


@pytest.mark.parametrize(
    "wrong", [{"negatives": 0}, {"candidates": -1}, {"seed": -1}], ids=lambda wrong: str(wrong)
)
def test_numbers_out_of_range_are_refused(dataset, wrong):
    options = {"negatives": 1, "candidates": 0, "seed": 0} | wrong
    with pytest.raises(data.DataError, match=f"implicit.{next(iter(wrong))}"):
        data.implicit(dataset, **options)


def test_a_split_without_positives_is_refused():
    train, none = rows((1, 1, 1), (1, 2, 0)), rows((1, 2, 0))
    dataset = data.Dataset("d", train, none, none, none, np.zeros(0, int), {}, ())
    with pytest.raises(data.DataError, match="the reward split has no positive"):
        data.implicit(dataset, negatives=1, candidates=0, seed=0)
