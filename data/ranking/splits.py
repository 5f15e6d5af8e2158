"""Which pairs are held out for validation and test. Letters: ``n`` pairs."""

import random

import numpy as np

from autolossgen.interfaces import ItemSets

from ..types import DataError
from .pairs import Pairs
from .parts import count_of

SPLITS = ("by_user", "by_time", "leave_one_out")
TRAIN, VALID, TEST = range(3)  # what a pair is in


def draw_validation(
    known: ItemSets, *, share: float, seed: int
) -> tuple[ItemSets, ItemSets, tuple[str, ...]]:
    """Splits train as the published tables of top-k losses do, to the single item.

    From a generator that starts at ``seed`` each user in turn has ``max(int(share * n), 1)`` of n
    items drawn, by ``random.sample`` from their ascending list. A user's only item would be drawn,
    too, and leave nothing to learn from: it stays in train. Its draw is made nevertheless, so that
    those of all other users are the published ones.

    Args:
      known: what is to be split.
      share: of each user's items.
      seed: 2024 in the published tables, which hold out a share of 0.1.

    Returns:
      Train, valid, and notes for people.

    Example:
      >>> known = ItemSets.of_pairs(np.repeat([0, 1], [3, 1]), np.array([4, 6, 8, 5]), num_users=2)
      >>> train, valid, notes = draw_validation(known, share=0.1, seed=2024)
      >>> train.counts.tolist(), valid.counts.tolist(), notes
      ([2, 1], [1, 0], ('1 user with a single item: it stays in train, none is held out',))
    """
    check_seed("valid_seed", seed)
    check_share("valid_share", share)
    rng = random.Random(seed)
    items = known.items.tolist()
    held_out: list[int] = []  # places in ``items``
    num_single = 0
    for start, end in zip(known.start[:-1].tolist(), known.start[1:].tolist(), strict=True):
        n = end - start
        if n:
            # The same draws as from the items themselves: a sample chooses places.
            places = rng.sample(range(start, end), max(int(share * n), 1))
            held_out += places if n > 1 else []
            num_single += n == 1
    is_valid = np.zeros(len(items), bool)
    is_valid[held_out] = True
    train, valid = (
        ItemSets.of_pairs(known.users[part], known.items[part], known.start.size - 1)
        for part in (~is_valid, is_valid)
    )
    who = count_of(num_single, "user")
    note = f"{who} with a single item: it stays in train, none is held out"
    return train, valid, (note,) if num_single else ()


def check_share(key: str, share: float) -> None:
    """Checks that a share of rows can be held out.

    Raises:
      DataError: unless it is over 0 and below 1.
    """
    if not 0 < share < 1:
        raise DataError(f"data.{key} is over 0 and below 1, such as 0.1; got {share}")


def check_seed(key: str, seed: int) -> None:
    """Checks that numbers can be drawn from a seed.

    Raises:
      DataError: unless it is at least 0.
    """
    if seed < 0:
        raise DataError(f"data.{key} must be at least 0, got {seed}")


def split_pairs(
    pairs: Pairs,
    split: str,
    *,
    shares: tuple[float, float],
    seed: int,
    valid_seed: int,
    min_interactions: int,
) -> tuple[np.ndarray, tuple[str, ...]]:
    """Assigns pairs to parts, int8 [n], and returns notes for people.

    - by_user: shares of each user's items, drawn, rounded down, but one at least;
    - by_time: shares of all pairs, the last ones: from one moment on for all users;
    - leave_one_out: each user's last item is test and the one before valid; drawn without times.

    Args:
      pairs: what is to be split.
      split: one of ``SPLITS``.
      shares: of valid and test, except in leave_one_out.
      seed: of what is drawn for test.
      valid_seed: of what is drawn for valid of the rest, so that another one leaves test as it is.
      min_interactions: users with fewer items stay in train, except in by_time, where their later
        items would tell of what comes after the cut. One item of a user always stays there, so that
        users of two have none in valid.

    Raises:
      DataError: for times that are missing or do not allow a cut.
    """
    check_seed("seed", seed)
    check_seed("valid_seed", valid_seed)
    if split == "by_time":
        return _cut_by_time(pairs, shares)
    count = pairs.counts
    least = max(min_interactions, 2)
    splits = count >= least
    each_valid, each_test = (1, 1) if split == "leave_one_out" else _count_shares(count, shares)
    num_test = np.where(splits, np.minimum(each_test, count - 1), 0)
    num_valid = np.where(splits, np.minimum(each_valid, np.maximum(count - num_test - 1, 0)), 0)
    n = pairs.user.size
    if split == "leave_one_out" and pairs.time is not None:
        from_end = count[pairs.user] - 1 - _place_in_user(pairs, pairs.place, pairs.time)
        is_test = from_end < num_test[pairs.user]
        is_valid = ~is_test & (from_end < (num_test + num_valid)[pairs.user])
        how = "the last in time"
    else:
        draw = np.random.default_rng([seed, 0]).random(n)
        is_test = _place_in_user(pairs, draw) < num_test[pairs.user]
        draw = np.where(is_test, np.inf, np.random.default_rng([valid_seed, 1]).random(n))
        is_valid = _place_in_user(pairs, draw) < num_valid[pairs.user]
        how = f"drawn, seed {seed} for test and {valid_seed} for valid"
    part = np.where(is_test, TEST, np.where(is_valid, VALID, TRAIN)).astype(np.int8)
    return part, (f"split {split}: {how}", *_describe_few(splits, num_valid, least))


def _count_shares(count: np.ndarray, shares: tuple[float, float]) -> tuple[np.ndarray, np.ndarray]:
    """Returns how many of each user's items are shares of them, at least one."""
    valid, test = (np.maximum(np.floor(share * count + 1e-9), 1).astype(int) for share in shares)
    return valid, test


def _place_in_user(pairs: Pairs, *keys: np.ndarray) -> np.ndarray:
    """Returns the place of each pair, int64 [n], among its user's in the order of the last key."""
    order = np.lexsort((*keys, pairs.user))
    place = np.empty(order.size, np.int64)
    starts = np.cumsum(pairs.counts) - pairs.counts
    place[order] = np.arange(order.size) - starts[pairs.user[order]]
    return place


def _describe_few(splits: np.ndarray, num_valid: np.ndarray, least: int) -> list[str]:
    """Returns notes on users with fewer items than the least, and with two."""
    notes = []
    if kept := int((~splits).sum()):
        notes.append(f"{count_of(kept, 'user')} with fewer than {least} items: all stay in train")
    if without := int((splits & (num_valid == 0)).sum()):
        notes.append(
            f"{count_of(without, 'user')} with two items: one in train, one in test, none in valid"
        )
    return notes


def _cut_by_time(pairs: Pairs, shares: tuple[float, float]) -> tuple[np.ndarray, tuple[str, ...]]:
    """Assigns pairs to parts by two moments; pairs of one moment stay together."""
    if pairs.time is None:
        raise DataError(
            "data.split='by_time' needs times, and there are none. Name their column as data.time, "
            "or use by_user."
        )
    n = pairs.time.size
    in_time = np.sort(pairs.time)
    first_test = in_time[min(n - round(shares[1] * n), n - 1)]
    first_valid = in_time[min(n - round(sum(shares) * n), n - 1)]
    part = np.where(pairs.time < first_valid, TRAIN, np.where(pairs.time < first_test, VALID, TEST))
    sizes = np.bincount(part, minlength=3)
    if not sizes.all():
        raise DataError(
            f"data.split='by_time' with data.shares={tuple(shares)} leaves {sizes[TRAIN]:,} pairs "
            f"for train, {sizes[VALID]:,} for valid and {sizes[TEST]:,} for test: pairs of one "
            f"time stay together, and there are {np.unique(in_time).size:,} times. Change the "
            f"shares, give finer times, or use by_user."
        )
    valid, test = _describe_time(first_valid), _describe_time(first_test)
    note = f"split by_time: valid from {valid} on, test from {test} on, for all users"
    return part.astype(np.int8), (note,)


def _describe_time(time: float) -> str:
    """Returns a time in words, with its date if it can be seconds since 1970 of 1973 to 5138."""
    date = f" ({np.datetime64(int(time), 's')})" if 1e8 <= time < 1e11 else ""
    return f"{time:.15g}{date}"
