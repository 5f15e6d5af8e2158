"""Programs written as infix formulas, which ``parse`` reads back, and their complexity."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from .families import Family, get_load
from .inputs import LossFn, LossLike, read_loss
from .operators import NUMBER_OF, Op
from .parser import MAX_CHARACTERS, MAX_DEPTH, Slot
from .programs import REGISTERS, Program

MAX_COMPLEXITY = 10_000


def _strip_copies(program: Program) -> Program:
    """Drops the copies of the result that fill up a short program."""
    last = len(program.op) - 1
    while program.op[last] == NUMBER_OF["id"] and program.lhs[last] >= len(REGISTERS):
        last = int(program.lhs[last]) - len(REGISTERS)
    return Program(
        op=program.op[: last + 1],
        lhs=program.lhs[: last + 1],
        rhs=program.rhs[: last + 1],
        constant=np.asarray(program.constant)[: last + 1],
    )


def find_live_registers(rows: Sequence[tuple], result: int, family: Family) -> set[int]:
    """Returns the registers that a result depends on, its own included.

    Args:
      rows: instructions (op, lhs, rhs, constant).
      result: register of the result.
      family: language of the instructions.
    """
    base = len(family.registers)
    live = {result}
    for i in range(len(rows) - 1, -1, -1):
        if base + i in live:
            number, *arguments, _ = rows[i]
            live.update(arguments[: family.table[number].arity])
    return live


def is_copy(program: Program, i: int) -> bool:
    """Whether instruction ``i`` only repeats a register.

    ``id`` of an operand is more than a copy, as it clips it, unless the operand is the whole loss.
    """
    if program.op[i] != NUMBER_OF["id"]:
        return False
    return bool(program.lhs[i] >= len(REGISTERS)) or i == len(program.op) - 1


def complexity(source: LossLike | LossFn, /, *, family: str | Family | None = None) -> int:
    """Returns the length of a loss in postfix tokens, without copies.

    Args:
      source: a formula, tokens, a program or a ``LossFn``.
      family: language of the source; pointwise if left out. A ``LossFn`` brings its own.

    Raises:
      ValueError: if the source is not a loss of the family.

    Example:
      >>> complexity("max(label * reciprocal(pred), pred * reciprocal(label))")
      9
    """
    program, family, _ = read_loss(source, family=family)
    program = _strip_copies(program)
    loads = {get_load(family, load.name) for load in family.loads}
    counts = [1] * len(family.registers)
    for i, (number, lhs, rhs, _) in enumerate(zip(*program, strict=True)):
        arguments = (lhs, rhs)[: family.table[number].arity]
        arguments = () if (number, lhs, rhs) in loads else arguments
        counts.append((not is_copy(program, i)) + sum(counts[r] for r in arguments))
    return counts[-1]


def check_size(program: Program, family: Family) -> None:
    """Refuses a program whose formula repeats shared registers too often to be written.

    Raises:
      ValueError: if it has more than ``MAX_COMPLEXITY`` tokens.
    """
    if complexity(program, family=family) > MAX_COMPLEXITY:
        raise ValueError(f"written out, the formula has more than {MAX_COMPLEXITY} tokens")


def format_number(value: float) -> str:
    """Returns the shortest text that reads back as ``value`` (as a float32, where it is one)."""
    dtype = np.float32 if float(np.float32(value)) == value else np.float64
    short = f"{value:g}"
    return short if dtype(short) == value else str(dtype(value))


def to_text(
    source: LossLike | LossFn, /, *, family: str | Family | None = None, slots: Sequence[Slot] = ()
) -> str:
    """Writes a loss as an infix formula that ``parse`` reads back.

    Args:
      source: a formula, tokens, a program or a ``LossFn``.
      family: language of the source; pointwise if left out. A program of another family needs it;
        a ``LossFn`` brings its own.
      slots: where the program holds named constants, which are written as their names.

    Raises:
      ValueError: if the source is not a loss of the family, or the formula would be longer or
        deeper than ``parse`` reads.

    Example:
      >>> from autolossgen import named_loss, parse
      >>> to_text(parse("div(label - (pred - s), square(pred))", s=0.1))
      '(label - (pred - 0.1)) / square(pred)'
      >>> to_text(named_loss("bpr"))
      'softplus(-(pos - neg))'
    """
    program, family, _ = read_loss(source, family=family)
    program = _strip_copies(program)
    check_size(program, family)
    rows = list(zip(*program, strict=True))
    base = len(family.registers)
    live = find_live_registers(rows, base + len(rows) - 1, family)
    names = {slot.instruction: f"{'-' * (slot.sign < 0)}{slot.name}" for slot in slots}
    texts = [_Text(name) for name in family.registers]
    for i, (number, lhs, rhs, constant) in enumerate(rows):
        op = family.table[number]
        if base + i not in live:
            texts.append(_Text(""))  # what it would be may be longer than memory
        elif op.name == "number":
            text = names.get(i, format_number(constant))
            texts.append(_Text(text, precedence=3 if text[0] == "-" else 4))
        elif is_copy(program, i):
            texts.append(texts[lhs])
        else:
            texts.append(_write_call(op, [texts[r] for r in (lhs, rhs)[: op.arity]]))
    result = texts[-1]
    if len(result.text) > MAX_CHARACTERS or result.depth > MAX_DEPTH:
        raise ValueError(
            f"the formula has {len(result.text)} characters and {result.depth} levels, too many"
        )
    return result.text


class _Text(NamedTuple):
    """A part of a formula."""

    text: str
    precedence: int = 4  # as ``Op.precedence``
    depth: int = 1  # levels that ``parse`` would nest


def _write_call(op: Op, arguments: Sequence[_Text]) -> _Text:
    """Writes an operator with its arguments, in brackets where they need them."""
    texts, depths = [], [1]
    for position, (text, precedence, depth) in enumerate(arguments):
        # On the right an equal precedence needs brackets: a - (b - c).
        has_brackets = op.precedence < 4 and precedence < op.precedence + position
        # A sign before a literal belongs to it: -(1) is an operation, -1 a number.
        has_brackets |= op.name == "neg" and text[0] in "0123456789"
        texts.append(f"({text})" if has_brackets else text)
        depths.append(depth + (has_brackets or op.precedence > 2))
    return _Text(op.text.format(*texts), precedence=op.precedence, depth=max(depths))


def describe_program(program: Program, family: Family, slots: Sequence[Slot] = ()) -> str:
    """Returns the formula of a static program, or its size if the formula is too long."""
    try:
        return to_text(program, family=family, slots=slots)
    except ValueError:
        return f"of {len(program.op)} instructions"
