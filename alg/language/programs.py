"""Loss programs: the grammar of token sequences, their assembly, and the program itself.

Tokens are what a policy writes: postfix, of fixed length, padded at the end. A program is what
everything else reads: instructions over registers. ``assemble`` turns the first into the second
inside ``jit``, so a new candidate never compiles.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from ..interfaces import Array
from .families import (
    POINTWISE,
)
from .grammar import DEFAULT_VOCABULARY, Vocabulary
from .operators import NUMBER_OF

REGISTERS = POINTWISE.registers
"""What registers 0, 1 and 2 hold, pointwise; instruction ``i`` writes register ``3 + i``."""


class Program(NamedTuple):
    """A loss as instructions; the last one is the loss.

    ``op`` numbers a row of the family's table; ``lhs`` and ``rhs`` are registers, ``rhs`` is -1 for
    unary operators and both are -1 for ``logit`` and ``number``; ``constant`` is what a ``number``
    loads, and may be left out where there is none. Leading axes stand for several programs.
    """

    op: Array  # int [I]
    lhs: Array  # int [I]
    rhs: Array  # int [I]
    constant: Array | tuple[()] = ()  # float [I]


def assemble(tokens: Array, vocab: Vocabulary = DEFAULT_VOCABULARY) -> Program:
    """Assemble a token sequence [L] into a program of ``I`` instructions; runs inside ``jit``.

    ``I`` is L, or L - 1 where no operand needs a load. Slots that a short sequence leaves over copy
    the result. The sequence must follow ``make_grammar``; ``encode_tokens`` checks one from outside.

    >>> vocab = make_vocabulary(("sub", "square"), ("pred", "label"))
    >>> tokens = jnp.array([2, 1, 3, 4])  # label pred sub square
    >>> program = jax.jit(lambda tokens: assemble(tokens, vocab))(tokens)
    >>> program.lhs.tolist(), program.rhs.tolist()
    ([1, 3, 4], [0, -1, -1])
    """
    length = tokens.shape[-1]
    loads = bool(np.any((vocab.op >= 0) & (vocab.arity == 0)))
    slots = length if loads else max(length - 1, 1)
    arity, op = jnp.asarray(vocab.arity), jnp.asarray(vocab.op)
    register, constant = jnp.asarray(vocab.register), jnp.asarray(vocab.constant)
    reads = jnp.asarray(vocab.reads)
    base = len(REGISTERS)

    def step(carry, token):
        stack, depth, count = carry
        a, is_instruction = arity[token], op[token] >= 0
        top, below = stack[depth - 1], stack[depth - 2]
        lhs = jnp.where(a == 2, below, jnp.where(a == 1, top, reads[token, 0]))
        rhs = jnp.where(a == 2, top, reads[token, 1])
        emitted = (op[token], lhs, rhs, constant[token], is_instruction)
        result = jnp.where(is_instruction, base + count, register[token])
        is_pad = a < 0
        new_depth = jnp.where(is_pad, depth, depth - a + 1)
        pushed = stack.at[new_depth - 1].set(result)
        stack = jnp.where(is_pad, stack, pushed)
        return (stack, new_depth, count + is_instruction), (emitted, count)

    start = (jnp.zeros(length + 1, jnp.int32), jnp.int32(0), jnp.int32(0))
    (stack, _, _), (emitted, position) = jax.lax.scan(step, start, tokens)
    ops, lhs, rhs, constants, is_instruction = emitted
    target = jnp.where(is_instruction, position, slots)  # out of range is dropped

    def place(values: Array, empty: Array) -> Array:
        return jnp.full(slots, empty, values.dtype).at[target].set(values, mode="drop")

    return Program(
        place(ops, jnp.int32(NUMBER_OF["id"])),
        place(lhs, stack[0]),
        place(rhs, jnp.int32(-1)),
        place(constants, jnp.float32(0.0)),
    )
