"""Formats that are understood, and what is said of files that are not."""

import pytest

from autolossgen import data
from autolossgen.data.columns import ID, LABEL, NUMBER, read_column
from autolossgen.data.readers import LABELLED, RATINGS, read_labelled, read_ratings

KINDS = {"user": ID, "item": ID, "rating": NUMBER, "time": NUMBER, "label": LABEL}


def read_columns(raw, where, wanted):
    table = read_ratings(raw, where)[0] if wanted == RATINGS else read_labelled(raw, where)
    return {name: read_column(table, name, KINDS[name]) for name in wanted}


ROWS = [(1, 5, 4, 978300760), (1, 7, 2, 978300761), (12, 3952, 5, 978300760)]
INTER = "user_id:token\titem_id:token\trating:float\ttimestamp:float\n"


def lines(separator, rows=ROWS, end="\n"):
    return "".join(separator.join(map(str, row)) + end for row in rows)


@pytest.mark.parametrize(
    "text",
    [
        lines("\t"),
        lines("::"),
        lines("\t", end="\r\n"),
        lines("::", end="\r\n"),
        lines("\t").rstrip("\n"),
        lines("::") + "\n\n",
        INTER + lines("\t"),
        "\ufeff" + INTER + lines("\t"),
        # Columns are found by name, and others are passed over.
        "timestamp:float\tnote:token\titem_id:token\trating:float\tuser_id:token\n"
        + lines("\t", [(t, '"x', i, r, u) for u, i, r, t in ROWS]),
    ],
)
def test_every_format_gives_the_same_columns(text):
    columns = read_columns(text.encode(), "f", RATINGS)
    assert list(zip(*(columns[c].to_list() for c in RATINGS), strict=True)) == ROWS


BAD_RATINGS = {
    "empty": ("", ["f is empty", "user, item, rating, time"]),
    "blank": ("\n \n", ["f is empty"]),
    "header only": (INTER, ["f has a header and no rows"]),
    "word": ("1\t2\t3\t4\n1\t2\tgood\t4\n", ["f, line 2, column 3 (rating)", "finite", "'good'"]),
    "nan": ("1\t2\t3\t4\n1\t2\tNaN\t4\n", ["line 2, column 3 (rating)", "finite", "'NaN'"]),
    "inf": ("1::2::inf::4\n", ["line 1, column 3 (rating)", "'inf'"]),
    "missing rating": ("1\t2\t\t4\n", ["line 1, column 3 (rating)", "''"]),
    "negative user": ("1\t2\t3\t4\n-1\t2\t3\t4\n", ["line 2, column 1 (user)", "whole", "'-1'"]),
    "negative item": ("1::-2::3::4\n", ["line 1, column 2 (item)", "'-2'"]),
    "fractional id": ("1.5\t2\t3\t4\n", ["line 1, column 1 (user)", "'1.5'"]),
    "id over int32": (f"1\t{2**31 - 1}\t3\t4\n", ["column 2 (item)", "from 0 to 2147483646"]),
    "id over int64": (f"1\t{10**30}\t3\t4\n", ["line 1, column 2 (item)"]),
    "short line": ("1\t2\t3\t4\n1\t2\n", ["line 2", "4 fields", "got 2", "'1\\t2'"]),
    "long line": ("1::2::3::4\n1::2::3::4::5\n", ["line 2", "4 fields", "got 5"]),
    "single colon": ("1::2::3::4\n1::2:3::4\n", ["line 2", "4 fields", "got 3"]),
    "text between colons": ("1:9:2::3::4\n", ["line 1", "4 fields", "got 3"]),
    "colon in a field": ("1::2::3:3::4\n", ["line 1, column 3 (rating)", "'3:3'"]),
    "blank line within": ("1\t2\t3\t4\n\n1\t2\t3\t4\n", ["line 2", "got 1"]),
    "not text": (b"\x1f\x8b\x08\xff\x00", ["f, line 1", "separated by tabs"]),
    "bytes in a field": (b"1\t2\t3\t4\n1\t2\t\xff\t4\n", ["line 2", "0xff", "as UTF-8"]),
    "semicolons": ("1;2;3;4\n", ["line 1", "tabs or '::'"]),
    "missing column": (INTER.replace("\ttimestamp:float", "") + "1\t2\t3\n", ["lacks time"]),
    "bad line next to a column not read": (
        "note:token\t" + INTER + "x\t1\t2\t3\t4\nx\t1\t2\tbad\t4\n",
        ["line 3, column 4 (rating)", "'bad'"],
    ),
    "bad line below a header": (INTER + "1\t2\t3\t4\n1\t2\tx\t4\n", ["line 3, column 3 (rating)"]),
}
BAD_LABELLED = {
    "label 2": ("uid\tiid\tlabel\n1\t2\t1\n1\t3\t2\n", ["line 3, column 3 (label)", "0 or 1"]),
    "no label": ("uid\tiid\n1\t2\n", ["line 1", "lacks label", "uid iid label"]),
    "no header": ("1\t2\t1\n", ["line 1", "header 'uid iid label'", "'1\\t2\\t1'"]),
    "empty": ("", ["is empty"]),
    "header only": ("uid\tiid\tlabel\n", ["header and no rows"]),
}


@pytest.mark.parametrize(
    ("text", "fragments", "wanted"),
    [pytest.param(*bad, RATINGS, id=name) for name, bad in BAD_RATINGS.items()]
    + [pytest.param(*bad, LABELLED, id=f"labelled {name}") for name, bad in BAD_LABELLED.items()],
)
def test_a_bad_file_is_named_with_line_and_column(text, fragments, wanted):
    raw = text if isinstance(text, bytes) else text.encode()
    with pytest.raises(data.DataError) as error:
        read_columns(raw, "f", wanted)
    for fragment in fragments:
        assert fragment in str(error.value)
    assert "\n" not in str(error.value)


def test_only_the_bad_line_of_a_large_file_is_named():
    text = lines("::", [(k % 600 + 1, k % 400 + 1, 3, k) for k in range(25_000)])
    text = text.replace("::12345\n", "::soon\n")
    with pytest.raises(data.DataError, match=r"line 12346, column 4 \(time\): .* got 'soon'"):
        read_columns(text.encode(), "f", RATINGS)


@pytest.mark.parametrize("blank", [2, 10_000, 24_999])
def test_a_blank_line_is_named_wherever_it_stands(blank):
    rows = lines("\t", [(1, 2, 3, k) for k in range(25_000)]).split("\n")
    text = "\n".join([*rows[: blank - 1], "", *rows[blank - 1 :]])
    with pytest.raises(data.DataError, match=f"line {blank}: expected 4 fields .* got 1 in ''"):
        read_columns(text.encode(), "f", RATINGS)
