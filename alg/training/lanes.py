"""Lanes: recommenders that train side by side in one compiled program.

A lane is one recommender with its own loss, learning rate, weight decay and initial weights. All
lanes see the same batch at each step, so they are compared in pairs and share every look-up.

Embedding tables are ``[rows, D, K]``, lanes last: the gather or scatter of one id moves one
contiguous block of all lanes. Only the rows of the batch are touched, so a step costs ``O(BDK)``
however large the catalogue is. Weight decay stays exact without touching the other rows: a row is
``scale * stored``, and decay acts on the scale. The scale is multiplied into the rows at the end of
an epoch, and earlier if it gets small.

Features of users and items are joined at look-up, by the ids of users and items. If a feature has
several categories, a recommender sees the mean of their rows, and each category gets its share of
the gradient.
"""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, NamedTuple

import chex
import jax
import jax.numpy as jnp
from jax.sharding import Mesh, NamedSharding
from jax.sharding import PartitionSpec as Spec

from ..interfaces import AnyArray, Array, Batch, Params, Recommender, Rows, Statistics
from .loss_gradients import LogitGradFn, compute_gradient_size
from .optimizers import SGD, Hyper, Optimizer, SparseGrad, out_of_range_id
from .permutation import random_permutation
from .random_keys import STEPS


class LaneState(NamedTuple):
    """Training state of K recommenders: tables have lanes last, everything else lanes first."""

    tables: Mapping[str, Array]  # field -> stored rows [rows, D, K]
    scale: Array  # [K]; a row is scale * stored
    dense: Params  # the other parameters, [K, ...]
    statistics: Statistics  # [K, ...]
    accumulators: Mapping[str, Array]  # field -> optimizer state of its table [rows, K]
    opt_state: Any  # optimizer state of the dense parameters, [K, ...]


CutBatches = Callable[[Any, Array], Batch]
"""(data, key) -> batches [N, B]."""


def _make_prefix(*, tables: Any, accumulators: Any, others: Any) -> LaneState:
    """Returns a prefix of a state's tree: for each part what is the same for all its arrays."""
    return LaneState(
        tables=tables,
        scale=others,
        dense=others,
        statistics=others,
        accumulators=accumulators,
        opt_state=others,
    )


_LANE_AXIS = _make_prefix(tables=-1, accumulators=-1, others=0)


def _map_lanes(function: Callable[..., Array], *states: LaneState) -> LaneState:
    """Applies a function that takes the axis of the lanes to every array of states."""

    def of_part(axis: int, *parts: Any) -> Any:
        return jax.tree.map(partial(function, axis=axis), *parts)

    return jax.tree.map(of_part, _LANE_AXIS, *states)


def where_lane(condition: Array, if_true: LaneState, if_false: LaneState) -> LaneState:
    """Chooses between two states lane by lane, as ``jnp.where`` does; the condition is [K]."""

    def choose(x: Array, y: Array, axis: int) -> Array:
        by_lane = condition if axis == -1 else condition.reshape(-1, *[1] * (x.ndim - 1))
        return jnp.where(by_lane, x, y)

    return _map_lanes(choose, if_true, if_false)


class Lanes(NamedTuple):
    """Training and scoring of K lanes as pure functions.

    ``losses`` is what the ``LogitGradFn`` of the lanes takes: a ``LossBatch``, or the scale of each
    lane's loss.
    """

    init: Callable[[Array], LaneState]  # keys [K]
    repeat: Callable[[LaneState, int], LaneState]  # state, count -> so many copies of each lane
    take: Callable[[LaneState, Array], LaneState]  # state, lane numbers [n] -> n lanes
    # state, losses, hyper, batches [N, B], key, from which each step draws one for all lanes
    train: Callable[[LaneState, Any, Hyper, Batch, Array], LaneState]
    # state, losses, hyper, function that cuts batches, data, keys [num_devices]: each device trains
    # on batches of its own
    train_per_device: Callable[[LaneState, Any, Hyper, CutBatches, Any, Array], LaneState]
    predict: Callable[[LaneState, Batch], Array]  # state, batches [N, B] -> logits [K, N * B]
    # untrained state, losses, batches [N, B] -> size of the losses' gradients there, [K]
    gradient_size: Callable[[LaneState, Any, Batch], Array]
    replicate: Callable[[Any], Any]  # tree of arrays [K, ...] -> the same, whole on every device
    scale_free: bool  # whether steps are as large whatever the size of gradients
    devices: int  # over which lanes are divided; lanes that train or predict are a multiple


def make_batches(data: Batch, size: int, key: Array | None = None) -> Batch:
    """Cuts interactions into batches, in order or shuffled.

    The last batch is filled up with interactions of weight 0.

    Args:
      data: interactions [n], or groups [n, G], which stay together.
      size: interactions, or groups, of a batch.
      key: of the shuffle; None for the order of the data.

    Returns:
      Batches [N, size], or [N, size * G], in which the examples of a group follow one another.

    Example:
      >>> data = Batch({"user": jnp.arange(5)}, jnp.ones(5), jnp.ones(5))
      >>> make_batches(data, 3).weight.tolist()
      [[1.0, 1.0, 1.0], [1.0, 1.0, 0.0]]
    """
    n = data.label.shape[0]
    steps = -(-n // size)
    index = jnp.arange(n) if key is None else random_permutation(key, n)
    index = jnp.concatenate([index, jnp.zeros(steps * size - n, index.dtype)])
    real = (jnp.arange(steps * size) < n).astype(jnp.float32)
    cut = jax.tree.map(lambda x: x[index].reshape(steps, -1), data)
    weight = cut.weight.reshape(steps * size, -1) * real[:, None]
    return cut._replace(weight=weight.reshape(steps, -1))


def _join(
    recommender: Recommender, ids: Mapping[str, AnyArray]
) -> tuple[dict[str, Array], dict[str, Array]]:
    """Returns the ids [B] or [B, m] of each table, and the numbers [B], of a batch's ids [B]."""
    sides = {
        name: jnp.asarray(side.values)[ids[side.field]] for name, side in recommender.sides.items()
    }
    numbers = {name: sides.pop(name) for name in sides.keys() - recommender.tables.keys()}
    table_ids = {**ids, **sides}
    return {name: jnp.asarray(table_ids[name]) for name in recommender.tables}, numbers


def _category_weights(ids: Array) -> Array:
    """Returns the weight [B, m, 1, 1] of each category in the mean of those that are present."""
    present = (ids >= 0).astype(jnp.float32)
    return (present / jnp.maximum(present.sum(1, keepdims=True), 1))[..., None, None]


def _look_up(table: Array, ids: Array) -> Array:
    """Returns the rows [B, D, K] of ids [B], or the mean rows of ids [B, m]."""
    if ids.ndim == 1:
        return table[ids]
    return jnp.sum(_category_weights(ids) * table[jnp.maximum(ids, 0)], axis=1)


def _split_over_ids(ids: Array, gradient: Array) -> tuple[Array, Array]:
    """Returns each single id with its part of the gradient [B, D, K] of the rows looked up."""
    if ids.ndim == 1:
        return ids, gradient
    parts = _category_weights(ids) * gradient[:, None]
    flat = jnp.where(ids < 0, out_of_range_id(ids), ids).ravel()
    return flat, parts.reshape(-1, *gradient.shape[1:])


def _look_up_all(state: LaneState, ids: Mapping[str, Array]) -> Rows:
    return {name: state.scale * _look_up(table, ids[name]) for name, table in state.tables.items()}


def _forward(
    recommender: Recommender,
    *,
    train: bool,
    weight: AnyArray | None = None,
    key: Array | None = None,
) -> Callable[..., tuple[Array, Statistics]]:
    """Returns the forward pass of all lanes.

    It takes dense parameters, statistics, rows and numbers, and returns logits [B, K] and new
    statistics. Lanes see the same batch and the same key, so dropout leaves out the same in all.
    """
    apply = partial(recommender.apply, train=train, weight=weight, key=key)
    return jax.vmap(apply, in_axes=(0, 0, -1, None), out_axes=(-1, 0))


def _step(
    recommender: Recommender,
    logit_grads: LogitGradFn,
    optimizer: Optimizer,
    *,
    losses: Any,
    hyper: Hyper,
    state: LaneState,
    batch: Batch,
    key: Array,
) -> LaneState:
    """Trains all lanes on one batch [B]."""
    ids, numbers = _join(recommender, batch.ids)
    rows = _look_up_all(state, ids)
    share = jnp.divide(batch.weight, jnp.maximum(batch.weight.sum(), 1e-30))
    forward_all = _forward(recommender, train=True, weight=batch.weight, key=key)

    def forward(dense: Params, rows: Rows) -> tuple[Array, Statistics]:
        return forward_all(dense, state.statistics, rows, numbers)

    def mean_loss_grad(logits: Array) -> Array:
        grads = jnp.nan_to_num(logit_grads(losses, logits.T, batch.label))
        return (share * grads).T

    logits, pullback, statistics = jax.vjp(forward, state.dense, rows, has_aux=True)
    dense_grad, row_grads = pullback(_fusion_barrier(mean_loss_grad, logits, batch.label))
    scale = state.scale * _decay_factor(hyper)
    tables: dict[str, Array] = {}
    accumulators: dict[str, Array] = {}
    for name, table in state.tables.items():
        flat_ids, grads = _split_over_ids(ids[name], row_grads[name])
        sparse = SparseGrad(ids=flat_ids, gradient=grads, before=state.scale, after=scale)
        old = state.accumulators.get(name)
        tables[name], new = optimizer.step_rows(table, old, sparse, hyper)
        accumulators |= {} if new is None else {name: new}
    dense, opt_state = jax.vmap(optimizer.step_dense)(
        state.dense, dense_grad, state.opt_state, hyper
    )
    return LaneState(
        tables=tables,
        scale=scale,
        dense=dense,
        statistics=statistics,
        accumulators=accumulators,
        opt_state=opt_state,
    )


def _decay_factor(hyper: Hyper) -> Array:
    """Returns what a row is multiplied by in one step, [K]; never 0, which a step divides by."""
    factor = 1 - hyper.learning_rate * (hyper.weight_decay + 2 * hyper.l2)
    return jnp.where(factor == 0, jnp.finfo(factor.dtype).epsneg, factor)


def _fusion_barrier(function: Callable[[Array], Array], x: Array, label: AnyArray) -> Array:
    """Calls ``function`` so that XLA cannot fuse it into what uses the result.

    The CPU backend would compute the loss again for every column of the embedding update, and it
    drops optimization barriers. Labels are finite, but XLA does not know.
    """
    return jax.lax.cond(label[0] < jnp.inf, function, jnp.zeros_like, x)


def _repeat(state: LaneState, count: int) -> LaneState:
    return _map_lanes(partial(jnp.repeat, repeats=count), state)


def _take(state: LaneState, lanes: Array) -> LaneState:
    return _map_lanes(partial(jnp.take, indices=lanes, mode="clip"), state)


def _is_scale_safe(state: LaneState) -> Array:
    """Whether another step can shrink all scales and divide by them; lanes of NaN do not count."""
    return ~jnp.any(jnp.abs(state.scale) < 1e-20)


def _fold_scale(state: LaneState) -> LaneState:
    """Multiplies the scales into the tables, so that they never leave float32's range."""
    tables = {name: state.scale * table for name, table in state.tables.items()}
    return state._replace(tables=tables, scale=jnp.ones_like(state.scale))


def _init(recommender: Recommender, optimizer: Optimizer, keys: Array) -> LaneState:
    # One lane at a time: drawing all at once takes twice as long to compile, and to run.
    chex.assert_rank(keys, 1)
    dense, statistics, rows = jax.lax.map(recommender.init, keys)
    tables = {name: jnp.moveaxis(table, 0, -1) for name, table in rows.items()}
    accumulators = {name: optimizer.init_accumulator(table) for name, table in tables.items()}
    return LaneState(
        tables=tables,
        scale=jnp.ones(keys.shape[0]),
        dense=dense,
        statistics=statistics,
        accumulators={name: sums for name, sums in accumulators.items() if sums is not None},
        opt_state=jax.vmap(optimizer.init_dense)(dense),
    )


def _train(
    step: Callable[..., LaneState],
    state: LaneState,
    losses: Any,
    hyper: Hyper,
    batches: Batch,
    key: Array,
) -> LaneState:
    """Trains on batches [N, B], one step each.

    A loop of steps runs until a scale is to be folded, and a loop around it folds: without strong
    decay all steps are one loop. A ``lax.cond`` in each step would do the same, but a loop updates
    the tables in place, and a condition that may return them changed need not.
    """
    chex.assert_rank([batches.label, batches.weight], 2)
    chex.assert_equal_shape([state.scale, *hyper])
    steps = batches.label.shape[0]
    # The key may have shuffled the batches; what steps draw is independent of it.
    keys = jax.random.split(jax.random.fold_in(key, STEPS), steps)

    def train_one(done: Array, state: LaneState) -> tuple[Array, LaneState]:
        batch, step_key = jax.tree.map(lambda x: x[done], (batches, keys))
        return done + 1, step(losses=losses, hyper=hyper, state=state, batch=batch, key=step_key)

    def train_until_fold(done: Array, state: LaneState) -> tuple[Array, LaneState]:
        goes_on = lambda carry: (carry[0] < steps) & _is_scale_safe(carry[1])  # noqa: E731
        done, state = jax.lax.while_loop(goes_on, lambda carry: train_one(*carry), (done, state))
        return done, _fold_scale(state)

    return jax.lax.while_loop(
        lambda carry: carry[0] < steps,
        lambda carry: train_until_fold(*carry),
        (jnp.int32(0), state),
    )[1]


def _predict(recommender: Recommender, state: LaneState, batches: Batch) -> Array:
    """Returns the logits [K, N * B] of batches [N, B]."""
    chex.assert_rank(batches.label, 2)
    forward = _forward(recommender, train=False)

    def logits(ids: Mapping[str, Array]) -> Array:
        table_ids, numbers = _join(recommender, ids)
        return forward(state.dense, state.statistics, _look_up_all(state, table_ids), numbers)[0]

    scores = jax.lax.map(logits, batches.ids)
    return scores.reshape(-1, scores.shape[-1]).T


def make_lanes(
    recommender: Recommender,
    logit_grads: LogitGradFn,
    *,
    optimizer: Optimizer = SGD,
    mesh: Mesh | None = None,
) -> Lanes:
    """Builds the functions that train and score lanes of a recommender.

    Args:
      recommender: over looked-up rows, written for one lane.
      logit_grads: gradients of the lanes' losses; its first argument is the ``losses`` that
        ``train`` takes.
      optimizer: of all lanes; SGD without clipping by default.
      mesh: of one axis, ``lanes``, over which K is divided; None for one device.

    Returns:
      The functions of K lanes, for any K that the devices divide.
    """
    step = partial(_step, recommender, logit_grads, optimizer)
    init, train = partial(_init, recommender, optimizer), partial(_train, step)
    predict = partial(_predict, recommender)

    def gradient_size(state: LaneState, losses: Any, batches: Batch) -> Array:
        logits = predict(state, batches)
        return compute_gradient_size(logit_grads(losses, logits, batches.label.reshape(-1)))

    def train_on_own(
        cut: CutBatches, state: LaneState, losses: Any, hyper: Hyper, data: Any, keys: Array
    ) -> LaneState:
        (key,) = keys  # of this device
        return train(state, losses, hyper, cut(data, key), key)

    one_device = Lanes(
        init=init,
        repeat=_repeat,
        take=_take,
        train=train,
        train_per_device=lambda state, losses, hyper, cut, data, keys: train_on_own(
            cut, state, losses, hyper, data, keys
        ),
        predict=predict,
        gradient_size=gradient_size,
        replicate=lambda numbers: numbers,
        scale_free=optimizer.scale_free,
        devices=1,
    )
    return one_device if mesh is None else _divide(one_device, train_on_own, mesh)


def _divide(lanes: Lanes, train_on_own: Callable[..., LaneState], mesh: Mesh) -> Lanes:
    """Divides the lanes of one device over all devices of a mesh."""
    first = Spec("lanes")
    state = _make_prefix(
        tables=Spec(None, None, "lanes"), accumulators=Spec(None, "lanes"), others=first
    )
    training = state, first, first  # state, losses, hyper
    wrap = partial(jax.shard_map, mesh=mesh)

    def train_per_device(
        lane_state: LaneState, losses: Any, hyper: Hyper, cut: CutBatches, data: Any, keys: Array
    ) -> LaneState:
        def train(lane_state: LaneState, losses: Any, hyper: Hyper, data: Any, keys: Array):
            # Data are the same on every device, what a key draws is not: a loop that begins with
            # one and goes on with the other is refused, unless data count as a device's own.
            data = jax.tree.map(partial(jax.lax.pcast, axis_name="lanes", to="varying"), data)
            return train_on_own(cut, lane_state, losses, hyper, data, keys)

        divided = wrap(train, in_specs=(*training, Spec(), first), out_specs=state)
        return divided(lane_state, losses, hyper, data, keys)

    return lanes._replace(
        init=wrap(lanes.init, in_specs=first, out_specs=state),
        train=wrap(lanes.train, in_specs=(*training, Spec(), Spec()), out_specs=state),
        train_per_device=train_per_device,
        predict=wrap(lanes.predict, in_specs=(state, Spec()), out_specs=first),
        gradient_size=wrap(lanes.gradient_size, in_specs=(state, first, Spec()), out_specs=first),
        replicate=partial(jax.lax.with_sharding_constraint, shardings=NamedSharding(mesh, Spec())),
        devices=mesh.size,
    )
