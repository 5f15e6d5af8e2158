"""The interpreter: programs as traced data, so that all candidates share one compilation."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np

from .operators import NUMBER_OF, OPERATORS, SIGNED, Op, clip, logit_of
from .programs import REGISTERS, Program
from .types import Array

ELEMENTWISE = tuple(number for number, op in enumerate(OPERATORS) if not op.aggregate)
"""Numbers of the operators that pointwise programs may use."""


def interpret(
    program: Program,
    pred: Array,
    label: Array,
    *,
    logit: Array | None = None,
    bounds: tuple[Array | float, Array | float] = SIGNED,
    operators: Sequence[int] = ELEMENTWISE,
    table: Sequence[Op] = OPERATORS,
) -> Array:
    """Evaluate a program that is traced data; shapes of ``pred``, ``label`` and the result agree.

    Args:
      program: instructions, [I]; ``vmap`` over leading axes for several.
      pred: probabilities.
      label: labels.
      logit: the logits, where a program loads them; worked out from ``pred`` when left out.
      bounds: every result is clipped to them; may be traced.
      operators: numbers of the operators that programs may use (static), as a vocabulary has them;
        fewer are faster. A traced instruction with any other operator copies its first argument.
      table: the rows that ``operators`` number, where a vocabulary has a user's own.

    A pairwise program reads the logits of positives and negatives, both [..., B, S], in place of
    ``pred`` and ``label``.

    Raises:
      ValueError: if a program that is not traced uses other operators.

    >>> from .parser import parse
    >>> program = parse("square(label - pred)")
    >>> print(interpret(program, jnp.array([0.25, 0.5]), jnp.array([0.0, 1.0])))
    [0.0625 0.25  ]
    """
    _check_operators(program, operators, table)
    low, high = bounds
    label = jnp.broadcast_to(jnp.asarray(label, pred.dtype), pred.shape)
    logit = logit_of(pred) if logit is None else logit
    op, lhs, rhs = (jnp.asarray(part, jnp.int32) for part in program[:3])
    slots, base = op.shape[0], len(REGISTERS)
    constant = jnp.asarray(program.constant, pred.dtype)
    constant = constant if constant.size else jnp.zeros(slots, pred.dtype)
    registers = jnp.zeros((base + slots, *pred.shape), pred.dtype)
    registers = registers.at[:base].set(jnp.stack([pred, label, jnp.ones_like(pred)]))

    def instruction(i: Array, registers: Array) -> Array:
        x, y = registers[lhs[i]], registers[rhs[i]]
        value = x
        for number in operators:
            row = table[number]
            if row.arity > 0 and row.name != "id":
                value = jnp.where(op[i] == number, row.function(*(x, y)[: row.arity]), value)
        value = clip(value, low, high)
        for number in operators:
            if table[number].arity == 0:
                loaded = logit if table[number].name == "logit" else constant[i]
                value = jnp.where(op[i] == number, loaded, value)
        return registers.at[base + i].set(value)

    # The loop is also a wall: XLA's CPU backend would fuse unrolled instructions into the
    # embedding update and compute them again for every column.
    return jax.lax.fori_loop(0, slots, instruction, registers)[-1]


def _check_operators(program: Program, operators: Sequence[int], table: Sequence[Op]) -> None:
    """Refuse operators that would be left out, where the program is known while tracing."""
    if not isinstance(program, Program):
        raise ValueError(f"expected a Program, as parse gives, got {type(program).__name__}")
    if any(number >= len(table) for number in operators):
        raise ValueError(f"operators are numbers of the {len(table)} rows of the table")
    if isinstance(program.op, jax.core.Tracer):
        return
    left_out = set(np.ravel(program.op).tolist()) - {*operators, NUMBER_OF["id"]}
    if left_out:
        names = [table[n].name if 0 <= n < len(table) else n for n in sorted(left_out)]
        raise ValueError(f"the program uses {names}, which operators or table leave out")


def slope(
    program: Program,
    logit: Array,
    label: Array,
    *,
    bounds=SIGNED,
    operators: Sequence[int],
    table: Sequence[Op] = OPERATORS,
) -> Array:
    """Give d loss / d logit of a traced program at every example, shaped like ``logit``.

    A loss is elementwise, so this is one forward-mode derivative; nothing is differentiated
    backwards through the interpreter.
    """

    def value(z: Array) -> Array:
        pred = jax.nn.sigmoid(z)
        settings = {"bounds": bounds, "operators": operators, "table": table}
        return interpret(program, pred, label, logit=z, **settings)

    return jax.jvp(value, (logit,), (jnp.ones_like(logit),))[1]


def pair_slopes(
    program: Program,
    pos: Array,
    neg: Array,
    *,
    bounds=SIGNED,
    operators: Sequence[int],
    table: Sequence[Op] = OPERATORS,
) -> tuple[Array, Array]:
    """Give d loss / d pos [B] and d loss / d neg [B, S] of a traced pairwise program.

    The loss of an example is the mean over its negatives. Aggregates couple them, so this is one
    reverse-mode derivative.
    """

    def total(pos: Array, neg: Array) -> Array:
        wide = jnp.broadcast_to(pos[..., None], neg.shape)
        settings = {"bounds": bounds, "operators": operators, "table": table}
        values = interpret(program, wide, neg, logit=wide - neg, **settings)
        return jnp.sum(jnp.mean(values, -1))

    return jax.grad(total, argnums=(0, 1))(pos, neg)
