"""Pairs of a user and an item that the user liked. Letters: ``n`` pairs."""

from typing import NamedTuple

import numpy as np
import polars as pl

from ..columns import MISSING_ID
from ..types import DataError


class Pairs(NamedTuple):
    """Who liked what, with ids from 0 without gaps; each pair once, by user, then by item."""

    user: np.ndarray  # int64 [n]
    item: np.ndarray  # int64 [n]
    time: np.ndarray | None  # float64 [n]; None if nobody knows
    place: np.ndarray  # int64 [n], where the pair was given: the order of equal times
    user_ids: np.ndarray  # as they were given, ascending, [num_users]
    item_ids: np.ndarray  # the same, [num_items]

    @property
    def num_users(self) -> int:
        """How many users there are."""
        return self.user_ids.size

    @property
    def num_items(self) -> int:
        """How many items there are."""
        return self.item_ids.size

    @property
    def counts(self) -> np.ndarray:
        """The number of items of each user, int64 [num_users]."""
        return np.bincount(self.user, minlength=self.num_users)

    def take(self, kept: np.ndarray) -> "Pairs":
        """Returns the pairs that are kept, bool [n], numbered anew."""
        users, user = np.unique(self.user[kept], return_inverse=True)
        items, item = np.unique(self.item[kept], return_inverse=True)
        time = None if self.time is None else self.time[kept]
        ids = self.user_ids[users], self.item_ids[items]
        return Pairs(user, item, time, self.place[kept], *ids)


def collect_pairs(users: np.ndarray, items: np.ndarray, times: np.ndarray | None) -> Pairs:
    """Numbers users and items in ascending order; of a repeated pair the last in time is kept.

    Args:
      users: ids [n], whole numbers or words.
      items: ids [n], otherwise as ``users``.
      times: numbers [n], or None.

    Raises:
      DataError: if lengths differ, there are no pairs, or an id or a time is none.

    Example:
      >>> pairs = collect_pairs(np.array(["b", "a", "b"]), np.array([7, 5, 7]), None)
      >>> pairs.user.tolist(), pairs.item.tolist(), pairs.place.tolist()
      ([0, 1], [0, 1], [1, 2])
    """
    users, items = _check_ids("users", users), _check_ids("items", items)
    times = None if times is None else _check_times(times)
    sizes = [users.size, items.size, *([] if times is None else [times.size])]
    if len({*sizes}) > 1:
        raise DataError(f"users, items and times belong together, row by row: got {sizes} of them")
    if not users.size:
        raise DataError("there are no interactions: expected users and items, got none of either")
    known_users, user = np.unique(users, return_inverse=True)
    known_items, item = np.unique(items, return_inverse=True)
    place = np.arange(users.size)
    order = np.lexsort((place, item, user) if times is None else (place, times, item, user))
    user, item = user[order], item[order]
    is_last = np.append((user[1:] != user[:-1]) | (item[1:] != item[:-1]), True)
    kept = order[is_last]
    time = None if times is None else times[kept]
    return Pairs(user[is_last], item[is_last], time, kept, known_users, known_items)


def _check_ids(name: str, values: np.ndarray) -> np.ndarray:
    """Returns ids as an array of whole numbers or of words."""
    ids = np.asarray(values)
    if ids.ndim != 1:
        raise DataError(f"{name} are one row of ids, got an array of shape {ids.shape}")
    if ids.dtype.kind == "O":
        is_word = np.array([isinstance(one, str) for one in ids], bool)
        if is_word.any() and not is_word.all():
            at = int(np.flatnonzero(is_word != is_word[0])[0])
            raise DataError(
                f"{name} are whole numbers or words, not both: got {ids[0]!r}, and {ids[at]!r} at "
                f"{at}"
            )
        ids = np.array(ids.tolist()) if ids.size else ids.astype(np.int64)
    if ids.dtype.kind == "f":
        bad = np.flatnonzero(~(np.isfinite(ids) & (ids == np.floor(ids))))
        if bad.size:
            raise DataError(
                f"{name} are whole numbers or words, got {ids[bad[0]]} at {bad[0]}. Leave out what "
                f"has no id."
            )
        ids = ids.astype(np.int64)
    if ids.dtype.kind in "US":
        words = pl.Series(ids.astype(np.str_))
        missing = (words == "") | words.str.contains(MISSING_ID)
        if missing.any():
            at = int(missing.arg_true()[0])
            raise DataError(
                f"{name} are whole numbers or words, got {words[at]!r} at {at}, which means that "
                f"none is known. Leave out what has no id."
            )
    if ids.dtype.kind not in "iuUS":
        raise DataError(f"{name} are whole numbers or words, got an array of {ids.dtype}")
    return ids


def _check_times(values: np.ndarray) -> np.ndarray:
    """Returns times as numbers."""
    try:
        times = np.asarray(values).astype(np.float64)
    except (TypeError, ValueError) as error:
        raise DataError(f"times are numbers, or None: {error}") from None
    bad = np.flatnonzero(~np.isfinite(times))
    if bad.size:
        raise DataError(
            f"times are finite numbers, got {times[bad[0]]} at {bad[0]}. Leave the row out, or "
            f"give no times."
        )
    return times


def keep_core(pairs: Pairs, core: int) -> Pairs:
    """Drops users and items with fewer than ``core`` pairs until all have as many.

    Raises:
      DataError: if nothing is left, or for a number below 1.

    Example:
      >>> users, items = np.array([0, 0, 1, 1, 2]), np.array([0, 1, 0, 1, 1])
      >>> keep_core(collect_pairs(users, items, None), 2).counts.tolist()
      [2, 2]
    """
    if core < 1:
        raise DataError(f"data.core must be at least 1, which keeps all, got {core}")
    kept = np.ones(pairs.user.size, bool)
    while True:
        enough_users = np.bincount(pairs.user[kept], minlength=pairs.num_users) >= core
        enough_items = np.bincount(pairs.item[kept], minlength=pairs.num_items) >= core
        fewer = kept & enough_users[pairs.user] & enough_items[pairs.item]
        if fewer.sum() == kept.sum():
            break
        kept = fewer
    if not kept.any():
        raise DataError(
            f"data.core={core} leaves nothing: no users and items have {core} pairs each with one "
            f"another. Lower it."
        )
    return pairs.take(kept)
