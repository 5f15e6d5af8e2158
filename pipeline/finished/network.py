"""A trained network as arrays with names, and its scores from these arrays."""

from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from autolossgen import models, named_loss
from autolossgen.interfaces import Batch, Recommender, Side
from autolossgen.training.lanes import LaneState, make_batches, make_lanes
from autolossgen.training.tasks import RATING


def to_arrays(state: LaneState, sides: Mapping[str, Side]) -> dict[str, np.ndarray]:
    """Returns the parameters of the first lane as named arrays, with the features of sides.

    Names are ``table/FIELD``, ``dense/...``, ``statistics/...`` and ``side/NAME``.
    """
    scale = state.scale[0]
    parts = {
        "table": {name: scale * rows[..., 0] for name, rows in state.tables.items()},
        "dense": jax.tree.map(lambda x: x[0], state.dense),
        "statistics": jax.tree.map(lambda x: x[0], state.statistics),
        "side": {name: side.values for name, side in sides.items()},
    }
    leaves = jax.tree_util.tree_leaves_with_path(jax.device_get(parts))
    return {_name(path): np.asarray(value) for path, value in leaves}


def score_by_network(
    about: Mapping[str, Any], weights: Mapping[str, np.ndarray]
) -> Callable[[np.ndarray], np.ndarray]:
    """Returns what scores rows of users with all rows of items.

    Args:
      about: ``model``, its section of the config; ``sizes`` of tables; ``side_fields``, whose id
        each side is of; and ``context``, the value of each further field of an interaction.
      weights: arrays, as of ``to_arrays``.
    """
    sides = {
        name: Side(field, weights[f"side/{name}"]) for name, field in about["side_fields"].items()
    }
    recommender = models.build(**about["model"], sizes=about["sizes"], sides=sides)
    # The loss is part of training alone.
    lanes = make_lanes(recommender, RATING.static_logit_grads([named_loss("bce")]))
    predict, state = jax.jit(lanes.predict), _make_state(recommender, weights)
    items = jnp.arange(about["sizes"]["item"])
    constant = {field: jnp.full_like(items, value) for field, value in about["context"].items()}

    def score_user(row: int) -> np.ndarray:
        ids = {**constant, "user": jnp.full_like(items, row), "item": items}
        ones = jnp.ones(items.size)
        batches = make_batches(Batch(ids=ids, label=ones, weight=ones), min(1024, items.size))
        return np.asarray(predict(state, batches))[0, : items.size]

    return lambda rows: np.stack([score_user(row) for row in rows])


def _make_state(recommender: Recommender, weights: Mapping[str, np.ndarray]) -> LaneState:
    """Returns the state of one lane that only predicts."""
    dense, statistics, tables = jax.eval_shape(recommender.init, jax.random.key(0))
    shapes = {"table": tables, "dense": dense, "statistics": statistics}
    parts = jax.tree_util.tree_map_with_path(
        lambda path, _: jnp.asarray(weights[_name(path)]), shapes
    )
    return LaneState(
        tables={name: rows[..., None] for name, rows in parts["table"].items()},
        scale=jnp.ones(1),
        dense=jax.tree.map(lambda x: x[None], parts["dense"]),
        statistics=jax.tree.map(lambda x: x[None], parts["statistics"]),
        accumulators={},
        opt_state=(),
    )


def _name(path: Any) -> str:
    return jax.tree_util.keystr(path, simple=True, separator="/")
