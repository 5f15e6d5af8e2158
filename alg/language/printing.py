"""Formulas: programs checked, measured and written as infix text, which ``parse`` reads back."""

from collections.abc import Sequence

import numpy as np

from .families import POINTWISE, Family, get_load
from .inputs import LossFn, LossLike, read_loss
from .operators import NUMBER_OF
from .parser import MAX_CHARACTERS, MAX_DEPTH
from .programs import Program

MAX_COMPLEXITY = 10_000


def _without_copies_at_the_end(program: Program) -> Program:
    """Drop the copies of the result that fill up a short program."""
    last = len(program.op) - 1
    while program.op[last] == NUMBER_OF["id"] and program.lhs[last] >= len(POINTWISE.registers):
        last = program.lhs[last] - len(POINTWISE.registers)
    return Program(*(part[: last + 1] for part in program))


def find_live_registers(rows: Sequence[tuple], result: int, family: Family) -> set[int]:
    """Give the registers that a result needs, its own among them.

    Args:
      rows: instructions (op, lhs, rhs, constant).
      result: a register.
      family: the language of the instructions.
    """
    base = len(family.registers)
    found = {result}
    for i in range(len(rows) - 1, -1, -1):
        if base + i in found:
            number, *read, _ = rows[i]
            found.update(read[: family.table[number].arity])
    return found


def is_copy(program: Program, i: int) -> bool:
    """Say if instruction ``i`` only repeats a register.

    ``id`` of an operand clips it to the bounds and so is more than a copy, but for a bare operand.
    """
    if program.op[i] != NUMBER_OF["id"]:
        return False
    return bool(program.lhs[i] >= len(POINTWISE.registers)) or i == len(program.op) - 1


def complexity(source: LossLike | LossFn, /, *, family: str | Family | None = None) -> int:
    """Give the length of a loss as postfix tokens, copies left out.

    Args:
      source: a formula, tokens, a program or a ``LossFn``.
      family: the language of the source; pointwise if left out. A ``LossFn`` brings its own.

    Raises:
      ValueError: if the source is not a loss of the family.

    >>> complexity("max(label * reciprocal(pred), pred * reciprocal(label))")
    9
    """
    program, family, _ = read_loss(source, family=family)
    program = _without_copies_at_the_end(program)
    loads = {get_load(family, load.name) for load in family.loads}
    counts = [1] * len(family.registers)
    for i, (number, lhs, rhs, _) in enumerate(zip(*program, strict=True)):
        arguments = (lhs, rhs)[: family.table[number].arity]
        arguments = () if (number, lhs, rhs) in loads else arguments
        counts.append((not is_copy(program, i)) + sum(counts[r] for r in arguments))
    return counts[-1]


def check_size(program: Program, family: Family) -> None:
    """Refuse a program whose formula repeats shared registers too often to be written.

    Raises:
      ValueError: if it has more than ``MAX_COMPLEXITY`` tokens.
    """
    if complexity(program, family=family) > MAX_COMPLEXITY:
        raise ValueError(f"written out, the formula has more than {MAX_COMPLEXITY} tokens")


def format_number(value: float) -> str:
    """Give the shortest text that reads back as ``value`` (as a float32, where it is one)."""
    dtype = np.float32 if float(np.float32(value)) == value else np.float64
    short = f"{value:g}"
    return short if dtype(short) == value else str(dtype(value))


def to_text(source: LossLike | LossFn, /, *, family: str | Family | None = None) -> str:
    """Write a loss as an infix formula that ``parse`` reads back.

    Args:
      source: a formula, tokens, a program or a ``LossFn``.
      family: the language of the source; pointwise if left out, so that a program of another
        family has to come with it. A ``LossFn`` brings its own.

    Raises:
      ValueError: if the source is not a loss of the family, or the formula would be longer or
        deeper than ``parse`` reads.

    >>> from autolossgen import parse
    >>> to_text(parse("div(label - (pred - s), square(pred))", s=0.1))
    '(label - (pred - 0.1)) / square(pred)'
    >>> from autolossgen import named_loss
    >>> to_text(named_loss("bpr"))
    'softplus(-(pos - neg))'
    """
    program, family, _ = read_loss(source, family=family)
    program = _without_copies_at_the_end(program)
    check_size(program, family)
    written = [(name, 4, 1) for name in family.registers]  # text, precedence, depth
    rows = list(zip(*program, strict=True))
    base = len(family.registers)
    alive = find_live_registers(rows, base + len(rows) - 1, family)
    for i, (number, lhs, rhs, constant) in enumerate(rows):
        op = family.table[number]
        if base + i not in alive:
            written.append(("", 4, 1))  # its text may be longer than memory
        elif op.name == "number":
            written.append((format_number(constant), 4 if constant >= 0 else 3, 1))
        elif is_copy(program, i):
            written.append(written[lhs])
        else:
            arguments, depths = [], [1]
            for position, register in enumerate((lhs, rhs)[: op.arity]):
                text, precedence, depth = written[register]
                # On the right an equal precedence needs brackets: a - (b - c).
                loose = op.precedence < 4 and precedence < op.precedence + position
                # A sign before a literal belongs to it: -(1) is an operation, -1 a number.
                loose |= op.name == "neg" and text[0] in "0123456789"
                arguments.append(f"({text})" if loose else text)
                depths.append(depth + (loose or op.precedence > 2))
            written.append((op.text.format(*arguments), op.precedence, max(depths)))
    text, _, depth = written[-1]
    if len(text) > MAX_CHARACTERS or depth > MAX_DEPTH:
        raise ValueError(f"the formula has {len(text)} characters and {depth} levels, too many")
    return text


def describe_program(program: Program, family: Family) -> str:
    """Give the formula of a static program, or its size where the formula is too long to write."""
    try:
        return to_text(program, family=family)
    except ValueError:
        return f"of {len(program.op)} instructions"
