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


class Recommender(NamedTuple):
    """A recommender for one lane; ``vmap`` over the last axis of rows for several."""

    tables: Mapping[str, Table]
    init: Callable[[jax.Array], tuple[Any, dict[str, jax.Array]]]  # key -> dense, [rows, D]
    apply: Callable[..., jax.Array]  # dense, rows[field][B, D], train=... -> logits [B]


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
    >>> dense, tables = model.init(jax.random.key(0))
    >>> rows = {field: table[jnp.array([0, 2])] for field, table in tables.items()}
    >>> model.apply(dense, rows, train=False).shape
    (2,)
    """
    if name not in MODELS:
        raise ValueError(f"model {name!r} is not known (known: {', '.join(MODELS)})")
    if width < 1 or not init_scale > 0:
        raise ValueError(f"width and init_scale are positive, got {width} and {init_scale}")
    module, row_width = MODELS[name](width)
    tables = {field: Table(rows, row_width) for field, rows in sizes.items()}

    def init(key: jax.Array) -> tuple[Any, dict[str, jax.Array]]:
        dense_key, *keys = jax.random.split(key, 1 + len(tables))
        drawn = {
            field: init_scale * jax.random.normal(k, table)
            for k, (field, table) in zip(keys, tables.items(), strict=True)
        }
        example = {field: rows[:1] for field, rows in drawn.items()}
        return module.init(dense_key, example, train=False), drawn

    def apply(dense: Any, rows: Mapping[str, jax.Array], *, train: bool) -> jax.Array:
        return module.apply(dense, rows, train=train)

    return Recommender(tables, init, apply)
