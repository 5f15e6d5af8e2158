"""Lanes: recommenders trained side by side in one compiled program.

A lane is one recommender with its own loss, learning rate, weight decay and initial weights. All
lanes see the same batch at each step, so their comparison is paired and one look-up serves all.

Embedding tables are ``[rows, D, K]``, lanes innermost: the gather or scatter of one id moves one
contiguous block of all lanes. Only the rows of the batch are touched, so a step costs ``O(BKD)``
however large the catalogue is. Weight decay stays exact without touching the other rows: a row is
``scale * stored``, and decay acts on the scale, which is multiplied into the rows at the end of an
epoch, and before where it grows small.

Features of users and items are joined by their ids at look-up. Of several categories a recommender
sees the mean row, so a gradient goes to each of them by its share.
"""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.sharding import Mesh, NamedSharding
from jax.sharding import PartitionSpec as Spec

from ..interfaces import Array, Batch, Params, Recommender, Statistics
from .loss_gradients import LogitGradFn, compute_gradient_size
from .optimizers import SGD, Hyper, Optimizer, SparseGrad, out_of_range_id
from .permutation import random_permutation
from .random_keys import STEPS


class LaneState(NamedTuple):
    """K recommenders."""

    tables: Mapping[str, Array]  # field -> stored rows [rows, D, K]
    scale: Array  # [K]; a row is scale * stored
    dense: Params  # the other parameters, K leading
    statistics: Statistics  # K leading
    accumulators: Mapping[str, Array]  # what the optimizer remembers of a field's rows [rows, K]
    opt_state: Any  # of dense parameters, K leading


Cut = Callable[[Any, Array], Batch]
"""(data, key) -> batches [N, B]."""

_LANE_AXIS = LaneState(tables=-1, scale=0, dense=0, statistics=0, accumulators=-1, opt_state=0)


def _along_lanes(function: Callable[..., Array], *states: LaneState) -> LaneState:
    """Apply a function that takes the axis of the lanes to every array of states."""
    of_part = lambda axis, *parts: jax.tree.map(partial(function, axis=axis), *parts)  # noqa: E731
    return jax.tree.map(of_part, _LANE_AXIS, *states)


def where_lane(condition: Array, yes: LaneState, no: LaneState) -> LaneState:
    """Choose lane by lane: condition [K]."""

    def choose(mine: Array, theirs: Array, axis: int) -> Array:
        along = condition if axis == -1 else condition.reshape(-1, *[1] * (mine.ndim - 1))
        return jnp.where(along, mine, theirs)

    return _along_lanes(choose, yes, no)


class Lanes(NamedTuple):
    """Training and scoring of K lanes as pure functions."""

    init: Callable[[Array], LaneState]  # keys [K]
    repeat: Callable[[LaneState, int], LaneState]  # lanes -> so many copies of each, side by side
    take: Callable[[LaneState, Array], LaneState]  # lanes by index [K'] -> K' lanes
    # batches [N, B], and a key, from which every step draws one for all lanes
    train: Callable[[LaneState, Any, Hyper, Batch, Array], LaneState]
    # data and a key for each device [D], of which each cuts batches [N, B] of its own
    train_per_device: Callable[[LaneState, Any, Hyper, Cut, Any, Array], LaneState]
    predict: Callable[[LaneState, Batch], Array]  # batches [N, B] -> logits [K, N * B]
    # untrained lanes, objective, batches -> how large the losses' gradients are there, [K]
    gradient_size: Callable[[LaneState, Any, Batch], Array]
    replicate: Callable[[Array], Array]  # numbers [K, ...] -> the same, whole on every device
    scale_free: bool  # steps are as large whatever the size of gradients; of the optimizer
    devices: int  # that lanes are divided over: what trains or predicts takes a multiple


def make_batches(data: Batch, size: int, key: Array | None = None) -> Batch:
    """Cut interactions [n] into batches [N, B], in order or shuffled by ``key``.

    The last batch is filled up with interactions of weight 0. Groups [n, G] stay together: ``size``
    counts them, and their examples follow one another in batches [N, size * G].
    """
    n = data.label.shape[0]
    steps = -(-n // size)
    index = jnp.arange(n) if key is None else random_permutation(key, n)
    index = jnp.concatenate([index, jnp.zeros(steps * size - n, index.dtype)])
    real = (jnp.arange(steps * size) < n).astype(jnp.float32)
    cut = jax.tree.map(lambda x: x[index].reshape(steps, -1), data)
    weight = cut.weight.reshape(steps * size, -1) * real[:, None]
    return cut._replace(weight=weight.reshape(steps, -1))


def _join(recommender: Recommender, ids: Mapping[str, Array]) -> tuple[dict, dict]:
    """Give the ids [B] or [B, m] of each table, and the numbers [B], of a batch's ids [B]."""
    sides = {
        name: jnp.asarray(side.values)[ids[side.field]] for name, side in recommender.sides.items()
    }
    numbers = {name: sides.pop(name) for name in sides.keys() - recommender.tables.keys()}
    of_tables = {**ids, **sides}
    return {name: of_tables[name] for name in recommender.tables}, numbers


def _shares(ids: Array) -> Array:
    """Give the share [B, m, 1, 1] of each category in the mean of those that are there."""
    there = (ids >= 0).astype(jnp.float32)
    return (there / jnp.maximum(there.sum(1, keepdims=True), 1))[..., None, None]


def _look_up(table: Array, ids: Array) -> Array:
    """Give the rows [B, D, K] of ids [B], or the mean rows of ids [B, m]."""
    if ids.ndim == 1:
        return table[ids]
    return jnp.sum(_shares(ids) * table[jnp.maximum(ids, 0)], axis=1)


def _occurrences(ids: Array, gradient: Array) -> tuple[Array, Array]:
    """Give each single id with its part of the gradient [B, D, K] of the rows looked up."""
    if ids.ndim == 1:
        return ids, gradient
    parts = _shares(ids) * gradient[:, None]
    flat = jnp.where(ids < 0, out_of_range_id(ids), ids).ravel()
    return flat, parts.reshape(-1, *gradient.shape[1:])


def _rows(state: LaneState, ids: Mapping[str, Array]) -> dict[str, Array]:
    return {name: state.scale * _look_up(table, ids[name]) for name, table in state.tables.items()}


def _forward(recommender: Recommender, *, train: bool, weight=None, key=None) -> Callable:
    """Give a function of all lanes: dense, statistics, rows, numbers -> logits [B, K], statistics.

    They see the same batch, and draw the same: what dropout leaves out is the same in all.
    """
    apply = partial(recommender.apply, train=train, weight=weight, key=key)
    return jax.vmap(apply, in_axes=(0, 0, -1, None), out_axes=(-1, 0))


def _step(
    recommender: Recommender,
    slopes: LogitGradFn,
    optimizer: Optimizer,
    objective: Any,
    hyper: Hyper,
    state: LaneState,
    batch: Batch,
    key: Array,
) -> LaneState:
    ids, numbers = _join(recommender, batch.ids)
    rows = _rows(state, ids)
    share = batch.weight / jnp.maximum(batch.weight.sum(), 1e-30)
    forward_all = _forward(recommender, train=True, weight=batch.weight, key=key)

    def forward(dense, rows):
        return forward_all(dense, state.statistics, rows, numbers)

    def gradient_of(logits):
        found = jnp.nan_to_num(slopes(objective, logits.T, batch.label))
        return (share * found).T

    logits, pullback, statistics = jax.vjp(forward, state.dense, rows, has_aux=True)
    dense_gradient, row_gradient = pullback(_fusion_barrier(gradient_of, logits, batch.label))
    scale = state.scale * _decay_factor(hyper)
    tables, accumulators = {}, {}
    for name, table in state.tables.items():
        met = SparseGrad(*_occurrences(ids[name], row_gradient[name]), state.scale, scale)
        old = state.accumulators.get(name)
        tables[name], new = optimizer.step_rows(table, old, met, hyper)
        accumulators |= {} if new is None else {name: new}
    dense, memory = jax.vmap(optimizer.step_dense)(
        state.dense, dense_gradient, state.opt_state, hyper
    )
    return LaneState(tables, scale, dense, statistics, accumulators, memory)


def _decay_factor(hyper: Hyper) -> Array:
    """Give what decay leaves of a row in one step, [K]; never 0, which a step divides by."""
    kept = 1 - hyper.learning_rate * (hyper.weight_decay + 2 * hyper.l2)
    return jnp.where(kept == 0, jnp.finfo(kept.dtype).epsneg, kept)


def _fusion_barrier(function: Callable[[Array], Array], x: Array, label: Array) -> Array:
    """Call ``function`` so that XLA cannot fuse it into what uses the result.

    The CPU backend would compute the loss again for every column of the embedding update, and it
    drops optimization barriers. Labels are finite, but XLA does not know.
    """
    return jax.lax.cond(label[0] < jnp.inf, function, jnp.zeros_like, x)


def _spread(state: LaneState, count: int) -> LaneState:
    return _along_lanes(partial(jnp.repeat, repeats=count), state)


def _take(state: LaneState, lanes: Array) -> LaneState:
    return _along_lanes(partial(jnp.take, indices=lanes, mode="clip"), state)


def _in_range(state: LaneState) -> Array:
    """Say if another step can shrink all scales and divide by them; lanes of NaN do not count."""
    return ~jnp.any(jnp.abs(state.scale) < 1e-20)


def _fold_scale(state: LaneState) -> LaneState:
    """Multiply the scales into the tables, so that they never leave float32's range."""
    tables = {name: state.scale * table for name, table in state.tables.items()}
    return state._replace(tables=tables, scale=jnp.ones_like(state.scale))


def make_lanes(
    recommender: Recommender,
    slopes: LogitGradFn,
    *,
    optimizer: Optimizer = SGD,
    mesh: Mesh | None = None,
) -> Lanes:
    """Make lanes of a recommender.

    Args:
      recommender: over looked-up rows, written for one lane.
      slopes: gradients of the lanes' losses; what it takes for an objective, ``train`` takes.
      optimizer: what steps do; SGD without clipping if left out.
      mesh: of one axis, ``lanes``, over which K is divided; None for one device.
    """

    def init(keys: Array) -> LaneState:
        # One lane at a time: drawing all at once takes twice as long to compile, and to run.
        dense, statistics, rows = jax.lax.map(recommender.init, keys)
        tables = {name: jnp.moveaxis(table, 0, -1) for name, table in rows.items()}
        accumulators = {name: optimizer.init_accumulator(table) for name, table in tables.items()}
        accumulators = {name: sums for name, sums in accumulators.items() if sums is not None}
        memory = jax.vmap(optimizer.init_dense)(dense)
        return LaneState(tables, jnp.ones(keys.shape[0]), dense, statistics, accumulators, memory)

    def train(
        state: LaneState, objective: Any, hyper: Hyper, batches: Batch, key: Array
    ) -> LaneState:
        steps = batches.label.shape[0]
        # The key may have shuffled the batches; what steps draw is apart from what that drew.
        keys = jax.random.split(jax.random.fold_in(key, STEPS), steps)

        def step(done: Array, state: LaneState) -> tuple[Array, LaneState]:
            batch, drawn = jax.tree.map(lambda x: x[done], (batches, keys))
            return done + 1, _step(
                recommender, slopes, optimizer, objective, hyper, state, batch, drawn
            )

        def stretch(done: Array, state: LaneState) -> tuple[Array, LaneState]:
            """Train until a scale is to be folded, or to the end: without strong decay at once."""
            ready = lambda at: (at[0] < steps) & _in_range(at[1])  # noqa: E731
            done, state = jax.lax.while_loop(ready, lambda at: step(*at), (done, state))
            return done, _fold_scale(state)

        begun = jnp.int32(0), state
        return jax.lax.while_loop(lambda at: at[0] < steps, lambda at: stretch(*at), begun)[1]

    def train_per_device(
        state: LaneState, objective: Any, hyper: Hyper, cut: Cut, data: Any, keys: Array
    ) -> LaneState:
        def own(state: LaneState, objective: Any, hyper: Hyper, data: Any, keys: Array):
            (key,) = keys  # of this device
            return train(state, objective, hyper, cut(data, key), key)

        if mesh is None:
            return own(state, objective, hyper, data, keys)

        def on_each(state: LaneState, objective: Any, hyper: Hyper, data: Any, keys: Array):
            # Data are the same on every device, what a key draws is not: a loop that begins with
            # one and goes on with the other is refused, unless data count as a device's own.
            data = jax.tree.map(partial(jax.lax.pcast, axis_name="lanes", to="varying"), data)
            return own(state, objective, hyper, data, keys)

        divided = wrap(on_each, in_specs=(*mine, Spec(), last), out_specs=lane)
        return divided(state, objective, hyper, data, keys)

    def predict(state: LaneState, batches: Batch) -> Array:
        forward = _forward(recommender, train=False)

        def logits(ids: Mapping[str, Array]) -> Array:
            ids, numbers = _join(recommender, ids)
            return forward(state.dense, state.statistics, _rows(state, ids), numbers)[0]

        scores = jax.lax.map(logits, batches.ids)
        return scores.reshape(-1, scores.shape[-1]).T

    def size(state: LaneState, objective: Any, batches: Batch) -> Array:
        logits = predict(state, batches)
        return compute_gradient_size(slopes(objective, logits, batches.label.reshape(-1)))

    free = optimizer.scale_free
    if mesh is None:
        alone = train, train_per_device, predict, size, lambda numbers: numbers
        return Lanes(init, _spread, _take, *alone, free, 1)
    last = Spec("lanes")
    lane = LaneState(Spec(None, None, "lanes"), last, last, last, Spec(None, "lanes"), last)
    mine = lane, last, last  # state, objective, hyper
    wrap = partial(jax.shard_map, mesh=mesh)
    return Lanes(
        wrap(init, in_specs=last, out_specs=lane),
        _spread,
        _take,
        wrap(train, in_specs=(*mine, Spec(), Spec()), out_specs=lane),
        train_per_device,
        wrap(predict, in_specs=(lane, Spec()), out_specs=last),
        wrap(size, in_specs=(lane, last, Spec()), out_specs=last),
        partial(jax.lax.with_sharding_constraint, shardings=NamedSharding(mesh, Spec())),
        free,
        mesh.size,
    )
