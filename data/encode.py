"""Encodes the rows of a table as interactions in time order. Letters: ``n`` interactions."""

from pathlib import Path
from typing import NamedTuple

import numpy as np
import polars as pl

from .columns import (
    LABEL,
    NUMBER,
    Index,
    Kind,
    make_index,
    read_column,
    read_ids,
    read_times,
    unify_ids,
)
from .readers import Roles
from .tables import TextTable
from .types import Interactions


class Encoded(NamedTuple):
    """Interactions of one file, in time order, and where they come from."""

    rows: Interactions  # [n] of users and items
    indexes: dict[str, Index]  # "user" and "item": which id has which row
    time: np.ndarray | None  # float64[n], seconds since 1970; None if the file does not say
    at: np.ndarray  # int64[n], the rows of the table
    notes: tuple[str, ...]  # what was read and dropped


def encode(table: TextTable, roles: Roles, threshold: float | None) -> Encoded:
    """Returns the interactions of a table in time order; of a repeated pair the last is kept.

    A label is 1 where it is above ``threshold``, or as it is without one, or everywhere without a
    column of labels.

    Raises:
      DataError: naming the first place with an id, label or time that is none.

    Example:
      >>> frame = pl.DataFrame({"user": ["a", "b"], "item": ["7", "7"], "y": ["1", "0"]})
      >>> encode(TextTable("f", frame), Roles(label="y", time="", ids=None), None).rows.ids["user"]
      array([0, 1], dtype=int32)
    """
    ids = {field: _read_ids(table, getattr(roles, field), roles.ids) for field in ("user", "item")}
    label = _read_labels(table, roles.label, threshold)
    time = read_times(table, roles.time) if roles.time else None
    indexes = {field: make_index(values) for field, values in ids.items()}
    number = {field: indexes[field].rows(values) for field, values in ids.items()}
    at = np.arange(label.size) if time is None else np.argsort(time, kind="stable")
    pair = (number["user"].astype(np.int64) * indexes["item"].size + number["item"])[at]
    # The first of each pair from the end is the last in time.
    _, last = np.unique(pair[::-1], return_index=True)
    at = at[np.sort(pair.size - 1 - last)]
    notes = [
        f"{label.size:,} ratings read; {_describe_labels(roles, threshold)}",
        f"{label.size - at.size:,} repeated pairs of user and item dropped, the last kept",
    ]
    if time is None:
        notes.append("no times: the order of the file is taken for that of time")
    notes += _describe_numbering(indexes)
    rows = Interactions({field: number[field][at] for field in number}, label[at])
    return Encoded(
        rows=rows,
        indexes=indexes,
        time=None if time is None else time[at],
        at=at,
        notes=tuple(notes),
    )


def _read_ids(table: TextTable, name: str, kind: Kind | None) -> pl.Series:
    return read_column(table, name, kind) if kind else read_ids(table, name)


def _read_labels(table: TextTable, name: str, threshold: float | None) -> np.ndarray:
    if not name:
        return np.ones(len(table.frame), np.float32)
    if threshold is None:
        return read_column(table, name, LABEL).to_numpy().astype(np.float32)
    return (read_column(table, name, NUMBER).to_numpy() > threshold).astype(np.float32)


def _describe_labels(roles: Roles, threshold: float | None) -> str:
    if not roles.label:
        return "no labels: all are positives"
    return (
        "label as in the file" if threshold is None else f"label 1 is a rating above {threshold:g}"
    )


def _describe_numbering(indexes: dict[str, Index]) -> list[str]:
    return [
        f"{field} ids numbered from 0 to {index.size - 1:,} in ascending order"
        for field, index in indexes.items()
        if index.known is not None
    ]


def encode_parts(
    tables: list[TextTable], roles: Roles, threshold: float | None
) -> tuple[TextTable, Encoded, list[int]]:
    """Returns the interactions of files that are split already, numbered together: none is dropped.

    In a file interactions are in time order, or in the order of the file without a column of times.
    Notes count the pairs of user and item that occur more than once, in a file or in several.

    Returns:
      The rows of all files in one table, the interactions one file after the other, and how many
      each file has.

    Raises:
      DataError: as ``encode``.
    """
    ids = {
        f: unify_ids([_read_ids(t, getattr(roles, f), roles.ids) for t in tables])
        for f in ("user", "item")
    }
    indexes = {field: make_index(pl.concat(values)) for field, values in ids.items()}
    number = {f: [indexes[f].rows(values) for values in ids[f]] for f in ids}
    label = [_read_labels(table, roles.label, threshold) for table in tables]
    time = [read_times(table, roles.time) for table in tables] if roles.time else None
    order = [np.arange(part.size) for part in label]
    if time:
        order = [np.argsort(part, kind="stable") for part in time]
    sizes = [part.size for part in label]
    starts = np.cumsum([0, *sizes[:-1]])
    at = np.concatenate([start + rows for start, rows in zip(starts, order, strict=True)])
    joined = TextTable(
        str(Path(tables[0].path).parent), pl.concat([t.frame for t in tables], how="diagonal")
    )
    rows = Interactions(
        {field: np.concatenate(parts)[at] for field, parts in number.items()},
        np.concatenate(label)[at],
    )
    pairs = [
        user.astype(np.int64) * indexes["item"].size + item
        for user, item in zip(number["user"], number["item"], strict=True)
    ]
    order_note = "in time order" if time else "order as in the files"
    notes = (
        f"already split: {sum(sizes):,} ratings read; {_describe_labels(roles, threshold)}; "
        f"{order_note}",
        *_describe_repeats(pairs),
        *_describe_numbering(indexes),
    )
    encoded = Encoded(
        rows=rows,
        indexes=indexes,
        time=np.concatenate(time)[at] if time else None,
        at=at,
        notes=notes,
    )
    return joined, encoded, sizes


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
