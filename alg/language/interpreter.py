"""The interpreter: it takes programs as traced data, so all candidates share one compilation."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from ..interfaces import AnyArray, Array
from .operators import (
    DEFAULT_BOUNDS,
    NUMBER_OF,
    OPERATORS,
    Op,
    clip,
    compute_logit,
)
from .programs import REGISTERS, Program

# What an instruction without arguments loads, see ``_Code``. A family has logit or threshold.
_LOADED = {"number": 1, "logit": 2, "threshold": 2}
ELEMENTWISE = tuple(
    number
    for number, op in enumerate(OPERATORS)
    if not op.aggregate and (op.arity or op.name in ("number", "logit"))
)
"""Numbers of the operators that pointwise programs may use."""


def interpret(
    program: Program,
    pred: Array,
    label: AnyArray,
    *,
    logit: Array | None = None,
    threshold: Array | None = None,
    bounds: tuple[Array | float, Array | float] = DEFAULT_BOUNDS,
    operators: Sequence[int] = ELEMENTWISE,
    table: Sequence[Op] = OPERATORS,
) -> Array:
    """Evaluates a program that is traced data.

    A pairwise program reads the logits of positives and negatives, both [..., B, num_negatives], in
    place of ``pred`` and ``label``.

    Args:
      program: instructions [I]; use ``vmap`` for several programs.
      pred: probabilities.
      label: labels, of the same shape.
      logit: logits, for programs that load them; computed from ``pred`` if left out.
      threshold: users' thresholds, for pairwise programs that load them; of the same shape.
      bounds: every result is clipped to them; may be traced.
      operators: numbers of the operators that programs may use (static), as a vocabulary has them;
        fewer are faster. A traced instruction with any other operator copies its first argument.
      table: the operators that ``operators`` number, of a family with a user's own.

    Returns:
      The loss of each entry, of the shape of ``pred``.

    Raises:
      ValueError: if a program that is not traced uses other operators, or none may load a
        threshold that is not given.

    Example:
      >>> from autolossgen import parse
      >>> program = parse("square(label - pred)")
      >>> print(interpret(program, jnp.array([0.25, 0.5]), jnp.array([0.0, 1.0])))
      [0.0625 0.25  ]
    """
    loaded = compute_logit(pred) if logit is None else logit
    code = _encode(program, bounds, operators, table, pred.dtype)
    _check_threshold(operators, table, threshold)
    return _run(code, pred, label, loaded if threshold is None else threshold)[-1]


class _Code(NamedTuple):
    """Program in the form that the loop over its instructions reads."""

    lhs: Array  # int32 [I]
    rhs: Array
    constant: Array  # float [I]
    load: Array  # int32 [I]: 0 for a result, 1 for a constant, 2 for the logit or threshold
    branch: Array  # int32 [I], index into ``functions``
    functions: tuple[Callable[[Array, Array], Array], ...]
    bounds: tuple[Array | float, Array | float]


def _encode(
    program: Program,
    bounds: tuple[Array | float, Array | float],
    operators: Sequence[int],
    table: Sequence[Op],
    dtype: jnp.dtype,
) -> _Code:
    _check_operators(program, operators, table)
    op, lhs, rhs = (jnp.asarray(part, jnp.int32) for part in program[:3])
    constant = jnp.asarray(program.constant, dtype)
    constant = constant if constant.size else jnp.zeros(op.shape, dtype)
    loads, branches = (np.zeros(len(table), np.int32) for _ in range(2))
    functions = [_copy]
    for number in operators:
        row = table[number]
        if row.arity == 0:
            loads[number] = _LOADED[row.name]
        elif row.name != "id":
            branches[number] = len(functions)
            functions.append(partial(_call, row))
    return _Code(
        lhs=lhs,
        rhs=rhs,
        constant=constant,
        load=jnp.asarray(loads)[op],
        branch=jnp.asarray(branches)[op],
        functions=tuple(functions),
        bounds=bounds,
    )


def _copy(x: Array, y: Array) -> Array:
    del y
    return x


def _call(row: Op, x: Array, y: Array) -> Array:
    return row.function(*(x, y)[: row.arity])


def _execute(code: _Code, i: Array, x: Array, y: Array, operand: Array) -> Array:
    """Returns the result of instruction ``i`` for the arguments x and y."""
    value = clip(jax.lax.switch(code.branch[i], code.functions, x, y), *code.bounds)
    loaded = jnp.where(code.load[i] == 1, code.constant[i], operand)
    return jnp.where(code.load[i] == 0, value, loaded)


def _run(code: _Code, first: Array, second: AnyArray, operand: Array) -> Array:
    """Returns all registers [3 + I, ...] after the last instruction."""
    second = jnp.broadcast_to(jnp.asarray(second, first.dtype), first.shape)
    slots, base = code.lhs.shape[0], len(REGISTERS)
    registers = jnp.zeros((base + slots, *first.shape), first.dtype)
    registers = registers.at[:base].set(jnp.stack([first, second, jnp.ones_like(first)]))

    def instruction(i: Array, registers: Array) -> Array:
        arguments = registers[code.lhs[i]], registers[code.rhs[i]]
        return registers.at[base + i].set(_execute(code, i, *arguments, operand))

    # The loop is also a fusion barrier: XLA's CPU backend would fuse unrolled instructions into the
    # embedding update and compute them again for every column.
    return jax.lax.fori_loop(0, slots, instruction, registers)


def _check_operators(program: Program, operators: Sequence[int], table: Sequence[Op]) -> None:
    """Refuses programs with other operators, where the program is known while tracing."""
    if not isinstance(program, Program):
        raise ValueError(f"expected a Program, as parse returns it, got {type(program).__name__}")
    if any(number >= len(table) for number in operators):
        raise ValueError(f"operators are numbers of the {len(table)} rows of the table")
    if isinstance(program.op, jax.core.Tracer):
        return
    left_out = set(np.ravel(program.op).tolist()) - {*operators, NUMBER_OF["id"]}
    if left_out:
        names = [table[n].name if 0 <= n < len(table) else n for n in sorted(left_out)]
        raise ValueError(f"the program uses {names}, which operators or table leave out")


def _check_threshold(operators: Sequence[int], table: Sequence[Op], threshold: Any) -> None:
    """Checks that thresholds are given where programs may load them."""
    if threshold is None and any(table[number].name == "threshold" for number in operators):
        raise ValueError("programs that may read the users' thresholds need threshold=, got none")


def compute_logit_grad(
    program: Program,
    logit: Array,
    label: AnyArray,
    *,
    bounds: tuple[Array | float, Array | float] = DEFAULT_BOUNDS,
    operators: Sequence[int],
    table: Sequence[Op] = OPERATORS,
) -> Array:
    """Computes d loss / d logit of a traced pointwise program, of the shape of ``logit``.

    Arguments are those of ``compute_value_and_logit_grad``.
    """
    return compute_value_and_logit_grad(
        program, logit, label, bounds=bounds, operators=operators, table=table
    )[1]


def compute_value_and_logit_grad(
    program: Program,
    logit: Array,
    label: AnyArray,
    *,
    bounds: tuple[Array | float, Array | float] = DEFAULT_BOUNDS,
    operators: Sequence[int],
    table: Sequence[Op] = OPERATORS,
) -> tuple[Array, Array]:
    """Computes loss and d loss / d logit of a traced pointwise program, each of ``logit``'s shape.

    The loss is elementwise, so this is one forward-mode derivative; nothing is differentiated
    backwards through the interpreter. Other arguments are those of ``interpret``.
    """

    def value(z: Array) -> Array:
        pred = jax.nn.sigmoid(z)
        return interpret(
            program, pred, label, logit=z, bounds=bounds, operators=operators, table=table
        )

    return jax.jvp(value, (logit,), (jnp.ones_like(logit),))


def compute_pairwise_logit_grads(
    program: Program,
    pos: Array,
    neg: Array,
    *,
    threshold: Array | None = None,
    bounds: tuple[Array | float, Array | float] = DEFAULT_BOUNDS,
    operators: Sequence[int],
    table: Sequence[Op] = OPERATORS,
) -> tuple[Array, Array]:
    """Computes d loss / d pos [B] and d loss / d neg [B, num_negatives] of a traced program.

    The loss of an example is the mean over its negatives. Aggregates couple these, so this is a
    backward pass: from the last register on, each instruction passes its adjoint to its arguments.
    JAX would save all registers before each instruction; their last state is enough.

    Args:
      program: pairwise instructions [I].
      pos: logits of positives [B].
      neg: logits of their negatives [B, num_negatives].
      threshold: users' thresholds [B], where programs may load them.
      bounds: as in ``interpret``.
      operators: as in ``interpret``.
      table: as in ``interpret``.
    """
    code = _encode(program, bounds, operators, table, neg.dtype)
    _check_threshold(operators, table, threshold)
    threshold = jnp.zeros_like(pos) if threshold is None else threshold
    wide_pos, wide_threshold = (jnp.broadcast_to(x[..., None], neg.shape) for x in (pos, threshold))
    registers = _run(code, wide_pos, neg, wide_threshold)
    slots, base = code.lhs.shape[0], len(REGISTERS)
    adjoints = jnp.zeros_like(registers).at[-1].set(1 / neg.shape[-1])

    def instruction(j: Array, adjoints: Array) -> Array:
        i = slots - 1 - j
        lhs, rhs = code.lhs[i], code.rhs[i]
        result = partial(_execute, code, i, operand=wide_threshold)
        _, pullback = jax.vjp(result, registers[lhs], registers[rhs])
        lhs_adjoint, rhs_adjoint = pullback(adjoints[base + i])
        return adjoints.at[lhs].add(lhs_adjoint).at[rhs].add(rhs_adjoint)

    adjoints = jax.lax.fori_loop(0, slots, instruction, adjoints)
    return jnp.sum(adjoints[0], -1), adjoints[1]
