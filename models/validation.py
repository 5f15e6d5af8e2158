"""Checks of what a recommender is built from."""

import inspect
import traceback
from collections.abc import Mapping
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from .types import Recommender, Side


def check_side(name: str, side: Side, sizes: Mapping[str, int]) -> None:
    """See that a side has a value for every row of its field, and a table for every category."""
    values = np.asarray(side.values)
    if side.field not in sizes:
        raise ValueError(f"side {name!r} is of {side.field!r}, expected one of {', '.join(sizes)}")
    kind, dimensions = (np.integer, 2) if name in sizes else (np.floating, 1)
    if values.ndim != dimensions or not np.issubdtype(values.dtype, kind):
        expected = "integers [rows, m]" if name in sizes else "numbers [rows], as it has no size"
        raise ValueError(f"side {name!r}: expected {expected}, got {values.dtype}{values.shape}")
    if len(values) != sizes[side.field]:
        raise ValueError(
            f"side {name!r}: expected a value for each of {sizes[side.field]} rows of "
            f"{side.field!r}, got {len(values)}"
        )
    if name in sizes and not (-1 <= values.min(initial=0) and values.max(initial=-1) < sizes[name]):
        raise ValueError(
            f"side {name!r}: expected categories below {sizes[name]}, or -1 for none, got "
            f"{values.min()} to {values.max()}"
        )
    if name not in sizes and not np.isfinite(values).all():
        row = int(np.flatnonzero(~np.isfinite(values))[0])
        raise ValueError(f"side {name!r}: expected finite numbers, got {values[row]} in row {row}")


def check_fields(module: nn.Module, given: Mapping[str, Any]) -> None:
    """See that a model reads what it is given, and is given what it reads."""
    reads = getattr(module, "reads", None)
    if reads is None:
        return
    what, name = " and ".join(reads), type(module).__name__
    if missing := [field for field in reads if field not in given]:
        raise ValueError(f"model {name} reads {what}, the data have no {', '.join(missing)}")
    if unread := sorted(given.keys() - set(reads)):
        raise ValueError(
            f"model {name} reads {what} alone, the data have {', '.join(unread)}, too: leave "
            "features out, or choose a model that reads them, such as deepfm"
        )


def check_module(module: nn.Module, made: Recommender, numbers: set) -> None:
    """See, without computing, that a module gives logits [B] in training and in scoring."""
    size = 2

    def both(key: jax.Array) -> tuple:
        dense, statistics, _ = made.init(key)
        rows = {field: jnp.zeros((size, table.width)) for field, table in made.tables.items()}
        given = dense, statistics, rows, {field: jnp.zeros(size) for field in numbers}
        scored, _ = made.apply(*given, train=False)
        trained, moved = made.apply(*given, train=True, weight=jnp.ones(size), key=key)
        return (scored, trained), (statistics, moved)

    try:
        logits, statistics = jax.eval_shape(both, jax.random.key(0))
    except Exception as error:  # a module is anyone's code
        raise ValueError(_failure(module, error)) from error
    expected = jax.ShapeDtypeStruct((size,), jnp.float32)
    for came in logits:
        if came != expected:
            raise ValueError(
                f"model {type(module).__name__}: expected logits float32[{size}] for {size} "
                f"examples, got {_shapes(came)}"
            )
    if statistics[0] != statistics[1]:
        raise ValueError(
            f"model {type(module).__name__}: training turns batch_stats {_shapes(statistics[0])} "
            f"into {_shapes(statistics[1])}, expected the same shapes"
        )


def _shapes(tree: Any) -> str:
    """Give the shapes in a tree of arrays, to be read.

    >>> _shapes({"mean": jnp.zeros((2, 3))})
    "{'mean': 'float32[2, 3]'}"
    """
    return str(jax.tree.map(lambda x: f"{x.dtype}{list(x.shape)}", tree))


def _failure(module: nn.Module, error: Exception) -> str:
    """Give what failed in a module, and on which line of its file."""
    file = inspect.getsourcefile(type(module))
    lines = [at.lineno for at in traceback.extract_tb(error.__traceback__) if at.filename == file]
    where = f" ({file}, line {lines[-1]})" if lines else ""
    what = str(error).splitlines()[0] if str(error) else ""
    return f"model {type(module).__name__} fails{where}: {type(error).__name__}: {what}"
