"""Encodes the rows of a table as interactions in time order. Letters: ``n`` interactions."""

from pathlib import Path
from typing import NamedTuple

import numpy as np
import polars as pl

from .columns import (
    Index,
    Kind,
    describe_separators,
    describe_spellings,
    describe_words,
    make_index,
    read_column,
    read_ids,
    read_labels,
    unify_ids,
)
from .readers import Roles
from .tables import TextTable
from .times import read_times
from .types import Interactions

NO_TIMES = "no times: the order of the file is taken for that of time"


class Encoded(NamedTuple):
    """Interactions of one file, in time order, and where they come from."""

    rows: Interactions  # [n] of users and items
    indexes: dict[str, Index]  # "user" and "item": which id has which row
    time: np.ndarray | None  # float64[n], seconds since 1970; None if the file does not say
    at: np.ndarray  # int64[n], the rows of the table
    notes: tuple[str, ...]  # what was read and dropped


class _Columns(NamedTuple):
    """The columns of some tables, one after the other, in the order of the files."""

    number: dict[str, np.ndarray]  # "user" and "item" -> int32 [n], the rows of its table
    indexes: dict[str, Index]
    label: np.ndarray  # float32 [n]
    time: np.ndarray | None  # float64 [n]
    label_note: str
    notes: list[str]  # on ids and times


def encode(
    table: TextTable, roles: Roles, threshold: float | None, *, at_least: bool = False
) -> Encoded:
    """Returns the interactions of a table in time order; of a repeated pair the last is kept.

    Args:
      table: of the interactions.
      roles: which column holds what.
      threshold: a label is 1 where it is above it; None for labels as they are (see
        ``columns.read_labels``). Without a column of labels all are 1.
      at_least: whether a rating that equals ``threshold`` has label 1, too.

    Raises:
      DataError: naming the first place with an id, label or time that is none.

    Example:
      >>> frame = pl.DataFrame({"user": ["a", "b"], "item": ["7", "7"], "y": ["1", "0"]})
      >>> encode(TextTable("f", frame), Roles(label="y", time="", ids=None), None).rows.ids["user"]
      array([0, 1], dtype=int32)
    """
    columns = _read_columns([table], roles, threshold, at_least)
    number, time, num_read = columns.number, columns.time, columns.label.size
    at = np.arange(num_read) if time is None else np.argsort(time, kind="stable")
    pair = (number["user"].astype(np.int64) * columns.indexes["item"].size + number["item"])[at]
    # The first of each pair from the end is the last in time.
    _, last = np.unique(pair[::-1], return_index=True)
    at = at[np.sort(pair.size - 1 - last)]
    notes = [
        f"{num_read:,} ratings read; {columns.label_note}",
        f"{num_read - at.size:,} repeated pairs of user and item dropped, the last kept",
    ]
    if time is None:
        notes.append(NO_TIMES)
    rows = Interactions({field: number[field][at] for field in number}, columns.label[at])
    return Encoded(
        rows=rows,
        indexes=columns.indexes,
        time=None if time is None else time[at],
        at=at,
        notes=(*notes, *columns.notes, describe_rows(rows)),
    )


def _read_columns(
    tables: list[TextTable], roles: Roles, threshold: float | None, at_least: bool
) -> _Columns:
    """Reads ids, labels and times of tables, for all of them in one way."""
    indexes, number, notes = {}, {}, []
    for field in ("user", "item"):
        ids = unify_ids([_read_ids(table, getattr(roles, field), roles.ids) for table in tables])
        whole = pl.concat(ids)
        indexes[field] = make_index(whole)
        number[field] = indexes[field].rows(whole)
        if roles.ids is None:
            notes += [*describe_words(field, tables, ids), *describe_spellings(field, whole)]
            notes += describe_separators(field, tables, ids)
    label = read_labels(tables, roles.label, threshold, at_least=at_least)
    times = read_times(tables, roles.time) if roles.time else None
    notes = [*([times.note] if times else []), *notes, *_describe_numbering(indexes)]
    return _Columns(
        number=number,
        indexes=indexes,
        label=label.values,
        time=times.seconds if times else None,
        label_note=label.note,
        notes=notes,
    )


def _read_ids(table: TextTable, name: str, kind: Kind | None) -> pl.Series:
    return read_column(table, name, kind) if kind else read_ids(table, name)


def _describe_numbering(indexes: dict[str, Index]) -> list[str]:
    return [
        f"{field} ids numbered from 0 to {index.size - 1:,} in ascending order"
        for field, index in indexes.items()
        if index.known is not None
    ]


def describe_rows(rows: Interactions) -> str:
    """Returns how many rows, users and items there are, and the share of likes.

    Example:
      >>> ids = {"user": np.array([1, 1]), "item": np.array([7, 9])}
      >>> describe_rows(Interactions(ids, np.array([1.0, 0.0])))
      '2 rows of 1 users and 2 items, 50.0 % likes'
    """
    users, items = (np.unique(rows.ids[field]).size for field in ("user", "item"))
    share = 100 * float(rows.label.mean(dtype=np.float64)) if rows.label.size else 0.0
    return f"{rows.label.size:,} rows of {users:,} users and {items:,} items, {share:.1f} % likes"


def encode_parts(
    tables: list[TextTable], roles: Roles, threshold: float | None, *, at_least: bool = False
) -> tuple[TextTable, Encoded, list[int]]:
    """Returns the interactions of files that are split already, numbered together: none is dropped.

    Ids are words in all files if they are words in one. In a file interactions are in time order,
    or in the order of the file without a column of times. Notes count the pairs of user and item
    that occur more than once, in a file or in several.

    Returns:
      The rows of all files in one table, the interactions one file after the other, and how many
      each file has.

    Raises:
      DataError: as ``encode``.
    """
    columns = _read_columns(tables, roles, threshold, at_least)
    sizes = [len(table.frame) for table in tables]
    starts = np.cumsum([0, *sizes])
    at = np.arange(starts[-1])
    if columns.time is not None:
        parts = zip(starts, np.split(columns.time, starts[1:-1]), strict=False)
        at = np.concatenate([start + np.argsort(time, kind="stable") for start, time in parts])
    joined = TextTable(
        str(Path(tables[0].path).parent), pl.concat([t.frame for t in tables], how="diagonal")
    )
    number, label = columns.number, columns.label
    rows = Interactions({field: values[at] for field, values in number.items()}, label[at])
    pair = number["user"].astype(np.int64) * columns.indexes["item"].size + number["item"]
    users = np.split(number["user"], starts[1:-1])
    order_note = "order as in the files" if columns.time is None else "in time order"
    notes = (
        f"already split: {starts[-1]:,} ratings read; {columns.label_note}; {order_note}",
        *_describe_repeats(np.split(pair, starts[1:-1])),
        *_describe_new_users(users, tables),
        *columns.notes,
        describe_rows(rows),
    )
    time = None if columns.time is None else columns.time[at]
    encoded = Encoded(rows=rows, indexes=columns.indexes, time=time, at=at, notes=notes)
    return joined, encoded, sizes


def encode_all(
    tables: list[TextTable], roles: Roles, threshold: float | None, *, at_least: bool = False
) -> tuple[TextTable, Encoded, list[int]]:
    """Returns the interactions of one file, or of files that are split already.

    Returns:
      As ``encode_parts``; of one file no sizes.

    Raises:
      DataError: as ``encode``.
    """
    if len(tables) > 1:
        return encode_parts(tables, roles, threshold, at_least=at_least)
    return tables[0], encode(tables[0], roles, threshold, at_least=at_least), []


def _describe_new_users(users: list[np.ndarray], tables: list[TextTable]) -> list[str]:
    """Returns notes on files that have no user of the first one, train's."""
    return [
        f"WARNING: no user of {Path(table.path).name} is in {Path(tables[0].path).name}: are ids "
        f"written in one way in all files?"
        for part, table in zip(users[1:], tables[1:], strict=True)
        if not np.isin(part, users[0]).any()
    ]


def _describe_repeats(pairs: list[np.ndarray]) -> list[str]:
    """Returns notes on the pairs of train, validation and test that occur more than once."""
    notes = []
    for name, part in zip(("train", "validation", "test"), pairs, strict=True):
        if num_repeats := part.size - np.unique(part).size:
            notes.append(f"{num_repeats:,} repeated pairs of user and item within {name}, all kept")
    train, valid, test = pairs
    for name, part, earlier, earlier_names in (
        ("validation", valid, train, "train"),
        ("test", test, np.concatenate([train, valid]), "train or validation"),
    ):
        if num_seen := int(np.isin(part, earlier).sum()):
            notes.append(
                f"WARNING: {num_seen:,} of {part.size:,} rows of {name} have a pair of user and "
                f"item that {earlier_names} has, too: what is measured on them has been seen"
            )
    return notes
