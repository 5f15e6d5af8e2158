"""Recognizes the format of a rating file by its first line."""

from collections.abc import Sequence
from typing import NamedTuple

from .columns import ID, Kind
from .tables import (
    DOUBLE_COLON,
    MAX_SHOWN,
    Layout,
    TextTable,
    read_first_line,
    read_json_lines,
    read_text,
)
from .types import DataError

RATINGS = ("user", "item", "rating", "time")
LABELLED = ("user", "item", "label")
# Names in a header: RecBole's typed ones (``user_id:token``), those of the original's splits, and
# those of ml-latest-small.
HEADER_NAMES = {
    "user_id": "user",
    "item_id": "item",
    "rating": "rating",
    "timestamp": "time",
    "uid": "user",
    "iid": "item",
    "label": "label",
    "userId": "user",
    "movieId": "item",
    "user": "user",
    "item": "item",
}
USUAL_SEPARATORS = ("\t", ",", ";", "|", DOUBLE_COLON)
RARE_SEPARATORS = (" ", "\x01", "^", "~")  # where the names of columns say so
ASIN_LENGTH = 10  # of Amazon's item ids; those of its reviewers are longer


class Roles(NamedTuple):
    """Which column of a table holds what."""

    user: str = "user"
    item: str = "item"
    label: str = "rating"  # empty where every row is a positive
    time: str = "time"  # empty where the order of the file is that of time
    ids: Kind | None = ID  # of users and items; None for words and for numbers of any size


REVIEW = Roles("reviewerID", "asin", "overall", "unixReviewTime", ids=None)


def read_ratings(raw: bytes, path: str) -> tuple[TextTable, Roles]:
    r"""Reads the table of a MovieLens-like rating file.

    Understands ``user::item::rating::time`` (ML-1M, MovieTweetings), tab-separated without header
    (ML-100K) and with one (RecBole ``.inter``), and commas below a header (ml-latest-small).

    Raises:
      DataError: if the first line is none of these.

    Example:
      >>> read_ratings(b"1::5::4::978300760\n", "ratings.dat")[0].frame.rows()
      [('1', '5', '4', '978300760')]
    """
    first = read_first_line(raw)
    if "::" in first:
        return read_text(raw, path, Layout("::", RATINGS, header=False)), Roles()
    for separator in "\t,":
        if columns := _match_header(first, separator, RATINGS, path):
            return read_text(raw, path, Layout(separator, columns)), Roles()
    if "\t" in first or not first.strip():
        return read_text(raw, path, Layout("\t", RATINGS, header=False)), Roles()
    raise _format_error(path, first, RATINGS)


def read_labelled(raw: bytes, path: str) -> TextTable:
    """Reads one part of a split like the original's: tab-separated ``uid iid label``.

    Raises:
      DataError: if the first line is no such header.
    """
    first = read_first_line(raw)
    columns = _match_header(first, "\t", LABELLED, path)
    if not columns and first.strip():
        raise _format_error(path, first, LABELLED)
    return read_text(raw, path, Layout("\t", columns or LABELLED))


def read_reviews(raw: bytes, path: str) -> tuple[TextTable, Roles]:
    r"""Reads the table of an Amazon review or rating file.

    Understands JSON lines, and commas with a header or without: then the column whose words all
    have the length of an item id is the item's, or the first one if that is both or neither.

    Raises:
      DataError: for a first line that is neither.

    Example:
      >>> read_reviews(b"A2CX7LUOHB2NDG,0321732944,5.0,1341100800\n", "ratings.csv")[1].ids is None
      True
    """
    if raw.lstrip().startswith(b"{"):
        return read_json_lines(raw, path, REVIEW[:4]), REVIEW
    first = read_first_line(raw)
    columns = _match_header(first, ",", RATINGS, path)
    if not columns and first.count(",") != len(RATINGS) - 1 and first.strip():
        raise DataError(
            f"{path}, line 1: expected JSON with {', '.join(REVIEW[:4])}, or lines of item, user, "
            f"rating and time separated by commas, got {first[:MAX_SHOWN]!r}. Give a file of that "
            f"format."
        )
    if columns:
        return read_text(raw, path, Layout(",", columns)), Roles(ids=None)
    layout = Layout(",", ("item", "user", *RATINGS[2:]), header=False)
    table = read_text(raw, path, layout)
    is_item = [(table.frame[side].str.len_chars() == ASIN_LENGTH).all() for side in RATINGS[:2]]
    if is_item == [True, False]:  # what was taken for users are the items
        frame = table.frame.rename({"item": "user", "user": "item"})
        table = table._replace(frame=frame, layout=layout._replace(columns=RATINGS))
    return table, Roles(ids=None)


def _match_header(
    first: str, separator: str, wanted: tuple[str, ...], path: str
) -> tuple[str, ...]:
    """Returns the columns of a header, known ones by our names; none if it is no header."""
    fields = [field.split(":")[0].strip().strip('"') for field in first.split(separator)]
    columns = tuple(HEADER_NAMES.get(field, field) for field in fields)
    if not set(columns) & set(wanted):
        return ()
    if missing := [column for column in wanted if column not in columns]:
        raise DataError(
            f"{path}, line 1: the header lacks {', '.join(missing)}: expected "
            f"{_describe_formats(wanted)}, got {first[:MAX_SHOWN]!r}."
        )
    return columns


def _describe_formats(wanted: tuple[str, ...]) -> str:
    if wanted == LABELLED:
        return "the tab-separated header 'uid iid label'"
    return (
        "user, item, rating and time separated by tabs or '::', or a header such as RecBole's "
        "'user_id:token item_id:token rating:float timestamp:float'"
    )


def _format_error(path: str, first: str, wanted: tuple[str, ...]) -> DataError:
    return DataError(
        f"{path}, line 1: expected {_describe_formats(wanted)}, got {first[:MAX_SHOWN]!r}. Give a "
        f"file of that format."
    )


def sniff_layout(
    raw: bytes,
    separator: str,
    *,
    wanted: Sequence[str] = (),
    columns: Sequence[str] = (),
    quoted: bool = True,
) -> Layout:
    r"""Returns the layout of a text file.

    Args:
      raw: its bytes.
      separator: of its columns; "" for the first one by which the first line has the names
        ``wanted``, or as many fields as ``columns``, or else for the likeliest.
      wanted: names of columns.
      columns: the names of all columns of a file without a header; empty for one with a header.
      quoted: whether a field may be in double quotes, but between double colons.

    Raises:
      DataError: for a separator that cannot be.

    Example:
      >>> sniff_layout(b"user;item\n1;2\n", "").separator
      ';'
      >>> sniff_layout(b"user item\n1 2\n", "", wanted=("item",)).separator
      ' '
    """
    separator = {"\\t": "\t"}.get(separator, separator)  # as shells leave it
    if not separator:
        separator = _find_separator(read_first_line(raw), wanted, columns)
    is_one_character = len(separator) == 1 and separator.isascii() and separator not in '"\r\n'
    if not is_one_character and separator != DOUBLE_COLON:
        raise DataError(
            f"data.separator is one character, such as ',', or '::', got {separator!r}. Leave it "
            f"empty for the likeliest."
        )
    return Layout(
        separator,
        columns=tuple(columns),
        header=not columns,
        quoted=quoted and separator != DOUBLE_COLON,
    )


def _find_separator(first: str, wanted: Sequence[str], columns: Sequence[str]) -> str:
    for separator in (*USUAL_SEPARATORS, *RARE_SEPARATORS):
        fields = [field.strip().strip('"') for field in first.split(separator)]
        if len(fields) == len(columns) > 1 or (wanted and {*wanted} <= {*fields} and fields[1:]):
            return separator
    return max(USUAL_SEPARATORS, key=first.count)
