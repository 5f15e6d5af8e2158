"""Files as people have them, each a kind of trouble: what is read of them, or what is said.

Each is made here. The same runs on ../shared/faults, which holds what people reported.
"""

import bz2
import gzip
import io
import lzma
import zipfile
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from autolossgen import data
from autolossgen.data.tables import compressed

FAULTS = Path(__file__).resolve().parents[2].parent / "shared" / "faults"
real = pytest.mark.skipif(not FAULTS.exists(), reason="needs ../shared/faults")
HEADER = ("user", "item", "rating", "time")
DAY = 86_400
FIRST = 1_704_067_200  # 2024-01-01, a Monday


def make_rows(num_users=8):
    """Returns rows (user, item, rating, time): eight a user, liked every second time."""
    return [
        (user, (3 * user + k) % 12, 1 + 4 * (k % 2), FIRST + (user + k) * DAY)
        for user in range(num_users)
        for k in range(8)
    ]


def as_text(rows, separator=",", header=HEADER, end="\n"):
    lines = [header, *rows] if header else rows
    return "".join(separator.join(map(str, line)) + end for line in lines)


ROWS = make_rows()
PLAIN = as_text(ROWS)


def replace_column(column, change, rows=ROWS):
    """Returns rows with other values in a column."""
    return [(*row[:column], change(row[column]), *row[column + 1 :]) for row in rows]


@pytest.fixture
def read(tmp_path):
    """Returns a function that reads a file of given text or bytes."""

    def build(content, name="own.csv", **options):
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        keys = {"path": str(path), "threshold": 3.0, "time": "time"} | options
        return data.build(name="csv", **{key: value for key, value in keys.items() if key})

    return build


def rows_of(dataset):
    """Returns user, item, label and what else each row has, of all splits."""
    parts = [data.merge_reward_rows(dataset), dataset.valid, dataset.test]
    return [
        row
        for part in parts
        for row in zip(*(v.tolist() for v in part.ids.values()), part.label.tolist(), strict=True)
    ]


def note_with(dataset, words):
    return next(note for note in dataset.notes if words in note)


@pytest.fixture
def plain(read):
    return rows_of(read(PLAIN))


# Quotes.

SWALLOW = PLAIN.replace("0,5,5,", '0,"til dawn,5,').replace("3,0,5,", '3,night",5,')


def test_rows_that_a_stray_quote_would_swallow_are_no_field(read):
    told = (
        r"own\.csv, line 7, column 2 \(item\): a quote opens here, in '\"til dawn', and is closed"
    )
    with pytest.raises(data.DataError, match=rf"{told} on line 29: 23 lines.* --config\.data\.quo"):
        read(SWALLOW)
    unread = as_text([(*row, "x") for row in ROWS], header=(*HEADER, "title"))
    lines = unread.split("\n")
    lines[4], lines[9] = lines[4].replace("x", '"x'), lines[9].replace("x", 'x"')
    with pytest.raises(data.DataError, match=r"line 5, column 5 \(title\): a quote opens"):
        read("\n".join(lines))


def test_without_quotes_no_row_is_lost(read):
    found = read(SWALLOW, quoted=False)
    assert len(rows_of(found)) == len(ROWS)
    assert (
        "all item ids are words, since '\"til dawn' is no number (own.csv, line 7)" in found.notes
    )


def test_a_quote_that_is_never_closed_is_named(read):
    text = PLAIN.replace("0,5,5,", "0,\"Salem's Lot,5,")
    told = r"line 7, column 2 \(item\): a quote opens here and is not closed .*Salem.*quoted=Fal"
    for one in (text, text.replace("2,8,", '2,12" records,')):
        with pytest.raises(data.DataError, match=told):
            read(one)


@pytest.mark.parametrize("item", ['12" single', 'a "b" c', "it's"])
def test_quotes_within_a_field_are_letters(read, plain, item):
    found = read(PLAIN.replace(",5,5,", f",{item},5,"))
    assert len(rows_of(found)) == len(plain)
    assert found.sizes["item"] == 13


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_what_quotes_are_for_is_read(read, plain, end):
    assert rows_of(read(as_text([[f'"{x}"' for x in row] for row in ROWS], end=end))) == plain
    title = [(*row, f'"a, ""b""{end}c, d, e"') for row in ROWS]
    found = read(as_text(title, header=(*HEADER, "title"), end=end), features=("row.title",))
    assert [row[:2] for row in rows_of(found)] == [row[:2] for row in plain]
    assert found.sizes["title"] == 1


def test_names_of_columns_that_nothing_would_read_are_refused(read):
    with pytest.raises(data.DataError, match=r"is no text and has names .*leave data\.columns out"):
        read(written("write_parquet"), columns=HEADER)
    with pytest.raises(
        data.DataError, match=r"data\.columns names one column twice: user, item, us"
    ):
        read(as_text(ROWS, header=None), columns=("user", "item", "user", "time"))


def test_ids_that_hold_the_separator_are_counted(read):
    text = as_text([(user, f'"{item}, the"', *rest) for user, item, *rest in ROWS])
    found = read(text)
    assert found.sizes["item"] == 12
    told = "12 item ids of own.csv hold the separator ',', in quotes, such as '0, the'"
    assert told in found.notes


@pytest.mark.parametrize("first", ['"user', 'user,"item"x', '"a\rb",item'])
def test_quotes_in_the_names_of_columns_are_looked_at_too(read, first):
    with pytest.raises(
        data.DataError, match=r"line 1: expected the names of columns, each in quo|ex"
    ):
        read(PLAIN.replace("user,item", first))


@pytest.mark.parametrize("name", ["a\nb", "a\r\n", "\na"])
def test_an_id_of_several_lines_is_refused(read, name):
    text = as_text([(f'"{name}"', *row[1:]) for row in ROWS])
    with pytest.raises(
        data.DataError, match=r"line 2, column 1 \(user\): expected an id: .*one line"
    ):
        read(text)


@pytest.mark.parametrize("line", [30, 65])
@pytest.mark.parametrize("quote", ["", '"'])
def test_rows_that_are_too_short_or_empty_are_named(read, line, quote):
    """Polars fills them up: where the last column is not read, nobody would know."""
    lines = as_text([[*row[:3], f"{quote}{row[3]}{quote}"] for row in ROWS]).split("\n")
    for short in ("7,5,5", ""):
        lines[line - 1] = short
        with pytest.raises(
            data.DataError, match=rf"line {line}: expected 4 fields .* got [013] in"
        ):
            read("\n".join([*lines[:65], lines[1]]), time="")


# Other layouts.


@pytest.mark.parametrize("separator", ["\t", ";", "|", "::", " ", "\x01", "^"])
def test_the_separator_by_which_the_header_has_the_names_is_taken(read, plain, separator):
    found = read(as_text(ROWS, separator))
    assert rows_of(found) == plain
    assert f"64 rows, columns separated by {separator!r}: user" in note_with(found, "64 rows, col")


def test_commas_in_other_names_do_not_hide_the_separator(read, plain):
    header = (*HEADER, "a,b,c,d,e,f")
    assert rows_of(read(as_text([(*row, "x") for row in ROWS], ";", header))) == plain


def test_one_column_asks_for_the_separator(read):
    with pytest.raises(data.DataError, match=r"One column was read.*--config\.data\.separator="):
        read(as_text(ROWS, "#"))


def test_a_file_without_names_of_columns_says_how_to_give_them(read, plain):
    bare = as_text(ROWS, header=None)
    values = (
        r"line 1: .*seems to hold values, '0, 0, 1, 1704067200'.*--config\.data\.columns=\"\('user"
    )
    for first in (bare, "5,3,1,1704067200\n" + bare):
        with pytest.raises(data.DataError, match=values.replace("0, 0, 1", r"\d, \d, 1")):
            read(first)
    for separator in (",", "\t", " "):
        text = as_text(ROWS, separator, None)
        assert rows_of(read(text, columns=HEADER)) == plain
    with pytest.raises(data.DataError, match=r"line 1: the names .*leave data\.columns out"):
        read(PLAIN, columns=HEADER, label="", time="", threshold=None)


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("anna,film\nbob,film\n", r"expected a column 'user', got anna, film\..*data\.columns"),
        ("# exported\n" + PLAIN, r"expected a column 'user', got # exported\..*is line 1 no line"),
        ("sep=;\n" + PLAIN.replace(",", ";"), r"line 1: 'sep=;' is meant for Excel. Delete the"),
        ("user  item  rating  time\n0  1  5  9\n", r"the name '' occurs twice\. Write one blank"),
        (PLAIN + PLAIN, r"line 66, column 3 \(rating\): expected a finite number, got 'rating'"),
    ],
)
def test_other_first_lines_are_told_from_names(read, content, told):
    with pytest.raises(data.DataError, match=told):
        read(content)


@pytest.mark.parametrize(
    "content",
    [
        "\ufeff" + PLAIN,
        PLAIN.replace("\n", "\r\n"),
        PLAIN.replace("\n", "\r"),
        PLAIN + "\n\n",
        PLAIN.replace("\n", "\r\n") + "\r\n \r\n",
        PLAIN.rstrip("\n"),
        PLAIN.replace(",", " , "),
        as_text([(*row, "") for row in ROWS], header=(*HEADER, "")),
        as_text([(k, *row) for k, row in enumerate(ROWS)], header=("", *HEADER)),
    ],
)
def test_marks_and_ends_of_lines_and_an_index_do_not_matter(read, plain, content):
    assert rows_of(read(content)) == plain


# Other formats.


def zipped(*names):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name in names:
            archive.writestr(name, PLAIN)
    return buffer.getvalue()


def written(write, **options):
    frame = pl.read_csv(io.StringIO(PLAIN))
    buffer = io.BytesIO()
    getattr(frame, write)(buffer, **options)
    return buffer.getvalue()


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(gzip.compress(PLAIN.encode()), id="gzip"),
        pytest.param(bz2.compress(PLAIN.encode()), id="bzip2"),
        pytest.param(lzma.compress(PLAIN.encode()), id="xz"),
        pytest.param(zipped("ratings.csv", "__MACOSX/._ratings.csv"), id="zip"),
        pytest.param(gzip.compress(written("write_parquet")), id="parquet in gzip"),
        pytest.param(written("write_ipc"), id="arrow"),
        pytest.param(written("write_ipc_stream"), id="arrow stream"),
        pytest.param(written("write_avro"), id="avro"),
        pytest.param(written("write_ndjson"), id="json lines"),
    ],
)
def test_other_formats_are_read_whatever_they_are_called(read, plain, content):
    assert rows_of(read(content)) == plain


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (zipped("a.csv", "b.csv"), r"an archive of 2 files \(a\.csv, b\.csv\): expected one"),
        (zipped("[Content_Types].xml", "xl/workbook.xml"), "an Excel workbook .*Save it as CSV"),
        (zipped("a.csv")[:-30], "not a whole zip archive"),
        (zipped("a.csv")[:-9] + bytes(9), "not a whole zip archive|cannot be unpacked"),
        (written("write_ipc")[:900], "cannot be read as Arrow"),
        (gzip.compress(PLAIN.encode())[:-30], "not whole gzip .*download it again"),
        (lzma.compress(PLAIN.encode())[:-30], "not whole xz"),
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(600), "an old Excel workbook"),
        (b"SQLite format 3\0" + bytes(99), "an SQLite database"),
        (b"\x28\xb5\x2f\xfd" + bytes(99), "compressed by Zstandard. Expand it"),
        (b"\x80\x04\x95" + bytes(99), "a pickle of Python"),
        (b"version https://git-lfs.github.com/spec/v1\noid\n", "Git LFS.*git lfs pull"),
        (b"\n<!DOCTYPE html>\n<html></html>", "a web page, not data"),
        (bytes(257) + b"ustar" + bytes(99), "a tar archive"),
        (b'[{"user": 1}]', "one JSON array. Write one object a line"),
        (b'{"user": 1,\n"item": 2}', r"line 1: expected one JSON object"),
        (PLAIN.encode("utf-16-le"), "bytes of value 0.*is it UTF-16"),
        (b"PAR1 cut off", "cannot be read as Parquet"),
    ],
)
def test_a_format_that_is_not_read_is_named(read, content, message):
    with pytest.raises(data.DataError, match=message) as error:
        read(content)
    assert "\n" not in str(error.value)


def test_what_expands_beyond_all_measure_is_refused(read, monkeypatch):
    monkeypatch.setattr(compressed, "MOST_BYTES", 1_000)
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.csv", PLAIN + "0" * 1_000_000)
    bomb = (PLAIN + "0" * 1_000_000).encode()
    for content in (
        gzip.compress(bomb),
        bz2.compress(bomb),
        lzma.compress(bomb),
        buffer.getvalue(),
    ):
        with pytest.raises(data.DataError, match="expands to more than 200 times its size"):
            read(content)


def test_an_address_in_the_web_is_no_path():
    with pytest.raises(data.DataError, match="is an address in the web: download it"):
        data.build(name="csv", path="https://example.org/ratings.csv")


# Labels.


def test_ratings_without_a_threshold_name_the_key(read):
    with pytest.raises(
        data.DataError,
        match=r"line 3, column 3 \(rating\): expected 0 or 1, got '5'\. The column holds 1, 5: .* "
        r"--config\.data\.threshold=1 \(a rating above that is a like\), or leave data\.label",
    ):
        read(PLAIN, threshold=None)
    many = as_text([(*row[:2], k % 10 / 2, row[3]) for k, row in enumerate(ROWS)])
    with pytest.raises(data.DataError, match=r"holds numbers from 0 to 4\.5: .*threshold=2 "):
        read(many, threshold=None)


@pytest.mark.parametrize(
    ("dislike", "like", "note"),
    [
        ("0", "1", "label as in the file"),
        ("0.0", "1.0", "label as in the file"),
        ("-1", "1", "label 1 is 1, and label 0 is -1"),
        ("-1.0", "+1", "label 1 is 1, and label 0 is -1"),
        ("False", "True", "label 1 is 'true', and label 0 is 'false'"),
        ("N", "Y", "label 1 is 'y', and label 0 is 'n'"),
    ],
)
def test_two_values_that_cannot_be_mistaken_are_labels(read, plain, dislike, like, note):
    text = as_text(replace_column(2, lambda rating: like if rating == 5 else dislike))
    found = read(text, threshold=None)
    assert rows_of(found) == plain
    assert f"64 ratings read; {note}" in found.notes


@pytest.mark.parametrize(
    ("dislike", "like", "told"),
    [
        ("1", "2", r"threshold=1 "),
        ("0", "5", r"threshold=0 "),
        ("view", "buy", r"got 'view'.*write labels as 0 and 1, -1 and 1, true and false"),
        ("", "1", "got ''"),
        ("0", "nan", "got 'nan'"),
    ],
)
def test_other_two_values_name_the_remedy(read, dislike, like, told):
    text = as_text(replace_column(2, lambda rating: like if rating == 5 else dislike))
    with pytest.raises(data.DataError, match=told):
        read(text, threshold=None)


def test_labels_of_a_split_folder_are_read_in_one_way(tmp_path):
    """Its test part has likes alone, which say nothing of -1."""
    for part in ("train", "valid"):
        (tmp_path / f"{part}.csv").write_text("user,item,rating\n1,2,-1\n1,3,1\n")
    (tmp_path / "test.csv").write_text("user,item,rating\n1,4,1\n")
    found = data.build(name="csv", path=str(tmp_path), reward_split="valid")
    assert found.train.label.tolist() == [0, 1]
    assert found.test.label.tolist() == [1]


# Ids.


@pytest.mark.parametrize("change", [lambda u: u - 4, lambda u: -7 * 10**18 + u, lambda u: f"-{u}x"])
def test_signed_ids_are_names(read, plain, change):
    found = read(as_text(replace_column(0, change)))
    assert len({row[0] for row in rows_of(found)}) == found.sizes["user"] == 8
    order = sorted(map(change, range(8)))
    assert [order[row[0]] for row in rows_of(found)] == [change(row[0]) for row in plain]


def test_ids_that_are_one_number_in_several_ways_are_said(read):
    rows = [*ROWS, *[(f"{user}.0", *rest) for user, *rest in ROWS if user < 2]]
    found = read(as_text(rows))
    assert found.sizes["user"] == 10
    told = note_with(found, "WARNING: 4 user ids differ in how a number is written alone")
    assert "such as '0' and '0.0'" in told
    assert not [note for note in read(PLAIN).notes if "WARNING" in note]


@pytest.mark.parametrize(("first", "shown"), [("anna", "anna"), ("07", "07"), ("7.0", "7.0")])
@pytest.mark.parametrize("part", ["train", "valid", "test"])
def test_a_word_in_one_part_makes_ids_words_in_all(tmp_path, part, first, shown):
    for number, name in enumerate(("train", "valid", "test")):
        rows = [[f"{user}", f"{10 * number + k}", k % 2] for user in range(9) for k in range(6)]
        if name == part:
            rows[0][0] = first
        text = as_text(rows, header=HEADER[:3])
        (tmp_path / f"{name}.csv").write_text(text)
    found = data.build(name="csv", path=str(tmp_path))
    assert found.sizes == {"user": 10, "item": 26}
    users = sorted([*map(str, range(9)), first])
    rows = {"train": data.merge_reward_rows(found), "valid": found.valid, "test": found.test}
    assert users[rows[part].ids["user"][0]] == first
    assert [users[u] for u in rows[part].ids["user"][1:6]] == ["0"] * 5
    told = f"all user ids are words, since {shown!r} is no number ({part}.csv, line 2)"
    assert told in found.notes


def test_a_part_without_a_user_of_train_is_said(tmp_path):
    for part, user in (("train", "1"), ("valid", "1"), ("test", "1.0")):
        (tmp_path / f"{part}.csv").write_text(f"user,item,rating\n{user},1,1\n{user},2,0\n")
    found = data.build(name="csv", path=str(tmp_path), reward_split="valid")
    assert "WARNING: no user of test.csv is in train.csv" in note_with(found, "no user of")


def test_a_file_of_users_whose_ids_are_written_otherwise_is_said(read, tmp_path):
    side = tmp_path / "users.csv"
    side.write_text("user,region\n" + "".join(f"{user}.0,r{user % 3}\n" for user in range(8)))
    options = {"user_path": str(side), "features": ("user.region",)}
    told = "none of its 8 ids in the column 'user' is a user .* '0.0', '1.0', '2.0'.*up to 7"
    with pytest.raises(data.DataError, match=told):
        read(PLAIN, **options)
    side.write_text(side.read_text().replace(".0", ""))
    assert read(PLAIN, **options).sizes["region"] == 3


# Rows and times.


def test_users_with_fewer_rows_than_the_minimum_name_the_key(read):
    text = as_text([row[:2] for row in ROWS if (row[0] + row[1]) % 4], header=HEADER[:2])
    few = r"no user has more than 4 rows in train, .*--config\.data\.min_interactions=4, or reward"
    with pytest.raises(data.DataError, match=few):
        read(text, threshold=None, time="", label="")


def test_a_run_says_what_was_read(read):
    rows = [*ROWS, ROWS[0], ROWS[9]]
    notes = read(as_text(rows)).notes
    assert "own.csv: 66 rows, columns separated by ',': user, item, rating, time" in notes
    assert "2 repeated pairs of user and item dropped, the last kept" in notes
    assert "64 rows of 8 users and 12 items, 50.0 % likes" in notes
    times = "times: 2024-01-01 00:00:00 to 2024-01-15 00:00:00, UTC; read as seconds since 1970"
    assert times in notes


def test_what_was_read_of_rankings_is_said(tmp_path):
    path = tmp_path / "own.csv"
    path.write_text(PLAIN)
    notes = data.build_ranking(name="csv", path=str(path), threshold=5.0, time="time").notes
    assert "64 ratings read; label 1 is a rating of at least 5" in notes
    assert "64 rows of 8 users and 12 items, 50.0 % likes" in notes
    assert any(note.startswith("times: 2024-01-01 00:00:00 to 2024-01-15") for note in notes)


# What people reported.

READ = {  # file -> options, users, items, and a note
    "tsv_swallow.tsv": ({"quoted": False}, 8, 14, "all item ids are words, since '\"til dawn'"),
    "split_mixed": (
        {},
        9,
        12,
        "all user ids are words, since 'anna' is no number (test.csv, line 2",
    ),
    "date_int.csv": ({}, 8, 12, "times: 2024-01-01 00:00:00 to 2024-01-15 00:00:00, UTC"),
    "date_iso.csv": ({}, 8, 12, "times: 2024-01-01 00:00:00 to 2024-01-15 00:00:00, UTC"),
    "date_offset.csv": ({}, 8, 12, "times: 2024-01-01 08:00:00 to 2024-01-15 08:00:00, UTC"),
    "neg_labels.csv": ({"threshold": None}, 8, 12, "label 1 is 1, and label 0 is -1"),
    "space.csv": ({}, 8, 12, "64 rows, columns separated by ' '"),
    "headerless.csv": ({"columns": HEADER}, 8, 12, "64 ratings read"),
    "plain.csv": ({}, 8, 12, "64 rows of 8 users and 12 items, 50.0 % likes"),
    "plain.csv.zip": ({}, 8, 12, "64 rows of 8 users and 12 items, 50.0 % likes"),
    "neg_ids.csv": ({}, 8, 12, "user ids numbered from 0 to 7"),
}
REFUSED = {
    "swallow_min.tsv": ({"time": ""}, r"line 2, column 2 \(item\): a quote .* on line 5: 4 lines"),
    "tsv_swallow.tsv": ({}, r"line 7, column 2 \(item\): a quote opens here, .* closed on line 27"),
    "tsv_open_quote.tsv": ({}, r"line 7, column 2 \(item\): .*not closed .*data\.quoted=False"),
    "run_small.csv": ({"threshold": None}, r"got '2'.*--config\.data\.threshold=2"),
    "headerless.csv": ({}, r"the first line seems to hold values.*--config\.data\.columns="),
    "few_items.csv": (
        {"threshold": None, "time": "", "label": ""},
        r"no user has more than 4 rows in train.*--config\.data\.min_interactions=4",
    ),
    "plain.csv": (
        {"features": ("user.region",), "user_path": str(FAULTS / "users_float.csv")},
        r"none of its 8 ids in the column 'user' is a user.*'0\.0'",
    ),
}


@real
@pytest.mark.parametrize("name", READ)
def test_real_files_are_read_and_it_is_said_how(name):
    options, users, items, words = READ[name]
    keys = {"threshold": 3.0, "time": "time"} | options
    found = data.build(name="csv", path=str(FAULTS / name), **keys)
    assert (found.sizes["user"], found.sizes["item"]) == (users, items)
    assert len(rows_of(found)) == 64
    assert note_with(found, words)


@real
@pytest.mark.parametrize("name", REFUSED)
def test_real_files_are_refused_with_how_to_go_on(name):
    options, message = REFUSED[name]
    keys = {"threshold": 3.0, "time": "time"} | options
    with pytest.raises(data.DataError, match=message):
        data.build(name="csv", path=str(FAULTS / name), **keys)


@real
def test_real_dates_are_those_of_the_calendar():
    for name in ("date_int.csv", "date_iso.csv", "date_offset.csv"):
        path = str(FAULTS / name)
        keys = {"threshold": 3.0, "time": "time", "features": ("weekday", "hour")}
        found = data.build(name="csv", path=path, **keys)
        first = data.merge_reward_rows(found)
        assert first.ids["weekday"][0] == 0  # 2024-01-01 was a Monday
        assert set(np.unique(first.ids["hour"])) == {8 if "offset" in name else 0}
