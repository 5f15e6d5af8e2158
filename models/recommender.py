"""Recommenders as the rest of the project sees them: pure functions over looked-up rows."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import flax.linen as nn
import jax

from .biased_mf import BiasedMF


class Table(NamedTuple):
    """Shape of one embedding table."""

    rows: int
    width: int


class Side(NamedTuple):
    """A feature of all users or of all items: a constant, joined to a batch at look-up.

    One that has a table is categorical: its row is the mean of the rows of its categories, zero
    for none. One that has no table is a number.
    """

    of: str  # field whose id says which of the values
    values: jax.Array  # int32 [rows, m], categories, -1 where there are fewer; or float32 [rows]


class Recommender(NamedTuple):
    """A recommender for one lane; ``vmap`` for several, over the last axis of rows.

    ``apply(dense, statistics, rows, features, *, train, weight=None, key=None)`` gives logits [B]
    and new statistics. Rows are [B, D] of each table, features [B] of each number; weights [B], 0
    for padding, and a key, for dropout and the like, are for training.
    """

    tables: Mapping[str, Table]
    sides: Mapping[str, Side]
    init: Callable[[jax.Array], tuple[Any, Any, dict[str, jax.Array]]]
    apply: Callable[..., tuple[jax.Array, Any]]


def _biased_mf(width: int) -> tuple[nn.Module, int]:
    return BiasedMF(), width + 1


MODELS = {"biased_mf": _biased_mf}


def build(*, name: str, width: int, init_scale: float, sizes: Mapping[str, int]) -> Recommender:
    """Build a recommender.

    Args:
      name: a key of ``MODELS``.
      width: of the embedding vectors, D.
      init_scale: standard deviation of the initial embedding rows.
      sizes: field -> number of rows of its table.

    Raises:
      ValueError: for an unknown model or a width or scale that is not positive.

    >>> import jax.numpy as jnp
    >>> model = build(name="biased_mf", width=4, init_scale=0.1, sizes={"user": 3, "item": 5})
    >>> dense, statistics, tables = model.init(jax.random.key(0))
    >>> rows = {field: table[jnp.array([0, 2])] for field, table in tables.items()}
    >>> logits, statistics = model.apply(dense, statistics, rows, {}, train=False)
    >>> logits.shape
    (2,)
    """
    if name not in MODELS:
        raise ValueError(f"model {name!r} is not known (known: {', '.join(MODELS)})")
    if width < 1 or not init_scale > 0:
        raise ValueError(f"width and init_scale are positive, got {width} and {init_scale}")
    module, row_width = MODELS[name](width)
    tables = {field: Table(rows, row_width) for field, rows in sizes.items()}
    return Recommender(tables, {}, *_functions(module, tables, init_scale))


def _functions(module: nn.Module, tables: Mapping[str, Table], init_scale: float):
    """Give ``init`` and ``apply`` of a module."""

    def init(key: jax.Array) -> tuple[Any, Any, dict[str, jax.Array]]:
        dense_key, *keys = jax.random.split(key, 1 + len(tables))
        drawn = {
            field: init_scale * jax.random.normal(k, table)
            for k, (field, table) in zip(keys, tables.items(), strict=True)
        }
        example = {field: rows[:1] for field, rows in drawn.items()}
        variables = module.init(dense_key, example, train=False)
        return variables.get("params", {}), {}, drawn

    def apply(dense, statistics, rows, features, *, train, weight=None, key=None):
        del features, weight, key
        return module.apply({"params": dense}, rows, train=train), statistics

    return init, apply
