"""Train, validation, test and reward splits. Letters: ``n`` interactions, all in time order.

Interactions at one second keep the order of the file they come from, here as everywhere.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from autolossgen.interfaces import Side
from autolossgen.suggest import did_you_mean

from .columns import Index
from .types import (
    DataError,
    Dataset,
    Interactions,
    take,
)

REWARD_SPLITS = ("leave_one_out", "same", "valid")
SPLITS = ("leave_one_out", "ratio_per_user", "ratio_by_time", "random", "by_user")


class SplitRule(NamedTuple):
    """How a data set is split, as the config's data section says."""

    split: str = "leave_one_out"
    shares: tuple[float, ...] = (0.1, 0.1)  # of validation and test, but for leave_one_out
    seed: int = 0  # of random and by_user
    min_interactions: int = 5  # users with fewer stay in train
    reward_split: str = "leave_one_out"


def check_rule(rule: SplitRule) -> SplitRule:
    """Returns the rule if it can be applied.

    Raises:
      DataError: naming the key if it cannot. This comes before anything is read.
    """
    for key, known in (("split", SPLITS), ("reward_split", REWARD_SPLITS)):
        if (value := getattr(rule, key)) not in known:
            raise DataError(f"data.{key}={value!r} is not known{did_you_mean(str(value), known)}")
    if rule.min_interactions < 1:
        raise DataError(f"data.min_interactions must be at least 1, got {rule.min_interactions}")
    if rule.seed < 0:
        raise DataError(f"data.seed must be at least 0, got {rule.seed}")
    shares = rule.shares
    numbers = all(isinstance(share, int | float) for share in shares)
    if len(shares) != 2 or not (numbers and min(shares) > 0 and sum(shares) < 1):
        raise DataError(
            f"data.shares are those of validation and test, over 0 and below 1 together, such as "
            f"(0.1, 0.1); got {tuple(shares)}"
        )
    return rule


def check_keeps_parts(rule: SplitRule, folder: str) -> SplitRule:
    """Returns the rule of a folder that is split already, if it asks for no other split.

    Raises:
      DataError: if it asks for another split.
    """
    if rule.split != SplitRule().split:
        raise DataError(
            f"{folder} is split already: leave data.split at {SplitRule().split!r}, got "
            f"{rule.split!r}, or give the ratings as they come."
        )
    return rule


def count_later_positives(user: np.ndarray, label: np.ndarray) -> np.ndarray:
    """Counts the later positives of each row's user: int64[n] of int[n], float[n].

    Example:
      >>> count_later_positives(np.array([1, 2, 1, 1]), np.array([1.0, 1.0, 0.0, 1.0])).tolist()
      [1, 0, 1, 0]
    """
    if user.size == 0:
        return np.zeros(0, np.int64)
    by_user = np.argsort(user, kind="stable")
    positives = np.cumsum(label[by_user] > 0)
    is_last = np.append(user[by_user][1:] != user[by_user][:-1], True)
    at_end = positives[is_last]  # the running count at the end of each user's rows
    segment = np.cumsum(is_last) - is_last
    after = np.empty(user.size, np.int64)
    after[by_user] = at_end[segment] - positives
    return after


def leave_out(
    user: np.ndarray, label: np.ndarray, *, positives: int, min_interactions: int
) -> np.ndarray:
    """Assigns rows to parts, int8[n]: p in 1..positives for a user's p-th last one, else 0.

    A part takes its positive and the negatives up to the user's next positive, so that each user's
    parts follow one another in time and start with their one positive. Users with fewer than
    ``min_interactions`` rows, or with fewer positives than there are parts, stay in part 0 whole:
    there is no positive to rank for them.

    Example:
      >>> user, label = np.ones(6, int), np.array([0, 1, 0, 1, 0, 1])
      >>> leave_out(user, label, positives=2, min_interactions=5).tolist()
      [0, 0, 0, 2, 2, 1]
    """
    after = count_later_positives(user, label)
    # Counting per id would need memory for the largest id, so compress ids first.
    _, row_user = np.unique(user, return_inverse=True)
    interactions = np.bincount(row_user)
    liked = np.bincount(row_user, weights=label > 0)
    splits = ((interactions >= min_interactions) & (liked >= positives))[row_user]
    return np.where(splits & (after < positives), after + 1, 0).astype(np.int8)


def assign_parts(
    rows: Interactions, rule: SplitRule, shares: tuple[float, ...], draw: int
) -> np.ndarray:
    """Assigns rows to parts, int8[n]: p in 1..len(shares), the last in time first; 0: train.

    Rows of users with fewer than ``min_interactions`` stay in train. Of the others go to a part

    - leave_one_out: what ``leave_out`` says, whatever the shares;
    - ratio_per_user: a share of each user's rows, the last ones, rounded up;
    - ratio_by_time: a share of all these rows, the last ones;
    - random: a share of the rows, drawn by ``seed`` and ``draw``;
    - by_user: all rows of a share of the users, so drawn: none of theirs is in train.

    Example:
      >>> rows = Interactions({"user": np.ones(10, int)}, np.ones(10))
      >>> assign_parts(rows, SplitRule("ratio_per_user"), (0.1, 0.2), 0).tolist()
      [0, 0, 0, 0, 0, 0, 0, 2, 2, 1]
    """
    user = rows.ids["user"]
    if rule.split == "leave_one_out":
        least = rule.min_interactions
        return leave_out(user, rows.label, positives=len(shares), min_interactions=least)
    _, row_user = np.unique(user, return_inverse=True)
    count = np.bincount(row_user)
    fits = count >= rule.min_interactions
    rng = np.random.default_rng([rule.seed, draw])
    if rule.split == "ratio_per_user":
        after = count_later_positives(user, np.ones(user.size))  # rows of the user that come later
        ends = np.cumsum(np.ceil(np.multiply.outer(shares, count) - 1e-9), axis=0)[:, row_user]
        part = _assign_by_place(after, ends)
        return np.where(fits[row_user], part, 0).astype(np.int8)
    if rule.split == "by_user":
        part = np.zeros(count.size, np.int8)
        part[rng.permutation(np.flatnonzero(fits))] = _assign_by_share(int(fits.sum()), shares)
        return part[row_user]
    part, movable = np.zeros(user.size, np.int8), np.flatnonzero(fits[row_user])
    order = movable[::-1] if rule.split == "ratio_by_time" else rng.permutation(movable)
    part[order] = _assign_by_share(movable.size, shares)
    return part


def _assign_by_share(n: int, shares: tuple[float, ...]) -> np.ndarray:
    """Assigns n things in order to parts int8[n]: the first share 1, the next 2, the rest 0."""
    return _assign_by_place(np.arange(n), np.round(np.cumsum(shares) * n)[:, None])


def _assign_by_place(place: np.ndarray, ends: np.ndarray) -> np.ndarray:
    """Returns the part of each place [n], given where the parts end [parts, n or 1]."""
    passed = np.sum(place >= ends, axis=0)
    return np.where(passed < len(ends), passed + 1, 0).astype(np.int8)


def split_at(rows: Interactions, sizes: Sequence[int]) -> list[Interactions]:
    """Splits rows into consecutive parts of the given sizes."""
    ends = np.cumsum(sizes)
    return [take(rows, np.arange(end - n, end)) for n, end in zip(sizes, ends, strict=True)]


def split_rows(
    rows: Interactions, rule: SplitRule
) -> tuple[Interactions, Interactions, Interactions]:
    """Splits rows [n], which are in time order, into train, valid and test.

    For leave_one_out a user's last positive and all that follows is test; the second-last positive
    and the negatives up to the last is valid; the rest is train, as in the original AutoLossGen's
    files.
    """
    part = assign_parts(rows, rule, rule.shares[::-1], 0)
    return take(rows, part == 0), take(rows, part == 2), take(rows, part == 1)


def make_dataset(
    *,
    name: str,
    source: str,
    train: Interactions,
    valid: Interactions,
    test: Interactions,
    rule: SplitRule,
    notes: tuple[str, ...],
    sizes: Mapping[str, int],
    sides: Mapping[str, Side],
    indexes: Mapping[str, Index] | None = None,
) -> Dataset:
    """Builds a data set of three splits: cuts the reward split, checks and counts all.

    The reward split "leave_one_out" is each user's last positive and the negatives after it, out of
    ``train``; "same" applies the rule of ``rule.split`` once more, with validation's share; "valid"
    rewards on validation and keeps ``train`` whole, as the original does. ``indexes`` have the ids
    of users and items; None where these are rows.

    Raises:
      DataError: if a split is empty or has no positive: nothing could be learnt, or ranked, of it.
    """
    _check_parts(train, valid, test, rule, source)
    train, reward, reward_rows = _cut_reward(train, valid, rule, source)
    splits = {"train": train, "valid": valid, "test": test, "reward": reward}
    for split in ("train", "reward"):
        _check_positives(split, splits[split], source)
    counts = tuple(f"{split}: {_describe_counts(rows)}" for split, rows in splits.items())
    if rule.reward_split == "valid":
        counts += ("reward split: the validation split itself",)
    notes = (f"source: {source}", *notes, *counts)
    return Dataset(
        name=name,
        train=train,
        reward=reward,
        valid=valid,
        test=test,
        reward_rows=reward_rows,
        sizes=dict(sizes),
        notes=notes,
        sides=sides,
        ids={field: index.ids for field, index in (indexes or {}).items()},
    )


def _check_parts(
    train: Interactions, valid: Interactions, test: Interactions, rule: SplitRule, source: str
) -> None:
    """Checks that each part has a positive; a DataError says why one has none."""
    held_out_rows = valid.label.size + test.label.size
    if not held_out_rows and (few := _describe_few_rows(source, (train, valid, test), rule)):
        raise few
    for split, rows in {"train": train, "valid": valid, "test": test}.items():
        _check_positives(split, rows, source)


def _cut_reward(
    train: Interactions, valid: Interactions, rule: SplitRule, source: str
) -> tuple[Interactions, Interactions, np.ndarray]:
    """Returns the rest of train, the reward split, and its rows in train (none of validation's)."""
    if rule.reward_split == "valid":
        return train, valid, np.zeros(0, np.int64)
    reward_rule = rule if rule.reward_split == "same" else rule._replace(split="leave_one_out")
    held_out = assign_parts(train, reward_rule, rule.shares[:1], 1)
    reward_rows = np.flatnonzero(held_out)
    if not reward_rows.size:
        raise _describe_empty_reward(source, train, rule)
    return take(train, held_out == 0), take(train, reward_rows), reward_rows


def _describe_empty_reward(source: str, train: Interactions, rule: SplitRule) -> DataError:
    """Returns why no row of train is held out to reward the search."""
    most = int(np.unique(train.ids["user"], return_counts=True)[1].max(initial=0))
    go_on = "or reward the search on validation, --config.data.reward_split=valid."
    if most < rule.min_interactions:
        lower = f"Lower it, --config.data.min_interactions={most}, " if most else "Lower it, "
        return DataError(
            f"{source}: no row is left to reward the search. With validation and test held out, "
            f"no user has more than {most} rows in train, and those with fewer than "
            f"data.min_interactions={rule.min_interactions} keep theirs there. {lower}{go_on}"
        )
    if rule.reward_split == "same" and rule.split != "leave_one_out":
        return DataError(
            f"{source}: no row is left to reward the search: data.shares={rule.shares} of "
            f"{train.label.size:,} rows of train are none. Give more interactions, {go_on}"
        )
    return DataError(
        f"{source}: no row is left to reward the search. With validation and test held out, no "
        f"user with data.min_interactions={rule.min_interactions} rows in train has a like there. "
        f"Give users with more likes, {go_on}"
    )


def _describe_few_rows(
    source: str, parts: Sequence[Interactions], rule: SplitRule
) -> DataError | None:
    """Returns why nothing is held out for validation and test, if users have too few rows."""
    user, label = (
        np.concatenate([values for values in columns])
        for columns in zip(*((part.ids["user"], part.label) for part in parts), strict=True)
    )
    _, row_user, count = np.unique(user, return_inverse=True, return_counts=True)
    most = int(count.max(initial=0))
    if most < rule.min_interactions:
        return DataError(
            f"{source}: no user has data.min_interactions={rule.min_interactions} rows, the most "
            f"is {most}, and those with fewer stay in train: nothing is left for validation and "
            f"test. Lower it, --config.data.min_interactions={most}, or give more interactions."
        )
    likes = int(np.bincount(row_user, weights=label > 0).max(initial=0))
    if rule.split == "leave_one_out" and likes == 1:
        return DataError(
            f"{source}: no user has more than one like, and data.split=leave_one_out holds out one "
            f"for validation and one for test. Change data.threshold, or use "
            f"--config.data.split=random."
        )
    return None


def _check_positives(split: str, rows: Interactions, source: str) -> None:
    if rows.label.any():
        return
    actual = f"only label 0 in {rows.label.size:,} rows" if rows.label.size else "no rows"
    raise DataError(
        f"{source}: the {split} split must hold label 1, got {actual}. Use data of users who have "
        f"several likes each, or change data.threshold, data.split, data.min_interactions or "
        f"data.reward_split."
    )


def check_both_labels(source: str, splits: Mapping[str, Interactions]) -> None:
    """Checks that each of the splits, by name, holds labels 0 and 1 if it is in memory.

    Losses of single interactions need both to train on, as metrics of labels need both to be
    computed; losses of pairs and rankings need positives alone.

    Raises:
      DataError: unless each of the splits, by name, holds labels 0 and 1 if it is in memory.
    """
    for split, rows in splits.items():
        if isinstance(rows, Interactions) and not np.isin(rows.label, (0, 1)).all():
            raise DataError(
                f"{source}: labels of the {split} split are 0 and 1, got from {rows.label.min():g} "
                f"to {rows.label.max():g}. Say from which value on one is a like, data.threshold."
            )
        if isinstance(rows, Interactions) and rows.label.all():
            raise DataError(
                f"{source}: the {split} split must hold labels 0 and 1, got only label 1 in "
                f"{rows.label.size:,} rows. Change data.threshold or data.split; or, for positives "
                f"alone, rank them, --config.search.reward=ndcg@10, and search losses of pairs, "
                f"--config.space.family=pairwise, or train on sampled negatives, "
                f"--config.implicit.negatives=4."
            )


def _describe_counts(rows: Interactions) -> str:
    users = np.unique(rows.ids["user"]).size
    return f"{rows.label.size:,} rows of {users:,} users, {int(rows.label.sum()):,} positive"
