"""What the columns of a table mean: ids, numbers, labels. Letters: ``n`` rows of a table."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import polars as pl

from autolossgen.suggest import did_you_mean

from .tables import MAX_SHOWN, TextTable, find_values_in_header
from .types import DataError

MAX_ID = 2**31 - 2  # ids and table sizes (largest id + 1) are int32
# Ids keep their numbers if their table has at most this many rows for each id, and some more.
# MovieLens-1M's films fill 3,706 of 3,953 rows; those of ml-latest-small 9,724 of 193,610.
ROWS_PER_ID, SPARE_ROWS = 2, 1_000
BLANKS = " \t\r\x0b\x0c\xa0"  # that do not matter around a value; a line end in quotes does
MOST_VALUES = 6  # values in a message


class Kind(NamedTuple):
    """A kind of value that a column can be required to hold."""

    expected: str
    dtype: type[pl.DataType]
    valid: Callable[[pl.Series], pl.Series]  # [n] -> bool[n]


ID = Kind(f"a whole number from 0 to {MAX_ID}", pl.Int64, lambda x: (x >= 0) & (x <= MAX_ID))
NUMBER = Kind("a finite number", pl.Float64, lambda x: x.is_finite())
LABEL = Kind("0 or 1", pl.Float64, lambda x: (x == 0) | (x == 1))
# What programs write for something that is missing.
MISSING_ID = r"(?i)^([-+]?(nan|inf|infinity)|null|none|nil|na|n/a|<na>|nat)$"
WORD = Kind(
    "an id: a number, or a word that does not mean a missing one, on one line",
    pl.String,
    lambda x: (x != "") & ~x.str.contains(MISSING_ID) & ~x.str.contains(r"[\r\n]"),
)
WHOLE_NUMBER = r"^[-+]?\d+(\.0*)?$"
# What two-valued columns hold in place of 0 and 1.
LABEL_WORDS = (("false", "true"), ("f", "t"), ("no", "yes"), ("n", "y"))


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
    text = table.frame[name].str.strip_chars(BLANKS)
    values = text.cast(kind.dtype, strict=False)
    good = kind.valid(values).fill_null(False)
    if not good.all():
        raise describe_value(table, name, find_first_bad(good), kind.expected)
    return values


def find_first_bad(good: pl.Series) -> int:
    """Returns the first row that is not good, of bool [n] where one is not."""
    return int((~good).arg_true()[0])


def locate_row(tables: Sequence[TextTable], row: int) -> tuple[TextTable, int]:
    """Returns the table that a row of some tables, one after the other, is in, and which it is."""
    for table in tables:
        if row < len(table.frame):
            return table, row
        row -= len(table.frame)
    raise IndexError(row)


def require_columns(table: TextTable, names: tuple[str, ...]) -> None:
    """Checks that the table has all columns ``names``.

    Raises:
      DataError: unless the table has all columns ``names``.
    """
    if missing := table.missing(names):
        raise _describe_missing(table, missing[0])


def _describe_missing(table: TextTable, name: str) -> DataError:
    """Returns why a table has no column of a name."""
    if kind := table.unread.get(name):
        return DataError(
            f"{table.path}: the column {name!r} is of type {kind}, which is no "
            f"number, word or time. Write it as one of these, or name another column."
        )
    have = table.frame.columns
    if table.layout and (values := find_values_in_header(table.path, have)):
        return values
    hint = did_you_mean(name, have, otherwise="")
    if table.layout and len(have) == 1 and " " not in have[0]:
        hint = ""
        how = (
            f" One column was read, by the separator {table.layout.separator!r}: is it another? "
            f"Give it, --config.data.separator=..."
        )
    else:
        how = "" if hint else " Name yours: data.user, data.item, data.label, data.time."
        if not hint and table.layout:
            how += " Or is line 1 no line of names? Give these as data.columns, in their order."
    return DataError(f"{table.path}: expected a column {name!r}{hint}, got {', '.join(have)}.{how}")


def describe_value(
    table: TextTable, name: str, row: int, expected: str, remedy: str | None = None
) -> DataError:
    """Returns what is wrong with the value of a row, with its place and, but for "", a remedy."""
    if whole := table.malformed(row):
        return whole
    position, text = table.frame.columns.index(name) + 1, table.frame[name][row] or ""
    unit = "line" if table.raw else "row"
    remedy = f" Correct or delete the {unit}." if remedy is None else remedy
    return DataError(
        f"{table.path}, {table.place(row)}, column {position} ({name}): expected {expected}, got "
        f"{text[:40]!r}.{remedy}"
    )


def read_ids(table: TextTable, name: str) -> pl.Series:
    """Returns ids [n]: Int64 if all are whole numbers as one writes them, else text as written.

    So 07 is another id than 7, and numbers may be negative, as those of hashes are.

    Raises:
      DataError: if one is empty or a word such as nan, NULL, none or NA, or the only negative one
        is -1: it means that an id is missing, and would become a user or an item that does not
        exist. Or if one goes over several lines, as where a stray quote takes them together.

    Example:
      >>> read_ids(TextTable("f", pl.DataFrame({"user": ["anna", "NaN"]})), "user")
      Traceback (most recent call last):
      ...
      autolossgen.data.types.DataError: f, row 2, column 1 (user): expected an id: a number...
    """
    words = read_column(table, name, WORD)
    numbers = words.cast(pl.Int64, strict=False)
    negative = words.filter(words.str.contains(r"^-\d"))
    if len(negative) and negative.is_in(["-1", "-1.0"]).all():
        row = find_first_bad(~words.is_in(negative.implode()))
        expected = f"{WORD.expected}; -1, where no other is negative, means a missing one"
        raise describe_value(table, name, row, expected)
    return numbers if (numbers.cast(pl.String) == words).fill_null(False).all() else words


def describe_spellings(field: str, ids: pl.Series) -> list[str]:
    """Returns a note on ids that are one whole number, written in several ways.

    Example:
      >>> describe_spellings("user", pl.Series(["7", "07", "x"]))
      ["WARNING: 2 user ids differ in how a number is written alone, such as '07' and '7': each ...
    """
    if ids.dtype != pl.String:
        return []
    words = ids.unique().sort()
    words = words.filter(words.str.contains(WHOLE_NUMBER))
    number = words.str.replace(r"\.0*$", "").str.replace(r"^\+?(-?)0*(\d)", "$1$2")
    frame = pl.DataFrame({"word": words, "number": number})
    several = frame.filter(pl.len().over("number") > 1).sort("number", "word")
    if several.is_empty():
        return []
    one, other = several["word"][0], several["word"][1]
    return [
        f"WARNING: {len(several):,} {field} ids differ in how a number is written alone, such as "
        f"{one!r} and {other!r}: each is an id of its own. Write them in one way if they are not"
    ]


def describe_separators(
    field: str, tables: Sequence[TextTable], ids: Sequence[pl.Series]
) -> list[str]:
    """Returns a note on ids that hold the separator of columns, which quotes allow."""
    notes = []
    for table, values in zip(tables, ids, strict=True):
        if values.dtype != pl.String or not (table.layout and table.layout.quoted):
            continue
        separator = table.layout.separator
        found = values.filter(values.str.contains(separator, literal=True))
        if len(found):
            notes.append(
                f"{found.n_unique():,} {field} ids of {Path(table.path).name} hold the separator "
                f"{separator!r}, in quotes, such as {found[0][:MAX_SHOWN]!r}"
            )
    return notes


def describe_words(field: str, tables: Sequence[TextTable], ids: Sequence[pl.Series]) -> list[str]:
    """Returns a note on ids that are words since some are no numbers, in one file or another."""
    if ids[0].dtype != pl.String:
        return []
    is_number = [
        (values.cast(pl.Int64, strict=False).cast(pl.String) == values).fill_null(False)
        for values in ids
    ]
    if not any(known.any() for known in is_number):
        return []
    at = next(k for k, known in enumerate(is_number) if not known.all())
    row = find_first_bad(is_number[at])
    place = f"{Path(tables[at].path).name}, {tables[at].place(row)}"
    return [f"all {field} ids are words, since {ids[at][row]!r} is no number ({place})"]


def unify_ids(ids: list[pl.Series]) -> list[pl.Series]:
    """Returns the ids of several files as words in all if they are words in one.

    Example:
      >>> [part.to_list() for part in unify_ids([pl.Series([7, 8]), pl.Series(["x"])])]
      [['7', '8'], ['x']]
    """
    if any(values.dtype == pl.String for values in ids):
        return [values.cast(pl.String) for values in ids]
    return ids


class Labels(NamedTuple):
    """Which rows are likes, and how that was read."""

    values: np.ndarray  # float32 [n] of all tables, 0 or 1
    note: str


def read_labels(
    tables: Sequence[TextTable], name: str, threshold: float | None, *, at_least: bool = False
) -> Labels:
    """Returns the labels of the rows of some tables, one after the other.

    Args:
      tables: of one set of interactions.
      name: of the column; empty where every row is a like.
      threshold: a rating above it is a like; None for labels, which are 0 and 1, or other two
        values that cannot be mistaken: -1 and 1, or false and true, no and yes, also in short.
      at_least: whether a rating that equals ``threshold`` is a like, too.

    Raises:
      DataError: naming the first place with another value, and the key that says what it means.

    Example:
      >>> read_labels([TextTable("f", pl.DataFrame({"y": ["-1", "1"]}))], "y", None).values.tolist()
      [0.0, 1.0]
    """
    if not name:
        num_rows = sum(len(table.frame) for table in tables)
        return Labels(np.ones(num_rows, np.float32), "no labels: all are positives")
    for table in tables:
        require_columns(table, (name,))
    if threshold is not None:
        ratings = pl.concat([read_column(table, name, NUMBER) for table in tables]).to_numpy()
        likes = ratings >= threshold if at_least else ratings > threshold
        note = f"label 1 is a rating {'of at least' if at_least else 'above'} {threshold:g}"
        return Labels(likes.astype(np.float32), note)
    words = pl.concat([table.frame[name].str.strip_chars().str.to_lowercase() for table in tables])
    numbers = words.cast(pl.Float64, strict=False)
    if LABEL.valid(numbers).fill_null(False).all():
        return Labels(numbers.to_numpy().astype(np.float32), "label as in the file")
    values = words.unique()
    if numbers.is_in([-1.0, 1.0]).all() and not numbers.null_count():
        return Labels(
            (numbers > 0).to_numpy().astype(np.float32), "label 1 is 1, and label 0 is -1"
        )
    for dislike, like in LABEL_WORDS:
        if values.is_in([dislike, like]).all() and not values.null_count():
            labels = (words == like).to_numpy().astype(np.float32)
            return Labels(labels, f"label 1 is {like!r}, and label 0 is {dislike!r}")
    raise _describe_labels(tables, name, numbers, at_least)


def _describe_labels(
    tables: Sequence[TextTable], name: str, numbers: pl.Series, at_least: bool
) -> DataError:
    """Returns what is wrong with a column that holds no labels."""
    good = LABEL.valid(numbers).fill_null(False)
    is_number = numbers.is_finite().fill_null(False)
    table, row = locate_row(tables, find_first_bad(good if is_number.all() else is_number))
    error = describe_value(table, name, row, LABEL.expected, remedy="")
    if not is_number.all():
        known = ", ".join(f"{like} and {dislike}" for dislike, like in LABEL_WORDS)
        return DataError(
            f"{error} Correct or delete the line; or write labels as 0 and 1, -1 and 1, {known}."
        )
    found = numbers.unique().sort()
    middle = (found[0] + found[-1]) / 2
    threshold = found.filter(found > middle)[0] if at_least else found.filter(found <= middle)[-1]
    held = (
        ", ".join(f"{value:g}" for value in found)
        if len(found) <= MOST_VALUES
        else f"numbers from {found[0]:g} to {found[-1]:g}"
    )
    which = "a rating of at least that is" if at_least else "a rating above that is"
    return DataError(
        f"{error} The column holds {held}: say which of them are likes, as in "
        f"--config.data.threshold={threshold:g} ({which} a like), or leave data.label "
        f"empty if every row is one."
    )


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
        row = self.rows(ids.fill_null("" if is_text else -1))
        return np.where(ids.is_null().to_numpy(), np.int32(-1), row)  # -1 may be an id

    def show(self, number: int = 3) -> str:
        """Returns the first ids in words."""
        if self.known is None:
            return f"whole numbers up to {self.size - 1:,}"
        return ", ".join(repr(one) for one in self.known.head(number))


def make_index(ids: pl.Series) -> Index:
    """Assigns rows to ids [n]: their own numbers where these are dense, else in ascending order.

    Example:
      >>> make_index(pl.Series([3, 1, 2]))
      Index(known=None, size=4)
      >>> make_index(pl.Series(["b", "a"])).rows(pl.Series(["a", "b", "c"])).tolist()
      [0, 1, -1]
    """
    distinct = ids.unique().sort()
    if distinct.dtype == pl.Int64 and distinct[0] >= 0:
        size = int(distinct[-1]) + 1
        if size <= ROWS_PER_ID * len(distinct) + SPARE_ROWS + 1:
            return Index(None, size)
    return Index(distinct, len(distinct))
