"""The letters that shapes are written in, and the types that the parts exchange.

A shape is written in these letters, each of which means one thing in all files:

====== ================================================================================
letter what it counts
====== ================================================================================
``B``  examples in a batch
``D``  embedding width: numbers in a row of a table
``G``  examples in a group: a positive, first, and its negatives, so G - 1 are negatives
``H``  rows of the hall of fame
``I``  instructions in a program
``J``  losses that are compared: stacked, promoted or tested
``K``  lanes: recommenders that train side by side, one of them with the reference loss
``L``  tokens in a sequence
``M``  sequences sampled in a generation
``N``  training steps
``P``  probe points, at which the gradient of a loss is looked at
``R``  losses remembered as seen
``S``  seeds: trainings of a loss that differ in nothing but their random numbers
``V``  tokens in a vocabulary
====== ================================================================================

Lower-case letters (``n``, ``m``, ``k``) count what the docstring that uses them says. Everything
else is spelled: ``[num_users]``, ``[num_devices]``, ``[num_settings, 2]``, ``[B, num_negatives]``,
``[J, num_resamples]``, ``[population, L]``.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, NamedTuple, Protocol

import jax
import numpy as np

Array = jax.Array
AnyArray = jax.Array | np.ndarray  # where data come from NumPy and computations from JAX
Params = Any  # a pytree of arrays: dense (non-embedding) parameters of a recommender
Statistics = Any  # a pytree of arrays that training moves without a gradient, such as batch norm's
Bounds = tuple[float, float]  # lowest and highest intermediate result of a loss
Rows = Mapping[str, Array]  # field -> looked-up embedding rows [B, D]
# Users, int [B] -> their scores of all items, a new float32 [B, num_items]. A larger one is better.
# Items that the users liked are among them.
ScoreFn = Callable[[np.ndarray], np.ndarray]


class Table(NamedTuple):
    """Shape of one embedding table.

    A row can be wider than an embedding vector: some models keep a bias or a second vector in it.
    """

    rows: int  # ids
    width: int  # numbers in a row


class Side(NamedTuple):
    """A feature of all users or of all items: a constant that is joined to a batch at look-up.

    A feature with a table is categorical: its row is the mean of the rows of its categories, zero
    if it has none. A feature without a table is a number.
    """

    field: str  # whose id chooses the value
    values: AnyArray  # int32 [rows, m], categories, -1 where there are fewer; or float32 [rows]


class ApplyFn(Protocol):
    """Forward pass of a recommender."""

    def __call__(
        self,
        dense: Params,
        statistics: Statistics,
        rows: Rows,
        features: Mapping[str, Array],
        *,
        train: bool,
        weight: AnyArray | None = None,
        key: Array | None = None,
    ) -> tuple[Array, Statistics]:
        """Computes logits [B], and new statistics, of one lane.

        Args:
          dense: parameters other than tables.
          statistics: as the step before left them.
          rows: field -> rows [B, D], looked up.
          features: name -> numbers [B], of features without a table.
          train: whether this is a training step.
          weight: [B], 0 for padding; None for scoring.
          key: for dropout and the like; None for scoring.
        """


class Recommender(NamedTuple):
    """A recommender over looked-up rows, written for one lane; ``vmap`` makes it many."""

    tables: Mapping[str, Table]
    sides: Mapping[str, Side]
    # key -> dense parameters, statistics, field -> rows [rows, D]
    init: Callable[[Array], tuple[Params, Statistics, Mapping[str, Array]]]
    apply: ApplyFn


class EmbeddingModel(NamedTuple):
    """A recommender of two tables, written for one lane; a score is of one row of each."""

    init: Callable[[Array], Params]  # key -> parameters
    embed: Callable[[Params], tuple[Array, Array]]  # -> [num_users, D], [num_items, D]


class Batch(NamedTuple):
    """Interactions as arrays with the same axes: [n], in batches [N, B], or in groups [n, G].

    A group is a user's positive, first, and other items for the same user.
    """

    ids: Mapping[str, AnyArray]  # field -> int32 row of the field's table
    label: AnyArray  # float32, 0 or 1
    weight: AnyArray  # float32, 0 for padding


class ItemSets(NamedTuple):
    """A set of items for each user; those of user u are ``items[start[u] : start[u + 1]]``.

    Example:
      >>> liked = ItemSets.of_pairs(np.array([2, 0, 0]), np.array([1, 3, 0]), num_users=3)
      >>> liked.start.tolist(), liked.items.tolist()
      ([0, 2, 2, 3], [0, 3, 1])
    """

    start: np.ndarray  # int64 [num_users + 1]
    items: np.ndarray  # int32 [n], ascending for each user, each once

    @classmethod
    def of_pairs(cls, users: np.ndarray, items: np.ndarray, num_users: int) -> "ItemSets":
        """Collects pairs of a user and an item, in any order; a repeated pair counts once."""
        width = int(items.max(initial=0)) + 1
        user, item = np.divmod(np.unique(users.astype(np.int64) * width + items), width)
        start = np.searchsorted(user, np.arange(num_users + 1))
        return cls(start=start, items=item.astype(np.int32))

    @property
    def counts(self) -> np.ndarray:
        """The number of items of each user, [num_users]."""
        return np.diff(self.start)

    @property
    def users(self) -> np.ndarray:
        """The user of each item, [n]."""
        return np.repeat(np.arange(self.start.size - 1, dtype=np.int32), self.counts)

    def union(self, other: "ItemSets") -> "ItemSets":
        """Returns the items that are in either set of a user."""
        users = np.concatenate([self.users, other.users])
        items = np.concatenate([self.items, other.items])
        return ItemSets.of_pairs(users, items, num_users=self.start.size - 1)

    def as_matrix(self, num_items: int) -> np.ndarray:
        """Returns which items are in each user's set, bool [num_users, num_items]."""
        matrix = np.zeros((self.start.size - 1, num_items), bool)
        matrix[self.users, self.items] = True
        return matrix


class RankingData(NamedTuple):
    """What users liked, to train on and to find again in a ranking of all items."""

    name: str
    num_users: int
    num_items: int
    train: ItemSets
    valid: ItemSets
    test: ItemSets
    notes: tuple[str, ...] = ()  # for people: what was left out, and why
    # "user" and "item" -> people's own id of each number; a field that is missing is its own
    ids: Mapping[str, np.ndarray] = MappingProxyType({})
    # Never ranked: what users are known not to like, where that is asked for.
    disliked: ItemSets | None = None

    def mask(self, *known: ItemSets) -> list[ItemSets]:
        """Returns what is not ranked: these sets, and what users are known not to like."""
        return [*known] if self.disliked is None else [*known, self.disliked]


class Positives(NamedTuple):
    """What n users liked, and the items from which negatives are drawn.

    ``unknown_below`` has, user after user, one entry for each item that the user is known to like,
    in the catalogue's order: how many of the catalogue's other items come before it.
    """

    ids: Mapping[str, AnyArray]  # field -> int32 [n]; "user" and "item" are among them
    catalogue: AnyArray  # int32 [num_items], ids of all items, ascending
    unknown_below: AnyArray  # int32, of all users' known items
    start: AnyArray  # int32 [num_users + 1], where each user's entries begin


@jax.tree_util.register_static
@dataclass(frozen=True)
class StreamedData:
    """Interactions that do not fit in memory: they are read when they are needed.

    Places count from 0 through one epoch after the other, each in an order of its own.
    """

    rows: int  # interactions of an epoch
    chunk_rows: int  # how many may be in memory together
    draw: Callable[[int, int], Batch]  # first place, count -> interactions [count], in NumPy


Data = Batch | Positives | StreamedData
"""What an epoch is made of: interactions or groups as they are; positives, whose negatives are
drawn for every epoch; or a stream."""


class ProgressFn(Protocol):
    """What follows trainings while they run: it shows them, or keeps their curves."""

    def __call__(self, stage: str, done: int, total: int, scores: Mapping[str, float]) -> None:
        """Takes note of how far a stage is.

        Args:
          stage: what the trainings are for: promotion, tuning or test.
          done: epochs that are done, 0 before the first.
          total: epochs at most.
          scores: name of a loss -> its reward on validation now; losses may be missing.
        """


def ignore_progress(stage: str, done: int, total: int, scores: Mapping[str, float]) -> None:
    """Follows nothing."""


class Grammar(NamedTuple):
    """The rules of a search space as pure functions, for policies that write token by token.

    Every sequence that is written under them is a loss. The stack's depth starts at 0; the slots
    left count the one that is written now; the token before the first is 0.
    """

    length: int  # L
    size: int  # V
    allowed: Callable[[Array, Array, Array], Array]  # depth, slots left, previous token -> bool [V]
    advance: Callable[[Array, Array], Array]  # depth, token -> depth
    prior: Callable[[Array, Array], Array]  # depth, slots left -> what is added to logits [V]


PolicyState = Any  # a pytree of arrays


class UpdateFn(Protocol):
    """Step in which a policy learns from the rewards of one generation."""

    def __call__(
        self, state: PolicyState, tokens: Array, reward: Array, weight: Array, reference: Array
    ) -> tuple[PolicyState, Mapping[str, Array]]:
        """Returns the next state, and numbers to log.

        Args:
          state: of the policy.
          tokens: [M, L], as ``sample`` wrote them.
          reward: [M], from 0 to 1 for losses that were trained, below 0 for rejected ones.
          weight: [M], 0 where there is no reward.
          reference: reward of the reference loss, trained from the same recommender on the same
            batches.
        """


class Policy(NamedTuple):
    """A policy as pure functions: it writes token sequences and learns from their rewards."""

    init: Callable[[Array], PolicyState]  # key -> state
    sample: Callable[[PolicyState, Array, int], Array]  # state, key, M -> tokens [M, L]
    update: UpdateFn
    # state, reward of the base model that the round starts from -> state
    begin_round: Callable[[PolicyState, Array], PolicyState]
    # state, tokens [n, L] of the initial losses -> state. Follows ``init`` where there are any;
    # they are also written in the policy's place in the first generation.
    warm_start: Callable[[PolicyState, Array], PolicyState]
