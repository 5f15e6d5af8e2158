"""From a name and an optional path to a Dataset."""

import inspect
import math
from pathlib import Path
from typing import NamedTuple

import numpy as np

from .generator import synthetic
from .reading import LABELLED, RATINGS, read_columns
from .sources import Source, cache_folder, grouplens, obtain, recbole, unpack
from .splitting import check_split_options, finish, split_by_time
from .types import DataError, Dataset, Interactions, did_you_mean, take


class Origin(NamedTuple):
    """How a named data set is recognised in a folder, and fetched."""

    title: str
    files: tuple[str, ...]  # what its rating file is called, in order of preference
    sources: tuple[Source, ...]


ORIGINS = {
    "ml100k": Origin(
        "MovieLens-100K",
        ("u.data", "ml-100k.inter"),
        (grouplens("ml-100k.zip", "0e33842e24a9c977be4e0107933c0723"), recbole()),
    ),
    "ml1m": Origin(
        "MovieLens-1M",
        ("ratings.dat", "ml-1m.inter"),
        (grouplens("ml-1m.zip", "c4d9eecfca2ab87c1945afe126590906"),),
    ),
}
SPLIT_ENDINGS = (".train.csv", ".validation.csv", ".test.csv")


def build(*, name: str, **options) -> Dataset:
    """The data set called `name`, from the keys of the config's data section.

    `name` is "ml100k" or "ml1m" (options of `load`) or "synthetic" (options of `synthetic`).
    DataError naming the known words if the name or an option is not among them.

    >>> build(name="synthetic", num_users=50, num_items=40, num_interactions=1000, seed=1).sizes
    {'user': 51, 'item': 41}
    """
    known = [*ORIGINS, "synthetic"]
    if name not in known:
        raise DataError(f"data.name={name!r} is not a data set; {did_you_mean(name, known)}")
    builder = synthetic if name == "synthetic" else load
    accepted = [word for word in inspect.signature(builder).parameters if word != "name"]
    for option in options:
        if option not in accepted:
            raise DataError(
                f"data.{option} is not an option of {name!r}; {did_you_mean(option, accepted)}"
            )
    return synthetic(**options) if name == "synthetic" else load(name=name, **options)


def load(
    *,
    name: str,
    path: str = "",
    threshold: float = 3.0,
    min_interactions: int = 5,
    reward_split: str = "leave_one_out",
) -> Dataset:
    """MovieLens-100K ("ml100k") or -1M ("ml1m"), split by time per user.

    `path` is a rating file, the archive from GroupLens, a folder with either, or a folder that is
    already split into X.train.csv, X.validation.csv and X.test.csv (`uid iid label`, where rows
    are in time order and `threshold` does not apply). Without a path: the cache folder, then the
    network. A rating above `threshold` (in the file's scale) is label 1; of interactions of one
    user with one item the last is kept. See `splitting` for the splits.

    DataError if the data cannot be found, read or split: file, line, column, what was expected.
    """
    check_split_options(min_interactions=min_interactions, reward_split=reward_split)
    if not math.isfinite(threshold):
        raise DataError(f"data.threshold must be a finite rating, got {threshold}")
    if name not in ORIGINS:
        raise DataError(f"{name!r} is not a data set to load; {did_you_mean(name, ORIGINS)}")
    options = {"name": name, "min_interactions": min_interactions, "reward_split": reward_split}
    found = Path(path).expanduser() if path else None
    if found and (split_files := _split_files(found)):
        parts = [_interactions(read_columns(_read(f), str(f), LABELLED)) for f in split_files]
        train, valid, test = parts
        note = ("already split; labels and order as in the files",)
        return finish(source=str(found), train=train, valid=valid, test=test, notes=note, **options)
    source, where, raw = _rating_file(name, found)
    columns = read_columns(raw, where, RATINGS)
    rows, notes = _from_ratings(columns, threshold)
    train, valid, test = split_by_time(rows, min_interactions=min_interactions)
    return finish(source=source, train=train, valid=valid, test=test, notes=notes, **options)


def _rating_file(name: str, path: Path | None) -> tuple[str, str, bytes]:
    """Source (for notes), name (for messages) and bytes of the rating file."""
    origin = ORIGINS[name]
    if path is None:
        file, raw, source = obtain(
            origin.sources,
            cache=cache_folder(),
            how_to_go_on=(
                f"To go on: download {origin.sources[0].title} in a browser and give the file, "
                f"--config.data.path=.../{origin.sources[0].file}, or search on generated data, "
                f"--config=configs/synthetic.py"
            ),
        )
        return source, *unpack(file, raw, origin.files)
    if path.is_dir():
        candidates = [*origin.files, origin.sources[0].file]
        path = next((path / c for c in candidates if (path / c).is_file()), path)
    if path.is_dir():
        raise DataError(
            f"{path} holds no {origin.title}: expected one of {', '.join(candidates)}, or the "
            f"three files X{', X'.join(SPLIT_ENDINGS)}. Give the folder or file that holds it, "
            f"or leave data.path empty to download it."
        )
    return str(path), *unpack(str(path), _read(path), origin.files)


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise DataError(
            f"{path} cannot be read: {error.strerror or error}. Give an existing file or folder as "
            f"data.path, or leave it empty to download the data."
        ) from error


def _split_files(path: Path) -> list[Path]:
    """The train, validation and test files of a folder that is already split, else none."""
    found = [sorted(path.glob(f"*{ending}")) for ending in SPLIT_ENDINGS]
    if not any(found):
        return []
    stems = {
        file.name.removesuffix(ending)
        for files, ending in zip(found, SPLIT_ENDINGS, strict=True)
        for file in files
    }
    if len(stems) > 1 or not all(found):
        names = ", ".join(file.name for files in found for file in files)
        raise DataError(
            f"{path}: expected one set of files X{', X'.join(SPLIT_ENDINGS)}, got {names}. Give a "
            f"folder that holds all three and no other set."
        )
    return [files[0] for files in found]


def _interactions(columns: dict[str, np.ndarray]) -> Interactions:
    ids = {field: columns[field].astype(np.int32) for field in ("user", "item")}
    return Interactions(ids, columns["label"].astype(np.float32))


def _from_ratings(
    columns: dict[str, np.ndarray], threshold: float
) -> tuple[Interactions, tuple[str, ...]]:
    """Interactions in time order (ties as in the file), each pair once; and notes on the counts."""
    label = (columns["rating"] > threshold).astype(np.float32)
    in_time = np.argsort(columns["time"], kind="stable")
    rows = take(_interactions({**columns, "label": label}), in_time)
    user, item = rows.ids["user"].astype(np.int64), rows.ids["item"]
    # The first of each pair from the end is the last in time.
    _, last = np.unique((user * (int(item.max()) + 1) + item)[::-1], return_index=True)
    kept = np.sort(user.size - 1 - last)
    notes = (
        f"{user.size:,} ratings read; label 1 is a rating above {threshold:g}",
        f"{user.size - kept.size:,} repeated pairs of user and item dropped, the last kept",
    )
    return take(rows, kept), notes
