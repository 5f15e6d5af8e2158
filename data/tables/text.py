"""Text files: lines of fields between separators, in quotes or not."""

import csv
import re
from collections.abc import Iterator

import polars as pl

from ..types import DataError
from .quotes import describe_field_count, has_quotes, read_rows
from .table import MAX_SHOWN, Layout, TextTable, first_line_of

DOUBLE_COLON, UNIT_SEPARATOR = "::", "\x1f"  # polars separates at one byte; no file holds this one
MANY_ROWS = 100_000  # that become columns together
UTF16_MARKS, UTF8_MARK = (b"\xff\xfe", b"\xfe\xff"), b"\xef\xbb\xbf"


def read_first_line(raw: bytes) -> str:
    r"""Returns the first line of a text, without its end and without a byte order mark.

    Example:
      >>> read_first_line(b"user,item\r\n1,2\r\n")
      'user,item'
    """
    start = raw[:1_000_000].removeprefix(UTF8_MARK)
    return re.split(rb"[\r\n]", start, maxsplit=1)[0].decode(errors="replace")


def read_text(raw: bytes, path: str, layout: Layout) -> TextTable:
    r"""Reads a text file's bytes into a table. Each row has a field for each column.

    Raises:
      DataError: if there are no rows, a row has more or fewer fields than there are columns, a
        quote is not closed or closed rows later, or two columns have one name.

    Example:
      >>> layout = Layout("::", ("user", "item"), header=False)
      >>> read_text(b"1::5\n2::7\n", "f", layout).frame["item"].to_list()
      ['5', '7']
    """
    raw = _clean(raw, path, layout)
    if not raw or (layout.header and b"\n" not in raw):
        what = "has a header and no rows" if raw else "is empty"
        names = ", ".join(layout.columns) or "a header and rows"
        raise DataError(f"{path} {what}: expected lines of {names}.")
    if not layout.columns:
        layout = layout._replace(columns=_read_header(raw, path, layout))
    table = TextTable(path, pl.DataFrame(), raw, layout)
    if layout.quoted and has_quotes(raw, layout.separator):
        return table._replace(frame=_read_quoted(table, layout))
    return table._replace(frame=_read_plain(table, layout))


def _clean(raw: bytes, path: str, layout: Layout) -> bytes:
    """Returns a text in UTF-8, with line ends that polars knows."""
    if raw.startswith(UTF16_MARKS):
        raise DataError(f"{path} is written in UTF-16. Save it as UTF-8.")
    if b"\0" in raw:
        raise DataError(
            f"{path} holds bytes of value 0, as no text in UTF-8 does: is it UTF-16, damaged, or "
            f"of another format? Save it as UTF-8 text, or as Parquet."
        )
    if layout.encoding != "utf-8":
        raw = raw.decode(layout.encoding).encode()
    raw = raw.removeprefix(UTF8_MARK).rstrip(b"\r\n ")
    return raw if b"\n" in raw else raw.replace(b"\r", b"\n")  # lines of old Macs end so


def _read_plain(table: TextTable, layout: Layout) -> pl.DataFrame:
    """Reads a text in which quotes are letters like others."""
    raw, separator = table.raw, layout.separator
    if separator == DOUBLE_COLON:
        raw, separator = raw.replace(DOUBLE_COLON.encode(), UNIT_SEPARATOR.encode()), UNIT_SEPARATOR
    try:
        frame = _read_csv(raw, layout, separator)
    except pl.exceptions.PolarsError as error:
        raise _table_error(table, layout, error) from error
    # Polars fills rows that are too short and refuses those that are too long.
    num_lines = len(frame) + layout.header
    if raw.count(separator.encode()) != num_lines * (len(layout.columns) - 1):
        raise _table_error(table, layout, ValueError("its rows have different numbers of fields"))
    return frame


def _read_csv(raw: bytes, layout: Layout, separator: str) -> pl.DataFrame:
    return pl.read_csv(
        raw,
        has_header=False,
        skip_rows=int(layout.header),
        separator=separator,
        schema=dict.fromkeys(layout.columns, pl.String),
        quote_char=None,
    )


def _read_quoted(table: TextTable, layout: Layout) -> pl.DataFrame:
    """Reads a text with fields in quotes.

    Each row is looked at, for polars takes what a stray quote begins for a field, without a word.
    """
    _check_utf8(table.raw, table.path)
    rows = read_rows(table.raw, table.path, layout.separator, layout.columns)
    if layout.header:
        next(rows)
    schema = dict.fromkeys(layout.columns, pl.String)
    parts, some = [], []
    for fields in rows:
        some.append(fields)
        if len(some) == MANY_ROWS:
            parts.append(pl.DataFrame(some, schema=schema, orient="row"))
            some = []
    parts.append(pl.DataFrame(some, schema=schema, orient="row"))
    frame = pl.concat(parts)
    return frame.with_columns(pl.when(pl.all() != "").then(pl.all()))  # null where a field is empty


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
    line = first.decode().rstrip("\r")
    if not line.strip():
        raise DataError(
            f"{path}, line 1: expected the names of columns, got an empty line. Delete it."
        )
    if re.fullmatch(r'(?i)"?sep=.?"?', line.strip()):
        raise DataError(
            f"{path}, line 1: {line.strip()!r} is meant for Excel. Delete the line: the next one "
            f"has the names of columns."
        )
    names = [field.strip() for field in _split_header(line, path, layout)]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        several = layout.separator == " " and not twice[0]
        how = "Write one blank or tab between columns" if several else "Rename a column"
        raise find_values_in_header(path, names) or DataError(
            f"{path}, line 1: the name {twice[0]!r} occurs twice. {how}."
        )
    return tuple(names)


def _split_header(line: str, path: str, layout: Layout) -> list[str]:
    if not (layout.quoted and has_quotes(line.encode(), layout.separator)):
        return line.split(layout.separator)
    try:
        return next(csv.reader([line], delimiter=layout.separator, strict=True))
    except csv.Error as error:
        raise DataError(
            f"{path}, line 1: expected the names of columns, each in quotes or none, got "
            f"{line[:MAX_SHOWN]!r} ({error}). Correct the line, or give "
            f"--config.data.quoted=False."
        ) from None


def find_values_in_header(path: str, names: list[str]) -> DataError | None:
    """Returns what is wrong with a first line if half of its names or more are numbers or dates.

    Example:
      >>> find_values_in_header("f", ["user", "item"]) is None
      True
    """
    num_values = sum(bool(VALUE.fullmatch(name)) for name in names)
    if 2 * num_values < len(names) or not num_values:
        return None
    shown = ", ".join(names)[:60]
    return DataError(
        f"{path}, line 1: expected the names of columns, and the first line seems to hold values, "
        f"{shown!r}. Write a line of names above it, or give the names in their order: "
        f"--config.data.columns=\"('user', 'item', 'rating', 'time')\" for the interactions."
    )


VALUE = re.compile(r"[-+]?\d+([.,]\d*)?(e[-+]?\d+)?|\d{4}-\d{2}-\d{2}.*")


def _table_error(table: TextTable, layout: Layout, error: Exception) -> DataError:
    """Returns what is wrong with the first bad row of a file without quotes."""
    _check_utf8(table.raw, table.path)
    wrong = _find_other_counts(table.raw, layout)
    if first := next(wrong, None):
        line, fields = first
        place, separator = f"line {line}", layout.separator
        return describe_field_count(table.path, place, separator, layout.columns, fields)
    return DataError(f"{table.path} could not be read: {first_line_of(error)}.")


def _find_other_counts(raw: bytes, layout: Layout) -> Iterator[tuple[int, list[str]]]:
    """Yields line and fields of the rows that have not one field for each column."""
    for number, text in enumerate(raw.decode(errors="replace").split("\n"), 1):
        fields = text.rstrip("\r").split(layout.separator)
        if number > layout.header and len(fields) != len(layout.columns):
            yield number, fields
