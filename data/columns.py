"""What the columns of a table mean: ids, numbers, labels, times. Letters: ``n`` rows of a table."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import polars as pl

from autolossgen.suggest import did_you_mean

from .tables import TextTable
from .types import DataError

MAX_ID = 2**31 - 2  # ids and table sizes (largest id + 1) are int32
# Ids keep their numbers if their table has at most this many rows for each id, and some more.
# MovieLens-1M's films fill 3,706 of 3,953 rows; those of ml-latest-small 9,724 of 193,610.
ROWS_PER_ID, SPARE_ROWS = 2, 1_000
# Times up to the first are seconds, up to the next milliseconds, and so on to nanoseconds: each is
# the year 5138 in its unit, and no unit's times after 1973 are below the one before.
UNIT_LIMITS = (1e11, 1e14, 1e17)


class Kind(NamedTuple):
    """A kind of value that a column can be required to hold."""

    expected: str
    dtype: type[pl.DataType]
    valid: Callable[[pl.Series], pl.Series]  # [n] -> bool[n]


ID = Kind(f"a whole number from 0 to {MAX_ID}", pl.Int64, lambda x: (x >= 0) & (x <= MAX_ID))
NUMBER = Kind("a finite number", pl.Float64, lambda x: x.is_finite())
LABEL = Kind("0 or 1", pl.Float64, lambda x: (x == 0) | (x == 1))
# What programs write for something that is missing, and for what is no id, as -1 is.
MISSING_ID = r"(?i)^([-+]?(nan|inf|infinity)|null|none|nil|na|n/a|<na>|nat|-\d+(\.\d*)?)$"
WORD = Kind(
    "an id: a whole number from 0, or a word that does not mean a missing one",
    pl.String,
    lambda x: (x != "") & ~x.str.contains(MISSING_ID),
)


def read_column(table: TextTable, name: str, kind: Kind) -> pl.Series:
    """Returns the values [n] of a column.

    Raises:
      DataError: naming the first place with another kind of value.

    Example:
      >>> table = TextTable("f", pl.DataFrame({"rating": ["4", "good"]}))
      >>> read_column(table, "rating", NUMBER)
      Traceback (most recent call last):
      ...
      autolossgen.data.types.DataError: f, row 2, column 1 (rating): expected a finite number...
    """
    require_columns(table, (name,))
    text = table.frame[name].str.strip_chars()
    values = text.cast(kind.dtype, strict=False)
    good = kind.valid(values).fill_null(False)
    if not good.all():
        raise _value_error(table, name, find_first_bad(good), kind.expected)
    return values


def find_first_bad(good: pl.Series) -> int:
    """Returns the first row that is not good, of bool [n] where one is not."""
    return int((~good).arg_true()[0])


def require_columns(table: TextTable, names: tuple[str, ...]) -> None:
    """Checks that the table has all columns ``names``.

    Raises:
      DataError: unless the table has all columns ``names``.
    """
    if missing := table.missing(names):
        if kind := table.unread.get(missing[0]):
            raise DataError(
                f"{table.path}: the column {missing[0]!r} is of type {kind}, which is no "
                f"number, word or time. Write it as one of these, or name another column."
            )
        have = table.frame.columns
        hint = did_you_mean(missing[0], have, otherwise="")
        raise DataError(
            f"{table.path}: expected a column {missing[0]!r}{hint}, got {', '.join(have)}."
        )


def _value_error(table: TextTable, name: str, row: int, expected: str) -> DataError:
    if whole := table.malformed(row):
        return whole
    position, text = table.frame.columns.index(name) + 1, table.frame[name][row] or ""
    unit = "line" if table.raw else "row"
    return DataError(
        f"{table.path}, {table.place(row)}, column {position} ({name}): expected {expected}, got "
        f"{text[:40]!r}. Correct or delete the {unit}."
    )


def read_ids(table: TextTable, name: str) -> pl.Series:
    """Returns ids [n]: Int64 if all are whole numbers as one writes them, else text as written.

    So 07 is another id than 7.

    Raises:
      DataError: if one is empty, a negative number or a word such as nan, NULL, none or NA: it
        means that an id is missing, and would become a user or an item that does not exist.

    Example:
      >>> read_ids(TextTable("f", pl.DataFrame({"user": ["anna", "NaN"]})), "user")
      Traceback (most recent call last):
      ...
      autolossgen.data.types.DataError: f, row 2, column 1 (user): expected an id: a whole...
    """
    words = read_column(table, name, WORD)
    numbers = words.cast(pl.Int64, strict=False)
    return numbers if (numbers.cast(pl.String) == words).fill_null(False).all() else words


def unify_ids(ids: list[pl.Series]) -> list[pl.Series]:
    """Returns the ids of several files as words in all if they are words in one.

    Example:
      >>> [part.to_list() for part in unify_ids([pl.Series([7, 8]), pl.Series(["x"])])]
      [['7', '8'], ['x']]
    """
    if any(values.dtype == pl.String for values in ids):
        return [values.cast(pl.String) for values in ids]
    return ids


def read_times(table: TextTable, name: str) -> np.ndarray:
    """Returns seconds float64[n] since 1970, of numbers or ISO dates.

    The largest number decides the unit of all: over 1e11 milliseconds, over 1e14 microseconds, over
    1e17 nanoseconds.

    Example:
      >>> table = TextTable("f", pl.DataFrame({"t": ["1970-01-02", "1970-01-01 00:00:09"]}))
      >>> read_times(table, "t").tolist()
      [86400.0, 9.0]
    """
    require_columns(table, (name,))
    text = table.frame[name].str.strip_chars()
    seconds = text.cast(pl.Float64, strict=False)
    # A file of dates has not one number.
    if seconds.null_count() == len(seconds) > text.null_count():
        seconds = _parse_dates(text)
        expected = "a date such as 2024-05-31 or 2024-05-31 18:00:00"
    else:
        expected = NUMBER.expected
    good = seconds.is_finite().fill_null(False)
    if not good.all():
        raise _value_error(table, name, find_first_bad(good), expected)
    values = seconds.to_numpy()
    return values / 1000.0 ** int(np.searchsorted(UNIT_LIMITS, np.abs(values).max(initial=0)))


def _parse_dates(text: pl.Series) -> pl.Series:
    plain = text.str.replace("T", " ").str.replace(r"(Z|\+00:?00)$", "")
    whole = plain.str.replace(r"^(\d{4}-\d{2}-\d{2})$", "$1 00:00:00")
    moments = whole.str.to_datetime("%Y-%m-%d %H:%M:%S%.f", strict=False, time_unit="us")
    return moments.dt.epoch("us") / 1e6


class Index(NamedTuple):
    """Which row of its table each id has."""

    known: pl.Series | None  # ids in the order of their rows; None where an id is its own row
    size: int  # rows of the table

    @property
    def ids(self) -> pl.Series:
        """The id of each row [size]; where ids are rows, some may occur nowhere."""
        return pl.Series(np.arange(self.size)) if self.known is None else self.known

    def rows(self, ids: pl.Series) -> np.ndarray:
        """Returns the row int32[n] of each id, -1 for an unknown one."""
        if self.known is None:
            numbers = ids.to_numpy()
            is_row = (numbers >= 0) & (numbers < self.size)
            return np.where(is_row, numbers, -1).astype(np.int32)
        rows = pl.DataFrame({"id": self.known, "row": np.arange(len(self.known), dtype=np.int32)})
        joined = pl.DataFrame({"id": ids}).join(rows, on="id", how="left", maintain_order="left")
        return joined["row"].fill_null(-1).to_numpy()

    def read(self, table: TextTable, name: str) -> np.ndarray:
        """Returns the row int32[n] of each id in a column of another table of these things."""
        words = table.frame[name].str.strip_chars()
        is_text = self.known is not None and self.known.dtype == pl.String
        ids = words if is_text else words.cast(pl.Int64, strict=False)
        return self.rows(ids.fill_null("" if is_text else -1))


def make_index(ids: pl.Series) -> Index:
    """Assigns rows to ids [n]: their own numbers where these are dense, else in ascending order.

    Example:
      >>> make_index(pl.Series([3, 1, 2]))
      Index(known=None, size=4)
      >>> make_index(pl.Series(["b", "a"])).rows(pl.Series(["a", "b", "c"])).tolist()
      [0, 1, -1]
    """
    distinct = ids.unique().sort()
    if distinct.dtype == pl.Int64 and int(distinct[-1]) <= ROWS_PER_ID * len(distinct) + SPARE_ROWS:
        return Index(None, int(distinct[-1]) + 1)
    return Index(distinct, len(distinct))
