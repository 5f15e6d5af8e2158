"""Loss programs, and their assembly from tokens.

Tokens are what a policy writes: postfix, of fixed length, padded at the end. A program is what
everything else reads: instructions over registers. ``assemble`` turns the first into the second
inside ``jit``, so a new candidate never compiles.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from ..interfaces import AnyArray, Array
from .families import POINTWISE
from .grammar import DEFAULT_VOCABULARY, FREE, FREE_RATIO, Vocabulary
from .operators import NUMBER_OF

REGISTERS = POINTWISE.registers
"""Contents of registers 0, 1 and 2 (of pointwise losses); instruction ``i`` writes register
``3 + i``."""


class Program(NamedTuple):
    """A loss as instructions; the last one is the loss.

    Leading axes, before [I], hold several programs.
    """

    op: AnyArray  # int [I], rows of the family's table
    lhs: AnyArray  # int [I], registers; -1 for ``logit`` and ``number``
    rhs: AnyArray  # int [I], registers; -1 also for unary operators
    constant: AnyArray | tuple[()] = ()  # float [I], what ``number`` loads; () where none does


def assemble(tokens: Array, vocab: Vocabulary = DEFAULT_VOCABULARY) -> Program:
    """Assembles a token sequence [L] into a program of I instructions; runs inside ``jit``.

    I is L, or L - 1 where no operand needs a load. Slots that a short sequence leaves over copy the
    result. The sequence must follow ``make_grammar``; ``encode_tokens`` checks one.

    A stack of registers is kept, as on a pocket calculator. An operand pushes its register; an
    operator pops its arguments, emits an instruction and pushes the register that this writes.
    For ``label pred sub square``, where pred is register 0 and label is register 1::

      token    stack   instruction
      label    1
      pred     1 0
      sub      3       r3 = r1 - r0
      square   4       r4 = square(r3)

    Example:
      >>> from autolossgen import make_vocabulary
      >>> vocab = make_vocabulary(("sub", "square"), ("pred", "label"))
      >>> tokens = jnp.array([2, 1, 3, 4])  # label pred sub square
      >>> program = jax.jit(lambda tokens: assemble(tokens, vocab))(tokens)
      >>> program.lhs.tolist(), program.rhs.tolist()
      ([1, 3, 4], [0, -1, -1])
    """
    length = tokens.shape[-1]
    has_loads = bool(np.any((vocab.op >= 0) & (vocab.arity == 0)))
    slots = length if has_loads else max(length - 1, 1)
    stack, instructions, position, is_instruction = _run_stack(tokens, vocab)
    op, lhs, rhs, constant = instructions
    target = jnp.where(is_instruction, position, slots)  # out of range is dropped

    def place(values: Array, empty: Array) -> Array:
        return jnp.full(slots, empty, values.dtype).at[target].set(values, mode="drop")

    return Program(
        op=place(op, jnp.int32(NUMBER_OF["id"])),
        lhs=place(lhs, stack[0]),
        rhs=place(rhs, jnp.int32(-1)),
        constant=place(constant, jnp.float32(0.0)),
    )


def _run_stack(
    tokens: Array, vocab: Vocabulary
) -> tuple[Array, tuple[Array, Array, Array, Array], Array, Array]:
    """Returns the final stack and, per token, its instruction, position, and whether it has one.

    An instruction is op, lhs, rhs and constant.
    """
    arity, op = jnp.asarray(vocab.arity), jnp.asarray(vocab.op)
    register, constant = jnp.asarray(vocab.register), jnp.asarray(vocab.constant)
    reads = jnp.asarray(vocab.reads)
    is_free = jnp.asarray([name == FREE for name in vocab.names])
    num_free = jnp.cumsum(is_free[tokens]) - is_free[tokens]  # before each token
    values = constant[tokens] * jnp.where(is_free[tokens], FREE_RATIO**num_free, 1)

    def step(carry, inputs):
        stack, depth, count = carry
        token, value = inputs
        num_arguments, is_instruction = arity[token], op[token] >= 0
        top, below = stack[depth - 1], stack[depth - 2]
        lhs = jnp.where(
            num_arguments == 2, below, jnp.where(num_arguments == 1, top, reads[token, 0])
        )
        rhs = jnp.where(num_arguments == 2, top, reads[token, 1])
        instruction = (op[token], lhs, rhs, value)
        result = jnp.where(is_instruction, len(REGISTERS) + count, register[token])
        is_pad = num_arguments < 0
        new_depth = jnp.where(is_pad, depth, depth - num_arguments + 1)
        stack = jnp.where(is_pad, stack, stack.at[new_depth - 1].set(result))
        return (stack, new_depth, count + is_instruction), (instruction, count, is_instruction)

    start = (jnp.zeros(tokens.shape[-1] + 1, jnp.int32), jnp.int32(0), jnp.int32(0))
    (stack, _, _), (instructions, position, is_instruction) = jax.lax.scan(
        step, start, (tokens, values)
    )
    return stack, instructions, position, is_instruction
