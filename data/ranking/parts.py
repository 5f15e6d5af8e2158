"""From train, valid and test pairs to what is ranked: checks them, and notes what is odd."""

from collections.abc import Iterable, Mapping

import numpy as np

from autolossgen.interfaces import ItemSets, RankingData

from ..types import DataError


def drop_repeats(
    pairs: Mapping[str, tuple[np.ndarray, np.ndarray]], num_users: int, num_items: int
) -> tuple[dict[str, ItemSets], list[str]]:
    """Keeps each pair once, in the first part that has it.

    Args:
      pairs: part -> users and items [n], in the order train, valid, test.
      num_users: of all parts.
      num_items: of all parts.

    Returns:
      The parts, and notes on what was dropped.

    Example:
      >>> train, test = (np.array([0, 0]), np.array([1, 1])), (np.array([0, 0]), np.array([1, 2]))
      >>> parts, notes = drop_repeats({"train": train, "test": test}, num_users=1, num_items=3)
      >>> parts["train"].items.tolist(), parts["test"].items.tolist()
      ([1], [2])
      >>> notes[1]
      '1 pair of test is in train: dropped from test'
    """
    parts: dict[str, ItemSets] = {}
    notes = []
    seen = np.zeros(0, np.int64)
    for part, (users, items) in pairs.items():
        given = users.astype(np.int64) * num_items + items
        once = np.unique(given)
        new = once[~np.isin(once, seen)]
        if repeats := given.size - once.size:
            notes.append(f"{count_of(repeats, 'repeated pair')} in {part}: each counts once")
        if known := once.size - new.size:
            verb = "is" if known == 1 else "are"
            earlier = " or ".join(parts)
            notes.append(
                f"{count_of(known, 'pair')} of {part} {verb} in {earlier}: dropped from {part}"
            )
        parts[part] = ItemSets.of_pairs(*np.divmod(new, num_items), num_users)
        seen = np.concatenate([seen, new])
    return parts, notes


def make_parts(
    *,
    name: str,
    num_items: int,
    train: ItemSets,
    valid: ItemSets,
    test: ItemSets,
    notes: Iterable[str],
    ids: Mapping[str, np.ndarray],
) -> RankingData:
    """Puts the parts together, which have no pair in common, and the ids of users and items.

    Raises:
      DataError: if a part is empty: there would be nothing to learn from, to choose by or to test.
    """
    for part, sets in {"train": train, "valid": valid, "test": test}.items():
        if not sets.items.size:
            raise DataError(
                f"{name}: nothing is left for {part}, so that there is nothing to "
                f"{_PURPOSES[part]}. {_REMEDIES[part]}"
            )
    data = RankingData(
        name=name,
        num_users=train.start.size - 1,
        num_items=num_items,
        train=train,
        valid=valid,
        test=test,
        ids=ids,
    )
    return data._replace(notes=(*notes, *_describe(data)))


_PURPOSES = {"train": "learn from", "valid": "choose a loss by", "test": "report on"}
_REMEDIES = {
    "train": "Give more interactions, or hold out fewer.",
    "valid": "Give users with two or more items in train each, or a file valid.tsv.",
    "test": "Give users with three or more items each, or pairs in test that train has not.",
}


def _describe(data: RankingData) -> list[str]:
    """Returns notes on sizes, and on users and items that are in some parts alone."""
    train, valid, test = (part.counts for part in (data.train, data.valid, data.test))
    notes = [
        f"{data.num_users:,} users, {data.num_items:,} items; pairs: {train.sum():,} in train, "
        f"{valid.sum():,} in valid, {test.sum():,} in test"
    ]
    untrained = np.setdiff1d(np.arange(data.num_items), data.train.items)
    if untrained.size:
        tested = np.setdiff1d(np.intersect1d(untrained, data.test.items), data.valid.items)
        notes.append(
            f"{count_of(untrained.size, 'item')} not in train, {tested.size:,} only in test: in "
            f"the catalogue, and nothing is learnt of them"
        )
    if new := int(((train == 0) & (valid + test > 0)).sum()):
        only_test = int(((train + valid == 0) & (test > 0)).sum())
        notes.append(
            f"{count_of(new, 'user')} not in train, {only_test:,} only in test: ranked for, and "
            f"nothing is learnt of them"
        )
    if silent := int((test == 0).sum()):
        notes.append(f"{count_of(silent, 'user')} with nothing in test: left out of its means")
    if full := int((train + valid + test == data.num_items).sum()):
        notes.append(
            f"{count_of(full, 'user')} with every item of the catalogue: nothing to tell apart "
            f"where what was met before is masked"
        )
    return notes


def count_of(number: int, what: str) -> str:
    """Returns a number of things in words.

    Example:
      >>> count_of(1, "user"), count_of(2_000, "user")
      ('1 user', '2,000 users')
    """
    return f"{number:,} {what}{'' if number == 1 else 's'}"
