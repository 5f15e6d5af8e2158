"""Parquet, Arrow and JSON lines, as the text that a CSV file would hold."""

import io
import json
from collections.abc import Callable

import polars as pl

from ..types import DataError
from .table import TextTable, describe_json_line, first_line_of

READERS: dict[bytes, tuple[str, Callable[[io.BytesIO], pl.DataFrame]]] = {
    b"PAR1": ("Parquet", pl.read_parquet),
    b"ARROW1": ("Arrow", pl.read_ipc),
    b"\xff\xff\xff\xff": ("an Arrow stream", pl.read_ipc_stream),
    b"Obj\x01": ("Avro", pl.read_avro),
}


def read_columnar(raw: bytes, path: str) -> TextTable | None:
    """Reads the bytes of a file of named columns that is no text; None for any other file.

    Columns of a type without a text form, such as bytes, are left out and listed in ``unread``.

    Raises:
      DataError: if it cannot be read, or has no rows.
    """
    for magic, (name, read) in READERS.items():
        if raw.startswith(magic):
            try:
                frame = read(io.BytesIO(raw))
            except (pl.exceptions.PolarsError, pl.exceptions.PanicException, OSError) as error:
                why = first_line_of(error)
                raise DataError(f"{path} cannot be read as {name}: {why}.") from error
            return _make_table(frame, path)
    stripped = raw[:1000].removeprefix(b"\xef\xbb\xbf").lstrip()
    if stripped.startswith(b"{"):
        return _read_own_json_lines(raw.removeprefix(b"\xef\xbb\xbf"), path)
    if stripped.startswith(b"["):
        raise DataError(f"{path} is one JSON array. Write one object a line (JSON lines), or CSV.")
    return None


def _make_table(frame: pl.DataFrame, path: str) -> TextTable:
    """Makes text of typed columns."""
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


def _read_own_json_lines(raw: bytes, path: str) -> TextTable:
    """Reads JSON lines with the keys of the first one."""
    first = raw.lstrip().split(b"\n", 1)[0]
    if wrong := describe_json_line(path, 1, first):
        raise wrong
    values = json.loads(first)
    unread = {key: "JSON" for key, value in values.items() if isinstance(value, dict | list)}
    table = read_json_lines(raw, path, tuple(key for key in values if key not in unread))
    return table._replace(unread=unread)


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
        raise _describe_json_error(raw, path, error) from error
    return TextTable(path, frame, raw)


def _describe_json_error(raw: bytes, path: str, error: Exception) -> DataError:
    for number, line in enumerate(raw.split(b"\n"), 1):
        if line.strip() and (wrong := describe_json_line(path, number, line)):
            return wrong
    return DataError(f"{path} could not be read: {first_line_of(error)}.")
