"""Loading by name and path, on generated files; ``test_real_...`` repeats it on MovieLens."""

import zipfile
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from autolossgen import data
from autolossgen.data.loading import load

SHARED = Path(__file__).resolve().parents[2].parent / "shared" / "data"
SPLIT, RATINGS = SHARED / "ml100k01-1-5", SHARED / "ml-100k"
real = pytest.mark.skipif(not SHARED.exists(), reason="needs ../shared/data")


def rows_of(interactions):
    ids = interactions.ids
    columns = (ids["user"], ids["item"], interactions.label)
    return list(zip(*(column.tolist() for column in columns), strict=True))


def write_split(folder, splits):
    folder.mkdir(exist_ok=True)
    for split, rows in splits.items():
        text = "".join(f"{user}\t{item}\t{label:g}\n" for user, item, label in rows)
        (folder / f"x.{split}.csv").write_text("uid\tiid\tlabel\n" + text)
    return str(folder)


@pytest.fixture
def rated(tmp_path):
    """A u.data without ties in time but out of order, and its rows in time order."""
    rng = np.random.default_rng(3)
    n, users, items = 1500, 30, 90
    pair, time = rng.choice(users * items, n, replace=False), rng.permutation(n)
    rating = rng.integers(1, 6, n)
    rows = sorted(zip(time, pair // items + 1, pair % items + 1, rating, strict=True))
    path = tmp_path / "u.data"
    shuffled = [rows[k] for k in rng.permutation(n)]
    path.write_text("".join(f"{u}\t{i}\t{r}\t{t}\n" for t, u, i, r in shuffled))
    return path, [(int(u), int(i), float(r > 3)) for _, u, i, r in rows]


def test_rating_files_are_put_in_time_order_and_split(rated):
    path, in_time = rated
    dataset = load(name="ml100k", path=str(path))
    whole = rows_of(data.merge_reward_rows(dataset))
    held_out = set(rows_of(dataset.valid)) | set(rows_of(dataset.test))
    assert whole == [row for row in in_time if row not in held_out]
    assert len(whole) + len(held_out) == len(in_time)
    assert dataset.sizes == {"user": 31, "item": 91}
    assert dataset.train.ids["user"].dtype == dataset.train.ids["item"].dtype == np.int32
    assert dataset.train.label.dtype == np.float32
    assert "0 repeated pairs of user and item dropped, the last kept" in dataset.notes


def test_the_archive_from_grouplens_is_read_as_it_comes(rated, tmp_path):
    path, _ = rated
    archive = tmp_path / "downloads" / "ml-100k.zip"
    archive.parent.mkdir()
    with zipfile.ZipFile(archive, "w") as file:
        file.write(path, "ml-100k/u.data")
    expected = rows_of(load(name="ml100k", path=str(path)).test)
    for given in (archive, archive.parent):
        assert rows_of(load(name="ml100k", path=str(given)).test) == expected
    path.write_text("1\t2\tgood\t4\n")
    with zipfile.ZipFile(archive, "w") as file:
        file.write(path, "ml-100k/u.data")
    with pytest.raises(data.DataError, match=r"ml-100k\.zip/ml-100k/u\.data, line 1, column 3"):
        load(name="ml100k", path=str(archive))


def test_a_folder_already_split_gives_the_same_as_its_rating_file(rated, tmp_path):
    path, _ = rated
    split = load(name="ml100k", path=str(path), reward_split="valid")
    folder = write_split(
        tmp_path / "split",
        {
            "train": rows_of(split.train),
            "validation": rows_of(split.valid),
            "test": rows_of(split.test),
        },
    )
    for reward_split in ("valid", "leave_one_out"):
        ours = load(name="ml100k", path=str(path), reward_split=reward_split)
        theirs = load(name="ml100k", path=folder, reward_split=reward_split)
        for field in ("train", "reward", "valid", "test"):
            assert rows_of(getattr(theirs, field)) == rows_of(getattr(ours, field))
        assert rows_of(data.merge_reward_rows(theirs)) == rows_of(split.train)


def test_rows_of_a_folder_already_split_stay_as_they_are(tmp_path):
    both = [(9, 4, 1.0), (2, 7, 0.0), (9, 4, 1.0)]
    folder = write_split(tmp_path / "s", {"train": both, "validation": both, "test": both})
    dataset = load(name="ml1m", path=folder, reward_split="valid")
    assert rows_of(dataset.train) == both
    assert dataset.sizes == {"user": 10, "item": 8}
    assert sum("WARNING: 3 of 3 rows" in note for note in dataset.notes) == 2


def test_rows_at_one_second_keep_the_order_of_the_file(tmp_path):
    likes = [1, 0, 1, 0, 1, 0]
    lines = [f"{u}\t{i}\t{1 + 4 * like}\t7\n" for u in (3, 1) for i, like in enumerate(likes)]
    (tmp_path / "u.data").write_text("".join(lines))
    dataset = load(name="ml100k", path=str(tmp_path), reward_split="valid")
    assert dataset.train.ids["item"].tolist() == [0, 1, 0, 1]
    assert dataset.valid.ids["item"].tolist() == [2, 3, 2, 3]
    assert dataset.test.ids["item"].tolist() == [4, 5, 4, 5]
    assert dataset.test.ids["user"].tolist() == [3, 3, 1, 1]


def test_of_a_repeated_pair_the_last_in_time_is_kept(tmp_path):
    likes = [1, 0, 1, 0, 1, 0]
    lines = [f"1\t{i}\t{1 + 4 * like}\t{10 + i}\n" for i, like in enumerate(likes)]
    # Item 1 comes again at the end, liked this time, though the line stands first in the file.
    (tmp_path / "u.data").write_text("1\t1\t5\t99\n" + "".join(lines) + "1\t0\t1\t3\n")
    dataset = load(name="ml100k", path=str(tmp_path), reward_split="valid")
    assert rows_of(dataset.test) == [(1, 1, 1.0)]
    assert "2 repeated pairs of user and item dropped, the last kept" in dataset.notes


@pytest.mark.parametrize(("threshold", "positive"), [(3.0, {4, 5}), (4.0, {5}), (3.5, {4, 5})])
def test_a_rating_above_the_threshold_is_a_like(rated, threshold, positive):
    path, _ = rated
    text = [line.split("\t") for line in path.read_text().splitlines()]
    expected = sum(int(rating) in positive for _, _, rating, _ in text)
    d = load(name="ml100k", path=str(path), threshold=threshold)
    assert sum(s.label.sum() for s in (d.train, d.reward, d.valid, d.test)) == expected


@pytest.mark.parametrize(
    ("options", "fragments"),
    [
        ({"name": "ml10k"}, ["data.name='ml10k'", "did you mean 'ml100k'?"]),
        ({"name": "ml1m", "treshold": 3.0}, ["data.treshold", "did you mean 'threshold'?"]),
        ({"name": "synthetic", "path": "x"}, ["data.path", "num_users", "=configs/synthetic.py"]),
        (
            {"name": "ml1m", "separator": ""},
            ["data.separator", "those of --config=configs/ml1m.py"],
        ),
        ({"name": "ml1m", "reward_split": "validation"}, ["data.reward_split", "mean 'valid'?"]),
        ({"name": "ml1m", "min_interactions": 0}, ["data.min_interactions", "at least 1"]),
        ({"name": "ml1m", "threshold": float("nan")}, ["data.threshold", "finite", "nan"]),
        ({"name": "ml1m", "path": "{folder}"}, ["holds no MovieLens-1M", "ratings.dat, ml-1m"]),
        ({"name": "ml1m", "path": "{folder}/no.dat"}, ["no.dat cannot be read: No such file"]),
    ],
)
def test_options_that_cannot_be_meant_are_named(options, fragments, tmp_path):
    options = {k: v.format(folder=tmp_path) if k == "path" else v for k, v in options.items()}
    with pytest.raises(data.DataError) as error:
        data.build(**options)
    for fragment in fragments:
        assert fragment in str(error.value)


def test_a_split_folder_must_hold_one_whole_set(tmp_path):
    both = [(1, 1, 1.0), (1, 2, 0.0)]
    folder = write_split(tmp_path / "s", {"train": both, "test": both})
    with pytest.raises(data.DataError, match=r"got x\.train\.csv, x\.test\.csv\. Give a folder"):
        load(name="ml100k", path=folder)
    write_split(tmp_path / "s", {"validation": both})
    (tmp_path / "s" / "y.train.csv").write_text("uid\tiid\tlabel\n1\t1\t1\n")
    with pytest.raises(data.DataError, match=r"got x\.train\.csv, y\.train\.csv, x\.valid"):
        load(name="ml100k", path=folder)


def test_a_bad_line_of_a_split_folder_is_named_with_its_file(tmp_path):
    both = [(1, 1, 1.0), (1, 2, 0.0)]
    folder = write_split(tmp_path / "s", {"train": both, "validation": both, "test": both})
    (tmp_path / "s" / "x.validation.csv").write_text("uid\tiid\tlabel\n1\t1\t1\n1\t-2\t0\n")
    with pytest.raises(data.DataError, match=r"x\.validation\.csv, line 3, column 2 \(item\)"):
        load(name="ml100k", path=folder)


@real
def test_real_split_of_the_original_is_read_as_it_is():
    """Twin: ``test_rows_of_a_folder_already_split_stay_as_they_are``."""
    dataset = load(name="ml100k", path=str(SPLIT))
    assert dataset.sizes == {"user": 944, "item": 1683}
    sizes = [s.label.size for s in (dataset.train, dataset.reward, dataset.valid, dataset.test)]
    assert sizes[0] + sizes[1] == 94_638
    assert sizes[2:] == [2_334, 3_028]
    assert dataset.reward.label.sum() == 942
    train = pl.read_csv(SPLIT / "ml100k01-1-5.train.csv", separator="\t").rows()
    assert rows_of(data.merge_reward_rows(dataset)) == train
    whole = load(name="ml100k", path=str(SPLIT), reward_split="valid")
    assert rows_of(data.merge_reward_rows(whole)) == train


@real
def test_real_movielens_100k_splits_as_the_original_but_for_ties():
    """Twin: ``test_a_folder_already_split_gives_the_same_as_its_rating_file``."""
    ours = load(name="ml100k", path=str(RATINGS))
    theirs = load(name="ml100k", path=str(SPLIT))
    assert len(set(rows_of(ours.valid)) & set(rows_of(theirs.valid))) == 1_855
    splits = (ours.train, ours.reward, ours.valid, ours.test)
    assert sum(s.label.size for s in splits) == 100_000
    assert ours.valid.label.sum() == ours.test.label.sum() == ours.reward.label.sum() == 942
    # User 685 likes nothing and so stays in train whole.
    assert np.sum(ours.train.ids["user"] == 685) == 20
