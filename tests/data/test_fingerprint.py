"""What tells data from other data."""

import json

import numpy as np
import pytest

from autolossgen import data
from autolossgen.data.stream import load_stream, write_stream

ROWS = [(user, (3 * user + k) % 12, 1 + 4 * (k % 2)) for user in range(8) for k in range(8)]


def build(path, rows, **options):
    lines = [f"{user},{item},{rating},{str(user)[-1]}\n" for user, item, rating in rows]
    path.write_text("user,item,rating,age\n" + "".join(lines))
    keys = {"threshold": 3.0, "min_interactions": 1} | options
    return data.build(name="csv", path=str(path), **keys)


def build_ranking(path, rows):
    build(path, ROWS)
    path.write_text("user,item,rating\n" + "".join(f"{u},{i},{r}\n" for u, i, r in rows))
    return data.build_ranking(name="csv", path=str(path), threshold=4.0)


def differences(one, other):
    """Returns the keys that differ, and the digests."""
    digests = {**one["digests"], **other["digests"]}
    return (
        [key for key in one if key != "digests" and one[key] != other.get(key)],
        [name for name in digests if one["digests"].get(name) != other["digests"].get(name)],
    )


def test_the_numbers_are_those_of_the_rows(tmp_path):
    found = data.take_fingerprint(build(tmp_path / "x.csv", ROWS))
    assert (found["rows"], found["users"], found["items"], found["likes"]) == (64, 8, 12, 32)
    assert sum(found[f"rows of {part}"] for part in ("train", "reward", "valid", "test")) == 64
    assert json.loads(json.dumps(found)) == found
    assert found == data.take_fingerprint(build(tmp_path / "x.csv", ROWS))
    same = data.take_fingerprint(build(tmp_path / "x.csv", ROWS, reward_split="valid"))
    assert (same["rows"], "rows of reward" in same) == (64, False)


@pytest.mark.parametrize(
    ("change", "digests"),
    [
        (lambda rows: [(u, i, 6 - r) for u, i, r in rows], {"user", "item", "label"}),
        (lambda rows: rows[1:], {"user", "item", "label"}),
        (lambda rows: [(f"u{u}", i, r) for u, i, r in rows], {"ids of users"}),
        (lambda rows: [(u, i, r + 1 if r == 5 else r) for u, i, r in rows], set()),
    ],
)
def test_every_column_has_a_digest_of_what_is_trained_on(tmp_path, change, digests):
    one, other = (
        data.take_fingerprint(build(tmp_path / "x.csv", rows)) for rows in (ROWS, change(ROWS))
    )
    assert digests <= {*differences(one, other)[1]}
    assert (one == other) == (not digests)


def test_labels_that_are_swapped_tell_data_apart_where_all_numbers_are_the_same(tmp_path):
    swapped = [(u, i, 6 - r if u < 2 and k % 8 < 2 else r) for k, (u, i, r) in enumerate(ROWS)]
    keys = {"split": "random", "shares": (0.3, 0.3), "reward_split": "valid"}
    one, other = (
        data.take_fingerprint(build(tmp_path / "x.csv", rows, **keys)) for rows in (ROWS, swapped)
    )
    assert one["likes"] == other["likes"]
    assert "label" in differences(one, other)[1]


def test_features_tell_data_apart(tmp_path):
    features = {"features": ("user.age",)}
    one = data.take_fingerprint(build(tmp_path / "x.csv", ROWS, **features))
    assert "feature age" in one["digests"]


def test_rankings_are_told_apart(tmp_path):
    one = data.take_fingerprint(build_ranking(tmp_path / "x.csv", ROWS))
    assert (one["users"], one["likes"], one["rows"]) == (8, 32, 32)
    fewer = data.take_fingerprint(build_ranking(tmp_path / "x.csv", ROWS[2:]))
    assert (fewer["likes"], fewer["users"]) == (31, 8)
    moved = [(u, (i + 1) % 12, r) for u, i, r in ROWS]
    other = data.take_fingerprint(build_ranking(tmp_path / "x.csv", moved))
    assert other["likes"] == 32
    assert "item" in differences(one, other)[1]


def test_streams_are_told_apart_by_all_their_rows(tmp_path):
    user = np.arange(3_000)
    label = user % 2
    fingerprints = []
    for changed in (label, np.where(user == 2_999, 0, label), label):
        rows = data.Interactions({"user": user % 100, "item": user % 70}, changed)
        path = write_stream(tmp_path / "x.arrow", [rows])
        notes = load_stream(path=str(path), held_out=300).notes
        share = 100 * changed.mean()
        assert notes[1] == f"3,000 rows of 100 users and 70 items, {share:.1f} % likes"
        fingerprints.append(data.take_fingerprint(load_stream(path=str(path), held_out=300)))
    one, other, again = fingerprints
    assert one == again
    assert (one["rows"], one["users"], one["items"], one["likes"]) == (3_000, 100, 70, 1_500)
    assert differences(one, other) == (["likes"], ["label"])
