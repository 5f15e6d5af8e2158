"""Formulas: programs checked, measured and written as infix text, which ``parse`` reads back."""

from collections.abc import Sequence

import numpy as np

from .families import POINTWISE, Family, as_family, belongs, load_of
from .operators import NUMBER_OF
from .parser import MAX_CHARACTERS, MAX_DEPTH, MAX_NUMBER
from .programs import Program

MAX_COMPLEXITY = 10_000


def as_static(program: Program, family: str | Family = POINTWISE) -> Program:
    """Give a program of NumPy arrays, checked: every register read is written before.

    Raises:
      ValueError: if it is no program; with the instruction, if one reads what is not there or
        names no operator.
    """
    if not isinstance(program, Program):
        raise ValueError(f"expected a Program, as parse gives, got {type(program).__name__}")
    family = as_family(family)
    base = len(family.registers)
    op, lhs, rhs = (np.atleast_1d(np.asarray(part)).astype(np.int32) for part in program[:3])
    constant = np.asarray(program.constant, np.float64)
    constant = constant if constant.size else np.zeros(op.shape)
    if op.ndim != 1 or not op.shape == lhs.shape == rhs.shape == constant.shape or not op.size:
        shapes = ", ".join(str(part.shape) for part in (op, lhs, rhs, constant))
        raise ValueError(f"a program has op, lhs, rhs and constant of one length, got {shapes}")
    allowed = {number for number, op in enumerate(family.table) if belongs(family, op)}
    allowed |= {NUMBER_OF["number"], *(load_of(family, load.name)[0] for load in family.loads)}
    for i, (number, *registers, value) in enumerate(zip(op, lhs, rhs, constant, strict=True)):
        if number not in allowed:
            raise ValueError(
                f"instruction {i}: {number} is no operator of the {family.name} family"
            )
        row = family.table[number]
        read = [int(register) for register in registers[: row.arity]]
        if any(not 0 <= register < base + i for register in read):
            raise ValueError(
                f"instruction {i}: {row.name} reads registers {read}, "
                f"only 0 to {base + i - 1} exist"
            )
        if not abs(value) <= MAX_NUMBER:
            raise ValueError(f"instruction {i}: float32 does not hold the constant {value}")
    return Program(op, lhs, rhs, constant)


def _without_copies_at_the_end(program: Program) -> Program:
    """Drop the copies of the result that fill up a short program."""
    last = len(program.op) - 1
    while program.op[last] == NUMBER_OF["id"] and program.lhs[last] >= len(POINTWISE.registers):
        last = program.lhs[last] - len(POINTWISE.registers)
    return Program(*(part[: last + 1] for part in program))


def needed(rows: Sequence[tuple], result: int, family: Family) -> set[int]:
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


def complexity(program: Program, *, family: str | Family = POINTWISE) -> int:
    """Give the length of a program as postfix tokens, copies left out.

    >>> from .parser import parse
    >>> complexity(parse("max(label * reciprocal(pred), pred * reciprocal(label))"))
    9
    """
    family = as_family(family)
    program = _without_copies_at_the_end(as_static(program, family))
    loads = {load_of(family, load.name) for load in family.loads}
    counts = [1] * len(family.registers)
    for i, (number, lhs, rhs, _) in enumerate(zip(*program, strict=True)):
        arguments = (lhs, rhs)[: family.table[number].arity]
        arguments = () if (number, lhs, rhs) in loads else arguments
        counts.append((not is_copy(program, i)) + sum(counts[r] for r in arguments))
    return counts[-1]


def number_text(value: float) -> str:
    """Give the shortest text that reads back as ``value`` (as a float32, where it is one)."""
    dtype = np.float32 if float(np.float32(value)) == value else np.float64
    short = f"{value:g}"
    return short if dtype(short) == value else str(dtype(value))


def to_text(program: Program, *, family: str | Family = POINTWISE) -> str:
    """Write a program as an infix formula that ``parse`` reads back.

    Raises:
      ValueError: if the formula would be longer or deeper than ``parse`` reads.

    >>> from .parser import parse
    >>> to_text(parse("div(label - (pred - s), square(pred))", s=0.1))
    '(label - (pred - 0.1)) / square(pred)'
    """
    family = as_family(family)
    program = _without_copies_at_the_end(as_static(program, family))
    if complexity(program, family=family) > MAX_COMPLEXITY:
        raise ValueError(f"written out, the formula has more than {MAX_COMPLEXITY} tokens")
    written = [(name, 4, 1) for name in family.registers]  # text, precedence, depth
    rows = list(zip(*program, strict=True))
    base = len(family.registers)
    alive = needed(rows, base + len(rows) - 1, family)
    for i, (number, lhs, rhs, constant) in enumerate(rows):
        op = family.table[number]
        if base + i not in alive:
            written.append(("", 4, 1))  # its text may be longer than memory
        elif op.name == "number":
            written.append((number_text(constant), 4 if constant >= 0 else 3, 1))
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


def described(program: Program, family: Family) -> str:
    """Give the formula of a static program, or its size where the formula is too long to write."""
    try:
        return to_text(program, family=family)
    except ValueError:
        return f"of {len(program.op)} instructions"
