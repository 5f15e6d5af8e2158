"""From the rows of a table to interactions in time order. Letters: `n` interactions."""

from typing import NamedTuple

import numpy as np
import polars as pl

from .columns import LABEL, NUMBER, Index, Kind, column, index, names, times
from .formats import Roles
from .tables import Table
from .types import Interactions


class Gathered(NamedTuple):
    """Interactions of one file, in time order, and where they come from."""

    rows: Interactions  # [n] of users and items
    index: dict[str, Index]  # "user" and "item": which id has which row
    time: np.ndarray | None  # float64[n], seconds since 1970; None if the file does not say
    at: np.ndarray  # int64[n], the rows of the table
    notes: tuple[str, ...]  # what was read and dropped


def gather(table: Table, roles: Roles, threshold: float | None) -> Gathered:
    """The interactions of a table, by time and at one time as in the file; of a pair the last.

    A label is 1 where it is above `threshold`, or as it is without one, or everywhere without a
    column of labels. DataError naming the first place with an id, label or time that is none.

    >>> frame = pl.DataFrame({"user": ["a", "b"], "item": ["7", "7"], "y": ["1", "0"]})
    >>> gather(Table("f", frame), Roles(label="y", time="", ids=None), None).rows.ids["user"]
    array([0, 1], dtype=int32)
    """
    ids = {field: _ids(table, getattr(roles, field), roles.ids) for field in ("user", "item")}
    rows = len(ids["user"])
    label = _label(table, roles.label, threshold) if roles.label else np.ones(rows, np.float32)
    time = times(table, roles.time) if roles.time else None
    known = {field: index(values) for field, values in ids.items()}
    number = {field: known[field].rows(values) for field, values in ids.items()}
    at = np.arange(label.size) if time is None else np.argsort(time, kind="stable")
    pair = (number["user"].astype(np.int64) * known["item"].size + number["item"])[at]
    # The first of each pair from the end is the last in time.
    _, last = np.unique(pair[::-1], return_index=True)
    at = at[np.sort(pair.size - 1 - last)]
    rule = (
        "label as in the file" if threshold is None else f"label 1 is a rating above {threshold:g}"
    )
    notes = [
        f"{label.size:,} ratings read; {rule if roles.label else 'no labels: all are positives'}",
        f"{label.size - at.size:,} repeated pairs of user and item dropped, the last kept",
    ]
    if time is None:
        notes.append("no times: the order of the file is taken for that of time")
    notes += [_numbered(field, known[field]) for field in known if known[field].known is not None]
    rows = Interactions({field: number[field][at] for field in number}, label[at])
    return Gathered(rows, known, None if time is None else time[at], at, tuple(notes))


def _ids(table: Table, name: str, kind: Kind | None) -> pl.Series:
    return column(table, name, kind) if kind else names(table, name)


def _label(table: Table, name: str, threshold: float | None) -> np.ndarray:
    if threshold is None:
        return column(table, name, LABEL).to_numpy().astype(np.float32)
    return (column(table, name, NUMBER).to_numpy() > threshold).astype(np.float32)


def _numbered(field: str, known: Index) -> str:
    return f"{field} ids numbered from 0 to {known.size - 1:,} in ascending order"


def gather_parts(tables: list[Table]) -> tuple[list[Interactions], dict[str, Index]]:
    """The interactions of files that are split already, as they stand, numbered together."""
    ids = {f: [_ids(t, f, Roles().ids) for t in tables] for f in ("user", "item")}
    known = {field: index(pl.concat(values)) for field, values in ids.items()}
    parts = []
    for k, table in enumerate(tables):
        number = {field: known[field].rows(ids[field][k]) for field in ids}
        parts.append(Interactions(number, _label(table, "label", None)))
    return parts, known
