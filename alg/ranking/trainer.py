"""Training for rankings: lanes of two tables, whose losses see all items, or many, at each step.

A lane is one recommender with its own learning rate, weight decay, constants of the loss and random
numbers. Everything here is written for one lane; lanes are a ``vmap`` of it on an accelerator, and
a loop on CPU, where the tables of one lane stay in the caches.

A step takes B positives. The scores of their users with the negatives are one matrix product, of
which the gradient is two more. What a user is known to like is masked among the negatives.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache, partial
from typing import Any, NamedTuple

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax

from ..interfaces import Array, EmbeddingModel, ItemSets, Params
from ..language.inputs import LossFn
from ..training.permutation import random_permutation
from .metrics import (
    Relevant,
    compute_list_metrics,
    compute_user_metrics,
    make_relevant,
    rank_top,
)
from .negatives import ItemChances, Negatives, check_negatives, compute_chances, draw_negatives
from .scores import get_score

MAX_CELLS = 2_000_000_000  # pairs of a user and an item in a mask, at a byte each


class LaneSettings(NamedTuple):
    """What a lane trains with, [K] each."""

    learning_rate: Array
    weight_decay: Array  # times a parameter, added to its gradient
    constants: Mapping[str, Array]  # named constants of the loss


class RankState(NamedTuple):
    """Training state of K lanes, [K, ...] each."""

    params: Params
    opt_state: Any
    threshold: Array  # [K, num_users], a user's score at the last rank that counts
    epoch: Array  # int32 [K], epochs that were trained


class TrainingPairs(NamedTuple):
    """Pairs to train on, and what is known of each user."""

    users: Array  # int32 [n]
    items: Array  # int32 [n]
    unknown: Array  # bool [num_users, num_items], what may be a negative
    chances: ItemChances  # of drawn negatives


class EvalSplit(NamedTuple):
    """Items that are to be found, and those that are not ranked."""

    relevant: Relevant
    masked: Array  # bool [E, num_items]


class Evaluation(NamedTuple):
    """Metrics of K lanes."""

    users: dict[str, Array]  # name -> value of each user, [K, E]
    lists: dict[str, Array]  # name -> value, [K]


class RankTrainer(NamedTuple):
    """Training and evaluation of K lanes as functions, compiled once for any settings."""

    init: Callable[[Array], RankState]  # keys [K]
    # state, settings, data, keys [K] of the orders, epochs [K] -> state; donates the state. A lane
    # that trains for fewer epochs takes less time on CPU; on accelerators all wait for the last.
    train: Callable[[RankState, LaneSettings, TrainingPairs, Array, Array], RankState]
    # state -> state whose thresholds are those of its tables
    refresh_thresholds: Callable[[RankState], RankState]
    evaluate: Callable[[RankState, EvalSplit], Evaluation]
    score: Callable[[RankState, Array], Array]  # state, users [n] -> [K, n, num_items]
    reads_threshold: bool


class _Scoring(NamedTuple):
    """What scores depend on."""

    model: EmbeddingModel
    score: str
    top: int
    cutoffs: tuple[int, ...]


class _Parts(NamedTuple):
    """What training depends on."""

    scoring: _Scoring
    loss: LossFn
    negatives: Negatives
    batch_size: int


def to_lanes(settings: Mapping[str, np.ndarray]) -> LaneSettings:
    """Returns the settings of K lanes from name -> values [K]."""
    values = {name: jnp.asarray(value, jnp.float32) for name, value in settings.items()}
    return LaneSettings(
        learning_rate=values.pop("learning_rate"),
        weight_decay=values.pop("weight_decay"),
        constants=values,
    )


def make_training_pairs(train: ItemSets, num_items: int, *, power: float = 0.0) -> TrainingPairs:
    """Collects pairs to train on.

    Args:
      train: what users are known to like.
      num_items: in the catalogue.
      power: of popularity, see ``Negatives``.

    Raises:
      ValueError: if there are none, or the mask would not fit in memory.
    """
    num_users = train.counts.size
    if not train.items.size:
        raise ValueError("there is no pair of a user and an item to train on")
    if (cells := num_users * num_items) > MAX_CELLS:
        raise ValueError(
            f"{num_users:,} users times {num_items:,} items are {cells:,} pairs, over "
            f"{MAX_CELLS:,}: the mask of known items does not fit in memory. Use a larger k-core."
        )
    counts = np.bincount(train.items, minlength=num_items)
    return TrainingPairs(
        users=jnp.asarray(train.users),
        items=jnp.asarray(train.items),
        unknown=jnp.asarray(~train.as_matrix(num_items)),
        chances=compute_chances(counts, power),
    )


def make_eval_split(relevant: ItemSets, masked: Sequence[ItemSets], num_items: int) -> EvalSplit:
    """Returns what is evaluated: each user's relevant items among all that no set masks."""
    found = make_relevant(relevant, num_items)
    mask = np.zeros((relevant.counts.size, num_items), bool)
    for sets in masked:
        mask |= sets.as_matrix(num_items)
    return EvalSplit(relevant=found, masked=jnp.asarray(mask[np.asarray(found.users)]))


def make_rank_trainer(
    model: EmbeddingModel,
    loss: LossFn,
    *,
    score: str = "dot",
    negatives: Negatives = Negatives(),  # noqa: B008
    batch_size: int = 1024,
    top: int = 20,
    cutoffs: Sequence[int] = (5, 10, 20, 50),
) -> RankTrainer:
    """Builds a trainer of lanes that have one loss.

    Args:
      model: of two tables.
      loss: of positives and negatives.
      score: of a user and an item, one of ``SCORES``.
      negatives: how they are chosen.
      batch_size: positives of a step, B.
      top: places whose last one is a user's threshold.
      cutoffs: places that count in the metrics, in ascending order.

    Raises:
      ValueError: for settings that cannot be.

    Example:
      >>> from autolossgen import named_loss
      >>> from autolossgen.models.matrix_factorization import make_matrix_factorization
      >>> model = make_matrix_factorization(2, 3, embedding_dim=4)
      >>> trainer = make_rank_trainer(model, named_loss("softmax"), score="cosine", batch_size=2)
      >>> liked = ItemSets.of_pairs(np.array([0, 1]), np.array([0, 2]), num_users=2)
      >>> settings = LaneSettings(jnp.array([0.1]), jnp.zeros(1), {"temperature": jnp.array([0.2])})
      >>> keys, pairs = jax.random.split(jax.random.key(0), 1), make_training_pairs(liked, 3)
      >>> state = trainer.train(trainer.init(keys), settings, pairs, keys, jnp.array([30]))
      >>> trainer.score(state, jnp.array([0, 1])).argmax(-1).tolist()
      [[0, 2]]
    """
    get_score(score)
    check_negatives(negatives)
    if not loss.family.is_pairwise:
        raise ValueError(f"rankings are trained by pairwise losses, got a {loss.family.name} one")
    if batch_size < 1 or top < 1 or not cutoffs or min(cutoffs) < 1:
        raise ValueError(
            f"batch_size, top and cutoffs are at least 1, got {batch_size}, {top} and {cutoffs}"
        )
    scoring = _Scoring(model, score, top, tuple(sorted(cutoffs)))
    parts = _Parts(scoring, loss, negatives, batch_size)
    train = _over_lanes(partial(_train, parts), shared=(2,))
    return RankTrainer(
        train=jax.jit(train, donate_argnums=0),
        reads_threshold=loss.reads_threshold,
        **_compile_scoring(scoring),
    )


def train_epochs(
    trainer: RankTrainer,
    state: RankState,
    settings: LaneSettings,
    data: TrainingPairs,
    keys: Array,
    epochs: np.ndarray,
    *,
    done: int,
    refresh_every: int,
) -> RankState:
    """Trains lanes, and refreshes the users' thresholds for losses that read them.

    Args:
      trainer: of the loss.
      state: of the lanes; it is donated.
      settings: of the lanes.
      data: to train on.
      keys: of the orders, [K].
      epochs: of each lane [K]; 0 for those that do not go on, all others alike.
      done: epochs that were trained before.
      refresh_every: epochs from one refresh to the next, from the first epoch on.
    """
    if not trainer.reads_threshold:
        return trainer.train(state, settings, data, keys, jnp.asarray(epochs, jnp.int32))
    end = done + int(epochs.max())
    while done < end:
        count = min(refresh_every - done % refresh_every, end - done)
        chunk = jnp.asarray(np.minimum(epochs, count), jnp.int32)
        state = trainer.train(state, settings, data, keys, chunk)
        done += count
        if done % refresh_every == 0:
            state = trainer.refresh_thresholds(state)
    return state


@lru_cache(maxsize=8)
def _compile_scoring(scoring: _Scoring) -> dict[str, Callable]:
    """Returns the functions that no loss is part of, compiled once for all losses."""
    return {
        "init": jax.jit(_over_lanes(partial(_init, scoring))),
        "refresh_thresholds": jax.jit(_over_lanes(partial(_refresh, scoring))),
        "evaluate": jax.jit(_over_lanes(partial(_evaluate, scoring), shared=(1,))),
        "score": jax.jit(_over_lanes(partial(_score_users, scoring), shared=(1,))),
    }


def _over_lanes(function: Callable, shared: Sequence[int] = ()) -> Callable:
    """Returns a function of lanes: all at once on accelerators, one by one on CPU.

    Args:
      function: of one lane.
      shared: numbers of the arguments that all lanes share.
    """

    def of_lanes(*arguments: Any) -> Any:
        if jax.default_backend() != "cpu":
            axes = [None if i in shared else 0 for i in range(len(arguments))]
            return jax.vmap(function, in_axes=axes)(*arguments)
        own = [None if i in shared else x for i, x in enumerate(arguments)]  # None has no lanes

        def of_one(own: Sequence[Any]) -> Any:
            return function(*(arguments[i] if i in shared else x for i, x in enumerate(own)))

        return jax.lax.map(of_one, own)

    return of_lanes


_ADAM = optax.scale_by_adam()


def _init(scoring: _Scoring, key: Array) -> RankState:
    params = scoring.model.init(key)
    num_users = jax.eval_shape(scoring.model.embed, params)[0].shape[0]
    state = RankState(params, _ADAM.init(params), jnp.zeros(num_users), jnp.int32(0))
    return _refresh(scoring, state)


def _prepared(scoring: _Scoring, params: Params) -> tuple[Array, Array]:
    """Returns the embeddings of all users and items, ready for their product."""
    users, items = scoring.model.embed(params)
    prepare = get_score(scoring.score).prepare
    return prepare(users), prepare(items)


def _train(
    parts: _Parts,
    state: RankState,
    settings: LaneSettings,
    data: TrainingPairs,
    key: Array,
    epochs: Array,
) -> RankState:
    """Trains one lane for so many epochs; each has a random order of its own.

    A lane that has diverged stays as it is: its parameters would stay NaN.
    """
    end = state.epoch + epochs

    def goes_on(state: RankState) -> Array:
        return (state.epoch < end) & _is_finite(state.params)

    def epoch(state: RankState) -> RankState:
        state = state._replace(epoch=state.epoch + 1)
        order_key = jax.random.fold_in(key, state.epoch)
        return _train_epoch(parts, state, settings, data, order_key)

    return jax.lax.while_loop(goes_on, epoch, state)


def _is_finite(params: Params) -> Array:
    """Whether all parameters of a lane are finite."""
    return jnp.stack([jnp.isfinite(part).all() for part in jax.tree.leaves(params)]).all()


def _train_epoch(
    parts: _Parts, state: RankState, settings: LaneSettings, data: TrainingPairs, key: Array
) -> RankState:
    """Trains one lane on all positives once, in a random order."""
    n, size = data.users.shape[0], parts.batch_size
    steps = -(-n // size)
    order_key, step_key = jax.random.split(key)
    order = random_permutation(order_key, n)
    # Other positives fill the last batch up: they do not count, but may be negatives.
    order = jnp.resize(order, (steps, size))
    weight = (jnp.arange(steps * size) < n).astype(jnp.float32).reshape(steps, size)
    keys = jax.random.split(step_key, steps)

    def step(state: RankState, drawn: tuple[Array, Array, Array]) -> tuple[RankState, None]:
        return _step(parts, settings, data, state, *drawn), None

    return jax.lax.scan(step, state, (order, weight, keys))[0]


def _step(
    parts: _Parts,
    settings: LaneSettings,
    data: TrainingPairs,
    state: RankState,
    chosen: Array,
    weight: Array,
    key: Array,
) -> RankState:
    """Trains one lane on the positives ``chosen`` [B]; those of weight 0 [B] do not count."""
    users, items = data.users[chosen], data.items[chosen]

    def mean_loss(params: Params) -> Array:
        values = _batch_loss(parts, settings, data, state.threshold, params, users, items, key)
        return jnp.sum(weight * values) / weight.sum()

    grads = jax.grad(mean_loss)(state.params)
    decayed = jax.tree.map(lambda g, p: g + settings.weight_decay * p, grads, state.params)
    updates, opt_state = _ADAM.update(decayed, state.opt_state)
    params = jax.tree.map(lambda p, u: p - settings.learning_rate * u, state.params, updates)
    return state._replace(params=params, opt_state=opt_state)


def _batch_loss(
    parts: _Parts,
    settings: LaneSettings,
    data: TrainingPairs,
    threshold: Array,
    params: Params,
    users: Array,
    items: Array,
    key: Array,
) -> Array:
    """Computes the losses [B] of a batch of users [B] and the items [B] that they like."""
    all_users, all_items = _prepared(parts.scoring, params)
    finish = get_score(parts.scoring.score).finish
    user, given = all_users[users], {}
    pos = finish(jnp.sum(user * all_items[items], axis=-1))
    if parts.negatives.kind == "all":
        neg, where = finish(user @ all_items.T), data.unknown[users]
    else:
        drawn = draw_negatives(parts.negatives, data.chances, items, key)
        if drawn.items.ndim == 1:
            neg = finish(user @ all_items[drawn.items].T)
        else:
            neg = finish(jnp.einsum("bd,bnd->bn", user, all_items[drawn.items]))
        # One look-up: the columns of looked-up rows would lie item by item, and slow down all that
        # reads them.
        where = data.unknown[users[:, None], drawn.items]
        if parts.negatives.correct:
            given["neg_weights"] = jnp.exp(-drawn.log_q)
    chex.assert_equal_shape([neg, where])
    if parts.loss.reads_threshold:
        given["threshold"] = threshold[users]
    constants = settings.constants or None
    return parts.loss(pos, neg, where=where, constants=constants, reduce_fn=None, **given)


def _score_users(scoring: _Scoring, state: RankState, users: Array) -> Array:
    """Computes one lane's scores [n, num_items] of users [n] with all items."""
    all_users, all_items = _prepared(scoring, state.params)
    return get_score(scoring.score).finish(all_users[users] @ all_items.T)


def _map_blocks(function: Callable[[Any], Any], arrays: Any, size: int) -> Any:
    """Maps blocks of ``size`` rows, so that no array of all users and items is held."""
    n = jax.tree.leaves(arrays)[0].shape[0]
    return jax.lax.map(function, arrays, batch_size=min(size, n))


def _refresh(scoring: _Scoring, state: RankState) -> RankState:
    """Sets one lane's thresholds to each user's score at the last rank that counts."""
    all_users, all_items = _prepared(scoring, state.params)
    finish = get_score(scoring.score).finish
    top = min(scoring.top, all_items.shape[0])

    def score_at_top(user: Array) -> Array:
        return jax.lax.top_k(finish(all_items @ user), top)[0][-1]

    return state._replace(threshold=_map_blocks(score_at_top, all_users, 256))


def _evaluate(scoring: _Scoring, state: RankState, split: EvalSplit) -> Evaluation:
    """Computes one lane's metrics."""
    all_users, all_items = _prepared(scoring, state.params)
    finish = get_score(scoring.score).finish
    relevant = split.relevant

    def rank_user(inputs: tuple[Array, Array, Array]) -> Any:
        user, masked, items = inputs
        scores = jnp.where(masked, -jnp.inf, finish(all_items @ user))
        return rank_top(scores, items, scoring.cutoffs[-1])

    rows = (all_users[relevant.users], split.masked, relevant.items)
    top = _map_blocks(rank_user, rows, 256)
    num_items = all_items.shape[0]
    return Evaluation(
        users=compute_user_metrics(top.hit, relevant.counts, scoring.cutoffs),
        lists=compute_list_metrics(top.items, scoring.cutoffs, num_items),
    )
