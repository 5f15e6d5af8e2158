"""One's own interactions, as arrays. Letters: ``n`` interactions."""

import numpy as np

from autolossgen.interfaces import ItemSets, RankingData
from autolossgen.suggest import did_you_mean

from ..types import DataError
from .pairs import Pairs, collect_pairs, keep_core
from .parts import count_of, make_parts
from .splits import SPLITS, split_pairs


def make_ranking_data(
    users: np.ndarray,
    items: np.ndarray,
    times: np.ndarray | None = None,
    *,
    name: str = "own",
    split: str = "by_user",
    shares: tuple[float, float] = (0.1, 0.2),
    seed: int = 0,
    valid_seed: int = 2024,
    min_interactions: int = 3,
    core: int = 1,
) -> RankingData:
    """Collects interactions, each of which is a positive, and splits them.

    A repeated pair counts once, at its last time. Users and items are numbered from 0, in ascending
    order of their ids.

    Args:
      users: ids [n], whole numbers or words.
      items: ids [n], otherwise as ``users``.
      times: numbers [n], in any unit; None if nobody knows.
      name: for people.
      split: by_user (shares of each user's items, drawn), by_time (shares of all, the last ones) or
        leave_one_out (each user's last item for test, the one before for valid; drawn without
        times).
      shares: of valid and test, except in leave_one_out.
      seed: of what is drawn for test.
      valid_seed: of what is drawn for valid; another one leaves test as it is.
      min_interactions: users with fewer items stay in train; by_time cuts those of all users.
      core: users and items with fewer pairs are dropped until all have as many.

    Raises:
      DataError: for what cannot be used or split.

    Example:
      >>> users, items = np.repeat(["ann", "bob"], 5), np.tile([30, 10, 20, 50, 40], 2)
      >>> data = make_ranking_data(users, items, np.arange(10), split="leave_one_out")
      >>> data.train.items.tolist(), data.valid.items.tolist(), data.test.items.tolist()
      ([0, 1, 2, 0, 1, 2], [4, 4], [3, 3])
    """
    check_split_rule(split=split, shares=shares, min_interactions=min_interactions, core=core)
    pairs = collect_pairs(users, items, times)
    notes = []
    if repeats := np.size(users) - pairs.user.size:
        notes.append(f"{count_of(repeats, 'repeated pair')} of user and item: each counts once")
    if core > 1:
        whole, pairs = pairs, keep_core(pairs, core)
        notes.append(_describe_core(whole, pairs, core))
    part, split_notes = split_pairs(
        pairs,
        split,
        shares=shares,
        seed=seed,
        valid_seed=valid_seed,
        min_interactions=min_interactions,
    )
    train, valid, test = (
        ItemSets.of_pairs(pairs.user[part == p], pairs.item[part == p], pairs.num_users)
        for p in range(3)
    )
    return make_parts(
        name=name,
        num_items=pairs.num_items,
        train=train,
        valid=valid,
        test=test,
        notes=(*notes, *split_notes),
        ids={"user": pairs.user_ids, "item": pairs.item_ids},
    )


def check_split_rule(
    *, split: str, shares: tuple[float, float], min_interactions: int, core: int
) -> None:
    """Checks how interactions are to be split, before anything is read.

    Raises:
      DataError: naming the key that cannot be used.
    """
    if split not in SPLITS:
        raise DataError(f"data.split={split!r} is not known{did_you_mean(str(split), SPLITS)}")
    numbers = all(isinstance(share, int | float) for share in shares)
    if len(shares) != 2 or not numbers or min(shares) <= 0 or sum(shares) >= 1:
        raise DataError(
            f"data.shares are those of valid and test, over 0 and below 1 together, such as "
            f"(0.1, 0.2); got {tuple(shares)}"
        )
    for key, value in (("min_interactions", min_interactions), ("core", core)):
        if value < 1:
            raise DataError(f"data.{key} must be at least 1, got {value}")


def _describe_core(whole: Pairs, pairs: Pairs, core: int) -> str:
    users, items = whole.num_users - pairs.num_users, whole.num_items - pairs.num_items
    return (
        f"core of {core}: {count_of(users, 'user')}, {count_of(items, 'item')} and "
        f"{count_of(whole.user.size - pairs.user.size, 'pair')} dropped"
    )
