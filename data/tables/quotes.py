"""Fields in double quotes: which rows they make of the lines of a file.

A quote counts where a field begins with it. It is closed by a quote in front of a separator or a
line end; one that belongs to the text is written twice (RFC 4180). A quote that is not meant so
takes the lines up to the next one with it, so each is looked at.
"""

import csv
import io
from collections.abc import Iterator, Sequence

from ..types import DataError

MAX_FIELD = 40  # characters of a field in a message
MAX_CHECKED = 1_000  # lines of one field that are looked at


def has_quotes(raw: bytes, separator: str) -> bool:
    r"""Returns whether a field of a file begins with a quote.

    Example:
      >>> has_quotes(b'1,12" single,5\n', ","), has_quotes(b'1,"single",5\n', ",")
      (False, True)
    """
    starts = (b"\n", b"\r", separator.encode())
    return raw.startswith(b'"') or any(start + b'"' in raw for start in starts)


def _read_lines(raw: bytes) -> io.TextIOWrapper:
    return io.TextIOWrapper(io.BytesIO(raw), encoding="utf-8", errors="replace", newline="")


def find_line(raw: bytes, separator: str, row: int) -> int:
    r"""Returns the line (from 1) on which a row (from 0) of a file begins.

    Example:
      >>> find_line(b'1,"a\nb"\n2,c\n', ",", 1)
      3
    """
    reader = csv.reader(_read_lines(raw), delimiter=separator)
    for _ in range(row):
        next(reader)
    return reader.line_num + 1


def read_rows(raw: bytes, path: str, separator: str, columns: Sequence[str]) -> Iterator[list[str]]:
    """Yields the fields of each row, the header among them.

    Raises:
      DataError: for a row with another number of fields than there are columns, a quote that is not
        closed, and one that is closed after lines which look like rows of their own: with its line,
        column, and how to go on.
    """
    reader = csv.reader(_read_lines(raw), delimiter=separator, strict=True)
    while True:
        line = reader.line_num + 1
        try:
            fields = next(reader)
        except StopIteration:
            return
        except csv.Error:
            raise _describe_open_quote(raw, path, separator, columns, line) from None
        if len(fields) != len(columns):
            raise describe_field_count(path, f"line {line}", separator, columns, fields)
        if reader.line_num > line:
            _check_field_of_lines(raw, path, separator, columns, (line, reader.line_num))
        yield fields


def _describe_open_quote(
    raw: bytes, path: str, separator: str, columns: Sequence[str], line: int
) -> DataError:
    """Returns what is wrong with the quotes of the row that begins on a line."""
    (text,) = _take_lines(raw, line, line)
    number, field = next(
        (
            (number, field)
            for number, field in enumerate(text.split(separator))
            if field.startswith('"') and not _is_closed(field)
        ),
        (0, text),
    )
    return DataError(
        f"{path}, line {line}, {_name_column(columns, number)}: a quote opens here and is not "
        f"closed in front of a separator, in {field[:MAX_FIELD]!r}. {_REMEDY}"
    )


def _is_closed(field: str) -> bool:
    inner = field[1:].replace('""', "")
    return inner.endswith('"') and '"' not in inner[:-1]


_REMEDY = (
    "If quotes are letters like others in this file, give --config.data.quoted=False; otherwise "
    "correct the line (a quote inside of quotes is written twice)."
)


def _check_field_of_lines(
    raw: bytes, path: str, separator: str, columns: Sequence[str], lines: tuple[int, int]
) -> None:
    """Checks that a row of several lines is one, and not rows that a stray quote has swallowed.

    Text that goes over several lines is cut at any place. Swallowed rows each have as many fields
    as there are columns.
    """
    first, last = lines
    texts = _take_lines(raw, first, min(last, first + MAX_CHECKED))
    if any(text.count(separator) != len(columns) - 1 for text in texts):
        return
    number, field = next(
        ((k, field) for k, field in enumerate(texts[0].split(separator)) if field.startswith('"')),
        (0, texts[0]),
    )
    raise DataError(
        f"{path}, line {first}, {_name_column(columns, number)}: a quote opens here, in "
        f"{field[:MAX_FIELD]!r}, and is closed on line {last}: {last - first + 1} lines, each of "
        f"which looks like a row, would be one. {_REMEDY}"
    )


def _take_lines(raw: bytes, first: int, last: int) -> list[str]:
    """Returns lines of a file, without their ends."""
    texts = []
    for number, text in enumerate(_read_lines(raw), 1):
        if number >= first:
            texts.append(text.rstrip("\r\n"))
        if number == last:
            break
    return texts


def _name_column(columns: Sequence[str], number: int) -> str:
    name = f" ({columns[number]})" if number < len(columns) else ""
    return f"column {number + 1}{name}"


def describe_field_count(
    path: str, place: str, separator: str, columns: Sequence[str], fields: Sequence[str]
) -> DataError:
    """Returns what is wrong with a row that has too few or too many fields."""
    return DataError(
        f"{path}, {place}: expected {len(columns)} fields separated by {separator!r} "
        f"({', '.join(columns)}), got {len(fields)} in {separator.join(fields)[:60]!r}. Correct or "
        f"delete the line."
    )
