"""From the keys of a config's data section, or from data in splits. Letters: ``n`` ratings."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

import numpy as np

from autolossgen.interfaces import ItemSets, RankingData
from autolossgen.suggest import did_you_mean

from ..csv_files import (
    TextForm,
    check_distinct,
    check_threshold,
    describe_table,
    read_own_tables,
)
from ..encode import NO_TIMES, encode_all
from ..generator import draw_interactions
from ..locate import find_rating_file, find_split, read_file
from ..readers import Roles, read_labelled
from ..registry import DATA_SETS
from ..tables import TextTable
from ..types import DataError, Dataset, Streamed, merge_reward_rows
from .from_folder import find_files, load_folder, read_folder
from .from_pairs import check_split_rule, make_ranking_data
from .parts import count_of, drop_repeats, make_parts
from .splits import SPLITS

FILES = "files"  # the split that a folder comes in
PART_NAMES = ("train", "valid", "test")
NAMES = ("folder", "csv", "synthetic", *DATA_SETS)
# A rating of at least these is a positive: on scales of 1 to 5 and, of MovieTweetings, 0 to 10.
DEFAULT_THRESHOLD, DEFAULT_THRESHOLDS = 4.0, {"movietweetings": 8.0}


class RankingKeys(NamedTuple):
    """The keys of a data section whose data are ranked, and their defaults."""

    name: str = ""  # folder, csv, synthetic or a key of DATA_SETS; empty for folder
    path: str = ""  # folder or file; empty for a named set's cache, then a download
    # files (as a folder is split), by_user, by_time or leave_one_out; empty for files where there
    # are such, and by_user elsewhere
    split: str = ""
    shares: tuple[float, float] = (0.1, 0.2)  # of valid and test: by_user and by_time
    seed: int = 0  # of what is drawn for test; of synthetic data, too
    valid_share: float = 0.1  # of train, where a folder has no file of validation
    valid_seed: int = 2024  # of what is drawn for validation
    threshold: float | None = None  # a rating of at least this is a positive; see ``build_ranking``
    mask_disliked: bool = False  # whether items that a user rated lower are not ranked for the user
    core: int = 1  # users and items with fewer positives are dropped until all have as many
    min_interactions: int = 3  # users with fewer positives stay in train, except in by_time
    separator: str = ""  # this and the next six as in ``load_csv``
    quoted: bool = True
    columns: tuple[str, ...] = ()
    user: str = "user"
    item: str = "item"
    label: str = "rating"  # empty where every row is a positive
    # Empty where nobody knows: leave_one_out then draws. A folder has times for these two splits.
    time: str = ""
    num_users: int = 943  # this and the next two are of synthetic data
    num_items: int = 1682
    num_interactions: int = 100_000


DEFAULTS = RankingKeys()
OWN_KEYS = {  # keys of some kinds of data alone
    "csv": ("separator", "quoted", "columns", "user", "item", "label", "time"),
    "synthetic": ("num_users", "num_items", "num_interactions"),
}


class Ratings(NamedTuple):
    """Rows of users and items [n], of one file or of a split, and which are positives."""

    user: np.ndarray  # int [n]
    item: np.ndarray  # int [n]
    time: np.ndarray | None  # float64 [n]; None if nobody knows
    liked: np.ndarray  # bool [n]
    sizes: Sequence[int]  # of train, valid and test, in this order; empty if not split
    notes: tuple[str, ...]
    # "user" and "item" -> own ids, by the numbers here; one that is missing is its own
    ids: Mapping[str, np.ndarray] = MappingProxyType({})


def build_ranking(**section) -> RankingData:
    """Builds what is ranked from the keys of a config's data section, those of ``RankingKeys``.

    A rating of at least ``threshold`` is a positive, where ``build`` takes those above it. None is
    4 for a named set (8 for MovieTweetings, whose scale has 10), and means labels of 0 and 1 in
    one's own file.

    Raises:
      DataError: naming the key for one that is not known or does not apply; for data that cannot
        be read or split.

    Example:
      >>> data = build_ranking(name="synthetic", num_users=50, num_items=40, num_interactions=1000)
      >>> data.num_users, data.train.items.size, data.valid.items.size, data.test.items.size
      (50, 347, 49, 84)
    """
    for key in section:
        if key not in RankingKeys._fields:
            hint = did_you_mean(key, RankingKeys._fields)
            raise DataError(f"data.{key} is not an option of rankings{hint}")
    keys = RankingKeys(**section)
    keys = keys._replace(shares=(*keys.shares,), columns=(*keys.columns,))
    keys = keys._replace(name=keys.name or "folder")
    if keys.name not in NAMES:
        hint = did_you_mean(str(keys.name), NAMES)
        raise DataError(f"data.name={keys.name!r} is not a data set to rank{hint}")
    if keys.split not in ("", FILES, *SPLITS):
        hint = did_you_mean(str(keys.split), (FILES, *SPLITS))
        raise DataError(f"data.split={keys.split!r} is not known{hint}")
    _check_kind(keys)
    _check_split(keys)
    if keys.name == "folder" and keys.split in ("", FILES):
        _refuse(keys, ("shares", "seed", "core", "min_interactions"), "a folder's own split")
        folder = _need_path(keys)
        if "valid" in find_files(folder):
            _refuse(keys, ("valid_share", "valid_seed"), "a folder with a file of validation")
        return load_folder(folder, valid_share=keys.valid_share, split_seed=keys.valid_seed)
    return _split_ratings(_read_ratings(keys), keys)


def _check_kind(keys: RankingKeys) -> None:
    """Checks that keys of one kind of data alone are not set for another."""
    for name, own in OWN_KEYS.items():
        if keys.name != name:
            own = tuple(key for key in own if (keys.name, key) != ("folder", "time"))
            _refuse(keys, own, f"data.name={keys.name!r}, but of {name!r}")
    if keys.name in ("folder", "synthetic"):
        unread = ("threshold", "mask_disliked") if keys.name == "folder" else ("threshold",)
        _refuse(keys, unread, f"data.name={keys.name!r}, whose rows have no ratings")
    if keys.name == "csv" and not keys.label:
        _refuse(keys, ("mask_disliked",), "data.label='', with which every row is a positive")
    if keys.name == "synthetic":
        _refuse(keys, ("path",), "data.name='synthetic', which is generated")


def _check_split(keys: RankingKeys) -> None:
    """Checks that keys of other splits are not set, and that by_time has times."""
    if keys.name == "folder" and keys.split not in ("by_time", "leave_one_out"):
        _refuse(
            keys, ("time",), f"data.split={keys.split or FILES!r}, which reads no times of a folder"
        )
    if keys.split == "leave_one_out":
        what = "data.split='leave_one_out', which holds out one item of each user"
        _refuse(keys, ("shares",), what)
    if keys.split != "by_time":
        return
    of_draws = () if keys.name == "synthetic" else ("seed",)  # which generates synthetic data
    what = "data.split='by_time', which draws nothing and cuts all users at one time"
    _refuse(keys, (*of_draws, "valid_seed", "min_interactions"), what)
    if keys.name == "folder" and not keys.time:
        raise DataError(
            "data.split='by_time' needs times: name the column of the folder's files that has "
            "them, --config.data.time=COLUMN, or use --config.data.split=by_user."
        )


def _refuse(keys: RankingKeys, names: Iterable[str], what: str) -> None:
    """Checks that keys which would not be read are left at their defaults."""
    for name in names:
        if (value := getattr(keys, name)) != getattr(DEFAULTS, name):
            raise DataError(
                f"data.{name}={value!r} is not an option of {what}. Leave it at "
                f"{getattr(DEFAULTS, name)!r}."
            )


def _need_path(keys: RankingKeys) -> Path:
    if not keys.path:
        what = "file of interactions" if keys.name == "csv" else "folder with train.tsv, test.tsv"
        raise DataError(f"data.path is empty: give the {what}, --config.data.path=...")
    return Path(keys.path).expanduser()


def _split_ratings(ratings: Ratings, keys: RankingKeys) -> RankingData:
    """Splits the positives, or keeps the split they come in."""
    name = Path(keys.path).name.split(".")[0] if keys.name in ("csv", "folder") else keys.name
    if not ratings.liked.any():
        raise DataError(
            f"{keys.path or keys.name}: none of {ratings.liked.size:,} rows is a positive. Lower "
            f"data.threshold, at which ratings become positives."
        )
    if ratings.sizes and keys.split in ("", FILES):
        unread = (
            *("shares", "seed", "core", "min_interactions", "valid_share", "valid_seed"),
            "mask_disliked",
        )
        _refuse(keys, unread, "a folder's own split, which has validation")
        return _keep_parts(name, ratings)
    if keys.split == FILES:
        raise DataError(
            f"data.split='files' needs files of train, valid and test, and {keys.path or name} is "
            f"not split. Use one of {', '.join(SPLITS)}."
        )
    _refuse(keys, ("valid_share",), "a split that is made here, which reads data.shares")
    data = make_ranking_data(
        ratings.user[ratings.liked],
        ratings.item[ratings.liked],
        None if ratings.time is None else ratings.time[ratings.liked],
        name=name,
        split=keys.split or SPLITS[0],
        shares=keys.shares,
        seed=keys.seed,
        valid_seed=keys.valid_seed,
        min_interactions=keys.min_interactions,
        core=keys.core,
    )
    masked = _find_disliked(ratings, data) if keys.mask_disliked else None
    return data._replace(
        notes=(*ratings.notes, *_describe_dropped(ratings), *data.notes, *_describe_masked(masked)),
        ids=_find_own_ids(ratings, data.ids),
        disliked=masked,
    )


def _find_disliked(ratings: Ratings, data: RankingData) -> ItemSets:
    """Returns what users rated lower, in the numbers of the data, whose own are the ratings'."""
    rows = ~ratings.liked & np.isin(ratings.user, data.ids["user"])
    rows &= np.isin(ratings.item, data.ids["item"])
    user, item = (
        np.searchsorted(data.ids[field], numbers[rows])
        for field, numbers in (("user", ratings.user), ("item", ratings.item))
    )
    # A pair that was rated twice may be liked, too.
    liked = data.train.union(data.valid).union(data.test)
    known = liked.users.astype(np.int64) * data.num_items + liked.items
    new = ~np.isin(user.astype(np.int64) * data.num_items + item, known)
    return ItemSets.of_pairs(user[new], item[new], data.num_users)


def _describe_masked(disliked: ItemSets | None) -> list[str]:
    if disliked is None:
        return []
    return [f"{count_of(disliked.items.size, 'pair')} that users rated lower: not ranked for them"]


def _find_own_ids(ratings: Ratings, numbers: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Returns people's own ids of the ratings' numbers of users and items."""
    return {
        field: ratings.ids[field][number] if field in ratings.ids else number
        for field, number in numbers.items()
    }


def _describe_dropped(ratings: Ratings) -> list[str]:
    """Returns a note on users and items without a positive."""
    users, items = (
        np.unique(ids).size - np.unique(ids[ratings.liked]).size
        for ids in (ratings.user, ratings.item)
    )
    if not users + items:
        return []
    return [f"{count_of(users, 'user')} and {count_of(items, 'item')} without a positive dropped"]


def _keep_parts(name: str, ratings: Ratings) -> RankingData:
    """Keeps the split that ratings come in; items without a positive can be ranked, too."""
    users, user = np.unique(ratings.user, return_inverse=True)
    items, item = np.unique(ratings.item, return_inverse=True)
    part_of_row = np.repeat(np.arange(len(PART_NAMES)), ratings.sizes)
    pairs = {}
    for number, part in enumerate(PART_NAMES):
        at = ratings.liked & (part_of_row == number)
        pairs[part] = (user[at], item[at])
    known, notes = drop_repeats(pairs, users.size, items.size)
    if disliked := int((~ratings.liked).sum()):
        notes.append(f"{count_of(disliked, 'row')} of label 0 left out, their items are ranked")
    return make_parts(
        name=name,
        num_items=items.size,
        train=known["train"],
        valid=known["valid"],
        test=known["test"],
        notes=(*ratings.notes, *notes),
        ids=_find_own_ids(ratings, {"user": users, "item": items}),
    )


def convert_dataset(dataset: Dataset) -> RankingData:
    """Keeps the splits of a data set, of which the positives are ranked among all its items.

    Rows of the reward split are train's. Dislikes show which items there are.

    Raises:
      DataError: for data that stay in a file, or without positives in a split.

    Example:
      >>> from ..generator import make_synthetic
      >>> tiny = make_synthetic(num_users=50, num_items=40, num_interactions=1000, seed=1)
      >>> data = convert_dataset(tiny)
      >>> data.num_items, data.valid.items.size, data.test.items.size
      (40, 47, 47)
    """
    train = merge_reward_rows(dataset)
    if isinstance(train, Streamed):
        raise DataError(
            f"rankings need data in memory, and {dataset.name!r} stays in its file. Read the file "
            f"with data.name=csv."
        )
    rows = [train, dataset.valid, dataset.test]
    user, item = (np.concatenate([part.ids[f] for part in rows]) for f in ("user", "item"))
    liked = np.concatenate([part.label for part in rows]) > 0
    sizes = [part.label.size for part in rows]
    ids = {field: known.to_numpy() for field, known in dataset.ids.items()}
    return _keep_parts(dataset.name, Ratings(user, item, None, liked, sizes, dataset.notes, ids))


def _read_ratings(keys: RankingKeys) -> Ratings:
    """Reads the data that keys name."""
    if keys.split != FILES:
        check_split_rule(
            split=keys.split or SPLITS[0],
            shares=keys.shares,
            min_interactions=keys.min_interactions,
            core=keys.core,
        )
    if keys.name == "synthetic":
        rows = draw_interactions(
            num_users=keys.num_users,
            num_items=keys.num_items,
            num_interactions=keys.num_interactions,
            seed=keys.seed,
        )
        notes = (f"source: generated, seed={keys.seed}",)
        time = np.arange(rows.label.size, dtype=np.float64)
        return Ratings(rows.ids["user"], rows.ids["item"], time, rows.label > 0, (), notes)
    if keys.name == "folder":
        return _read_folder_again(_need_path(keys), keys.time)
    return _read_csv(keys) if keys.name == "csv" else _read_named(keys)


def _read_folder_again(folder: Path, time: str) -> Ratings:
    """Reads the files of a folder as one, to split it in another way."""
    read = read_folder(folder, time)
    user, item = (np.concatenate(ids) for ids in zip(*read.pairs.values(), strict=True))
    notes = (f"source: {folder}, the files of which are split anew", *read.notes)
    return Ratings(user, item, read.time, np.ones(user.size, bool), (), notes, read.ids)


def _read_csv(keys: RankingKeys) -> Ratings:
    """Reads one's own file, or a folder of train, valid and test."""
    check_threshold(keys.threshold, keys.label)
    columns = {"user": keys.user, "item": keys.item, "label": keys.label, "time": keys.time}
    check_distinct(columns)
    roles = Roles(**columns, ids=None)
    form = TextForm(separator=keys.separator, quoted=keys.quoted, columns=tuple(keys.columns))
    tables, roles, guesses = read_own_tables(_need_path(keys), form, roles)
    ratings = _encode_ratings(tables, roles, keys.threshold, keys.path)
    return ratings._replace(notes=(*guesses, *ratings.notes))


def _read_named(keys: RankingKeys) -> Ratings:
    """Reads a data set of ``DATA_SETS``."""
    location = Path(keys.path).expanduser() if keys.path else None
    if location and (files := find_split(location)):
        _refuse(keys, ("threshold",), "files that have labels of 0 and 1")
        tables = [read_labelled(read_file(file), str(file)) for file in files]
        return _encode_ratings(tables, Roles(label="label", time=""), None, keys.path)
    located = find_rating_file(DATA_SETS[keys.name], location)
    table, roles = DATA_SETS[keys.name].read(located.raw, located.path)
    threshold = keys.threshold
    if threshold is None:
        threshold = DEFAULT_THRESHOLDS.get(keys.name, DEFAULT_THRESHOLD)
    check_threshold(threshold, roles.label)
    return _encode_ratings([table], roles, threshold, located.source)


def _encode_ratings(
    tables: list[TextTable], roles: Roles, threshold: float | None, source: str
) -> Ratings:
    """Numbers the rows of one file, of which the last of a repeated pair is kept, or of a split."""
    _, encoded, sizes = encode_all(tables, roles, threshold, at_least=True)
    return Ratings(
        user=encoded.rows.ids["user"],
        item=encoded.rows.ids["item"],
        time=encoded.time,
        liked=encoded.rows.label > 0,
        sizes=sizes,
        # Without times the splits of rankings draw, and say so.
        notes=(
            f"source: {source}",
            *map(describe_table, tables),
            *(note for note in encoded.notes if note != NO_TIMES),
        ),
        ids={field: index.ids.to_numpy() for field, index in encoded.indexes.items()},
    )
