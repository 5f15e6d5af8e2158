"""More interactions than fit in memory: Arrow files, memory-mapped. Letters: ``n`` interactions.

An epoch meets the rows in a pseudo-random order that is computed, not stored: a Feistel network on
row numbers (Black and Rogaway 2002, doi:10.1007/3-540-45760-7_9, section 4), walked on while it
leads beyond the last row. So the batches of any step can be drawn at once, every row comes exactly
once an epoch, and no memory grows with the number of rows.

A draw touches pages all over the file. That is fast where the system's page cache holds the file,
and one read of the disk for every row where it does not.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import DTypeLike

from .columns import MAX_ID
from .features import select_features
from .fingerprint import count_distinct
from .types import DataError, Dataset, Interactions, Streamed, take

ROUNDS = 6
LABEL = "label"
FIELDS = ("user", "item")


class Stream(NamedTuple):
    """Interactions in files; only what is drawn comes into memory."""

    # field or "label" -> the memory-mapped pieces of its column, one after the other
    columns: dict[str, tuple[np.ndarray, ...]]
    starts: np.ndarray  # int64[pieces + 1], the first row of each piece; n at last
    sizes: dict[str, int]  # field -> rows that its table needs (largest id + 1)
    held_out: int  # rows that no batch has
    seed: int  # of which rows these are

    @property
    def rows(self) -> int:
        """The number of rows of an epoch: all that are not held out."""
        return int(self.starts[-1]) - self.held_out


def _import_arrow() -> Any:
    """Imports PyArrow, whose memory maps NumPy can read without a copy."""
    try:
        import pyarrow
    except ModuleNotFoundError as error:
        raise DataError(
            "streams need PyArrow: pip install pyarrow, or '.[stream]' in the repository"
        ) from error
    return pyarrow


def write_stream(path: str | Path, chunks: Iterable[Interactions]) -> Path:
    """Writes interactions as an Arrow file for ``open_stream``; returns its path.

    Ids become int32 and labels uint8.

    Raises:
      DataError: naming the chunk with an id or label out of range, or with other fields than the
        first.

    Example:
      >>> import tempfile
      >>> ids = {"user": np.array([1, 2]), "item": np.array([3, 0])}
      >>> chunk = Interactions(ids, np.array([1, 0]))
      >>> with tempfile.TemporaryDirectory() as folder:
      ...     open_stream(write_stream(Path(folder) / "x.arrow", [chunk, chunk])).rows
      4
    """
    arrow = _import_arrow()
    writer: Any = None  # PyArrow has no types
    schema: Any = None
    path = Path(path)
    try:
        for number, chunk in enumerate(chunks):
            arrays = {field: np.asarray(values) for field, values in chunk.ids.items()}
            arrays[LABEL] = np.asarray(chunk.label)
            _check_ranges({name: (values,) for name, values in arrays.items()}, f"chunk {number}")
            table = arrow.table(
                {
                    name: values.astype(np.uint8 if name == LABEL else np.int32)
                    for name, values in arrays.items()
                }
            )
            if writer is None:
                path.parent.mkdir(parents=True, exist_ok=True)
                schema = table.schema
                writer = arrow.ipc.new_file(str(path), schema)
            if table.schema != schema:
                raise DataError(
                    f"chunk {number} has {', '.join(table.column_names)}, expected the columns of "
                    f"the first, {', '.join(schema.names)}"
                )
            writer.write_table(table, max_chunksize=max(len(table), 1))
    finally:
        if writer is not None:
            writer.close()
    if writer is None:
        raise DataError(f"{path} was not written: there were no chunks")
    return path


def open_stream(path: str | Path, *, held_out: int = 0, seed: int = 0) -> Stream:
    """Opens an Arrow IPC file, or a folder of X.arrow files in the order of their names.

    Columns "user", "item" and "label", and further fields: integers without nulls, labels 0 and 1.
    ``held_out`` rows, drawn by ``seed``, are in no batch: ``read_held_out`` returns them.
    Every column is read through once, for its range.

    Raises:
      DataError: saying what was expected where.
    """
    path = Path(path).expanduser()
    files = sorted(path.glob("*.arrow")) if path.is_dir() else [path]
    if not files:
        raise DataError(f"{path} holds no X.arrow files. Write them with write_stream.")
    pieces: dict[str, list[np.ndarray]] = {}
    for file in files:
        file_columns = _map_file(file)
        if pieces and file_columns.keys() != pieces.keys():
            raise DataError(
                f"{file}: expected columns {', '.join(pieces)}, got {', '.join(file_columns)}"
            )
        for name, chunks in file_columns.items():
            pieces.setdefault(name, []).extend(chunks)
    columns = {name: tuple(chunks) for name, chunks in pieces.items()}
    largest = _check_ranges(columns, str(path))
    starts = np.cumsum([0, *(chunk.size for chunk in columns[LABEL])])
    if not 0 <= held_out < starts[-1]:
        raise DataError(
            f"{path}: held_out is at least 0 and below its {starts[-1]:,} rows, got {held_out:,}"
        )
    sizes = {field: largest[field] + 1 for field in columns if field != LABEL}
    return Stream(columns=columns, starts=starts, sizes=sizes, held_out=held_out, seed=seed)


def _map_file(file: Path) -> dict[str, list[np.ndarray]]:
    """Returns the memory-mapped pieces of each column of a file."""
    arrow = _import_arrow()
    try:
        table = arrow.ipc.open_file(arrow.memory_map(str(file))).read_all()
    except (OSError, arrow.ArrowInvalid) as error:
        why = str(error).splitlines()[0]
        raise DataError(
            f"{file} cannot be opened as an Arrow IPC file ({why}). Give one that write_stream has "
            f"written; or, if it fits in memory, CSV or Parquet with --config=configs/csv.py"
        ) from error
    if missing := [name for name in (*FIELDS, LABEL) if name not in table.column_names]:
        raise DataError(
            f"{file} has no column {missing[0]!r}: expected {', '.join(FIELDS)} and {LABEL}, got "
            f"{', '.join(table.column_names)}"
        )
    for name, column in zip(table.column_names, table.columns, strict=True):
        if not arrow.types.is_integer(column.type) or column.null_count:
            nulls = f" with {column.null_count:,} nulls" if column.null_count else ""
            raise DataError(
                f"{file}, column {name!r}: expected integers, got {column.type}{nulls}. Number ids "
                f"from 0, and write them with write_stream."
            )
    batches = [batch for batch in table.to_batches() if batch.num_rows]
    return {
        name: [batch.column(name).to_numpy(zero_copy_only=True) for batch in batches]
        for name in table.column_names
    }


def _check_ranges(columns: dict[str, tuple[np.ndarray, ...]], path: str) -> dict[str, int]:
    """Returns the largest number of each column; DataError for one that is no id, or no label."""
    largest = {}
    for name, chunks in columns.items():
        low = min((int(chunk.min()) for chunk in chunks if chunk.size), default=0)
        largest[name] = max((int(chunk.max()) for chunk in chunks if chunk.size), default=0)
        most = 1 if name == LABEL else MAX_ID
        if low < 0 or largest[name] > most:
            raise DataError(
                f"{path}, column {name!r}: expected whole numbers from 0 to {most}, got "
                f"{low if low < 0 else largest[name]}"
            )
    return largest


def draw_batches(
    stream: Stream, *, seed: int, start: int, steps: int, batch_size: int
) -> Interactions:
    """Draws the batches of ``steps`` steps: ids int32 and label float32 [steps, batch].

    Batches follow one another through epochs, each in an order of its own, so that one may end an
    epoch and begin the next. The same seed and step always give the same batch.
    """
    place = np.arange(start * batch_size, (start + steps) * batch_size, dtype=np.int64)
    epoch, within = np.divmod(place, stream.rows)
    row = np.empty_like(place)
    for number in np.unique(epoch):
        is_in_epoch = epoch == number
        row[is_in_epoch] = permute(within[is_in_epoch], stream.rows, (seed, 1, int(number)))
    return _read_rows(stream, _to_file_rows(stream, row), (steps, batch_size))


def read_held_out(stream: Stream) -> Interactions:
    """Reads the interactions [held_out] that no batch has, in the order of the files."""
    row = permute(np.arange(stream.held_out), int(stream.starts[-1]), (stream.seed, 0))
    return _read_rows(stream, np.sort(row), (stream.held_out,))


def _to_file_rows(stream: Stream, row: np.ndarray) -> np.ndarray:
    """Returns the file's rows of numbers below ``stream.rows``: those that are not held out."""
    if not stream.held_out:
        return row
    return permute(row + stream.held_out, int(stream.starts[-1]), (stream.seed, 0))


def _read_rows(stream: Stream, row: np.ndarray, shape: tuple[int, ...]) -> Interactions:
    # In ascending order, so that rows of one page are read together.
    order = np.argsort(row)
    ascending = row[order]
    bounds = np.searchsorted(ascending, stream.starts)

    def column(name: str, dtype: DTypeLike) -> np.ndarray:
        values: np.ndarray = np.empty(row.size, dtype)
        for piece, start, low, high in zip(
            stream.columns[name], stream.starts, bounds, bounds[1:], strict=False
        ):
            values[order[low:high]] = piece[ascending[low:high] - start]
        return values.reshape(shape)

    ids = {field: column(field, np.int32) for field in stream.sizes}
    return Interactions(ids, column(LABEL, np.float32))


def permute(place: np.ndarray, n: int, key: tuple[int, ...]) -> np.ndarray:
    """Returns where a pseudo-random permutation of 0..n-1 puts each ``place``: int64 of int64.

    It answers for any places alone, of 64 bits and on the host. ``training.permutation`` is its
    sibling on the device, in 32 bits, which permutes all numbers at once.

    Example:
      >>> sorted(permute(np.arange(10), 10, (3,)).tolist())
      [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]
    """
    keys = np.random.SeedSequence(key).generate_state(ROUNDS, np.uint64)
    side = np.uint64(max(int(np.ceil(np.sqrt(n))), 1))  # the network permutes side * side numbers
    positions = _apply_network(place.astype(np.uint64), side, keys)
    while (beyond := np.flatnonzero(positions >= n)).size:
        positions[beyond] = _apply_network(positions[beyond], side, keys)
    return positions.astype(np.int64)


def _apply_network(number: np.ndarray, side: np.uint64, keys: np.ndarray) -> np.ndarray:
    left, right = np.divmod(number, side)
    for key in keys:
        mixed = (right + key) * np.uint64(0x9E3779B97F4A7C15)
        mixed ^= mixed >> np.uint64(29)
        mixed *= np.uint64(0xBF58476D1CE4E5B9)
        left, right = right, (left + (mixed >> np.uint64(32))) % side
    return left * side + right


def load_stream(
    *,
    path: str,
    features: tuple[str, ...] = (),
    held_out: int = 90_000,
    piece: int = 1_000_000,
    seed: int = 0,
) -> Dataset:
    """Loads Arrow files (see ``open_stream``) as a data set, piece by piece.

    ``features`` names further columns that the model reads, "all" for every one. ``held_out`` rows,
    drawn by ``seed``, are in no epoch: a third each rewards, validates and tests. ``piece`` rows
    may be in memory together; ``seed`` also decides the order of every epoch.

    Raises:
      DataError: for files that cannot be read, unknown columns or numbers out of range.
    """
    if not path:
        raise DataError("data.path is the Arrow file, or the folder of Arrow files, to be streamed")
    if held_out < 3 or piece < 1:
        raise DataError(
            f"data.held_out is at least 3, a row each to reward, validate and test, and data.piece "
            f"at least 1, got {held_out} and {piece}"
        )
    stream = _select_columns(open_stream(path, held_out=held_out, seed=seed), features)
    splits = _split_held_out(stream, path)

    def read(place: int, count: int) -> Interactions:
        column = draw_batches(stream, seed=seed, start=place, steps=count, batch_size=1)
        ids = {field: values[:, 0] for field, values in column.ids.items()}
        return Interactions(ids, column.label[:, 0])

    train = Streamed(rows=stream.rows, chunk_rows=piece, draw=read, columns=stream.columns)
    fields = ", ".join(f"{name} of {size:,}" for name, size in stream.sizes.items())
    users, items = (count_distinct(stream.columns[f], stream.sizes[f]) for f in FIELDS)
    likes = sum(int(np.count_nonzero(labels)) for labels in stream.columns[LABEL])
    notes = (
        f"source: {path}",
        f"{stream.starts[-1]:,} rows of {users:,} users and {items:,} items, "
        f"{100 * likes / stream.starts[-1]:.1f} % likes",
        f"train: {stream.rows:,} rows, read {min(piece, stream.rows):,} at a time; ids: {fields}",
        *(f"{name}: {rows.label.size:,} rows, held out by chance" for name, rows in splits.items()),
    )
    return Dataset(
        name="stream",
        train=train,
        reward=splits["reward"],
        valid=splits["valid"],
        test=splits["test"],
        reward_rows=np.zeros(0, np.int64),
        sizes=stream.sizes,
        notes=notes,
    )


def _split_held_out(stream: Stream, path: str) -> dict[str, Interactions]:
    """Returns the reward, valid and test splits: a third each of the rows that are held out."""
    held_out_rows = read_held_out(stream)
    order = np.random.default_rng([stream.seed, 5]).permutation(stream.held_out)
    splits = {
        name: take(held_out_rows, np.sort(indexes))
        for name, indexes in zip(("reward", "valid", "test"), np.array_split(order, 3), strict=True)
    }
    for name, rows in splits.items():
        if np.unique(rows.label).size < 2:
            raise DataError(
                f"{path}: the {name} split must hold labels 0 and 1, got only label "
                f"{rows.label[0]:.0f} in {rows.label.size:,} rows. Give a larger data.held_out."
            )
    return splits


def _select_columns(stream: Stream, features: tuple[str, ...]) -> Stream:
    """Returns the stream of users, items, labels and ``features``."""
    others = [name for name in stream.sizes if name not in FIELDS]
    names = (*FIELDS, *select_features(features, others))
    columns = {name: stream.columns[name] for name in (*names, LABEL)}
    return stream._replace(columns=columns, sizes={name: stream.sizes[name] for name in names})
