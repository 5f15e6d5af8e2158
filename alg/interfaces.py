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
    """The shape of one embedding table.

    A row can be wider than an embedding vector: some models keep a bias or a second vector in it.
    """

    rows: int  # ids
    width: int  # numbers of a row


class Side(NamedTuple):
    """A feature of all users or of all items: a constant, joined to a batch at look-up.

    A side that has a table is categorical: its row is the mean of the rows of its categories, zero
    for none. A side that has no table is a number.
    """

    of: str  # the field whose ids index the values, "user" or "item"
    values: Array  # int32 [rows, m], categories, -1 where there are fewer; or float32 [rows]


class Recommender(NamedTuple):
    """A recommender over looked-up rows, for one lane; ``vmap`` it for several.

    ``init(key)`` returns dense parameters, statistics and the embedding tables (field ->
    [rows, D]). ``apply(dense, statistics, rows, features, *, train, weight=None, key=None)``
    returns logits [B] and the new statistics. It takes the rows of a batch (field -> [B, D]), its
    features (number -> [B]), its weights [B], 0 for padding, and a key, for dropout and the like;
    weights and key are for training alone.
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


class Grammar(Protocol):
    """The rules of a search space, as a policy needs them to write one token at a time.

    The stack's depth starts at 0; slots left include the one to be written; the previous token is
    0 at the start. All are integers.
    """

    @property
    def length(self) -> int:
        """Tokens of a sequence, L."""

    @property
    def size(self) -> int:
        """Tokens of the vocabulary, V."""

    @property
    def allowed(self) -> Callable[[Array, Array, Array], Array]:
        """Depth, slots left, previous token -> which tokens may come, bool [V]."""

    @property
    def advance(self) -> Callable[[Array, Array], Array]:
        """Depth, token -> the depth after it."""

    @property
    def prior(self) -> Callable[[Array, Array], Array]:
        """Depth, slots left -> what is added to the logits of the tokens [V]."""


PolicyState = Any  # a pytree of arrays


class Policy(NamedTuple):
    """What writes losses and learns from their rewards, as pure functions over its state.

    ``sample(state, key, M)`` returns tokens [M, L]. ``update(state, tokens, reward, weight,
    reference)`` takes the reward [M] of every sequence, from 0 to 1 if it was trained and below 0
    if it was not; a weight [M], 0 where there is no reward; and the reward of the reference loss,
    which was trained with them from the same recommender on the same batches. It returns the next
    state and numbers to log. ``begin_round(state, reward)`` takes the reward of the recommender
    that a round starts from. ``warm_start(state, tokens)`` follows ``init`` where there are initial
    losses, tokens [N, L]; the first generation also contains them as they are.
    """

    init: Callable[[Array], PolicyState]
    sample: Callable[[PolicyState, Array, int], Array]
    update: Callable[
        [PolicyState, Array, Array, Array, Array], tuple[PolicyState, Mapping[str, Array]]
    ]
    begin_round: Callable[[PolicyState, Array], PolicyState]
    warm_start: Callable[[PolicyState, Array], PolicyState]
