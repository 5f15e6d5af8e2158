"""A module, with the tables and features it reads, as pure functions over looked-up rows."""

import inspect
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from .modules import make_module
from .types import Recommender, Side, Table
from .validation import check_fields, check_module, check_side

NOTHING: Mapping[str, Any] = MappingProxyType({})


def build(
    *,
    name: str | type[nn.Module],
    width: int,
    init_scale: float,
    sizes: Mapping[str, int],
    options: Mapping[str, Any] | None = None,
    sides: Mapping[str, Side] = NOTHING,
) -> Recommender:
    """Build a recommender.

    Args:
      name: a key of ``MODELS``, ``"package.module:Class"`` for a Flax module of one's own, or its
        class.
      width: of the embedding vectors, D.
      init_scale: standard deviation of the initial embedding rows.
      sizes: field or categorical side -> number of rows of its table.
      options: fields of the module, such as hidden widths; None for its own.
      sides: features of users and items; those with a size are categorical, the others numbers.

    Raises:
      ValueError: for an unknown model or option, a width or scale that is not positive, a side
        that does not fit its field, fields that the model does not read or would miss, and a
        module that fails, gives no logits [B] or keeps a state of a kind that is not known.

    >>> import jax.numpy as jnp
    >>> model = build(name="biased_mf", width=4, init_scale=0.1, sizes={"user": 3, "item": 5})
    >>> dense, statistics, tables = model.init(jax.random.key(0))
    >>> rows = {field: table[jnp.array([0, 2])] for field, table in tables.items()}
    >>> logits, statistics = model.apply(dense, statistics, rows, {}, train=False)
    >>> logits.shape
    (2,)
    """
    if width < 1 or not init_scale > 0:
        raise ValueError(f"width and init_scale are positive, got {width} and {init_scale}")
    for side in sides:
        check_side(side, sides[side], sizes)
    owners = {
        field: sides[field].field if field in sides else field for field in {**sizes, **sides}
    }
    of_item = tuple(sorted(field for field, owner in owners.items() if owner == "item"))
    module = make_module(name, options or {}, of_item)
    check_fields(module, owners)
    row_width = getattr(module, "row_width", lambda width: width)(width)
    tables = {field: Table(rows, row_width) for field, rows in sizes.items()}
    numbers = sides.keys() - tables.keys()
    made = Recommender(tables, sides, *_functions(module, tables, numbers, init_scale))
    check_module(module, made, numbers)
    return made


def _functions(module: nn.Module, tables: Mapping[str, Table], numbers: set, init_scale: float):
    """Give ``init`` and ``apply`` of a module."""
    takes_mask = "mask" in inspect.signature(type(module).__call__).parameters

    def init(key: jax.Array) -> tuple[Any, Any, dict[str, jax.Array]]:
        dense_key, *keys = jax.random.split(key, 1 + len(tables))
        drawn = {
            field: init_scale * jax.random.normal(k, table)
            for k, (field, table) in zip(keys, tables.items(), strict=True)
        }
        example = {field: rows[:1] for field, rows in drawn.items()}
        features = {field: jnp.zeros(1) for field in numbers}
        variables = dict(module.init(dense_key, example, features, train=False))
        dense, statistics = (variables.pop(kind, {}) for kind in ("params", "batch_stats"))
        if variables:
            raise ValueError(f"state is kept in {', '.join(variables)}; it can be in batch_stats")
        return dense, statistics, drawn

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

    return init, apply
