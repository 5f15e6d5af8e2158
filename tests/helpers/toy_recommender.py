"""A small recommender, generated interactions, and training written the plain way."""

import gc
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from autolossgen.interfaces import Batch, Recommender, Table

EMBEDDING_DIM = 3
NUM_COUNTED_USERS = 23  # users of a recommender whose lanes are counted: of no other in the tests


def forward(dense, rows):
    product = jnp.sum(rows["user"] * rows["item"][..., :-1], axis=-1)
    return product + rows["item"][..., -1] + dense["bias"]


def make_recommender(users: int, items: int, scale: float = 0.3) -> Recommender:
    """Builds matrix factorisation with an item bias and a global one, cheap to compile."""

    def init(key):
        # Any numbers do, and a sine compiles in no time.
        start = 1e4 * jax.random.uniform(key)
        numbers = jnp.sin(start + jnp.arange((users + items) * (EMBEDDING_DIM + 1)) ** 2.0)
        drawn = scale * numbers.reshape(users + items, EMBEDDING_DIM + 1)
        return {"bias": jnp.float32(0.1)}, {}, {"user": drawn[:users, :-1], "item": drawn[users:]}

    def apply(dense, statistics, rows, features, *, train, weight, key):
        return forward(dense, rows), statistics

    tables = {"user": Table(users, EMBEDDING_DIM), "item": Table(items, EMBEDDING_DIM + 1)}
    return Recommender(tables=tables, sides={}, init=init, apply=apply)


def make_interactions(rng: np.random.Generator, users: int, items: int, count: int) -> Batch:
    """Draws interactions of users and items whose preferences are of rank one."""
    user, item = rng.integers(0, users, count), rng.integers(0, items, count)
    taste, kind = np.cos(1.0 + np.arange(users)), np.sin(3.0 * np.arange(items))
    liked = rng.random(count) < 1 / (1 + np.exp(-4 * taste[user] * kind[item]))
    ids = {"user": jnp.asarray(user, jnp.int32), "item": jnp.asarray(item, jnp.int32)}
    return Batch(ids, jnp.asarray(liked, jnp.float32), jnp.ones(count))


def count_lanes_at_init(make_trainer, counts: list[int]):
    """Wraps ``make_trainer`` to note how many lanes are alive whenever others are initialized."""

    def make(*arguments, **options):
        trainer = make_trainer(*arguments, **options)

        def init(keys):
            gc.collect()  # so that only arrays with a name are alive
            shape = NUM_COUNTED_USERS, EMBEDDING_DIM
            tables = [x for x in jax.live_arrays() if x.shape[:2] == shape]
            counts.append(sum(x.shape[-1] for x in tables))
            return trainer.init(keys)

        return trainer._replace(init=init)

    return make


class LaneSetting(NamedTuple):
    """Loss and hyper-parameters of a lane; ``loss`` is elementwise, of logits and labels."""

    loss: Callable[[Any, Any], Any]
    learning_rate: float = 0.1
    weight_decay: float = 0.0
    l2: float = 0.0
    clip: float = np.inf


def train_dense_sgd(dense, tables, batches: Batch, setting: LaneSetting):
    """Trains in float64 with every row in the gradient: penalty, clipping, decay, step, as PyTorch.

    Padding is cut off before the loss, not weighted away.
    """
    with jax.enable_x64(True):
        wide = lambda x: jnp.asarray(np.asarray(x), float)  # noqa: E731
        parameters = jax.tree.map(wide, (dense, tables))
        for ids, label, weight in iterate_batches(batches):
            real = np.asarray(weight) > 0
            ids = {field: np.asarray(x)[real] for field, x in ids.items()}
            label = np.float64(np.asarray(label)[real])
            parameters = _dense_step(parameters, ids, label, *setting)
        return jax.tree.map(np.asarray, parameters)


@partial(jax.jit, static_argnums=3)
def _dense_step(parameters, ids, label, loss, learning_rate, weight_decay, l2, clip):
    def objective(parameters):
        rows = {field: parameters[1][field][ids[field]] for field in ids}
        squares = sum(jnp.sum(x**2) for x in jax.tree.leaves(parameters))
        return jnp.mean(loss(forward(parameters[0], rows), label)) + l2 * squares

    optimizer = optax.chain(
        optax.clip(clip), optax.add_decayed_weights(weight_decay), optax.sgd(learning_rate)
    )
    gradient = jax.grad(objective)(parameters)
    updates, _ = optimizer.update(gradient, optimizer.init(parameters), parameters)
    return optax.apply_updates(parameters, updates)


def iterate_batches(batches: Batch):
    """Yields batches [N, B] one by one."""
    return (jax.tree.map(lambda x, n=n: x[n], batches) for n in range(batches.label.shape[0]))
