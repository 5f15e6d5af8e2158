"""What this package hands out."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax


class Table(NamedTuple):
    """Shape of one embedding table."""

    rows: int
    width: int


class Side(NamedTuple):
    """A feature of all users or of all items: a constant, joined to a batch at look-up.

    One that has a table is categorical: its row is the mean of the rows of its categories, zero
    for none. One that has no table is a number.
    """

    field: str  # whose id chooses the value
    values: Any  # int32 [rows, m], categories, -1 where there are fewer; or float32 [rows]


class Recommender(NamedTuple):
    """A recommender for one lane; ``vmap`` for several, over the last axis of rows.

    ``apply(dense, statistics, rows, features, *, train, weight=None, key=None)`` gives logits [B]
    and new statistics. Rows are [B, D] of each table, features [B] of each number; weights [B], 0
    for padding, and a key, for dropout and the like, are for training.
    """

    tables: Mapping[str, Table]
    sides: Mapping[str, Side]
    # key -> dense parameters, statistics, field -> rows [rows, D]
    init: Callable[[jax.Array], tuple[Any, Any, dict[str, jax.Array]]]
    apply: Callable[..., tuple[jax.Array, Any]]
