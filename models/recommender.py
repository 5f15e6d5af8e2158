"""Turns a Flax module into a recommender: its tables, and pure functions over looked-up rows."""

import inspect
from collections.abc import Callable, Mapping, Set
from types import MappingProxyType
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from autolossgen.interfaces import Params, Recommender, Side, Statistics, Table

from .modules import make_module
from .validation import check_fields, check_module, check_side

NOTHING: Mapping[str, Any] = MappingProxyType({})


def build(
    *,
    name: str | type[nn.Module],
    embedding_dim: int,
    init_scale: float,
    sizes: Mapping[str, int],
    options: Mapping[str, Any] | None = None,
    sides: Mapping[str, Side] = NOTHING,
) -> Recommender:
    """Builds a recommender.

    Args:
      name: a key of ``MODELS``, ``"package.module:Class"`` for a Flax module of one's own, or its
        class.
      embedding_dim: numbers of an embedding vector, D.
      init_scale: standard deviation of the initial embedding rows.
      sizes: field or categorical side -> number of rows of its table.
      options: fields of the module, such as hidden widths; None for its defaults.
      sides: features of users and items; those with a size are categorical, the others numbers.

    Raises:
      ValueError: for an unknown model or option, a dimension or scale that is not positive, a side
        that does not fit its field, fields that the model does not read, fields that it misses, and
        a module that fails, does not return logits [B] or keeps a state of an unknown kind.

    Example:
      >>> import jax.numpy as jnp
      >>> sizes = {"user": 3, "item": 5}
      >>> model = build(name="biased_mf", embedding_dim=4, init_scale=0.1, sizes=sizes)
      >>> dense, statistics, tables = model.init(jax.random.key(0))
      >>> rows = {field: table[jnp.array([0, 2])] for field, table in tables.items()}
      >>> logits, statistics = model.apply(dense, statistics, rows, {}, train=False)
      >>> logits.shape
      (2,)
    """
    if embedding_dim < 1 or not init_scale > 0:
        raise ValueError(
            f"embedding_dim and init_scale are positive, got {embedding_dim} and {init_scale}"
        )
    for side in sides:
        check_side(side, sides[side], sizes)
    owners = {
        field: sides[field].field if field in sides else field for field in {**sizes, **sides}
    }
    of_item = tuple(sorted(field for field, owner in owners.items() if owner == "item"))
    module = make_module(name, options or {}, of_item)
    check_fields(module, owners)
    row_width = module.row_width(embedding_dim) if hasattr(module, "row_width") else embedding_dim
    tables = {field: Table(rows, row_width) for field, rows in sizes.items()}
    numbers = sides.keys() - tables.keys()
    recommender = Recommender(
        tables=tables,
        sides=sides,
        init=_make_init(module, tables, numbers, init_scale),
        apply=_make_apply(module),
    )
    check_module(module, recommender, numbers)
    return recommender


def _make_init(
    module: nn.Module, tables: Mapping[str, Table], numbers: Set[str], init_scale: float
) -> Callable[[jax.Array], tuple[Params, Statistics, dict[str, jax.Array]]]:
    """Builds ``Recommender.init``."""

    def init(key: jax.Array) -> tuple[Params, Statistics, dict[str, jax.Array]]:
        dense_key, *keys = jax.random.split(key, 1 + len(tables))
        vectors = {
            field: init_scale * jax.random.normal(k, table)
            for k, (field, table) in zip(keys, tables.items(), strict=True)
        }
        example = {field: rows[:1] for field, rows in vectors.items()}
        features = {field: jnp.zeros(1) for field in numbers}
        variables = dict(module.init(dense_key, example, features, train=False))
        dense, statistics = (variables.pop(kind, {}) for kind in ("params", "batch_stats"))
        if variables:
            raise ValueError(f"state is kept in {', '.join(variables)}; it can be in batch_stats")
        return dense, statistics, vectors

    return init


def _make_apply(module: nn.Module) -> Callable[..., tuple[jax.Array, Statistics]]:
    """Builds ``Recommender.apply``."""
    takes_mask = "mask" in inspect.signature(type(module).__call__).parameters

    def apply(dense, statistics, rows, features, *, train, weight=None, key=None):
        variables = {"params": dense, "batch_stats": statistics}
        if not train:
            return module.apply(variables, rows, features, train=False), statistics
        mask = {"mask": weight > 0} if takes_mask and weight is not None else {}
        rngs = {} if key is None else {"dropout": key}
        logits, changed = module.apply(
            variables, rows, features, train=True, mutable=["batch_stats"], rngs=rngs, **mask
        )
        return logits, changed.get("batch_stats", {})

    return apply
