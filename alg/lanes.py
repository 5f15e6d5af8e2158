"""Lanes: recommenders trained side by side in one compiled program.

A lane is one recommender with its own loss, learning rate, weight decay and initial weights. All
lanes see the same batch at each step, so their comparison is paired and one look-up serves all.

Embedding tables are ``[rows, D, K]``, lanes innermost: the gather or scatter of one id moves one
contiguous block of all lanes. Only the rows of the batch are touched, so a step costs ``O(BKD)``
however large the catalogue is. Weight decay stays exact without touching the other rows: a row is
``scale * stored``, and decay acts on the scale.

Features of users and items are joined by their ids at look-up. Of several categories a recommender
sees the mean row, so a gradient goes to each of them by its share.
"""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax.sharding import Mesh, NamedSharding
from jax.sharding import PartitionSpec as Spec

from .objectives import Slopes, gradient_size
from .shuffles import shuffled
from .types import Array, Batch, Params, Recommender, Statistics


class Hyper(NamedTuple):
    """What else lanes differ in, [K] each."""

    learning_rate: Array
    weight_decay: Array  # decoupled from the loss and from the clipping, as in PyTorch's SGD
    l2: Array  # times the sum of squares of all parameters, added to the loss


class LaneState(NamedTuple):
    """K recommenders."""

    tables: Mapping[str, Array]  # field -> stored rows [rows, D, K]
    scale: Array  # [K]; a row is scale * stored
    dense: Params  # the other parameters, K leading
    statistics: Statistics  # K leading


class Lanes(NamedTuple):
    """Training and scoring of K lanes as pure functions."""

    init: Callable[[Array], LaneState]  # keys [K]
    spread: Callable[[LaneState, int], LaneState]  # one lane -> K copies
    take: Callable[[LaneState, Array], LaneState]  # lanes by index [K'] -> K' lanes
    # batches [N, B], and a key, from which every step draws one for all lanes
    train: Callable[[LaneState, Any, Hyper, Batch, Array], LaneState]
    predict: Callable[[LaneState, Batch], Array]  # batches [N, B] -> logits [K, N * B]
    # untrained lanes, objective, batches -> how large the losses' gradients are there, [K]
    gradient_size: Callable[[LaneState, Any, Batch], Array]
    everywhere: Callable[[Array], Array]  # numbers [K, ...] -> the same, whole on every device


def batches(data: Batch, size: int, key: Array | None = None) -> Batch:
    """Cut interactions [n] into batches [N, B], in order or shuffled by ``key``.

    The last batch is filled up with interactions of weight 0. Groups [n, G] stay together: ``size``
    counts them, and their examples follow one another in batches [N, size * G].
    """
    n = data.label.shape[0]
    steps = -(-n // size)
    index = jnp.arange(n) if key is None else shuffled(key, n)
    index = jnp.concatenate([index, jnp.zeros(steps * size - n, index.dtype)])
    real = (jnp.arange(steps * size) < n).astype(jnp.float32)
    cut = jax.tree.map(lambda x: x[index].reshape(steps, -1), data)
    weight = cut.weight.reshape(steps * size, -1) * real[:, None]
    return cut._replace(weight=weight.reshape(steps, -1))


def _unique(ids: Array) -> tuple[Array, Array]:
    """Give for ids [B] the slot [B] of each, and the id [B] of each slot, unused ones last."""
    order = jnp.argsort(ids)
    ordered = ids[order]
    new = jnp.append(False, ordered[1:] != ordered[:-1])
    rank = jnp.cumsum(new)
    slot = jnp.zeros_like(ids).at[order].set(rank.astype(ids.dtype))
    return slot, jnp.full_like(ids, _nowhere(ids)).at[rank].set(ordered)


def _nowhere(ids: Array) -> int:
    """Give an id that is out of range: dropped by a scatter."""
    return jnp.iinfo(ids.dtype).max


def _update_table(stored, ids, gradient, old, new, hyper, clip):
    """Apply one SGD step to the rows of a batch; ``gradient`` is [B, D, K], ``old`` scale [K]."""
    if clip is None:
        return stored.at[ids].add(-hyper.learning_rate / new * gradient)
    # The original clips the gradient of a parameter, that is the sum over a row's occurrences,
    # penalty included; what the penalty does to the row beyond clipping is in the scale.
    slot, unique = _unique(ids)
    total = jnp.zeros_like(gradient).at[slot].add(gradient)
    rows = old * stored.at[unique].get(mode="fill", fill_value=0.0)
    penalty = 2 * hyper.l2 * rows
    step = jnp.clip(total + penalty, -clip, clip) - penalty
    return stored.at[unique].add(-hyper.learning_rate / new * step, mode="drop")


def _optimizer(rate, decay, l2, clip) -> optax.GradientTransformation:
    """Give SGD for dense parameters: penalty, clipping, decoupled decay, step."""
    return optax.chain(
        optax.add_decayed_weights(2 * l2),
        optax.clip(clip) if clip is not None else optax.identity(),
        optax.add_decayed_weights(decay),
        optax.scale_by_learning_rate(rate),
    )


def _join(recommender: Recommender, ids: Mapping[str, Array]) -> tuple[dict, dict]:
    """Give the ids [B] or [B, m] of each table, and the numbers [B], of a batch's ids [B]."""
    sides = {
        name: jnp.asarray(side.values)[ids[side.of]] for name, side in recommender.sides.items()
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
    flat = jnp.where(ids < 0, _nowhere(ids), ids).ravel()
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
    recommender: Recommender, slopes: Slopes, clip, objective, hyper: Hyper, state, batch, key
):
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
    dense_gradient, row_gradient = pullback(_apart(gradient_of, logits, batch.label))
    decay = 1 - hyper.learning_rate * (hyper.weight_decay + 2 * hyper.l2)
    scale = state.scale * decay
    tables = {
        name: _update_table(
            table, *_occurrences(ids[name], row_gradient[name]), state.scale, scale, hyper, clip
        )
        for name, table in state.tables.items()
    }

    def dense_step(parameters, gradient, hyper):
        optimizer = _optimizer(*hyper, clip)
        updates, _ = optimizer.update(gradient, optimizer.init(parameters), parameters)
        return optax.apply_updates(parameters, updates)

    dense = jax.vmap(dense_step)(state.dense, dense_gradient, hyper)
    return LaneState(tables, scale, dense, statistics)


def _apart(function: Callable[[Array], Array], x: Array, label: Array) -> Array:
    """Call ``function`` so that XLA cannot fuse it into what uses the result.

    The CPU backend would compute the loss again for every column of the embedding update, and it
    drops optimization barriers. Labels are finite, but XLA does not know.
    """
    return jax.lax.cond(label[0] < jnp.inf, function, jnp.zeros_like, x)


def _spread(state: LaneState, count: int) -> LaneState:
    return LaneState(
        {name: jnp.repeat(table, count, axis=-1) for name, table in state.tables.items()},
        jnp.repeat(state.scale, count),
        *jax.tree.map(lambda x: jnp.repeat(x, count, axis=0), (state.dense, state.statistics)),
    )


def _take(state: LaneState, lanes: Array) -> LaneState:
    return LaneState(
        {name: table[..., lanes] for name, table in state.tables.items()},
        state.scale[lanes],
        *jax.tree.map(lambda x: x[lanes], (state.dense, state.statistics)),
    )


def _fold_scale(state: LaneState) -> LaneState:
    """Multiply the scales into the tables, so that they never leave float32's range."""
    tables = {name: state.scale * table for name, table in state.tables.items()}
    return state._replace(tables=tables, scale=jnp.ones_like(state.scale))


def make_lanes(
    recommender: Recommender,
    slopes: Slopes,
    *,
    clip: float | None = None,
    mesh: Mesh | None = None,
) -> Lanes:
    """Make lanes of a recommender, trained by SGD.

    Args:
      recommender: over looked-up rows, written for one lane.
      slopes: gradients of the lanes' losses; what it takes for an objective, ``train`` takes.
      clip: gradients of single parameters are clipped to this size; None for none.
      mesh: of one axis, ``lanes``, over which K is divided; None for one device.
    """
    if clip is not None and not clip > 0:
        raise ValueError(f"clip is positive or None, got {clip}")

    def init(keys: Array) -> LaneState:
        # One lane at a time: drawing all at once takes twice as long to compile, and to run.
        dense, statistics, rows = jax.lax.map(recommender.init, keys)
        tables = {name: jnp.moveaxis(table, 0, -1) for name, table in rows.items()}
        return LaneState(tables, jnp.ones(keys.shape[0]), dense, statistics)

    def train(
        state: LaneState, objective: Any, hyper: Hyper, batches: Batch, key: Array
    ) -> LaneState:
        step = partial(_step, recommender, slopes, clip, objective, hyper)
        # The key may have shuffled the batches; what steps draw is apart from what that drew.
        keys = jax.random.split(jax.random.fold_in(key, 2**31), batches.label.shape[0])
        state, _ = jax.lax.scan(lambda s, each: (step(s, *each), None), state, (batches, keys))
        return _fold_scale(state)

    def predict(state: LaneState, batches: Batch) -> Array:
        forward = _forward(recommender, train=False)

        def logits(ids: Mapping[str, Array]) -> Array:
            ids, numbers = _join(recommender, ids)
            return forward(state.dense, state.statistics, _rows(state, ids), numbers)[0]

        scores = jax.lax.map(logits, batches.ids)
        return scores.reshape(-1, scores.shape[-1]).T

    def size(state: LaneState, objective: Any, batches: Batch) -> Array:
        logits = predict(state, batches)
        return gradient_size(slopes(objective, logits, batches.label.reshape(-1)))

    if mesh is None:
        return Lanes(init, _spread, _take, train, predict, size, lambda numbers: numbers)
    last = Spec("lanes")
    lane = LaneState(Spec(None, None, "lanes"), last, last, last)
    wrap = partial(jax.shard_map, mesh=mesh)
    return Lanes(
        wrap(init, in_specs=last, out_specs=lane),
        _spread,
        _take,
        wrap(train, in_specs=(lane, last, last, Spec(), Spec()), out_specs=lane),
        wrap(predict, in_specs=(lane, Spec()), out_specs=last),
        wrap(size, in_specs=(lane, last, Spec()), out_specs=last),
        partial(jax.lax.with_sharding_constraint, shardings=NamedSharding(mesh, Spec())),
    )
