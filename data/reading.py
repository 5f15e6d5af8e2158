"""Rating files and labelled files as columns. Letters: `n` rows of a file."""

import re
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import polars as pl

from .types import DataError

MAX_ID = 2**31 - 2  # ids and table sizes (largest id + 1) are int32
BLOCK_LINES = 10_000


class Kind(NamedTuple):
    """What a column may hold."""

    dtype: type[pl.DataType]
    expected: str
    text: re.Pattern  # a field that parses
    valid: Callable[[np.ndarray], np.ndarray]  # [n] -> bool[n], or a number -> bool


_NUMBER = re.compile(r"\s*[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", re.ASCII)
ID = Kind(
    pl.Int64,
    f"a whole number from 0 to {MAX_ID}",
    re.compile(r"\s*[+-]?\d+", re.ASCII),
    lambda x: (x >= 0) & (x <= MAX_ID),
)
NUMBER = Kind(pl.Float64, "a finite number", _NUMBER, np.isfinite)
LABEL = Kind(pl.Float64, "0 or 1", _NUMBER, lambda x: (x == 0) | (x == 1))
KINDS = {"user": ID, "item": ID, "rating": NUMBER, "time": NUMBER, "label": LABEL}

RATINGS = ("user", "item", "rating", "time")
LABELLED = ("user", "item", "label")
# Names in a header: RecBole's typed ones (`user_id:token`) and those of the original's splits.
HEADER_NAMES = {
    "user_id": "user",
    "item_id": "item",
    "rating": "rating",
    "timestamp": "time",
    "uid": "user",
    "iid": "item",
    "label": "label",
}


class Layout(NamedTuple):
    """How a text file lays out its columns; a column without a kind is not read."""

    separator: str
    columns: tuple[str, ...]
    header: bool


def read_columns(raw: bytes, where: str, wanted: tuple[str, ...]) -> dict[str, np.ndarray]:
    """Columns `wanted` (RATINGS or LABELLED) of a file's bytes: int64[n] ids, float64[n] others.

    Understands `user::item::rating::time` (ML-1M), tab-separated without header (ML-100K) and with
    one (RecBole `.inter`, the original's splits). `where` names the file in messages. DataError
    with line and column if a line is malformed, a column is missing or the file holds no rows.

    >>> read_columns(b"1::5::4::978300760\\n", "ratings.dat", RATINGS)["item"].tolist()
    [5]
    >>> read_columns(b"1::5::good::978300760\\n", "ratings.dat", RATINGS)
    ... # doctest: +ELLIPSIS
    Traceback (most recent call last):
    ...
    data.types.DataError: ratings.dat, line 1, column 3 (rating): expected a finite number, got ...
    """
    raw = raw.removeprefix(b"\xef\xbb\xbf").rstrip(b"\r\n ")
    if not raw:
        raise DataError(f"{where} is empty: expected lines of {', '.join(wanted)}.")
    layout = _detect(raw.split(b"\n", 1)[0].decode(errors="replace").rstrip("\r"), where, wanted)
    if layout.header and b"\n" not in raw:
        raise DataError(f"{where} has a header and no rows: expected {', '.join(wanted)}.")
    columns = _read_fast(raw, layout, wanted)
    if columns is None:
        raise _first_error(raw, layout, where, wanted)
    return columns


def _detect(first_line: str, where: str, wanted: tuple[str, ...]) -> Layout:
    if "::" in first_line and wanted == RATINGS:
        return Layout("::", RATINGS, header=False)
    fields = first_line.split("\t")
    names = tuple(HEADER_NAMES.get(field.split(":")[0].strip(), field) for field in fields)
    if not set(names) & set(wanted):
        if len(fields) > 1 and wanted == RATINGS:
            return Layout("\t", RATINGS, header=False)
        raise DataError(
            f"{where}, line 1: expected {_formats(wanted)}, got {first_line[:60]!r}. Give a file "
            f"of that format."
        )
    missing = [column for column in wanted if column not in names]
    if missing:
        raise DataError(
            f"{where}, line 1: the header lacks {', '.join(missing)}: expected {_formats(wanted)}, "
            f"got {first_line[:60]!r}."
        )
    return Layout("\t", names, header=True)


def _formats(wanted: tuple[str, ...]) -> str:
    if wanted == LABELLED:
        return "the tab-separated header 'uid iid label'"
    return (
        "user, item, rating and time separated by tabs or '::', or RecBole's header "
        "'user_id:token item_id:token rating:float timestamp:float'"
    )


def _read_fast(raw: bytes, layout: Layout, wanted: tuple[str, ...]) -> dict | None:
    """The wanted columns, or None if any line is not as it should be."""
    columns = list(layout.columns)
    if layout.separator == "::":
        # polars separates at one byte, so the columns alternate with ones that must be empty.
        columns = [name for column in columns for name in (column, "")][:-1]
    keys = [f"{position}" for position in range(len(columns))]
    dtypes = [KINDS[c].dtype if c in wanted else pl.String for c in columns]
    try:
        frame = pl.read_csv(
            raw,
            has_header=False,
            skip_rows=int(layout.header),
            separator=layout.separator[0],
            schema=dict(zip(keys, dtypes, strict=True)),
            quote_char=None,
        )
    except pl.exceptions.PolarsError:
        return None
    if any(frame[k].null_count() < len(frame) for k, c in zip(keys, columns, strict=True) if not c):
        return None
    # A missing value becomes NaN, which no kind accepts.
    found = {column: frame[keys[columns.index(column)]].to_numpy() for column in wanted}
    return found if all(KINDS[c].valid(values).all() for c, values in found.items()) else None


def _first_error(raw: bytes, layout: Layout, where: str, wanted: tuple[str, ...]) -> DataError:
    """What is wrong with the first bad line of a file that is known to be bad."""
    lines = raw.split(b"\n")
    for start in range(int(layout.header), len(lines), BLOCK_LINES):
        block = lines[start : start + BLOCK_LINES]
        # Line by line is slow, so pass over what reads well.
        text = b"\n".join(block) + b"\n"
        if _read_fast(text, layout._replace(header=False), wanted) is not None:
            continue
        for number, line in enumerate(block, start=start + 1):
            if error := _line_error(line.decode(errors="replace"), layout, wanted):
                return DataError(f"{where}, line {number}{error} Correct or delete the line.")
    return DataError(f"{where} could not be read as {_formats(wanted)}.")


def _line_error(line: str, layout: Layout, wanted: tuple[str, ...]) -> str | None:
    fields = line.rstrip("\r").split(layout.separator)
    if len(fields) != len(layout.columns):
        return (
            f": expected {len(layout.columns)} fields separated by {layout.separator!r} "
            f"({', '.join(layout.columns)}), got {len(fields)} in {line[:60]!r}."
        )
    for position, (column, text) in enumerate(zip(layout.columns, fields, strict=True), start=1):
        if column not in wanted:
            continue
        kind = KINDS[column]
        if not (kind.text.fullmatch(text) and kind.valid(float(text))):
            return f", column {position} ({column}): expected {kind.expected}, got {text[:40]!r}."
    return None
