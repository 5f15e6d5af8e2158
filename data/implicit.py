"""Implicit feedback: positives with sampled negatives, and positives to be ranked among items.

Letters: ``n`` groups, ``G`` items of a group, one positive first. All is drawn and masked by array
operations over all users at once.
"""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from autolossgen.interfaces import Batch, Positives

from .types import DataError, Dataset, Interactions, Streamed, merge_reward_rows, take

MAX_CELLS = 1_000_000_000  # pairs of a positive and an item to rank, at 16 bytes or more each


class Rankings(NamedTuple):
    """A data set as positives to train on, and groups to rank in."""

    train: Positives
    full_train: Positives  # with the reward split's positives
    reward: Batch
    valid: Batch
    test: Batch
    notes: tuple[str, ...] = ()  # for people


class _Pairs(NamedTuple):
    """A set of pairs of user and catalogue index, sorted by user, then by index; each once."""

    user: np.ndarray  # int64[p]
    item: np.ndarray  # int64[p]

    def start(self, user: np.ndarray) -> np.ndarray:
        """Returns where each user's pairs begin."""
        return np.searchsorted(self.user, user, side="left")

    def count_pairs(self, user: np.ndarray) -> np.ndarray:
        """Returns how many pairs each user has."""
        return np.searchsorted(self.user, user, side="right") - self.start(user)

    def unknown_below(self) -> np.ndarray:
        """Returns how many items that its user has no pair with come before each pair's."""
        return self.item - (np.arange(self.user.size) - self.start(self.user))


def make_rankings(
    dataset: Dataset, *, candidates: int, seed: int, test_candidates: int = 0
) -> Rankings:
    """Collects the positives of a data set, to train on and to rank.

    Args:
      dataset: its dislikes show which items there are, and what their users have met.
      candidates: sampled once for each positive of the reward split, to rank it among, each item
        once; 0 for all items. A sample is a hundred times faster to score, but its top is not that
        of all (Krichene and Rendle, KDD 2020, doi:10.1145/3394486.3403226). Never among them are
        the user's other positives of that split, and what the user has met before, liked or not:
        for validation in training, for test in training and validation.
      seed: of everything that is drawn.
      test_candidates: the same for validation and test; what is sampled there is in the notes.

    What else an interaction has, such as its hour, goes with its positive and holds for its group.
    A user who has met everything has nothing to rank among and is left out.

    Raises:
      DataError: for numbers out of range, if a split is left without positives, or if there is more
        to rank than memory holds.

    Example:
      >>> from .generator import make_synthetic
      >>> tiny = make_synthetic(num_users=50, num_items=40, num_interactions=1000, seed=1)
      >>> parts = make_rankings(tiny, candidates=0, seed=0)
      >>> parts.train.catalogue.size, parts.test.label.shape[1]
      (40, 41)
    """
    if min(candidates, test_candidates, seed) < 0:
        raise DataError(
            f"implicit.candidates, implicit.test_candidates and implicit.seed are at least 0, got "
            f"{candidates}, {test_candidates} and {seed}"
        )
    train, whole = _read_train_splits(dataset)
    items = _list_items(dataset, train)
    rng = np.random.default_rng(seed)
    before = [_find_pairs(rows, items) for rows in (train, whole, dataset.valid)]
    groups = {
        "reward": _rank_split(dataset.reward, items, before[:1], candidates, rng),
        "valid": _rank_split(dataset.valid, items, before[1:2], test_candidates, rng),
        "test": _rank_split(dataset.test, items, before[1:], test_candidates, rng),
    }
    notes: tuple[str, ...] = ()
    if test_candidates:
        notes = (
            f"SAMPLED rankings: each positive of validation and test among {test_candidates:,} "
            f"items drawn by implicit.seed={seed}, not all {items.size:,}; values are higher, "
            f"and compare with others among so many alone",
        )
    train_positives, full_train_positives = make_positives(dataset)
    _check_positives(groups)
    return Rankings(
        train=train_positives,
        full_train=full_train_positives,
        reward=groups["reward"],
        valid=groups["valid"],
        test=groups["test"],
        notes=notes,
    )


def make_positives(dataset: Dataset) -> tuple[Positives, Positives]:
    """Collects the positives of the train split, and of train with the reward split put back.

    For losses that are not evaluated by ranks; ``make_rankings`` returns them with the groups to
    rank in.

    Raises:
      DataError: if there are none.
    """
    splits = _read_train_splits(dataset)
    items = _list_items(dataset, splits[0])
    train, full_train = (
        _to_positives(part, _find_liked_pairs(part, items), items) for part in splits
    )
    _check_positives({"train": train, "full_train": full_train})
    return train, full_train


def add_negatives(dataset: Dataset, *, negatives: int, seed: int) -> dict[str, Interactions]:
    """Adds drawn rows of label 0 behind each positive of the splits train and full_train.

    For pointwise losses of data without dislikes.

    Args:
      dataset: its dislikes, if it has any, stay as they are.
      negatives: rows behind each positive, for the same user and with the same ids but for the
        item, which is drawn evenly, with replacement, from those that the user has no row with in
        these rows. A positive of a user who has all of them gets none.
      seed: of what is drawn, once for all epochs.

    Raises:
      DataError: for numbers out of range, or if no user is without some item.

    Example:
      >>> from .generator import make_synthetic
      >>> tiny = make_synthetic(num_users=50, num_items=40, num_interactions=1000, seed=1)
      >>> rows = add_negatives(tiny, negatives=2, seed=0)["train"]
      >>> tiny.train.label[:4].tolist(), rows.label[:6].tolist()
      ([0.0, 1.0, 0.0, 1.0], [0.0, 1.0, 0.0, 0.0, 0.0, 1.0])
    """
    if negatives < 0 or seed < 0:
        raise DataError(
            f"implicit.negatives and implicit.seed are at least 0, got {negatives} and {seed}"
        )
    train, full_train = _read_train_splits(dataset)
    items = _list_items(dataset, train)
    rng = np.random.default_rng([seed, 1])
    return {
        "train": _insert_negatives(train, items, negatives, rng),
        "full_train": _insert_negatives(full_train, items, negatives, rng),
    }


def _insert_negatives(
    rows: Interactions, items: np.ndarray, negatives: int, rng: np.random.Generator
) -> Interactions:
    """Returns rows [n] with ``negatives`` drawn ones behind each positive."""
    pairs = _find_pairs(rows, items)
    free = items.size - pairs.count_pairs(rows.ids["user"])
    num_drawn = np.where((rows.label > 0) & (free > 0), negatives, 0)
    if negatives and not num_drawn.any():
        raise DataError("implicit.negatives: every user with a positive has a row with every item")
    source = np.repeat(np.arange(rows.label.size), 1 + num_drawn)  # of each row, its old one
    is_new = np.append(False, source[1:] == source[:-1])[: source.size]
    mixed = take(rows, source)
    rank = (rng.random(is_new.sum()) * free[source[is_new]]).astype(np.int64)[:, None]
    index = _pick_unknown(pairs, mixed.ids["user"][is_new], rank, items.size)[:, 0]
    mixed.ids["item"][is_new], mixed.label[is_new] = items[index], 0
    return mixed


def _check_positives(parts: Mapping[str, Batch | Positives]) -> None:
    """Checks that each part has a positive; DataError if one has none."""
    for name, part in parts.items():
        if not part.ids["user"].size:
            raise DataError(f"the {name} split has no positive with other items to rank")


def _read_train_splits(dataset: Dataset) -> tuple[Interactions, Interactions]:
    """Returns train, and train with the reward split put back, which must be in memory."""
    train, full_train = dataset.train, merge_reward_rows(dataset)
    if isinstance(train, Streamed) or isinstance(full_train, Streamed):
        raise DataError(
            f"pairwise losses, sampled negatives and rankings need data in memory, and "
            f"{dataset.name!r} stays in its file. Use space.family=pointwise with "
            f"search.reward=auc, or read the file with data.name=csv."
        )
    return train, full_train


def _list_items(dataset: Dataset, train: Interactions) -> np.ndarray:
    """Returns the ids of all items, ascending."""
    splits = (train, dataset.reward, dataset.valid, dataset.test)
    return np.unique(np.concatenate([rows.ids["item"] for rows in splits]))


def _find_liked_pairs(rows: Interactions, items: np.ndarray) -> _Pairs:
    """Returns the pairs of the positives; an item is its index in the catalogue."""
    return _find_pairs(take(rows, rows.label > 0), items)


def _find_pairs(rows: Interactions, items: np.ndarray) -> _Pairs:
    """Returns the pairs of all rows."""
    index = np.searchsorted(items, rows.ids["item"])
    return _make_pairs(rows.ids["user"].astype(np.int64), index, items.size)


def _make_pairs(user: np.ndarray, index: np.ndarray, items: int) -> _Pairs:
    distinct_user, distinct_index = np.divmod(np.unique(user * items + index), items)
    return _Pairs(user=distinct_user, item=distinct_index)


def _select_liked(rows: Interactions, known: _Pairs, items: np.ndarray) -> dict[str, np.ndarray]:
    """Returns ids of the positives, less those of users who know everything: field -> int32[n]."""
    liked = rows.label > 0
    liked[liked] = known.count_pairs(rows.ids["user"][liked]) < items.size
    return {field: values[liked].astype(np.int32) for field, values in rows.ids.items()}


def _to_positives(rows: Interactions, known: _Pairs, items: np.ndarray) -> Positives:
    """Returns the positives of ``rows``, less those of users who like everything."""
    ids = _select_liked(rows, known, items)
    people = np.arange(rows.ids["user"].max(initial=-1) + 2)
    return Positives(
        ids=ids,
        catalogue=items.astype(np.int32),
        unknown_below=known.unknown_below().astype(np.int32),
        start=known.start(people).astype(np.int32),
    )


def _pick_unknown(known: _Pairs, user: np.ndarray, rank: np.ndarray, items: int) -> np.ndarray:
    """Returns the ``rank``-th item [n, S] of those that each user [n] has no pair with.

    Below the j-th known item (from 0) lie ``item - j`` unknown ones, so the answer is the rank plus
    the number of known items with at most that many below. One search serves all users, for their
    pairs follow one another. On the device, ``training.negative_sampling`` bisects for each user
    instead, because the joint key ``user * width + rank`` does not fit in int32.
    """
    width = items + 1
    sought = user[:, None].astype(np.int64) * width + rank
    before = np.searchsorted(known.user * width + known.unknown_below(), sought, side="right")
    return rank + before - known.start(user)[:, None]


def _draw_distinct(free: np.ndarray, count: int, rng: np.random.Generator) -> np.ndarray:
    """Draws distinct numbers int64[n, count] below ``free`` [n], evenly; -1 if none is left.

    Example:
      >>> _draw_distinct(np.array([3, 1000]), 4, np.random.default_rng(0))[0].tolist()
      [0, 2, 1, -1]
    """
    numbers = (rng.random((free.size, count)) * free[:, None]).astype(np.int64)
    few = free < 2 * count  # shuffled; the others are drawn again where a number comes twice
    keys = rng.random((int(few.sum()), 2 * count))
    keys[np.arange(2 * count) >= free[few, None]] = 1
    order = np.argsort(keys, axis=1)[:, :count]
    numbers[few] = np.where(order < free[few, None], order, -1)
    open_ = np.flatnonzero(~few)
    while open_.size:
        ordered = np.sort(numbers[open_], axis=1)
        twice = np.pad(ordered[:, 1:] == ordered[:, :-1], ((0, 0), (1, 0)))
        again = rng.random(int(twice.sum())) * free[open_[np.nonzero(twice)[0]]]
        ordered[twice] = again.astype(np.int64)
        numbers[open_] = ordered
        open_ = open_[twice.any(axis=1)]
    return numbers


def _rank_split(
    rows: Interactions,
    items: np.ndarray,
    before: list[_Pairs],
    candidates: int,
    rng: np.random.Generator,
) -> Batch:
    """Groups each positive of ``rows`` with all items, or ``candidates`` sampled ones.

    Masked are the user's other positives of ``rows``, and all pairs ``before``.
    """
    every = [_find_liked_pairs(rows, items), *before]
    known = _make_pairs(
        np.concatenate([pairs.user for pairs in every]),
        np.concatenate([pairs.item for pairs in every]),
        items.size,
    )
    liked = _select_liked(rows, known, items)
    user = liked["user"]
    if candidates:
        rank = _draw_distinct(items.size - known.count_pairs(user), candidates, rng)
        is_one = rank >= 0
        groups = _make_groups(
            liked, items[_pick_unknown(known, user, np.maximum(rank, 0), items.size)]
        )
        groups.weight[:, 1:] = is_one
        return groups
    if (cells := user.size * (items.size + 1)) > MAX_CELLS:
        raise DataError(
            f"{user.size:,} positives among {items.size:,} items are {cells:,} pairs to rank, over "
            f"{MAX_CELLS:,}: more than memory holds. Rank among sampled items, "
            f"--config.implicit.test_candidates=100, reward a metric of labels, "
            f"--config.search.reward=auc, or hold out fewer, as by data.split=by_user with "
            f"small data.shares."
        )
    people, row = np.unique(user, return_inverse=True)
    masked = np.zeros((people.size, items.size), bool)
    is_listed = np.isin(known.user, people)
    masked[np.searchsorted(people, known.user[is_listed]), known.item[is_listed]] = True
    groups = _make_groups(liked, np.tile(items, (user.size, 1)))
    groups.weight[:, 1:] = ~masked[row]
    return groups


def _make_groups(liked: dict[str, np.ndarray], others: np.ndarray) -> Batch:
    """Returns groups of positives [n] and other items [n, G - 1], with the positive's other ids."""
    item = np.column_stack([liked["item"], others]).astype(np.int32)
    label = np.zeros(item.shape, np.float32)
    label[:, :1] = 1
    ids = {
        field: item if field == "item" else np.repeat(values[:, None], item.shape[1], axis=1)
        for field, values in liked.items()
    }
    return Batch(ids, label, np.ones_like(label))
