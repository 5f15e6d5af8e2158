"""The one kind of table that files become. Letters: ``n`` rows of a file.

Text still has every mistake of the file in it, at its row; ``columns`` says what it means.
"""

import json
from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple

import polars as pl

from ..types import DataError
from .quotes import find_line

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
        """Returns where row ``row`` (from 0) is: its line, or its number in a file without lines.

        Example:
          >>> TextTable("f", pl.DataFrame({"user": ["1"]})).place(0)
          'row 1'
        """
        if self.layout:
            place = row + self.layout.header
            if self.layout.quoted and b'"' in self.raw:
                return f"line {find_line(self.raw, self.layout.separator, place)}"
            return f"line {place + 1}"
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
        """Returns what is wrong with row ``row`` as a whole: a line of JSON that is no object."""
        if not self.raw or self.layout:
            return None  # rows of text are whole, or the file was not read
        return describe_json_line(self.path, *self._json_line(row))


def describe_json_line(path: str, number: int, line: bytes) -> DataError | None:
    """Returns what is wrong with a line of JSON, if it is no object."""
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


def first_line_of(error: BaseException) -> str:
    """Returns the first line of what a library says."""
    return str(error).splitlines()[0].rstrip(".")
