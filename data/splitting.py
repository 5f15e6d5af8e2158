"""Leave-one-out by time. Letters: `n` interactions, all in time order."""

import numpy as np

from .types import DataError, Dataset, Interactions, did_you_mean, take

# A table may have this many rows, and this many more for each id that occurs: MovieLens numbers
# 10,000 movies up to 193,609. Hashes as ids would fill any memory.
SPARE_ROWS, ROWS_PER_ID = 100_000, 20
REWARD_SPLITS = ("leave_one_out", "valid")


def positives_after(user: np.ndarray, label: np.ndarray) -> np.ndarray:
    """How many positives of the same user come strictly later: int64[n] of int[n], float[n].

    >>> positives_after(np.array([1, 2, 1, 1]), np.array([1.0, 1.0, 0.0, 1.0])).tolist()
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
    """Part of each row, int8[n]: p in 1..positives for a user's p-th last positive, 0 for the rest.

    A part takes its positive and the negatives up to the user's next positive, so that each user's
    parts follow one another in time and start with their one positive. Users with fewer than
    `min_interactions` rows, or with fewer positives than there are parts, stay in part 0 whole:
    there is no positive to rank for them.

    >>> user, label = np.ones(6, int), np.array([0, 1, 0, 1, 0, 1])
    >>> leave_out(user, label, positives=2, min_interactions=5).tolist()
    [0, 0, 0, 2, 2, 1]
    """
    after = positives_after(user, label)
    # Counting per id would need memory for the largest id, so compress ids first.
    _, row_user = np.unique(user, return_inverse=True)
    interactions = np.bincount(row_user)
    liked = np.bincount(row_user, weights=label > 0)
    splits = ((interactions >= min_interactions) & (liked >= positives))[row_user]
    return np.where(splits & (after < positives), after + 1, 0).astype(np.int8)


def check_split_options(*, min_interactions: int, reward_split: str) -> None:
    """DataError unless the options of a split can be used; called before anything is read."""
    if reward_split not in REWARD_SPLITS:
        raise DataError(
            f"data.reward_split={reward_split!r} is not known; "
            + did_you_mean(reward_split, REWARD_SPLITS)
        )
    if min_interactions < 1:
        raise DataError(f"data.min_interactions must be at least 1, got {min_interactions}")


def split_by_time(
    rows: Interactions, *, min_interactions: int
) -> tuple[Interactions, Interactions, Interactions]:
    """Train, valid and test of `rows` [n], which are in time order.

    A user's last positive and all that follows is test; the second-last positive and the negatives
    up to the last is valid; the rest is train, as in the original AutoLossGen's files.
    """
    part = leave_out(rows.ids["user"], rows.label, positives=2, min_interactions=min_interactions)
    return take(rows, part == 0), take(rows, part == 2), take(rows, part == 1)


def finish(
    *,
    name: str,
    source: str,
    train: Interactions,
    valid: Interactions,
    test: Interactions,
    min_interactions: int,
    reward_split: str,
    notes: tuple[str, ...],
) -> Dataset:
    """Dataset of three splits: cuts the reward split, checks every split, counts for the notes.

    "leave_one_out" applies the rule of the test split once more to `train`; "valid" rewards on
    validation and keeps `train` whole, as the original does. DataError if a split is empty or has
    one class only: no AUC could be computed on it; or if ids are far larger than they are many.
    """
    splits = (train, valid, test)
    reward, reward_rows = valid, np.zeros(0, np.int64)
    if reward_split == "leave_one_out":
        held_out = leave_out(
            train.ids["user"], train.label, positives=1, min_interactions=min_interactions
        )
        reward_rows = np.flatnonzero(held_out)
        train, reward = take(train, held_out == 0), take(train, reward_rows)
    named = {"train": train, "valid": valid, "test": test, "reward": reward}
    for split, rows in named.items():
        _check_classes(split, rows, source)
    sizes = {field: _table_rows(field, splits, source) for field in train.ids}
    counts = tuple(f"{split}: {_count(rows)}" for split, rows in named.items())
    if reward_split == "valid":
        counts += ("reward split: the validation split itself",)
    return Dataset(
        name, train, reward, valid, test, reward_rows, sizes, (f"source: {source}", *notes, *counts)
    )


def _table_rows(field: str, splits: tuple[Interactions, ...], source: str) -> int:
    """Rows of the table of a field, one for each id up to the largest."""
    ids = np.concatenate([split.ids[field] for split in splits])
    rows, distinct = int(ids.max(initial=0)) + 1, np.unique(ids).size
    if rows > SPARE_ROWS + ROWS_PER_ID * distinct:
        raise DataError(
            f"{source}: {field} ids go up to {rows - 1:,} but only {distinct:,} occur. Every id up "
            f"to the largest takes memory: number them from 0 or 1."
        )
    return rows


def _check_classes(split: str, rows: Interactions, source: str) -> None:
    n, positives = rows.label.size, int(rows.label.sum())
    if n == 0:
        came = "no rows"
    elif positives in (0, n):
        came = f"only label {int(positives > 0)} in {n:,} rows"
    else:
        return
    raise DataError(
        f"{source}: the {split} split must hold labels 0 and 1, got {came}. Use data with likes "
        f"and dislikes of users who have several likes each, or change data.threshold, "
        f"data.min_interactions or data.reward_split."
    )


def _count(rows: Interactions) -> str:
    users = np.unique(rows.ids["user"]).size
    return f"{rows.label.size:,} rows of {users:,} users, {int(rows.label.sum()):,} positive"
