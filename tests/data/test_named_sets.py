"""Each named set, from files generated in its format; ``test_real_...`` repeats it on real ones."""

import gzip
import zipfile
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from autolossgen import data
from autolossgen.data.download import (
    RECBOLE_FILES,
    has_checksum,
    make_archive,
    make_movietweetings_download,
)
from tests.helpers import file_generator as files

SHARED = Path(__file__).resolve().parents[2].parent / "shared" / "data"
real = pytest.mark.skipif(not SHARED.exists(), reason="needs ../shared/data")
MADE = files.make_ratings(num_users=60, num_items=50, num_ratings=2_000, seed=1)
SPLITS = ("train", "reward", "valid", "test")


def everything(dataset):
    """Returns all interactions of a data set as sorted rows."""
    columns = [
        np.concatenate([getattr(dataset, s).ids[f] for s in SPLITS]) for f in dataset.train.ids
    ]
    label = np.concatenate([getattr(dataset, s).label for s in SPLITS])
    return sorted(zip(*(c.tolist() for c in [*columns, label]), strict=True))


def expected(made, users=lambda x: x, items=lambda x: x):
    """Returns the pairs of ratings, each as it was rated last."""
    last = {}
    for k in np.argsort(made.time):
        last[int(made.user[k]), int(made.item[k])] = float(made.rating[k] > 3)
    return sorted((users(u), items(i), y) for (u, i), y in last.items())


@pytest.fixture
def ml1m(tmp_path):
    files.write_movielens_1m(tmp_path, MADE)
    return tmp_path


def test_movielens_1m_with_features(ml1m):
    plain = data.build(name="ml1m", path=str(ml1m))
    assert everything(plain) == expected(MADE)
    assert plain.sizes == {"user": 61, "item": 51}
    assert not plain.sides
    d = data.build(name="ml1m", path=str(ml1m), features=("all",))
    people = [line.split("::") for line in (ml1m / "users.dat").read_text().splitlines()]
    films = [line.split("::") for line in (ml1m / "movies.dat").read_text("latin-1").splitlines()]
    for name, of in [
        ("age", [f"{0 if p[2] == '1' else int(p[2]):02}" for p in people]),
        ("gender", [p[1] for p in people]),
        ("occupation", [p[3] for p in people]),
        ("zip", [p[4][0] if p[4][0].isdigit() else "abroad" for p in people]),
    ]:
        known = sorted(set(of))
        assert d.sides[name].values[1:, 0].tolist() == [known.index(word) for word in of]
        assert d.sides[name].values[0].tolist() == [-1]
        assert d.sizes[name] == len(known)
        assert d.sides[name].field == "user"
    genres = [set(film[2].split("|")) for film in films]
    known = sorted(set().union(*genres))
    found = [{known[k] for k in row if k >= 0} for row in d.sides["genres"].values]
    assert found == [set(), *genres]
    year = np.array([int(film[1][-5:-1]) for film in films])
    np.testing.assert_allclose(
        d.sides["year"].values[1:], (year - year.mean()) / year.std(), atol=1e-6
    )
    assert list(d.train.ids) == ["user", "item", "hour", "weekday"]
    assert (d.sizes["hour"], d.sizes["weekday"]) == (24, 7)
    last = {}
    for k in np.argsort(MADE.time):
        last[int(MADE.user[k]), int(MADE.item[k])] = int(MADE.time[k]) // 3600 % 24
    for split in SPLITS:
        ids = getattr(d, split).ids
        pairs = zip(ids["user"].tolist(), ids["item"].tolist(), strict=True)
        assert [last[pair] for pair in pairs] == ids["hour"].tolist()


def test_the_archive_of_movielens_1m_has_the_features_too(ml1m, tmp_path):
    archive = tmp_path / "down" / "ml-1m.zip"
    archive.parent.mkdir()
    with zipfile.ZipFile(archive, "w") as file:
        for name in ("ratings.dat", "users.dat", "movies.dat"):
            file.write(ml1m / name, f"ml-1m/{name}")
    one, other = (
        data.build(name="ml1m", path=str(path), features=("gender", "genres"))
        for path in (ml1m, archive)
    )
    for name, side in one.sides.items():
        np.testing.assert_array_equal(side.values, other.sides[name].values)


def test_movielens_100k_with_features(tmp_path):
    files.write_movielens_100k(tmp_path, MADE)
    d = data.build(name="ml100k", path=str(tmp_path), features=("age", "genres", "year"))
    assert everything(d) == expected(MADE)
    ages = [int(line.split("|")[1]) for line in (tmp_path / "u.user").read_text().splitlines()]
    band = np.searchsorted([18, 25, 35, 45, 50, 56], ages, side="right")
    assert d.sides["age"].values[1:, 0].tolist() == np.unique(band, return_inverse=True)[1].tolist()
    films = [line.split("|") for line in (tmp_path / "u.item").read_text("latin-1").splitlines()]
    count = [sum(map(int, film[5:])) for film in films]
    assert (d.sides["genres"].values[1:] >= 0).sum(axis=1).tolist() == count
    assert d.sides["year"].values[0] == 0
    assert d.sizes["genres"] == 19


def write_recbole_users(source, folder):
    """Writes users as RecBole's copy lays them out."""
    people = pl.read_csv(source, separator="|", has_header=False)
    names = ["user_id:token", "age:token", "gender:token", "occupation:token", "zip_code:token"]
    people.columns = names
    people.write_csv(folder / RECBOLE_FILES[1], separator="\t")


def test_the_copy_of_recbole_has_the_same_features(tmp_path):
    files.write_movielens_100k(tmp_path, MADE)
    d = data.build(name="ml100k", path=str(tmp_path), features=("age", "zip"))
    write_recbole_users(tmp_path / "u.user", tmp_path)
    (tmp_path / "u.user").unlink()
    again = data.build(name="ml100k", path=str(tmp_path), features=("age", "zip"))
    for name in ("age", "zip"):
        np.testing.assert_array_equal(d.sides[name].values, again.sides[name].values)


def test_a_feature_without_its_file_says_how_to_go_on(ml1m):
    (ml1m / "users.dat").unlink()
    with pytest.raises(data.DataError, match=r"'gender' is read from users\.dat next to"):
        data.build(name="ml1m", path=str(ml1m), features=("gender",))
    with pytest.raises(data.DataError, match=r"'gendr' is not a feature .* mean 'gender'\?"):
        data.build(name="ml1m", path=str(ml1m), features=("gendr",))
    for ending in ("train", "validation", "test"):
        (ml1m / f"x.{ending}.csv").write_text("uid\tiid\tlabel\n1\t1\t1\n1\t2\t0\n")
    with pytest.raises(data.DataError, match="'hour' is not a feature"):
        data.build(name="ml1m", path=str(ml1m), features=("hour",))
    with pytest.raises(data.DataError, match=r"is split already: leave data\.split at 'leave_one"):
        data.build(name="ml1m", path=str(ml1m), split="random")


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize(
    ("file", "write"),
    [
        ("Electronics_5.json", files.write_electronics),
        ("Electronics.csv", files.write_ratings_only),
    ],
)
def test_electronics_in_both_forms(tmp_path, file, write, packed):
    write(tmp_path / file, MADE)
    if packed:
        (tmp_path / f"{file}.gz").write_bytes(gzip.compress((tmp_path / file).read_bytes()))
        (tmp_path / file).unlink()
    d = data.build(name="electronics", path=str(tmp_path))
    users, items = (np.unique(ids).tolist() for ids in (MADE.user, MADE.item))
    assert everything(d) == expected(MADE, users.index, items.index)
    assert d.sizes == {"user": len(users), "item": len(items)}
    assert f"item ids numbered from 0 to {len(items) - 1} in ascending order" in d.notes


def test_ratings_of_electronics_may_have_the_user_first(tmp_path):
    files.write_ratings_only(tmp_path / "Electronics.csv", MADE)
    rows = [line.split(",") for line in (tmp_path / "Electronics.csv").read_text().splitlines()]
    turned = "".join(f"{u},{i},{r},{t}\n" for i, u, r, t in rows)
    one = data.build(name="electronics", path=str(tmp_path))
    (tmp_path / "Electronics.csv").write_text(turned)
    assert everything(data.build(name="electronics", path=str(tmp_path))) == everything(one)
    (tmp_path / "Electronics.csv").write_text("user,item,rating,timestamp\n" + turned)
    assert everything(data.build(name="electronics", path=str(tmp_path))) == everything(one)


@pytest.mark.parametrize(
    ("line", "fragments"),
    [
        ('{"reviewerID": "A1", "asin": "B1", "overall": 5.0', ["line 4: expected one JSON object"]),
        ('"A1"', ["line 4: expected one JSON object, got '\"A1\"'"]),
        ('{"asin": "B1", "overall": 5.0, "unixReviewTime": 1}', ["line 4, column 1 (reviewerID)"]),
        (
            '{"reviewerID": "A1", "asin": "B1", "overall": "good", "unixReviewTime": 1}',
            ["line 4, column 3 (overall)", "got 'good'"],
        ),
        (
            '{"reviewerID": "A1", "asin": "B1", "overall": 3, "unixReviewTime": null}',
            ["line 4, column 4 (unixReviewTime)", "got ''"],
        ),
    ],
)
def test_a_bad_line_of_reviews_is_named(tmp_path, line, fragments):
    path = tmp_path / "Electronics_5.json"
    good = '{"reviewerID": "A1", "asin": "B1", "overall": 5.0, "unixReviewTime": 1}\n'
    path.write_text(good + "\n" + good + line + "\n")
    with pytest.raises(data.DataError) as error:
        data.build(name="electronics", path=str(path))
    for fragment in fragments:
        assert fragment in str(error.value)


def test_what_is_no_review_file_is_said(tmp_path):
    (tmp_path / "Electronics.csv").write_text("A1;B1;5;1\n")
    with pytest.raises(data.DataError, match=r"line 1: expected JSON .* got 'A1;B1;5;1'"):
        data.build(name="electronics", path=str(tmp_path))
    (tmp_path / "Electronics_5.json.gz").write_bytes(gzip.compress(b"x" * 100)[:-9])
    with pytest.raises(data.DataError, match=r"json\.gz is not whole gzip"):
        data.build(name="electronics", path=str(tmp_path))
    with pytest.raises(data.DataError, match=r"not fetched by itself; download .*--config\.data\."):
        data.build(name="electronics")


def test_latest_small_and_movietweetings_twins(tmp_path):
    rows = list(zip(*(part.tolist() for part in MADE), strict=True))
    head = "userId,movieId,rating,timestamp\n"
    text = "".join(f"{u},{i * 1000},{r / 2},{t}\n" for u, i, r, t in rows)
    (tmp_path / "ratings.csv").write_text(head + text)
    films = (
        'movieId,title,genres\n1000,"Ark, The (1987)",War|Drama\n2000,Nameless,(no genres listed)\n'
    )
    (tmp_path / "movies.csv").write_text(films)
    d = data.build(
        name="ml_latest_small", path=str(tmp_path), threshold=1.5, features=("genres", "year")
    )
    items = np.unique(MADE.item).tolist()
    assert everything(d) == expected(MADE, items=items.index)
    assert d.sides["genres"].values[:3].tolist() == [[0, 1], [-1, -1], [-1, -1]]
    text = "".join(f"{u}::{i * 1000:07}::{r}::{t}\n" for u, i, r, t in rows)
    (tmp_path / "ratings.dat").write_text(text)
    (tmp_path / "movies.dat").write_text("0001000::L'été: une fin (1987)::War|Drama\n2000::N::\n")
    d = data.build(name="movietweetings", path=str(tmp_path), features=("genres",))
    assert everything(d) == expected(MADE, items=items.index)
    assert d.sides["genres"].values[:3].tolist() == [[0, 1], [-1, -1], [-1, -1]]


@real
def test_real_sets_have_the_rows_that_their_pages_state():
    """Twin: ``test_latest_small_and_movietweetings_twins``."""
    for name, folder, rows, users, items in [
        ("ml_latest_small", "ml-latest-small", 100_836, 611, 9_724),
        ("movietweetings", "movietweetings-100k", 100_000, 16_555, 10_506),
    ]:
        d = data.build(name=name, path=str(SHARED / folder), features=("genres", "year", "hour"))
        assert len(everything(d)) == rows
        assert (d.sizes["user"], d.sizes["item"]) == (users, items)
        known = (d.sides["genres"].values >= 0).any(axis=1).mean()
        assert 0.99 < known < 1
    folder = SHARED / "movietweetings-100k"
    archive = make_archive(
        {name: (folder / name).read_bytes() for name in ("ratings.dat", "movies.dat")}
    )
    assert has_checksum(archive, make_movietweetings_download().checksum)


@real
def test_real_movielens_100k_has_its_features_in_both_copies(tmp_path):
    """Twins: ``test_movielens_100k_with_features`` and the test of RecBole's copy."""
    d = data.build(name="ml100k", path=str(SHARED / "ml-100k"), features=("all",))
    assert {name: d.sizes.get(name) for name in d.sides} == {
        "age": 7, "gender": 2, "occupation": 21, "zip": 11, "genres": 19, "year": None,
    }  # fmt: skip
    assert all((side.values >= 0).any(axis=-1)[1:].all() for side in list(d.sides.values())[:5])
    assert d.sides["genres"].values.shape == (1_683, 6)
    (tmp_path / "u.data").write_bytes((SHARED / "ml-100k" / "u.data").read_bytes())
    write_recbole_users(SHARED / "ml-100k" / "u.user", tmp_path)
    again = data.build(name="ml100k", path=str(tmp_path), features=("age", "zip"))
    for name in ("age", "zip"):
        np.testing.assert_array_equal(d.sides[name].values, again.sides[name].values)
