"""What a column may hold, times in every form, and the rows that ids get."""

import re

import numpy as np
import polars as pl
import pytest

from autolossgen import data
from autolossgen.data.columns import (
    NUMBER,
    SPARE_ROWS,
    Index,
    make_index,
    read_column,
    read_ids,
)
from autolossgen.data.tables import TextTable


def table(**columns):
    return TextTable("f", pl.DataFrame({k: v for k, v in columns.items()}, schema_overrides=None))


def test_blanks_around_a_number_do_not_matter():
    assert read_column(table(x=[" 4", "5 ", "-1e2"]), "x", NUMBER).to_list() == [4, 5, -100]


@pytest.mark.parametrize("bad", ["", "nan", "inf", "4,5", "1_0", "four", None])
def test_what_is_no_finite_number_is_named_with_its_row(bad):
    with pytest.raises(data.DataError, match=r"^f, row 2, column 1 \(x\): expected a finite numb"):
        read_column(table(x=["1", bad, "also bad"]), "x", NUMBER)


def test_a_missing_column_is_guessed():
    with pytest.raises(data.DataError, match=r"a column 'user' \(did you mean 'users'\?\), got it"):
        read_column(table(item=["1"], users=["2"]), "user", NUMBER)


@pytest.mark.parametrize(
    ("given", "read"),
    [
        (["7", "0"], [7, 0]),
        (["9223372036854775807"], [2**63 - 1]),
        (["9223372036854775808", "1"], ["9223372036854775808", "1"]),
        (["a", "1"], ["a", "1"]),
        (["-x", "nana"], ["-x", "nana"]),
    ],
)
def test_ids_are_whole_numbers_where_all_are_else_words(given, read):
    assert read_ids(table(u=given), "u").to_list() == read


@pytest.mark.parametrize("other", ["5", "x", "99999999999999999999"])
@pytest.mark.parametrize(
    "bad",
    [
        *("-1", "-1.0", "", None, " ", "a\nb"),
        *("nan", "NaN", "NULL", "none", "na", "N/A", "inf", "-Infinity"),
    ],
)
def test_an_id_that_stands_for_none_is_named(bad, other):
    got = re.escape(repr(bad or ""))
    with pytest.raises(data.DataError, match=rf"row 2, column 1 \(u\): expected .*, got {got}"):
        read_ids(table(u=[other, bad]), "u")


def test_ids_keep_their_numbers_unless_the_table_would_be_mostly_empty():
    assert make_index(pl.Series([3, 1, 3])) == Index(None, 4)
    assert make_index(pl.Series([SPARE_ROWS + 4, 1])).known is None
    sparse = make_index(pl.Series([SPARE_ROWS + 5, 7, 7]))
    assert sparse.size == 2
    assert sparse.rows(pl.Series([7, SPARE_ROWS + 5, 8])).tolist() == [0, 1, -1]


def test_another_file_is_joined_by_the_same_ids():
    other = table(id=["2", " 1", "5", "x", None])
    assert Index(None, 3).read(other, "id").tolist() == [2, 1, -1, -1, -1]
    assert make_index(pl.Series(["x", "5"])).read(other, "id").tolist() == [-1, -1, 0, 1, -1]
    signed = make_index(pl.Series([-1, 5, -7]))
    assert signed.read(table(id=["-1", "x", None, "5", "8"]), "id").tolist() == [1, -1, -1, 2, -1]
    rows = make_index(pl.Series([10**12, 5])).read(other, "id")
    assert rows.tolist() == [-1, -1, 0, -1, -1]
    assert rows.dtype == np.int32
