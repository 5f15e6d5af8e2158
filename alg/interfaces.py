"""The letters that shapes are written in, and the callables that parts exchange.

====== ================================================================
letter what it counts
====== ================================================================
``B``  examples in a batch
``N``  training steps
``L``  tokens in a sequence
``I``  instructions in a program
``V``  tokens in a vocabulary
``M``  sequences sampled in a generation
``K``  lanes (recommenders in training, side by side)
``D``  embedding width
``P``  probe points, at which the gradient of a loss is looked at
``H``  rows of the hall of fame
====== ================================================================
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import jax

Array = jax.Array
Params = Any  # a pytree of arrays: dense (non-embedding) parameters of a recommender
Statistics = Any  # a pytree of arrays that training moves without a gradient, as batch norm's
Rows = Mapping[str, Array]  # field -> looked-up embedding rows [B, D]


class Table(NamedTuple):
    """Shape of one embedding table: ``rows`` ids, ``width`` numbers each."""

    rows: int
    width: int


class Side(NamedTuple):
    """A feature of all users or of all items: a constant, joined to a batch at look-up.

    One that has a table is categorical: its row is the mean of the rows of its categories, zero
    for none. One that has no table is a number.
    """

    of: str  # field whose id says which of the values
    values: Array  # int32 [rows, m], categories, -1 where there are fewer; or float32 [rows]


class Recommender(Protocol):
    """A recommender over looked-up rows, written for one lane; see the ``models`` folder.

    ``apply(dense, statistics, rows, features, *, train, weight, key)`` gives logits [B] and new
    statistics. Of a batch it takes rows (field -> [B, D]), features (number -> [B]), weights [B],
    0 for padding, and a key, for dropout and the like; both are None in scoring.
    """

    tables: Mapping[str, Table]
    sides: Mapping[str, Side]
    init: Callable[[Array], tuple[Params, Statistics, Mapping[str, Array]]]
    apply: Callable[..., tuple[Array, Statistics]]


class Batch(NamedTuple):
    """Interactions as arrays with the same axes: [n], in batches [N, B], or in groups [n, G].

    A group is a user's positive, first, and other items for the same user.
    """

    ids: Mapping[str, Array]  # field -> int32 row of the field's table
    label: Array  # float32, 0 or 1
    weight: Array  # float32, 0 for padding


class Positives(NamedTuple):
    """What n users liked, and what else there is to draw negatives from.

    ``unknown_below`` has, user after user, one entry for each item that the user is known to like,
    in the catalogue's order: how many of the catalogue's other items come before it.
    """

    ids: Mapping[str, Array]  # field -> int32 [n]; "user" and "item" are among them
    catalogue: Array  # int32 [items], ids of all items, ascending
    unknown_below: Array  # int32
    start: Array  # int32 [users + 1], where each user's entries begin


@jax.tree_util.register_static
@dataclass(frozen=True)
class StreamedData:
    """Interactions that do not fit in memory: they are read when they are needed.

    Places count from 0 through one epoch after the other, each in an order of its own.
    """

    rows: int  # interactions of an epoch
    piece: int  # how many may be in memory together
    draw: Callable[[int, int], Batch]  # first place, count -> NumPy's interactions [count]


Data = Batch | Positives | StreamedData
"""What an epoch is made of: interactions or groups as they are, positives to draw for, a source."""
