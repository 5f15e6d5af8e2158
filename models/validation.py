"""Checks of the parts that a recommender is built from."""

import inspect
import traceback
from collections.abc import Iterable, Mapping, Set
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from autolossgen.interfaces import Recommender, Side


def check_side(name: str, side: Side, sizes: Mapping[str, int]) -> None:
    """Checks that a side has one value for every row of its field, and that categories fit.

    Raises:
      ValueError: naming the side, what was expected and what came.
    """
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


def check_fields(module: nn.Module, fields: Iterable[str]) -> None:
    """Checks that a model reads all fields of the data, and that the data have all that it reads.

    Raises:
      ValueError: naming the fields that are missing or unread.
    """
    fields = set(fields)
    reads = getattr(module, "reads", None)
    if reads is None:
        return
    expected, name = " and ".join(reads), type(module).__name__
    if missing := [field for field in reads if field not in fields]:
        raise ValueError(f"model {name} reads {expected}, the data have no {', '.join(missing)}")
    if unread := sorted(fields - set(reads)):
        raise ValueError(
            f"model {name} reads only {expected}, but the data also have {', '.join(unread)}: "
            "leave features out, or choose a model that reads them, such as deepfm"
        )


def check_module(module: nn.Module, recommender: Recommender, numbers: Set[str]) -> None:
    """Checks, without computing, that a module returns logits [B] in training and in scoring.

    Raises:
      ValueError: with what failed, and in which line of the module's file.
    """
    size = 2

    def train_and_score(key: jax.Array) -> tuple[tuple, tuple]:
        dense, statistics, _ = recommender.init(key)
        rows = {field: jnp.zeros((size, t.width)) for field, t in recommender.tables.items()}
        inputs = dense, statistics, rows, {field: jnp.zeros(size) for field in numbers}
        scored, _ = recommender.apply(*inputs, train=False)
        trained, moved = recommender.apply(*inputs, train=True, weight=jnp.ones(size), key=key)
        return (scored, trained), (statistics, moved)

    try:
        logits, statistics = jax.eval_shape(train_and_score, jax.random.key(0))
    except Exception as error:  # a module is anyone's code
        raise ValueError(_describe_failure(module, error)) from error
    expected = jax.ShapeDtypeStruct((size,), jnp.float32)
    for actual in logits:
        if actual != expected:
            raise ValueError(
                f"model {type(module).__name__}: expected logits float32[{size}] for {size} "
                f"examples, got {_describe_shapes(actual)}"
            )
    if statistics[0] != statistics[1]:
        raise ValueError(
            f"model {type(module).__name__}: training turns batch_stats "
            f"{_describe_shapes(statistics[0])} into {_describe_shapes(statistics[1])}, expected "
            "the same shapes"
        )


def _describe_shapes(tree: Any) -> str:
    """Returns the shapes in a tree of arrays as text.

    Example:
      >>> _describe_shapes({"mean": jnp.zeros((2, 3))})
      "{'mean': 'float32[2, 3]'}"
    """
    return str(jax.tree.map(lambda x: f"{x.dtype}{list(x.shape)}", tree))


def _describe_failure(module: nn.Module, error: Exception) -> str:
    """Returns what failed in a module, and on which line of its file."""
    file = inspect.getsourcefile(type(module))
    frames = traceback.extract_tb(error.__traceback__)
    lines = [frame.lineno for frame in frames if frame.filename == file]
    place = f" ({file}, line {lines[-1]})" if lines else ""
    message = str(error).splitlines()[0] if str(error) else ""
    return f"model {type(module).__name__} fails{place}: {type(error).__name__}: {message}"
