"""People's own ids stay known, whatever numbers users and items get."""

import numpy as np
import pytest

from autolossgen import data
from autolossgen.interfaces import ItemSets

USERS = ["zoe", "adam", "07", "7", "eve"]
ITEMS = [10**12 + 3 * k for k in range(12)]


@pytest.fixture(params=["words", "numbers"])
def rows(request):
    """Rows of user, item and label, in time order."""
    users = USERS if request.param == "words" else [3, 5, 1, 8, 2]
    rng = np.random.default_rng(0)
    pairs = [(user, ITEMS[k]) for user in users for k in rng.permutation(12)[:10]]
    return [(*pairs[k], int(k % 10 > 2)) for k in rng.permutation(len(pairs))]


def write(path, rows):
    lines = ["user,item,rating", *(",".join(map(str, row)) for row in rows)]
    path.write_text("\n".join(lines) + "\n")
    return str(path)


def name_pairs(ids, users, items):
    return {(ids["user"][int(u)], ids["item"][int(i)]) for u, i in zip(users, items, strict=True)}


def test_a_data_set_knows_the_ids_of_its_rows(tmp_path, rows):
    dataset = data.build(name="csv", path=write(tmp_path / "d.csv", rows))
    splits = (dataset.train, dataset.reward, dataset.valid, dataset.test)
    named = [name_pairs(dataset.ids, part.ids["user"], part.ids["item"]) for part in splits]
    assert set.union(*named) == {row[:2] for row in rows}
    assert {field: len(ids) for field, ids in dataset.ids.items()} == dataset.sizes


@pytest.mark.parametrize("keys", [{}, {"core": 2}, {"label": ""}, {"split": "leave_one_out"}])
def test_rankings_know_the_ids_of_their_numbers(tmp_path, rows, keys):
    ranked = data.build_ranking(name="csv", path=write(tmp_path / "d.csv", rows), **keys)
    liked = {row[:2] for row in rows if row[2] or "label" in keys}
    named = named_likes(ranked)
    assert named == liked if "core" not in keys else named < liked


def named_likes(ranked):
    assert [ranked.ids[f].size for f in ("user", "item")] == [ranked.num_users, ranked.num_items]
    parts: list[ItemSets] = [ranked.train, ranked.valid, ranked.test]
    return set.union(*(name_pairs(ranked.ids, part.users, part.items) for part in parts))


@pytest.mark.parametrize("split", ["", "by_user"])
def test_rankings_of_a_folder_know_its_ids(tmp_path, rows, split):
    liked = [row[:2] for row in rows]
    for part, k in (("train", 0), ("valid", 1), ("test", 2)):
        lines = ["\t".join(map(str, row)) for row in liked[k::3]]
        (tmp_path / f"{part}.tsv").write_text("\n".join(["user\titem", *lines]) + "\n")
    ranked = data.build_ranking(path=str(tmp_path), split=split)
    assert named_likes(ranked) == set(liked)


def test_what_is_converted_keeps_its_ids(tmp_path, rows):
    dataset = data.build(name="csv", path=write(tmp_path / "d.csv", rows))
    assert named_likes(data.convert_dataset(dataset)) == {row[:2] for row in rows if row[2]}
