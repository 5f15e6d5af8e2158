"""Groups of positives and other items against a naive walk over users and items."""

import numpy as np
import pytest

from autolossgen import data
from autolossgen.data.generator import make_synthetic
from autolossgen.data.implicit import _draw_distinct


def rows(*triples):
    user, item, label = np.array(triples).T
    ids = {"user": user.astype(np.int32), "item": item.astype(np.int32)}
    return data.Interactions(ids, label.astype(np.float32))


CUTS = [
    ("leave_one_out", "leave_one_out"),
    ("leave_one_out", "valid"),
    ("by_user", "same"),
    ("random", "same"),
    ("ratio_by_time", "leave_one_out"),
    ("ratio_per_user", "valid"),
]


@pytest.fixture(scope="module", params=CUTS, ids=lambda cut: "-".join(cut))
def dataset(request):
    split, reward_split = request.param
    cut = {"split": split, "reward_split": reward_split}
    return make_synthetic(num_users=30, num_items=25, num_interactions=400, seed=2, **cut)


def liked(interactions):
    """Returns each user's positives."""
    found = {}
    ids = interactions.ids
    triples = zip(ids["user"], ids["item"], interactions.label, strict=True)
    for user, item, label in triples:
        found.setdefault(int(user), set()).update([int(item)] if label else [])
    return found


def met(interactions):
    """Returns the items that each user has a row with."""
    found = {}
    for user, item in pairs_of(*(interactions.ids[field] for field in ("user", "item"))):
        found.setdefault(user, set()).add(item)
    return found


def catalogue(dataset):
    splits = (dataset.train, dataset.reward, dataset.valid, dataset.test)
    return {int(item) for split in splits for item in split.ids["item"]}


def positives(interactions):
    ids = interactions.ids
    triples = zip(ids["user"], ids["item"], interactions.label, strict=True)
    return [(int(user), int(item)) for user, item, label in triples if label]


def pairs_of(user, item):
    return list(zip(user.tolist(), item.tolist(), strict=True))


def heads(groups):
    return pairs_of(groups.ids["user"][:, 0], groups.ids["item"][:, 0])


@pytest.mark.parametrize("name", ["train", "full_train"])
def test_what_is_trained_on_tells_each_users_unknown_items(dataset, name):
    part = getattr(data.make_rankings(dataset, candidates=0, seed=0), name)
    trained = data.merge_reward_rows(dataset) if name == "full_train" else dataset.train
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


def test_what_else_an_interaction_has_goes_with_its_positive(dataset):
    def hour(ids):
        return (5 * ids["user"] + ids["item"]) % 24

    timed = dataset._replace(
        **{
            name: data.Interactions({**rows.ids, "hour": hour(rows.ids)}, rows.label)
            for name, rows in dataset._asdict().items()
            if isinstance(rows, data.Interactions)
        }
    )
    for candidates in (0, 9):
        plain, parts = (
            data.make_rankings(d, candidates=candidates, seed=0) for d in (dataset, timed)
        )
        for name in ("train", "full_train"):
            ids = getattr(parts, name).ids
            np.testing.assert_array_equal(ids["hour"], hour(ids))
        for name in ("reward", "valid", "test"):
            ids = getattr(parts, name).ids
            head = hour({field: ids[field][:, :1] for field in ("user", "item")})
            assert ids["hour"].dtype == np.int32
            np.testing.assert_array_equal(ids["hour"], np.repeat(head, ids["item"].shape[1], 1))
            np.testing.assert_array_equal(ids["item"], getattr(plain, name).ids["item"])


def test_more_to_rank_than_memory_holds_is_refused(dataset, monkeypatch):
    monkeypatch.setitem(data.make_rankings.__globals__, "MAX_CELLS", 100)
    with pytest.raises(data.DataError, match=r"pairs to rank, over 100: more than memory holds"):
        data.make_rankings(dataset, candidates=5, seed=0)


@pytest.mark.parametrize("name", ["reward", "valid", "test"])
@pytest.mark.parametrize("candidates", [0, 3, 300])
def test_a_held_out_positive_is_ranked_among_items_that_are_new_to_its_user(
    dataset, name, candidates
):
    drawn = {"candidates": candidates, "test_candidates": candidates}
    groups = getattr(data.make_rankings(dataset, **drawn, seed=0), name)
    before = {
        "reward": [dataset.train],
        "valid": [data.merge_reward_rows(dataset)],
        "test": [data.merge_reward_rows(dataset), dataset.valid],
    }[name]
    held_out, items = getattr(dataset, name), catalogue(dataset)
    known = {
        user: theirs.union(*(met(part).get(user, set()) for part in before))
        for user, theirs in liked(held_out).items()
    }
    assert heads(groups) == [p for p in positives(held_out) if len(known[p[0]]) < len(items)]
    for user, item, weight in zip(
        groups.ids["user"][:, 0], groups.ids["item"], groups.weight, strict=True
    ):
        assert weight[0] == 1
        ranked = item[1:][weight[1:] > 0].tolist()
        new = items - known[int(user)]
        assert set(ranked) <= new
        assert len(set(ranked)) == len(ranked) == min(len(new), candidates or len(new))


def test_the_seed_decides_what_is_drawn(dataset):
    one, again, other = (
        data.make_rankings(dataset, candidates=10, seed=seed) for seed in (0, 0, 1)
    )
    for name in ("reward", "valid", "test"):
        first, second, third = (getattr(part, name).ids["item"] for part in (one, again, other))
        np.testing.assert_array_equal(first, second)
        assert np.array_equal(first, third) == (name != "reward")  # the others draw nothing
    assert one.notes == ()
    sampled, same, other = (
        data.make_rankings(dataset, candidates=0, test_candidates=10, seed=seed)
        for seed in (0, 0, 1)
    )
    for name in ("valid", "test"):
        first, second, third = (getattr(part, name).ids["item"] for part in (sampled, same, other))
        np.testing.assert_array_equal(first, second)
        assert not np.array_equal(first, third)
    assert sampled.notes[0].startswith("SAMPLED rankings: each positive of validation and test amo")


@pytest.mark.parametrize("free", [4, 7, 8, 9, 40])
def test_candidates_are_drawn_evenly_and_each_once(free):
    drawn = _draw_distinct(np.full(8_000, free), 4, np.random.default_rng(0))
    assert (np.diff(np.sort(drawn, axis=1), axis=1) > 0).all()
    counts = np.bincount(drawn.ravel(), minlength=free)
    assert counts.size == free
    expected = 8_000 * 4 / free
    assert np.abs(counts - expected).max() <= 4.5 * np.sqrt(expected * (1 - 4 / free))
    pairs = [tuple(pair) for row in drawn for pair in [sorted(row.tolist())[:2]]]
    lowest = pairs.count((0, 1)) / 8_000  # both of two numbers are among the four
    assert lowest == pytest.approx(4 * 3 / (free * (free - 1)), abs=0.025)


def test_a_user_who_likes_everything_is_left_out():
    train = rows(*((1, item, 1) for item in range(5)), (2, 0, 1), (2, 3, 0))
    held_out = rows((1, 4, 1), (2, 1, 1), (2, 2, 0))
    dataset = data.Dataset("d", train, held_out, held_out, held_out, np.zeros(0, int), {}, ())
    parts = data.make_rankings(dataset, candidates=0, seed=0)
    assert pairs_of(parts.train.ids["user"], parts.train.ids["item"]) == [(2, 0)]
    assert heads(parts.valid) == [(2, 1)]


@pytest.mark.parametrize("name", ["train", "full_train"])
def test_drawn_negatives_stand_behind_their_positives_and_are_new_to_their_users(dataset, name):
    drawn = data.add_negatives(dataset, negatives=3, seed=5)[name]
    before = data.merge_reward_rows(dataset) if name == "full_train" else dataset.train
    met = set(pairs_of(before.ids["user"], before.ids["item"]))
    every = list(zip(pairs_of(drawn.ids["user"], drawn.ids["item"]), drawn.label, strict=True))
    at = 0
    for pair, label in zip(pairs_of(*before.ids.values()), before.label, strict=True):
        assert every[at] == (pair, label)
        some_are_new = sum(user == pair[0] for user, _ in met) < len(catalogue(dataset))
        behind = every[at + 1 : at + 1 + (3 if label and some_are_new else 0)]
        assert all(y == 0 and p[0] == pair[0] and p not in met for p, y in behind)
        at += 1 + len(behind)
    assert at == len(every)
    assert drawn.ids["item"].dtype == np.int32
    assert {p[1] for p, _ in every} <= catalogue(dataset)
    again, other = (data.add_negatives(dataset, negatives=3, seed=s)[name] for s in (5, 6))
    assert drawn.ids["item"].tolist() == again.ids["item"].tolist() != other.ids["item"].tolist()


@pytest.mark.parametrize("wrong", [{"negatives": -1}, {"seed": -1}], ids=lambda wrong: str(wrong))
def test_negatives_out_of_range_are_refused(dataset, wrong):
    with pytest.raises(data.DataError, match=f"implicit.{next(iter(wrong))}"):
        data.add_negatives(dataset, **{"negatives": 1, "seed": 0} | wrong)


@pytest.mark.parametrize(
    "wrong",
    [{"candidates": -1}, {"test_candidates": -1}, {"seed": -1}],
    ids=lambda wrong: str(wrong),
)
def test_numbers_out_of_range_are_refused(dataset, wrong):
    options = {"candidates": 0, "seed": 0} | wrong
    with pytest.raises(data.DataError, match=f"implicit.{next(iter(wrong))}"):
        data.make_rankings(dataset, **options)


def test_a_split_without_positives_is_refused():
    train, none = rows((1, 1, 1), (1, 2, 0)), rows((1, 2, 0))
    dataset = data.Dataset("d", train, none, none, none, np.zeros(0, int), {}, ())
    with pytest.raises(data.DataError, match="the reward split has no positive"):
        data.make_rankings(dataset, candidates=0, seed=0)
