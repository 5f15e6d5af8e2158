"""Objectives: the losses of many lanes as one value, and their gradients."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from .interpreter import slope
from .losses import LossFn
from .operators import NUMBER_OF
from .programs import REGISTERS, Program
from .types import Array

Slopes = Callable[[Any, Array, Array], Array]
"""(objective of K lanes, logits [K, B], label [B]) -> d loss / d logit [K, B]."""


class Objective(NamedTuple):
    """The losses of K lanes, as traced data."""

    program: Program  # [K, I]
    low: Array  # float32 [K], bounds of intermediate results
    high: Array  # float32 [K]
    scale: Array  # float32 [K], the loss is multiplied by it


def extend(program: Program, slots: int) -> Program:
    """Lengthen a program [..., I] to ``slots`` instructions by copies of its result."""
    missing = slots - program.op.shape[-1]
    if missing < 0:
        raise ValueError(f"{program.op.shape[-1]} instructions do not fit into {slots}")
    result = len(REGISTERS) + program.op.shape[-1] - 1
    fills = Program(NUMBER_OF["id"], result, -1, 0.0)

    def lengthen(part: Array, fill: float) -> Array:
        padding = jnp.full((*part.shape[:-1], missing), fill, part.dtype)
        return jnp.concatenate([part, padding], axis=-1)

    return Program(*map(lengthen, map(jnp.asarray, program), fills))


def objective(
    programs: Sequence[Program], bounds: Sequence[tuple[float, float]], slots: int | None = None
) -> Objective:
    """Stack static programs into the objective of as many lanes, each at scale 1."""
    slots = slots or max(len(program.op) for program in programs)
    parts = [extend(program, slots) for program in programs]
    stacked = jax.tree.map(lambda *columns: jnp.stack(columns), *parts)
    stacked = stacked._replace(constant=stacked.constant.astype(jnp.float32))
    low, high = np.asarray(bounds, np.float32).T
    return Objective(stacked, jnp.asarray(low), jnp.asarray(high), jnp.ones(len(programs)))


def traced_slopes(operators: Sequence[int]) -> Slopes:
    """Make the slopes of lanes whose losses are traced data: an ``Objective`` of K programs."""

    def slopes(objective: Objective, logits: Array, label: Array) -> Array:
        def one(program: Program, low: Array, high: Array, scale: Array, logit: Array) -> Array:
            bounds = (low, high)
            return scale * slope(program, logit, label, bounds=bounds, operators=operators)

        return jax.vmap(one)(*objective, logits)

    return slopes


def static_slopes(losses: Sequence[LossFn]) -> Slopes:
    """Make the slopes of lanes that take turns at static losses: lane k has loss k modulo J.

    The objective is the scale [K] of each lane's loss. K must be a multiple of J on every device.
    """

    def slopes(scale: Array, logits: Array, label: Array) -> Array:
        turns = logits.reshape(-1, len(losses), logits.shape[-1])

        def value(turns: Array) -> Array:
            parts = [loss(turns[:, j], label, reduce_fn=None) for j, loss in enumerate(losses)]
            return jnp.stack(parts, axis=1)

        found = jax.jvp(value, (turns,), (jnp.ones_like(turns),))[1]
        return scale[:, None] * found.reshape(logits.shape)

    return slopes


def gradient_size(slopes: Array) -> Array:
    """Give the root mean square [K] of slopes [K, B]; what is not finite counts as 0."""
    return jnp.sqrt(jnp.mean(jnp.nan_to_num(slopes) ** 2, axis=-1))
