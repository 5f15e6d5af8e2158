"""Files that people bring, in every form, and what is said of those that cannot be used."""

import gzip
from datetime import UTC, datetime, time, timedelta

import numpy as np
import polars as pl
import pytest

from autolossgen import data
from tests.helpers import file_generator as files

MADE = files.make_ratings(num_users=40, num_items=30, num_ratings=900, seed=2)
NAMES = {"user": "customer", "item": "product", "label": "stars", "time": "at", "threshold": 3.0}
SPLITS = ("train", "reward", "valid", "test")


def parts(dataset):
    return [
        (*(getattr(dataset, s).ids[f].tolist() for f in dataset.train.ids),
         getattr(dataset, s).label.tolist())
        for s in SPLITS
    ]  # fmt: skip


@pytest.fixture
def own(tmp_path):
    files.write_table(tmp_path / "own.csv", MADE)
    return tmp_path / "own.csv"


def read(path, **options):
    return data.build(name="csv", path=str(path), **(NAMES | options))


@pytest.mark.parametrize("form", ["own.tsv", "own.parquet", "own.csv.gz", "as;.csv", "as::.csv"])
def test_every_form_gives_the_same(own, form):
    path = own.parent / form
    if form.endswith(".gz"):
        path.write_bytes(gzip.compress(own.read_bytes()))
    elif form.startswith("as"):
        path.write_text(own.read_text().replace(",", form[2:-4]))
    else:
        files.write_table(path, MADE)
    one, other = read(own), read(path)
    assert parts(other) == parts(one)
    assert other.sizes == one.sizes == {"user": 40, "item": np.unique(MADE.item).size}
    assert other.name == form.split(".")[0]


def test_other_bytes_than_utf8_are_refused(own):
    """Read as they can be, é and è would be one user."""
    text = own.read_text().splitlines(keepends=True)
    text[4] = text[4].replace("u-", "\u00e9-", 1)
    own.write_bytes("".join(text).encode("latin-1"))
    with pytest.raises(data.DataError, match=r"own\.csv, line 5: expected UTF-8, .*0xe9"):
        read(own)


def test_ids_that_are_written_otherwise_are_others(tmp_path):
    rows = [f"{user},{item},{item % 5 + 1},{item}" for user in ("7", "07") for item in range(40)]
    path = tmp_path / "zeros.csv"
    path.write_text("customer,product,stars,at\n" + "\n".join(rows) + "\n")
    assert read(path).sizes["user"] == 2


def test_an_empty_first_line_is_named(own):
    own.write_text("\n" + own.read_text())
    with pytest.raises(data.DataError, match="line 1: expected the names of columns, got an empty"):
        read(own)


def test_rows_are_those_of_the_file_in_time_order(own):
    d = read(own, split="ratio_by_time", reward_split="valid")
    in_time = np.argsort(MADE.time)
    pair = [(int(MADE.user[k]), int(MADE.item[k])) for k in in_time]
    kept = [k for j, k in enumerate(in_time) if pair[j] not in pair[j + 1 :]]
    users = sorted({f"u-{u}" for u in MADE.user})
    found = np.concatenate([getattr(d, s).ids["user"] for s in ("train", "valid", "test")])
    assert [users[u] for u in found] == [f"u-{MADE.user[k]}" for k in kept]
    label = np.concatenate([getattr(d, s).label for s in ("train", "valid", "test")])
    assert label.tolist() == [float(MADE.rating[k] > 3) for k in kept]
    dropped = len(pair) - len(kept)
    assert f"{dropped} repeated pairs of user and item dropped, the last kept" in d.notes


def test_binary_labels_need_no_threshold_and_files_no_times(tmp_path):
    rng = np.random.default_rng(0)
    rows = [(u, i, int(rng.random() < 0.5)) for u in range(30) for i in rng.permutation(20)[:12]]
    text = "user,item,rating\n" + "".join(f"{10**12 + u},{i},{y}\n" for u, i, y in rows)
    (tmp_path / "x.csv").write_text(text)
    d = data.build(name="csv", path=str(tmp_path / "x.csv"))
    assert data.merge_reward_rows(d).label.size + d.valid.label.size + d.test.label.size == len(
        rows
    )
    assert "no times: the order of the file is taken for that of time" in d.notes
    assert d.sizes["user"] == 30
    (tmp_path / "x.csv").write_text(text.replace(",1\n", ",2\n", 1))
    with pytest.raises(data.DataError, match=r"column 3 \(rating\): expected 0 or 1, got '2'"):
        data.build(name="csv", path=str(tmp_path / "x.csv"))


def test_parquet_of_typed_columns(tmp_path):
    moment = datetime(2024, 5, 31, 18, tzinfo=UTC)
    n = 200
    frame = pl.DataFrame(
        {
            "user": np.arange(n) % 10,
            "item": np.arange(n) // 10,
            "rating": [k * k % 7 < 3 for k in range(n)],
            "when": [moment] * n,
            "tags": [["a", "b"]] * (n - 1) + [[]],
        }
    )
    frame.write_parquet(tmp_path / "x.parquet")
    d = data.build(
        name="csv", path=str(tmp_path / "x.parquet"), time="when",
        features=("hour", "item.tags:list"),
    )  # fmt: skip
    assert set(d.train.ids["hour"]) == {18}
    assert d.sides["tags"].values.tolist() == [[0, 1]] * 20
    assert d.train.label.sum() < d.train.label.size


def test_a_column_of_parquet_that_no_text_stands_for_matters_only_if_it_is_used(tmp_path):
    n = 200
    frame = pl.DataFrame(
        {
            "user": np.arange(n) % 10,
            "item": np.arange(n) // 10,
            "rating": [k * k % 7 < 3 for k in range(n)],
            "hash": [b"\xff\x00"] * n,
            "clock": [time(18, 30)] * n,
            "stay": [timedelta(hours=1)] * n,
            "kind": pl.Series(["a", "b"] * 100, dtype=pl.Categorical),
        }
    )
    frame.write_parquet(tmp_path / "x.parquet")
    d = data.build(name="csv", path=str(tmp_path / "x.parquet"), features=("row.kind",))
    assert d.sizes["kind"] == 2
    for name in ("hash", "stay"):
        with pytest.raises(
            data.DataError, match=rf"the column '{name}' is of type \w+.* no number"
        ):
            data.build(name="csv", path=str(tmp_path / "x.parquet"), features=(f"row.{name}",))


def test_a_missing_id_in_parquet_is_named(tmp_path):
    frame = pl.DataFrame({"user": [1.0, float("nan")], "item": [1, 2], "rating": [1, 0]})
    frame.write_parquet(tmp_path / "x.parquet")
    with pytest.raises(data.DataError, match=r"row 2, column 1 \(user\): expected an id.* 'NaN'"):
        data.build(name="csv", path=str(tmp_path / "x.parquet"))


def test_features_of_one_file_and_of_files_beside(own):
    frame = pl.read_csv(own)
    frame = frame.with_columns(
        region=pl.col("customer").str.slice(-1),
        price=pl.col("product").str.slice(2).cast(pl.Int64) * 2.5,
        tags=pl.when(pl.col("product") == "p-9").then(pl.lit("new|red")).otherwise(pl.lit("red")),
        device=pl.when(pl.col("stars") > 2).then(pl.lit("phone")).otherwise(pl.lit("desk")),
    )
    wide = own.parent / "wide.csv"
    frame.write_csv(wide)
    words = ("user.region", "item.price:number", "item.tags:list", "row.device", "hour")
    d = read(wide, features=words)
    assert d.sizes == {
        "user": 40, "item": d.sizes["item"], "region": 10, "tags": 2, "device": 2, "hour": 24,
    }  # fmt: skip
    assert list(d.train.ids) == ["user", "item", "device", "hour"]
    users = sorted({f"u-{u}" for u in MADE.user})
    assert d.sides["region"].values[:, 0].tolist() == [int(name[-1]) for name in users]
    items = sorted({f"p-{i}" for i in MADE.item})
    price = np.array([int(name[2:]) for name in items])
    np.testing.assert_allclose(
        d.sides["price"].values, (price - price.mean()) / price.std(), atol=1e-6
    )
    assert d.sides["tags"].values[items.index("p-9")].tolist() == [0, 1]
    people = frame.select("customer", "region").unique("customer")
    people.write_csv(own.parent / "people.tsv", separator="\t")
    separate = read(own, features=("user.region",), user_path=str(own.parent / "people.tsv"))
    np.testing.assert_array_equal(separate.sides["region"].values, d.sides["region"].values)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"user": "custmer"}, r"expected a column 'custmer' \(did you mean 'customer'\?\)"),
        ({"label": "at", "time": ""}, r"line 2, column 4 \(at\): expected a finite number"),
        ({"time": "product", "item": "at"}, r"line 2, column 2 \(product\): expected a date"),
        ({"threshold": None}, r"column 3 \(stars\): expected 0 or 1"),
        ({"threshold": float("inf")}, "data.threshold must be a finite number or None"),
        ({"threshold": 9.0}, "must hold label 1, got only label 0|got no rows"),
        ({"label": ""}, r"data\.threshold=3 needs a column of labels, data\.label"),
        ({"path": ""}, "data.path is empty"),
        ({"item": "customer"}, r"data\.user and data\.item both name the column 'customer'"),
        ({"time": "stars"}, r"data\.label and data\.time both name the column 'stars'"),
        ({"path": "nowhere.csv"}, "nowhere.csv cannot be read"),
        ({"user_path": "nowhere.csv", "features": ("user.x",)}, "existing file as data.user_path"),
        ({"features": ("color",)}, "expected user.COLUMN, item.COLUMN or row.COLUMN.*'color'"),
        ({"features": ("user.",)}, "expected user.COLUMN"),
        ({"features": ("user.x:words",)}, "expected user.COLUMN"),
        ({"features": ("user.x", "item.x")}, "two fields are called 'x'"),
        ({"features": ("user.item",)}, "two fields are called 'item'"),
        ({"features": ("hour",), "time": ""}, "'hour' needs times: name their column, data.time"),
        ({"features": ("user.staars",)}, r"a column 'staars' \(did you mean 'stars'\?\)"),
        ({"features": ("row.stars:number",)}, "an interaction has one category"),
        ({"split": "by_time"}, r"data.split='by_time' is not known.* mean 'ratio_by_time'\?"),
        ({"seperator": ";"}, r"data.seperator .*did you mean 'separator'\?"),
    ],
)
def test_what_cannot_be_meant_is_said(own, options, message):
    with pytest.raises(data.DataError, match=message):
        read(options.pop("path", own), **options)


@pytest.mark.parametrize("end", ["\r", "\r\n"])
def test_blanks_in_a_header_and_ends_of_lines_do_not_matter(own, end):
    header, rows = own.read_text().split("\n", 1)
    path = own.parent / "blank.csv"
    text = "\n".join([header.replace(",", " , "), rows]).replace("\n", end)
    path.write_bytes(text.encode())
    assert parts(read(path)) == parts(read(own))


@pytest.mark.parametrize("separator", ["\\t", "\t"])
def test_a_tab_may_be_written_as_shells_leave_it(own, separator):
    path = own.parent / "tabs.csv"
    path.write_text(own.read_text().replace(",", "\t"))
    assert parts(read(path, separator=separator)) == parts(read(own))


@pytest.mark.parametrize("separator", [";;", ", ", ":::", "§", '"', "\n"])
def test_a_separator_that_cannot_be_is_one_line(own, separator):
    with pytest.raises(data.DataError, match="one character, such as ',', or '::', got") as error:
        read(own, separator=separator)
    assert "\n" not in str(error.value)


def test_rows_between_double_colons_are_counted(own):
    path = own.parent / "colons.csv"
    path.write_text(own.read_text().replace(",", "::") + "u-1::p-2::4\n")
    with pytest.raises(data.DataError, match=r"colons\.csv, line 902: expected 4 fields .*'::'"):
        read(path, separator="::")


def test_a_file_of_users_that_no_feature_reads_is_said(own):
    with pytest.raises(data.DataError, match=r"data\.user_path is given, and no user\.COLUMN"):
        read(own, user_path=str(own))


def test_rows_without_labels_are_positives(own):
    d = read(own, label="", threshold=None)
    assert all(getattr(d, split).label.all() for split in SPLITS)
    assert "900 ratings read; no labels: all are positives" in d.notes
    groups = data.make_rankings(d, candidates=0, seed=0)
    assert groups.test.label[:, 0].size == d.test.label.size
    with pytest.raises(data.DataError, match=r"only label 1 .* --config\.implicit\.negatives=4"):
        data.check_both_labels("own", {"train": d.train})


@pytest.fixture
def folder(own):
    """The rows of the file in three files, each in an order of its own, in some forms."""
    frame = pl.read_csv(own)
    folder = own.parent / "split"
    folder.mkdir()
    frame[:600].write_csv(folder / "train.csv")
    frame[600:750].write_csv(folder / "my.valid.tsv", separator="\t")
    frame[750:].write_parquet(folder / "my-test.parquet")
    return folder


def test_a_folder_of_ones_own_that_is_split_already(own, folder):
    frame = pl.read_csv(own).with_columns(device=pl.col("product").str.slice(-1))
    users, items = sorted(set(frame["customer"])), sorted(set(frame["product"]))
    d = read(folder)
    assert (d.name, d.sizes) == ("split", {"user": len(users), "item": len(items)})
    cuts = {"train": frame[:600], "valid": frame[600:750], "test": frame[750:]}
    for name, part in cuts.items():
        rows = data.merge_reward_rows(d) if name == "train" else getattr(d, name)
        part = part.sort("at", maintain_order=True)
        assert [users[u] for u in rows.ids["user"]] == part["customer"].to_list()
        assert [items[i] for i in rows.ids["item"]] == part["product"].to_list()
        assert rows.label.tolist() == (part["stars"] > 3).cast(pl.Float32).to_list()
    untimed = read(folder, time="")
    assert [users[u] for u in untimed.test.ids["user"]] == frame[750:]["customer"].to_list()
    with pytest.raises(data.DataError, match=r"is split already: leave data\.split at 'leave_one"):
        read(folder, split="random")


def test_features_of_a_folder_that_is_split_already(own, folder):
    frame = pl.read_csv(own)
    more = frame.with_columns(
        device=pl.col("product").str.slice(-1), price=pl.col("product").str.slice(2)
    )
    for name, part in {"train.csv": more[:600], "my.valid.tsv": more[600:750]}.items():
        part.write_csv(folder / name, separator="\t" if name.endswith("tsv") else ",")
    more[750:].write_parquet(folder / "my-test.parquet")
    d = read(folder, features=("row.device", "hour", "item.price:number"))
    items = sorted(set(frame["product"]))
    devices = sorted(set(more["device"]))
    for part in (d.train, d.reward, d.valid, d.test):
        expected = [items[i][-1] for i in part.ids["item"]]
        assert [devices[k] for k in part.ids["device"]] == expected
    hours = more[750:].sort("at", maintain_order=True)["at"].str.slice(11, 2).cast(pl.Int32)
    assert d.test.ids["hour"].tolist() == hours.to_list()
    price = np.array([int(name[2:]) for name in items])
    np.testing.assert_allclose(
        d.sides["price"].values, (price - price.mean()) / price.std(), atol=1e-5
    )


def test_pairs_that_stand_twice_in_a_split_folder_are_counted(tmp_path):
    head, rows = (
        "user,item,rating\n",
        [f"{u},{i},{(u + i) % 2}\n" for u in (1, 2) for i in range(4)],
    )
    (tmp_path / "train.csv").write_text(head + "".join(rows[:6]) + rows[0] + rows[5])
    (tmp_path / "dev.csv").write_text(head + "".join(rows[6:]))
    (tmp_path / "test.csv").write_text(head + "2,9,1\n" + rows[1] + rows[7] + rows[7])
    d = data.build(name="csv", path=str(tmp_path), reward_split="valid")
    assert (d.train.label.size, d.test.label.size) == (8, 4)
    assert [note for note in d.notes[1:] if "pair" in note] == [
        "2 repeated pairs of user and item within train, all kept",
        "1 repeated pairs of user and item within test, all kept",
        "WARNING: 3 of 4 rows of test have a pair of user and item that train or validation has, "
        "too: what is measured on them has been seen",
    ]


def test_words_in_one_part_make_ids_words_in_all(tmp_path):
    for part, user in (("train", "10"), ("valid", "x"), ("test", "9")):
        rows = f"{user},1,1\n{user},2,0\n"
        (tmp_path / f"{part}.csv").write_text("user,item,rating\n" + rows)
    d = data.build(name="csv", path=str(tmp_path), reward_split="valid")
    assert [rows.ids["user"].tolist() for rows in (d.train, d.valid, d.test)] == [
        [0, 0], [2, 2], [1, 1],
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("names", "got"),
    [
        ([], "got nothing"),
        (["a.csv"], r"got a\.csv\. Give such a folder, or one file"),
        (["train.csv", "test.csv"], r"got train\.csv, test\.csv"),
        (["a.train.csv", "b.train.csv", "valid.csv", "test.csv"], r"got a\.train\.csv, b\.train"),
    ],
)
def test_a_folder_without_one_of_each_part_is_named(tmp_path, names, got):
    for name in names:
        (tmp_path / name).write_text("user,item,rating\n1,2,1\n")
    with pytest.raises(data.DataError, match=f"is a folder: expected one file each .*{got}"):
        data.build(name="csv", path=str(tmp_path))


def test_quoted_fields_hold_separators_and_bad_rows_below_are_named(tmp_path):
    path = tmp_path / "x.csv"
    path.write_text('user,title,item,rating\n1,"a, b",2,1\n1,"c\nd",3,0\n2,e,4,good\n')
    with pytest.raises(data.DataError, match=r"x\.csv, line 5, column 4 \(rating\): .* 'good'"):
        data.build(name="csv", path=str(path))
    path.write_text('user,title,item,rating\n1,"a, b",2,1\n1,c,d,3,0\n')
    with pytest.raises(data.DataError, match=r"line 3: expected 4 fields .* got 5"):
        data.build(name="csv", path=str(path))


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (b"", "x.csv is empty"),
        ("user,item,rating\n1,2,1\n".encode("utf-16"), r"x\.csv is written in UTF-16. Save it as"),
        (b"user,item,rating\n", "x.csv has a header and no rows"),
        (b"user,user,rating\n1,2,3\n", "the name 'user' occurs twice"),
        (b"PAR1 but no Parquet", "cannot be read as Parquet"),
        (b"user,item,rating\n1,,1\n", r"line 2, column 2 \(item\): .* got ''"),
        (b"user,item,rating\n1,2,1\n-1,3,0\n", r"line 3, column 1 \(user\): .* got '-1'"),
        (b"user,item,rating\n1,2,1\n7,3,nan\n", r"line 3, column 3 \(rating\): .* got 'nan'"),
    ],
)
def test_a_bad_file_is_named(tmp_path, raw, message):
    (tmp_path / "x.csv").write_bytes(raw)
    with pytest.raises(data.DataError, match=message):
        data.build(name="csv", path=str(tmp_path / "x.csv"))
