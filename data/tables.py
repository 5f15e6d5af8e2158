"""Files of any format as one kind of table: named columns of text. Letters: ``n`` rows of a file.

Text still has every mistake of the file in it, at its row; ``columns`` says what it means.
"""

import csv
import gzip
import io
import json
import zlib
from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import NamedTuple

import polars as pl

from .types import DataError

DOUBLE_COLON, UNIT_SEPARATOR = "::", "\x1f"  # polars separates at one byte; no file holds this one
MAX_SHOWN = 60  # characters of a bad line


class Layout(NamedTuple):
    """How a text file lays out its columns."""

    separator: str  # one character, or "::"
    columns: tuple[str, ...] = ()  # their names; empty to take them from the first line
    header: bool = True  # whether the first line has names
    quoted: bool = False  # whether a field in double quotes may hold separators and line ends
    encoding: str = "utf-8"


class TextTable(NamedTuple):
    """The columns of a file, and what it takes to name a place in it."""

    path: str  # the file, for messages
    frame: pl.DataFrame  # [n], String columns; null where a field is empty or missing
    raw: bytes = b""  # of text and of JSON lines
    layout: Layout | None = None  # of text
    unread: Mapping[str, str] = MappingProxyType({})  # columns of Parquet left out -> their type

    def place(self, row: int) -> str:
        """Returns where row ``row`` (from 0) is: its line, or its number if lines are ambiguous."""
        if self.layout:
            exact = not (self.layout.quoted and b'"' in self.raw)
            return f"line {row + 1 + self.layout.header}" if exact else f"row {row + 1}"
        return f"line {self._json_line(row)[0]}" if self.raw else f"row {row + 1}"

    def missing(self, names: tuple[str, ...]) -> list[str]:
        """Returns those of ``names`` that are no columns."""
        return [name for name in names if name not in self.frame.columns]

    def _json_line(self, row: int) -> tuple[int, bytes]:
        """Returns number and bytes of the line that row ``row`` of JSON lines is."""
        lines = enumerate(self.raw.split(b"\n"), 1)
        filled = ((number, line) for number, line in lines if line.strip())
        return next(one for seen, one in enumerate(filled) if seen == row)

    def malformed(self, row: int) -> DataError | None:
        """Returns what is wrong with row ``row`` as a whole, if that can be found out."""
        if self.raw and not self.layout:
            return _json_error(self.path, *self._json_line(row))
        if not self.layout or self.layout.quoted:
            return None
        line = self.raw.split(b"\n")[row + self.layout.header].decode(errors="replace")
        fields = line.rstrip("\r").split(self.layout.separator)
        return _field_count_error(self, self.layout, row, fields)


def read_text(raw: bytes, path: str, layout: Layout) -> TextTable:
    r"""Reads a text file's bytes into a table.

    A line with too few fields has nulls for the others.

    Raises:
      DataError: if there are no rows, a line has more fields than there are columns, or two columns
        have one name.

    Example:
      >>> layout = Layout("::", ("user", "item"), header=False)
      >>> read_text(b"1::5\n2::7\n", "f", layout).frame["item"].to_list()
      ['5', '7']
    """
    if raw.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise DataError(f"{path} is written in UTF-16. Save it as UTF-8.")
    if layout.encoding != "utf-8":
        raw = raw.decode(layout.encoding).encode()
    raw = raw.removeprefix(b"\xef\xbb\xbf").rstrip(b"\r\n ")
    if b"\n" not in raw:  # lines of old Macs end so
        raw = raw.replace(b"\r", b"\n")
    if not raw or (layout.header and b"\n" not in raw):
        what = "has a header and no rows" if raw else "is empty"
        names = ", ".join(layout.columns) or "a header and rows"
        raise DataError(f"{path} {what}: expected lines of {names}.")
    if not layout.columns:
        layout = layout._replace(columns=_read_header(raw, path, layout))
    table = TextTable(path, pl.DataFrame(), raw, layout)
    separator = layout.separator
    if separator == DOUBLE_COLON:
        raw, separator = raw.replace(DOUBLE_COLON.encode(), UNIT_SEPARATOR.encode()), UNIT_SEPARATOR
    try:
        frame = pl.read_csv(
            raw,
            has_header=False,
            skip_rows=int(layout.header),
            separator=separator,
            schema=dict.fromkeys(layout.columns, pl.String),
            quote_char='"' if layout.quoted else None,
        )
    except pl.exceptions.PolarsError as error:
        raise _table_error(table, layout, error) from error
    return table._replace(frame=frame)


def _check_utf8(raw: bytes, path: str) -> None:
    """Checks that bytes are UTF-8: read with replacements, two ids might become one."""
    try:
        raw.decode()
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        shown = raw[max(0, error.start - 10) : error.start + 10].decode(errors="replace")
        raise DataError(
            f"{path}, line {line}: expected UTF-8, got the byte {raw[error.start]:#x} in "
            f"{shown!r}. Save the file as UTF-8."
        ) from None


def _read_header(raw: bytes, path: str, layout: Layout) -> tuple[str, ...]:
    first = raw.split(b"\n", 1)[0]
    _check_utf8(first, path)
    line, separator = first.decode().rstrip("\r"), layout.separator
    if not line.strip():
        raise DataError(
            f"{path}, line 1: expected the names of columns, got an empty line. Delete it."
        )
    fields = (
        next(csv.reader([line], delimiter=separator)) if layout.quoted else line.split(separator)
    )
    names = [field.strip() for field in fields]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise DataError(f"{path}, line 1: the name {twice[0]!r} occurs twice. Rename a column.")
    return tuple(names)


def _read_rows(raw: bytes, layout: Layout) -> Iterator[list[str]]:
    """Yields the fields of each row, slowly."""
    text = raw.decode(errors="replace")
    rows: Iterator[list[str]]
    if layout.quoted:
        rows = csv.reader(io.StringIO(text, newline=""), delimiter=layout.separator)
    else:
        rows = (line.rstrip("\r").split(layout.separator) for line in text.split("\n"))
    if layout.header:
        next(rows)
    return rows


def _table_error(table: TextTable, layout: Layout, error: Exception) -> DataError:
    """Returns what is wrong with the first bad row of a file that polars refuses."""
    _check_utf8(table.raw, table.path)
    wrong = [(row, fields) for row, fields in enumerate(_read_rows(table.raw, layout)) if fields]
    # Lines that are too short are read, but for a first one.
    too_long = [(row, fields) for row, fields in wrong if len(fields) > len(layout.columns)]
    for row, fields in too_long or wrong:
        if error_here := _field_count_error(table, layout, row, fields):
            return error_here
    return DataError(f"{table.path} could not be read: {_first_line(error)}.")


def _field_count_error(
    table: TextTable, layout: Layout, row: int, fields: list[str]
) -> DataError | None:
    separator, columns = layout.separator, layout.columns
    if len(fields) == len(columns):
        return None
    return DataError(
        f"{table.path}, {table.place(row)}: expected {len(columns)} fields separated by "
        f"{separator!r} ({', '.join(columns)}), got {len(fields)} in "
        f"{separator.join(fields)[:MAX_SHOWN]!r}. Correct or delete the line."
    )


def read_json_lines(raw: bytes, path: str, names: tuple[str, ...]) -> TextTable:
    """Reads the columns ``names`` of a file with one JSON object a line; skips blank lines.

    Raises:
      DataError: if there are no objects, or naming the first line that is none.

    Example:
      >>> read_json_lines(b'{"asin": "B1", "overall": 5.0}', "f", ("asin",)).frame.rows()
      [('B1',)]
    """
    if not raw.strip():
        raise DataError(f"{path} is empty: expected lines of JSON with {', '.join(names)}.")
    try:
        frame = pl.read_ndjson(raw, schema=dict.fromkeys(names, pl.String))
    except pl.exceptions.PolarsError as error:
        raise _json_lines_error(raw, path, error) from error
    return TextTable(path, frame, raw)


def _json_lines_error(raw: bytes, path: str, error: Exception) -> DataError:
    for number, line in enumerate(raw.split(b"\n"), 1):
        if line.strip() and (wrong := _json_error(path, number, line)):
            return wrong
    return DataError(f"{path} could not be read: {_first_line(error)}.")


def _json_error(path: str, number: int, line: bytes) -> DataError | None:
    try:
        is_object = isinstance(json.loads(line), dict)
    except ValueError:
        is_object = False
    if is_object:
        return None
    shown = line[:MAX_SHOWN].decode(errors="replace")
    return DataError(
        f"{path}, line {number}: expected one JSON object, got {shown!r}. Correct or delete the "
        f"line."
    )


def read_parquet(raw: bytes, path: str) -> TextTable:
    """Reads a Parquet file's bytes into a table, as text that a CSV file would hold.

    Columns of a type without a text form, such as bytes, are left out and listed in ``unread``.

    Raises:
      DataError: if it is not a Parquet file, or has no rows.
    """
    try:
        frame = pl.read_parquet(io.BytesIO(raw))
    except pl.exceptions.PolarsError as error:
        raise DataError(f"{path} cannot be read as Parquet: {_first_line(error)}.") from error
    if frame.is_empty():
        raise DataError(f"{path} has no rows.")
    text, unread = [], {}
    for name, kind in frame.schema.items():
        try:
            text.append(frame.select(_as_text(name, kind)).to_series())
        except pl.exceptions.PolarsError:
            unread[name] = str(kind)
    return TextTable(path, pl.DataFrame(text), unread=unread)


def _as_text(name: str, kind: pl.DataType) -> pl.Expr:
    """Returns a column as text; when run, a PolarsError if its type has no text."""
    column = pl.col(name)
    if kind == pl.Boolean:
        column = column.cast(pl.Int8)
    elif kind in (pl.Date, pl.Datetime):
        column = column.cast(pl.Datetime("us")).dt.epoch("us") / 1e6
    elif kind == pl.List:
        return column.cast(pl.List(pl.String)).list.join("|")
    return column.cast(pl.String)


def decompress(raw: bytes, path: str) -> bytes:
    """Returns the bytes, decompressed if they are gzip's.

    Raises:
      DataError: if cut off.
    """
    if not raw.startswith(b"\x1f\x8b"):
        return raw
    try:
        return gzip.decompress(raw)
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"{path} is not whole gzip ({error}); download it again.") from error


def _first_line(error: Exception) -> str:
    return str(error).splitlines()[0].rstrip(".")
