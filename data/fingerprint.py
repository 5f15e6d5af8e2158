"""What tells one set of interactions from another: how much there is of each, and digests."""

import hashlib
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from autolossgen.interfaces import RankingData

from .types import Dataset, Interactions, Streamed

PARTS = ("train", "reward", "valid", "test")
DIGEST_BYTES = 8


def take_fingerprint(data: Dataset | RankingData) -> dict[str, Any]:
    """Returns what a run keeps to know its data again.

    Returns:
      Numbers of rows, users, items and likes, of rows in each part, and a digest of each column of
      all parts, one after the other, as JSON has them.

    Example:
      >>> from .generator import make_synthetic
      >>> tiny = make_synthetic(num_users=50, num_items=40, num_interactions=1000, seed=1)
      >>> found = take_fingerprint(tiny)
      >>> found["rows"], found["users"], found["digests"].keys()
      (1000, 50, dict_keys(['user', 'item', 'label']))
    """
    if isinstance(data, RankingData):
        return _of_rankings(data)
    parts = {name: getattr(data, name) for name in PARTS}
    if not data.reward_rows.size and not isinstance(data.train, Streamed):
        del parts["reward"]  # it is validation
    if isinstance(data.train, Streamed):
        columns = {name: list(pieces) for name, pieces in data.train.columns.items()}
        found = _describe(columns, data.sizes)
    else:
        fields = [*data.train.ids]
        columns = {field: [rows.ids[field] for rows in parts.values()] for field in fields}
        columns["label"] = [rows.label for rows in parts.values()]
        found = _describe(columns, data.sizes)
    for name, rows in parts.items():
        size = rows.label.size if isinstance(rows, Interactions) else rows.rows
        found[f"rows of {name}"] = int(size)
    digests = found["digests"]
    digests |= {
        f"feature {name}": _digest([np.asarray(side.values)]) for name, side in data.sides.items()
    }
    digests |= _digest_ids({field: ids.to_numpy() for field, ids in data.ids.items()})
    return found


def _of_rankings(data: RankingData) -> dict[str, Any]:
    parts = {"train": data.train, "valid": data.valid, "test": data.test}
    columns = {
        "user": [sets.users for sets in parts.values()],
        "item": [sets.items for sets in parts.values()],
    }
    found = _describe(columns, {"user": data.num_users, "item": data.num_items})
    found |= {f"rows of {name}": int(sets.items.size) for name, sets in parts.items()}
    found["digests"] |= _digest_ids(data.ids)
    return found


def _describe(columns: Mapping[str, list[np.ndarray]], sizes: Mapping[str, int]) -> dict[str, Any]:
    """Returns numbers and digests of columns, each in pieces."""
    num_rows = sum(piece.size for piece in columns["user"])
    likes = (
        sum(int(np.count_nonzero(piece)) for piece in columns["label"])
        if ("label" in columns)
        else num_rows
    )
    return {
        "rows": num_rows,
        "users": count_distinct(columns["user"], sizes["user"]),
        "items": count_distinct(columns["item"], sizes["item"]),
        "likes": likes,
        "digests": {name: _digest(pieces) for name, pieces in columns.items()},
    }


def count_distinct(pieces: Iterable[np.ndarray], size: int) -> int:
    """Returns how many different ids below ``size`` there are in pieces of a column.

    Example:
      >>> count_distinct([np.array([1, 1]), np.array([3])], 4)
      2
    """
    occurs = np.zeros(size, bool)
    for piece in pieces:
        occurs[piece] = True
    return int(occurs.sum())


def _digest(pieces: Iterable[np.ndarray]) -> str:
    found = hashlib.blake2b(digest_size=DIGEST_BYTES)
    for piece in pieces:
        found.update(np.ascontiguousarray(piece).data)
    return found.hexdigest()


def _digest_ids(ids: Mapping[str, np.ndarray]) -> dict[str, str]:
    """Returns digests of people's own ids of users and items."""
    return {
        f"ids of {field}s": hashlib.blake2b(
            "\n".join(map(str, known.tolist())).encode(), digest_size=DIGEST_BYTES
        ).hexdigest()
        for field, known in ids.items()
    }
