"""A folder that is split already, as the files of published tables are: train.tsv and test.tsv."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import polars as pl

from autolossgen.interfaces import RankingData

from ..columns import (
    Index,
    describe_spellings,
    describe_words,
    find_first_bad,
    read_ids,
    unify_ids,
)
from ..locate import COMPRESSED_ENDING, MAX_NAMED_FILES, read_file
from ..readers import HEADER_NAMES, sniff_layout
from ..tables import (
    MAX_SHOWN,
    Layout,
    TextTable,
    read_columnar,
    read_first_line,
    read_text,
    read_whole,
)
from ..times import read_times
from ..types import DataError
from .parts import count_of, drop_repeats, make_parts
from .splits import check_seed, check_share, draw_validation

PARTS = {"train": "train", "valid": "(valid|validation|val|dev)", "test": "test"}
# X.train.csv and its like; {} is a part.
PART_PATTERN = r"(?i)(.+[._-])?{}\.(tsv|csv|txt|dat|inter)" + COMPRESSED_ENDING
FIELDS = ("user", "item")
MAX_LOOKED_AT = 1_000_000  # bytes of a file, to see what it is like
WHOLE_NUMBER = re.compile(r"[-+]?\d+(\.\d*)?")


class FolderPairs(NamedTuple):
    """The files of a folder as pairs, with ids from 0 that hold for all files."""

    pairs: dict[str, tuple[np.ndarray, np.ndarray]]  # part -> users and items [n]
    num_users: int
    num_items: int
    notes: tuple[str, ...]
    ids: dict[str, np.ndarray]  # "user" and "item" -> as they are in the files
    time: np.ndarray | None  # float64 of the rows of all parts; None if it is not read


def load_folder(
    path: str | Path, *, valid_share: float = 0.1, split_seed: int = 2024
) -> RankingData:
    """Loads a folder with train.tsv and test.tsv, and valid.tsv if it is there.

    A line is a user and an item that the user liked, separated by a tab or another usual
    separator; ids are whole numbers or words, and are numbered from 0 in ascending order over all
    files, so that ids without gaps stay as they are. A first line of names is recognised, and its
    names say where users and items are if they can; further columns are not read. A pair counts
    once: in train, else in valid, else in test.

    Args:
      path: the folder. X.train.csv, X-test.txt.gz and their like are found, too.
      valid_share: share of each user's train items that is held out for validation, as published
        (see ``splits.draw_validation``), unless the folder has a file for it.
      split_seed: of this draw; another one draws another validation.

    Raises:
      DataError: for what cannot be read, with file and line, and if a part is empty.
    """
    check_share("valid_share", valid_share)
    check_seed("valid_seed", split_seed)
    folder = Path(path).expanduser()
    read = read_folder(folder)
    known, notes = drop_repeats(read.pairs, read.num_users, read.num_items)
    if "valid" in known:
        train, valid = known["train"], known["valid"]
        notes.append("validation: as in the folder, none is drawn")
    else:
        train, valid, few = draw_validation(known["train"], share=valid_share, seed=split_seed)
        drawn = f"validation: a share of {valid_share:g} of each user's train items, drawn"
        notes += [f"{drawn}, seed {split_seed}", *few]
    return make_parts(
        name=folder.resolve().name,
        num_items=read.num_items,
        train=train,
        valid=valid,
        test=known["test"],
        notes=(f"source: {path}", *read.notes, *notes),
        ids=read.ids,
    )


def read_folder(folder: Path, time: str = "") -> FolderPairs:
    """Reads the files of a folder, in the order train, valid, test.

    Args:
      folder: that holds them.
      time: the name of a column of times; empty to read none.

    Raises:
      DataError: for what cannot be read, with file and line.
    """
    files = find_files(folder)
    tables = {part: _read_lines(file) for part, file in files.items()}
    tables, notes = _name_columns(tables, time)
    in_order = list(tables.values())
    known_ids, columns = {}, []
    for field in FIELDS:
        ids = unify_ids([read_ids(table, field) for table in in_order])
        known = pl.concat(ids).unique().sort()
        id_notes = [*describe_words(field, in_order, ids), *_check_common(field, in_order, ids)]
        id_notes += describe_spellings(field, known)
        index = Index(known, len(known))
        known_ids[field] = known.to_numpy()
        columns.append([index.rows(values) for values in ids])
        notes += [*id_notes, *_describe_numbering(field, known)]
    users, items = columns
    times = read_times(in_order, "time") if time else None
    return FolderPairs(
        pairs=dict(zip(tables, zip(users, items, strict=True), strict=True)),
        num_users=known_ids["user"].size,
        num_items=known_ids["item"].size,
        notes=(*notes, *([times.note] if times else [])),
        ids=known_ids,
        time=times.seconds if times else None,
    )


def find_files(folder: Path) -> dict[str, Path]:
    """Finds the files of train, test and, if there is one, valid.

    Raises:
      DataError: if the folder, train or test is missing, or a part has several files.
    """
    if not folder.is_dir():
        what = "is a file" if folder.exists() else "does not exist"
        raise DataError(
            f"{folder} {what}: expected a folder with train.tsv and test.tsv as data.path. For one "
            f"file that is to be split, give it with --config.data.name=csv."
        )
    names = sorted(file.name for file in folder.iterdir() if file.is_file())
    files = {}
    for part, word in PARTS.items():
        exact = [name for name in names if name == f"{part}.tsv"]
        like = [name for name in names if re.fullmatch(PART_PATTERN.format(word), name)]
        found = exact or like
        if len(found) > 1:
            raise DataError(
                f"{folder}: expected one file of {part}, got {', '.join(found)}. Keep one of them, "
                f"or call it {part}.tsv."
            )
        if not found and part != "valid":
            shown = ", ".join(names[:MAX_NAMED_FILES]) or "nothing"
            raise DataError(
                f"{folder} holds no {part}.tsv: expected train.tsv and test.tsv, and valid.tsv if "
                f"validation is fixed; got {shown}. Give such a folder as data.path, or one file "
                f"that is to be split with --config.data.name=csv."
            )
        if found:
            files[part] = folder / found[0]
    return files


def _read_lines(file: Path) -> TextTable:
    """Reads all lines of a file, the first one too, as columns ``user``, ``item``, ``column 3``."""
    raw = read_whole(read_file(file), str(file))
    if read_columnar(raw, str(file)):
        raise DataError(
            f"{file} is no text: expected lines of a user and an item. For named columns, give "
            f"--config.data.name=csv, with --config.data.label= if every row is a like."
        )
    first = read_first_line(raw)
    usual = sniff_layout(raw, "").separator
    separator = next((one for one in ("\t", usual, " ") if one in first), "\t")
    count = first.count(separator) + 1
    if count == 1 and first.strip():
        raise DataError(
            f"{file}, line 1: expected a user and an item separated by a tab, a comma, ';', '|', "
            f"'::' or a blank, got {first[:MAX_SHOWN]!r}. Write a tab between them."
        )
    _check_pairs(raw, file, separator, count)
    columns = (*FIELDS, *(f"column {k}" for k in range(3, count + 1)))
    # Without quotes: a stray one would take the lines up to the next with it.
    table = read_text(raw, str(file), Layout(separator, columns, header=False))
    unquoted = pl.all().str.strip_chars().str.replace(r'^"(.*)"$', "$1")
    return table._replace(frame=table.frame.with_columns(unquoted))


def _check_pairs(raw: bytes, file: Path, separator: str, count: int) -> None:
    """Checks that lines are no lists of a user and any number of items, as some data sets have."""
    lines = raw[:MAX_LOOKED_AT].decode(errors="replace").splitlines()
    whole = lines[:-1] if len(raw) > MAX_LOOKED_AT else lines
    counts = {count, *(line.count(separator) + 1 for line in whole if line.strip())}
    if separator == " " and (len(counts) > 2 or count > len(FIELDS) + 2):
        raise DataError(
            f"{file}: expected a user and an item a line, and lines have up to {max(counts)} "
            f"fields: is it a user and all items a line? Write one pair a line."
        )


def _name_columns(
    tables: dict[str, TextTable], time: str
) -> tuple[dict[str, TextTable], list[str]]:
    """Takes first lines with names off the rows; finds users, items and times by them."""
    below = pl.concat([table.frame[1:].select(FIELDS) for table in tables.values()])
    named, notes = {}, []
    headers: dict[tuple[str, ...], list[str]] = {}
    for part, table in tables.items():
        first = tuple(field or "" for field in table.frame.row(0))
        file = Path(table.path).name
        is_header = first in headers or _is_header(first, below, part == "train")
        user, item = _find_columns(first) if is_header else (0, 1)
        if is_header:
            headers.setdefault(first, []).append(file)
        if unread := len(first) - len(FIELDS) - bool(time):
            notes.append(
                f"{file}: {count_of(unread, 'further column')} not read, each line is a positive"
            )
        columns = [f"column {k}" for k in range(1, len(first) + 1)]
        columns[user], columns[item] = FIELDS
        if time:
            place = _find_times(table, first if is_header else (), columns, time)
            columns[place] = "time"
        named[part] = _relabel(table, tuple(columns), is_header)
    for first, names in headers.items():
        notes.append(f"line 1 of {', '.join(names)}: names of columns, {', '.join(first)}")
    return named, notes


def _is_header(first: tuple[str, ...], below: pl.DataFrame, can_be_unknown: bool) -> bool:
    """Returns whether a first line has names of columns.

    They are known ones; or words above numbers; or, if they ``can_be_unknown``, words that no other
    line has, for most users and items come more than once.
    """
    if any(WHOLE_NUMBER.fullmatch(field) for field in first):
        return False
    if any(field.split(":")[0] in HEADER_NAMES for field in first):
        return True
    if below.is_empty():
        return False
    has_numbers = any(below[f].str.contains(f"^{WHOLE_NUMBER.pattern}$").any() for f in FIELDS)
    recurs = any((below[f] == name).any() for f, name in zip(FIELDS, first, strict=False))
    return not recurs and (has_numbers or can_be_unknown)


def _find_columns(names: tuple[str, ...]) -> tuple[int, int]:
    """Returns the columns of users and items: those named so, else the first two."""
    words = [HEADER_NAMES.get(name.split(":")[0], name.lower()) for name in names]
    found = [[k for k, word in enumerate(words) if word.startswith(field)] for field in FIELDS]
    if [len(columns) for columns in found] == [1, 1]:
        return found[0][0], found[1][0]
    return 0, 1


def _find_times(table: TextTable, names: tuple[str, ...], columns: Sequence[str], time: str) -> int:
    """Returns the place of the column of times.

    Args:
      table: of a file.
      names: in its first line; empty if that has none.
      columns: what they are taken for.
      time: the name that is looked for.

    Raises:
      DataError: if it is not there, or has something else.
    """
    places = [k for k, name in enumerate(names) if time in (name, name.split(":")[0])]
    if len(places) != 1:
        got = f"it names {', '.join(names)}" if names else "it has no names of columns"
        raise DataError(
            f"{table.path}, line 1: expected the name of one column of times, data.time={time!r}; "
            f"{got}. Give the name as data.time, or use data.split=by_user."
        )
    if columns[places[0]] in FIELDS:
        raise DataError(
            f"{table.path}, line 1: data.time={time!r} is the column of {columns[places[0]]}s. "
            f"Name the column of times."
        )
    return places[0]


def _relabel(table: TextTable, columns: tuple[str, ...], header: bool) -> TextTable:
    """Renames the columns of a table, the first row of which may be a header."""
    frame = table.frame[int(header) :]
    if frame.is_empty():
        raise DataError(
            f"{table.path} has names of columns and no rows: expected lines of a user and an item."
        )
    return table._replace(
        frame=frame.rename(dict(zip(frame.columns, columns, strict=True))),
        layout=table.layout and table.layout._replace(columns=columns, header=header),
    )


def _describe_numbering(field: str, known: pl.Series) -> list[str]:
    """Returns a note if ids, all of them in order, do not keep their numbers."""
    if known.dtype == pl.Int64 and (known[0], known[-1]) == (0, len(known) - 1):
        return []
    return [f"{field} ids numbered from 0 to {len(known) - 1:,} in ascending order"]


def _check_common(field: str, tables: list[TextTable], ids: list[pl.Series]) -> list[str]:
    """Returns notes on files that have no id of train's, which is the first.

    Raises:
      DataError: if that is so since ids are written in another way.
    """
    train, notes = ids[0], []
    for table, values in zip(tables[1:], ids[1:], strict=True):
        if values.is_in(train.implode()).any():
            continue
        one, other = (x.cast(pl.String).cast(pl.Float64, strict=False) for x in (train, values))
        if (same := other.is_in(one.drop_nulls().implode()).fill_null(False)).any():
            here = find_first_bad(~same)
            there = find_first_bad((one != other[here]).fill_null(True))
            raise DataError(
                f"{table.path}, {table.place(here)}: the {field} {str(values[here])!r} is "
                f"{str(train[there])!r} in {Path(tables[0].path).name}. Write ids in one way in "
                f"all files."
            )
        notes.append(
            f"WARNING: no {field} of {Path(table.path).name} is in {Path(tables[0].path).name}; "
            f"ids are such as {str(values[0])!r} and {str(train[0])!r}"
        )
    return notes
