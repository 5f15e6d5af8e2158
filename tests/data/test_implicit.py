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


def pairs_of(user, item):
    return list(zip(user.tolist(), item.tolist(), strict=True))


def heads(groups):
    return pairs_of(groups.ids["user"][:, 0], groups.ids["item"][:, 0])


@pytest.mark.parametrize("name", ["train", "full_train"])
def test_what_is_trained_on_tells_each_users_unknown_items(dataset, name):
    part = getattr(data.implicit(dataset, candidates=0, seed=0), name)
    trained = data.full_train(dataset) if name == "full_train" else dataset.train
    known, items = liked(trained), sorted(catalogue(dataset))
    assert pairs_of(part.ids["user"], part.ids["item"]) == positives(trained)
    assert part.catalogue.tolist() == items
    for user in range(part.start.size - 1):
        unknown = [item for item in items if item not in known.get(user, set())]
        before = [sum(u < item for u in unknown) for item in sorted(known.get(user, set()))]
        begin, end = part.start[user : user + 2]
        assert part.unknown_below[begin:end].tolist() == before
    assert part.start[-1] == part.unknown_below.size
    assert {array.dtype.name for array in (*part.ids.values(), *part[1:])} == {"int32"}


def test_fields_of_an_interaction_go_with_the_positive():
    train = rows((0, 1, 1), (0, 2, 0), (1, 2, 1), (1, 3, 1))
    train.ids["hour"] = np.int32([5, 6, 7, 8])
    dataset = data.Dataset("d", train, train, train, train, np.zeros(0, int), {}, ())
    assert data.implicit(dataset, candidates=0, seed=0).train.ids["hour"].tolist() == [5, 7, 8]


@pytest.mark.parametrize("name", ["reward", "valid", "test"])
@pytest.mark.parametrize("candidates", [0, 300])
def test_a_held_out_positive_is_ranked_among_items_not_known_to_be_liked(dataset, name, candidates):
    groups = getattr(data.implicit(dataset, candidates=candidates, seed=0), name)
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
    one, again, other = (data.implicit(dataset, candidates=10, seed=seed) for seed in (0, 0, 1))
    for name in ("reward", "valid", "test"):
        first, second, third = (getattr(part, name).ids["item"] for part in (one, again, other))
        np.testing.assert_array_equal(first, second)
        assert np.array_equal(first, third) == (name != "reward")  # the others draw nothing


def test_a_user_who_likes_everything_is_left_out():
    train = rows(*((1, item, 1) for item in range(5)), (2, 0, 1), (2, 3, 0))
    held_out = rows((1, 4, 1), (2, 1, 1), (2, 2, 0))
    dataset = data.Dataset("d", train, held_out, held_out, held_out, np.zeros(0, int), {}, ())
    parts = data.implicit(dataset, candidates=0, seed=0)
    assert pairs_of(parts.train.ids["user"], parts.train.ids["item"]) == [(2, 0)]
    assert heads(parts.valid) == [(2, 1)]


@pytest.mark.parametrize("wrong", [{"candidates": -1}, {"seed": -1}], ids=lambda wrong: str(wrong))
def test_numbers_out_of_range_are_refused(dataset, wrong):
    options = {"candidates": 0, "seed": 0} | wrong
    with pytest.raises(data.DataError, match=f"implicit.{next(iter(wrong))}"):
        data.implicit(dataset, **options)


def test_a_split_without_positives_is_refused():
    train, none = rows((1, 1, 1), (1, 2, 0)), rows((1, 2, 0))
    dataset = data.Dataset("d", train, none, none, none, np.zeros(0, int), {}, ())
    with pytest.raises(data.DataError, match="the reward split has no positive"):
        data.implicit(dataset, candidates=0, seed=0)
