"""A data set that stays in its file, read piece by piece. Letters: `n` interactions."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from .features import chosen
from .stream import (
    FIELDS,
    LABEL,
    Stream,
    draw,
    held_rows,
    open_stream,
)
from .types import DataError, Dataset, Interactions, take


class Streamed(NamedTuple):
    """Interactions to train on that are read when they are needed."""

    rows: int  # of an epoch
    piece: int  # to be read together, at most
    # Of all epochs, one after the other: the first place, how many -> interactions [n].
    draw: Callable[[int, int], Interactions]


def streamed(
    *,
    path: str,
    features: tuple[str, ...] = (),
    held_out: int = 90_000,
    piece: int = 1_000_000,
    seed: int = 0,
) -> Dataset:
    """The data set of Arrow files (see `open_stream`), of which only pieces come into memory.

    `features` names further columns that the model reads, "all" for every one. `held_out` rows,
    drawn by `seed`, are in no epoch: a third each rewards, validates and tests. `piece` rows may be
    in memory together; `seed` also decides the order of every epoch.

    DataError for files that cannot be read, unknown columns or numbers out of range.
    """
    if not path:
        raise DataError("data.path is the Arrow file, or the folder of Arrow files, to be streamed")
    if held_out < 3 or piece < 1:
        raise DataError(
            f"data.held_out is at least 3, a row each to reward, validate and test, and data.piece "
            f"at least 1, got {held_out} and {piece}"
        )
    stream = _columns(open_stream(path, held_out=held_out, seed=seed), features)
    held = held_rows(stream)
    order = np.random.default_rng([seed, 5]).permutation(held_out)
    splits = {
        name: take(held, np.sort(some))
        for name, some in zip(("reward", "valid", "test"), np.array_split(order, 3), strict=True)
    }
    for name, rows in splits.items():
        if np.unique(rows.label).size < 2:
            raise DataError(
                f"{path}: the {name} split must hold labels 0 and 1, got only label "
                f"{rows.label[0]:.0f} in {rows.label.size:,} rows. Give a larger data.held_out."
            )

    def read(place: int, count: int) -> Interactions:
        column = draw(stream, seed=seed, start=place, steps=count, batch_size=1)
        ids = {field: values[:, 0] for field, values in column.ids.items()}
        return Interactions(ids, column.label[:, 0])

    train = Streamed(stream.rows, piece, read)
    fields = ", ".join(f"{name} of {size:,}" for name, size in stream.sizes.items())
    notes = (
        f"source: {path}",
        f"train: {stream.rows:,} rows, read {min(piece, stream.rows):,} at a time; ids: {fields}",
        *(f"{name}: {rows.label.size:,} rows, held out by chance" for name, rows in splits.items()),
    )
    return Dataset(
        name="stream",
        train=train,
        **splits,
        reward_rows=np.zeros(0, np.int64),
        sizes=stream.sizes,
        notes=notes,
    )


def _columns(stream: Stream, features: tuple[str, ...]) -> Stream:
    """The stream of users, items, labels and `features`."""
    others = [name for name in stream.sizes if name not in FIELDS]
    names = (*FIELDS, *chosen(features, others))
    columns = {name: stream.columns[name] for name in (*names, LABEL)}
    return stream._replace(columns=columns, sizes={name: stream.sizes[name] for name in names})
