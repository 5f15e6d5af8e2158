"""The losses of many lanes as one value, and their gradients by the logits."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from ..interfaces import AnyArray, Array
from ..language.build import UNBOUNDED
from ..language.inputs import LossFn
from ..language.interpreter import (
    compute_logit_grad,
    compute_pairwise_logit_grads,
    compute_value_and_logit_grad,
    interpret,
)
from ..language.operators import NUMBER_OF, OPERATORS, Op, remove_protection
from ..language.programs import REGISTERS, Program

LogitGradFn = Callable[[Any, Array, AnyArray], Array]
"""(losses of K lanes, logits [K, B], label [B]) -> d loss / d logit [K, B].

For pairwise losses, the B examples are groups of a positive and its negatives, one after the other,
and gradients are multiplied by the size of a group: their mean over examples is then the mean over
positives.
"""

ExactLossFn = Callable[[Program, Array, AnyArray], tuple[Array, Array]]
"""(programs [K, I], logits [K, B], label [B]) -> values [K, B], d loss / d logit [K, B].

Values of pairwise losses are [K, B / G].
"""

VMAP_BELOW = 256
"""On CPU, ``vmap`` over lanes is faster below this batch size, and ``lax.map`` from there on.

Under ``vmap`` each slot of a program evaluates every operator and keeps one result. Under
``lax.map`` it evaluates its own only, which a core prefers once that outweighs the branch;
accelerators do not.
"""


class LossBatch(NamedTuple):
    """The losses of K lanes as traced data: programs, bounds and scales."""

    program: Program  # [K, I]
    low: Array  # float32 [K], bounds of intermediate results
    high: Array  # float32 [K]
    scale: Array  # float32 [K], the loss is multiplied by it


def pad_programs(program: Program, slots: int) -> Program:
    """Lengthens programs [..., I] to ``slots`` instructions by copies of their results.

    Raises:
      ValueError: for programs that are longer.
    """
    missing = slots - program.op.shape[-1]
    if missing < 0:
        raise ValueError(f"{program.op.shape[-1]} instructions do not fit into {slots}")
    result = len(REGISTERS) + program.op.shape[-1] - 1

    def lengthen(part: AnyArray | tuple[()], fill: float) -> Array:
        library: Any = jnp if isinstance(part, jax.Array) else np  # static parts compile nothing
        values = library.asarray(part)
        padding = library.full((*values.shape[:-1], missing), fill, values.dtype)
        return library.concatenate([values, padding], axis=-1)

    return Program(
        op=lengthen(program.op, NUMBER_OF["id"]),
        lhs=lengthen(program.lhs, result),
        rhs=lengthen(program.rhs, -1),
        constant=lengthen(program.constant, 0.0),
    )


def stack_losses(
    programs: Sequence[Program], bounds: Sequence[tuple[float, float]], slots: int | None = None
) -> LossBatch:
    """Stacks J static programs, each at scale 1.

    Args:
      programs: of one family.
      bounds: of each program's intermediate results, lowest and highest.
      slots: instructions of every program; as many as the longest has by default.
    """
    slots = slots or max(len(program.op) for program in programs)
    parts = [pad_programs(program, slots) for program in programs]
    stacked = jax.tree.map(lambda *columns: np.stack(columns), *parts)
    stacked = stacked._replace(constant=stacked.constant.astype(np.float32))
    low, high = np.asarray(bounds, np.float32).T
    return LossBatch(
        program=jax.tree.map(jnp.asarray, stacked),
        low=jnp.asarray(low),
        high=jnp.asarray(high),
        scale=jnp.asarray(np.ones(len(programs))),
    )


def traced_logit_grads(
    operators: Sequence[int],
    *,
    group: int = 1,
    table: Sequence[Op] = OPERATORS,
    threshold: Array | None = None,
) -> LogitGradFn:
    """Builds the gradients of losses that are traced data: a ``LossBatch`` of K programs.

    Args:
      operators: numbers of the operators that programs may use.
      group: examples of a group: 1 for pointwise losses; for pairwise ones, a positive and its
        negatives.
      table: the operators that ``operators`` number, of a family with a user's own.
      threshold: of the user of each group [B / G], where programs may load it: the gradients are
        then those of these B examples alone.
    """

    def pointwise(program: Program, bounds: tuple, logit: Array, label: AnyArray) -> Array:
        return compute_logit_grad(
            program, logit, label, bounds=bounds, operators=operators, table=table
        )

    def pairwise(program: Program, bounds: tuple, logit: Array, label: AnyArray) -> Array:
        del label
        grouped = logit.reshape(-1, group)
        pos, neg = compute_pairwise_logit_grads(
            program,
            grouped[:, 0],
            grouped[:, 1:],
            threshold=threshold,
            bounds=bounds,
            operators=operators,
            table=table,
        )
        return group * jnp.concatenate([pos[:, None], neg], axis=1).reshape(logit.shape)

    family_grads = pointwise if group == 1 else pairwise

    def logit_grads(losses: LossBatch, logits: Array, label: AnyArray) -> Array:
        def lane_grads(loss: LossBatch, logit: Array) -> Array:
            return loss.scale * family_grads(loss.program, (loss.low, loss.high), logit, label)

        if logits.shape[-1] < VMAP_BELOW:
            return jax.vmap(lane_grads)(losses, logits)
        return jax.lax.platform_dependent(
            losses, logits, cpu=_one_by_one(lane_grads), default=jax.vmap(lane_grads)
        )

    return logit_grads


def traced_exact_losses(
    operators: Sequence[int],
    *,
    group: int = 1,
    table: Sequence[Op] = OPERATORS,
    threshold: Array | None = None,
) -> ExactLossFn:
    """Builds losses as their formulas say, without bounds and without the protection of operators.

    Arguments are those of ``traced_logit_grads``.
    """
    settings: Any = {
        "bounds": UNBOUNDED,
        "operators": operators,
        "table": remove_protection(table),
    }

    def pairwise(program: Program, logit: Array, label: AnyArray) -> tuple[Array, Array]:
        del label
        pos, neg = logit.reshape(-1, group)[:, 0], logit.reshape(-1, group)[:, 1:]
        of_pos, of_neg = compute_pairwise_logit_grads(
            program, pos, neg, threshold=threshold, **settings
        )
        grads = group * jnp.concatenate([of_pos[:, None], of_neg], axis=1)
        wide_pos = jnp.broadcast_to(pos[:, None], neg.shape)
        wide = None if threshold is None else jnp.broadcast_to(threshold[:, None], neg.shape)
        values = interpret(program, wide_pos, neg, threshold=wide, **settings)
        return values.mean(-1), grads.reshape(logit.shape)

    family_loss = partial(compute_value_and_logit_grad, **settings) if group == 1 else pairwise
    return jax.vmap(family_loss, in_axes=(0, 0, None))


def _one_by_one(function: Callable[..., Array]) -> Callable[..., Array]:
    return lambda *arguments: jax.lax.map(lambda one: function(*one), arguments)


def static_logit_grads(losses: Sequence[LossFn], *, group: int = 1) -> LogitGradFn:
    """Builds the gradients of lanes that take turns at static losses: lane k has loss k modulo J.

    The function's first argument is the scale [K] of each lane's loss. K must be a multiple of J on
    every device.

    Args:
      losses: J losses.
      group: as in ``traced_logit_grads``.
    """

    def pointwise(turns: Array, label: AnyArray) -> Array:
        def value(turns: Array) -> Array:
            parts = [loss(turns[:, j], label, reduce_fn=None) for j, loss in enumerate(losses)]
            return jnp.stack(parts, axis=1)

        return jax.jvp(value, (turns,), (jnp.ones_like(turns),))[1]

    def pairwise(turns: Array, label: AnyArray) -> Array:
        del label

        def total(turns: Array) -> Array:
            grouped = turns.reshape(*turns.shape[:2], -1, group)
            pos, neg = grouped[..., 0], grouped[..., 1:]
            first, *rest = (
                loss(pos[:, j], neg[:, j], reduce_fn=jnp.sum) for j, loss in enumerate(losses)
            )
            return sum(rest, first)

        return group * jax.grad(total)(turns)

    family_grads = pointwise if group == 1 else pairwise

    def logit_grads(scale: Array, logits: Array, label: AnyArray) -> Array:
        turns = logits.reshape(-1, len(losses), logits.shape[-1])
        return scale[:, None] * family_grads(turns, label).reshape(logits.shape)

    return logit_grads


def compute_gradient_size(logit_grads: Array) -> Array:
    """Computes the root mean square [K] of gradients [K, B]; what is not finite counts as 0.

    Example:
      >>> compute_gradient_size(jnp.array([[3.0, jnp.inf], [1e30, 0.0]])).tolist()[0]
      2.1213202476501465
    """
    finite = jnp.where(jnp.isfinite(logit_grads), logit_grads, 0.0)
    # The squares of larger ones, and their sum, would leave float32.
    return jnp.sqrt(jnp.mean(jnp.clip(finite, -1e16, 1e16) ** 2, axis=-1))
