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
from typing import Any, NamedTuple, Protocol

import jax

Array = jax.Array
Params = Any  # a pytree of arrays: dense (non-embedding) parameters of a recommender
Rows = Mapping[str, Array]  # field -> looked-up embedding rows [B, D]


class Table(NamedTuple):
    """Shape of one embedding table: ``rows`` ids, ``width`` numbers each."""

    rows: int
    width: int


class Recommender(Protocol):
    """A recommender over looked-up rows, written for one lane; see the ``models`` folder."""

    tables: Mapping[str, Table]
    init: Callable[[Array], tuple[Params, Mapping[str, Array]]]
    apply: Callable[..., Array]


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


Data = Batch | Positives
"""What an epoch is made of: interactions or groups as they are, or positives to draw for."""
