"""Formulas: programs read from infix text and written back.

The text is parsed by the grammar below and never evaluated::

    sum     = product (("+" | "-") product)*
    product = sign (("*" | "/") sign)*
    sign    = ("-" | "+") sign | power
    power   = atom ["**" "2"]
    atom    = number | name | name "(" sum ("," sum)* ")" | "(" sum ")"
"""

import re
from collections.abc import Mapping
from typing import NoReturn

import numpy as np

from .operators import NUMBER_OF, OPERATORS
from .programs import REGISTERS, Program, suggestion

MAX_CHARACTERS = 10_000
MAX_DEPTH = 100
MAX_COMPLEXITY = 10_000

_TOKEN = re.compile(
    r"\s*(?:(?P<number>(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)"
    r"|(?P<name>[A-Za-z_]\w*)|(?P<symbol>\*\*|[-+*/(),])|(?P<end>$))",
    re.ASCII,
)
_SUMS = {"+": "add", "-": "sub"}
_PRODUCTS = {"*": "mul", "/": "div"}
_CALLABLE = {op.name: op for op in OPERATORS if op.arity > 0}


class _Emitter:
    """Collects instructions; an expression that comes again reuses its register."""

    def __init__(self):
        self.instructions: dict[tuple[int, int, int, float], int] = {}

    def __call__(self, name: str, lhs: int = -1, rhs: int = -1, constant: float = 0.0) -> int:
        row = (NUMBER_OF[name], lhs, rhs, constant)
        return self.instructions.setdefault(row, len(REGISTERS) + len(self.instructions))

    def program(self, result: int) -> Program:
        if result != len(REGISTERS) + len(self.instructions) - 1:
            self("id", result)
        op, lhs, rhs, constant = zip(*self.instructions, strict=True)
        return Program(*(np.asarray(c, np.int32) for c in (op, lhs, rhs)), np.asarray(constant))


class _Parser:
    """Recursive descent over one formula, with bounded depth."""

    def __init__(self, text: str, constants: Mapping[str, float]):
        self.text, self.constants = text, constants
        self.emit, self.depth, self.end = _Emitter(), 0, 0
        self.advance()

    def fail(self, expected: str) -> NoReturn:
        got = repr(self.value) if self.kind != "end" else "the end"
        raise ValueError(f"{self.where()}: expected {expected}, got {got}")

    def where(self) -> str:
        shown = self.text if len(self.text) <= 60 else self.text[:57] + "..."
        return f"column {self.start + 1} of the formula {shown!r}"

    def advance(self) -> None:
        match = _TOKEN.match(self.text, self.end)
        if match is None:
            self.start = self.end + len(self.text[self.end :]) - len(self.text[self.end :].lstrip())
            self.kind, self.value = "unknown", self.text[self.start]
            self.fail("a number, a name, an operator or a bracket")
        self.kind, self.value = match.lastgroup, match[match.lastgroup]
        self.start, self.end = match.start(match.lastgroup), match.end()

    def take(self, symbol: str) -> None:
        if self.kind != "symbol" or self.value != symbol:
            self.fail(repr(symbol))
        self.advance()

    def chain(self, symbols: Mapping[str, str], part) -> int:
        result = part()
        while self.kind == "symbol" and self.value in symbols:
            name = symbols[self.value]
            self.advance()
            result = self.emit(name, result, part())
        return result

    def sum(self) -> int:
        return self.chain(_SUMS, self.product)

    def product(self) -> int:
        return self.chain(_PRODUCTS, self.sign)

    def sign(self) -> int:
        self.depth += 1
        if self.depth > MAX_DEPTH:
            raise ValueError(f"{self.where()}: nested deeper than {MAX_DEPTH} levels")
        if self.kind == "symbol" and self.value in "+-":
            negative = self.value == "-"
            self.advance()
            operand = self.sign()
            result = self.emit("neg", operand) if negative else operand
        else:
            result = self.power()
        self.depth -= 1
        return result

    def power(self) -> int:
        base = self.atom()
        if self.kind != "symbol" or self.value != "**":
            return base
        self.advance()
        if self.kind != "number" or float(self.value) != 2:
            self.fail("2, the only power of the language")
        self.advance()
        return self.emit("square", base)

    def atom(self) -> int:
        kind, value = self.kind, self.value
        if kind == "number":
            number = float(value)
            if not np.isfinite(number):
                self.fail("a finite number")
            self.advance()
            return self.number(number)
        if kind == "name":
            if value in _CALLABLE and value not in self.constants:
                return self.call(value)
            return self.operand(value)
        if value != "(":
            self.fail("a number, a name or '('")
        self.advance()
        result = self.sum()
        self.take(")")
        return result

    def number(self, value: float) -> int:
        return REGISTERS.index("1") if value == 1 else self.emit("number", constant=value)

    def operand(self, name: str) -> int:
        if name in self.constants:
            register = self.number(float(self.constants[name]))
        elif name in REGISTERS:
            register = REGISTERS.index(name)
        elif name == "logit":
            register = self.emit("logit")
        else:
            known = [*REGISTERS[:2], "logit", *self.constants, *_CALLABLE]
            raise ValueError(f"{self.where()}: {name!r} is not known{suggestion(name, known)}")
        self.advance()
        return register

    def call(self, name: str) -> int:
        arity = _CALLABLE[name].arity
        self.advance()
        self.take("(")
        arguments = [self.sum()]
        while self.kind == "symbol" and self.value == "," and len(arguments) < arity:
            self.advance()
            arguments.append(self.sum())
        if len(arguments) < arity:
            self.fail(f"',' and argument {len(arguments) + 1} of {arity} of {name}")
        self.take(")")
        return self.emit(name, *arguments)


def parse(text: str, **constants: float) -> Program:
    """Parse an infix formula into a program; named constants are given by keyword.

    Raises:
      ValueError: with the column, what was expected and what came.

    >>> to_text(parse("max((label + s) / (pred + s), 1)", s=0.5))
    'max((label + 0.5) / (pred + 0.5), 1)'
    """
    if len(text) > MAX_CHARACTERS:
        raise ValueError(f"a formula has at most {MAX_CHARACTERS} characters, got {len(text)}")
    for name, value in constants.items():
        if name in REGISTERS or name == "logit" or name in _CALLABLE:
            raise ValueError(f"constant {name!r} has the name of an operand or operator")
        if not np.isfinite(value):
            raise ValueError(f"constant {name!r} is a finite number, got {value!r}")
    parser = _Parser(text, constants)
    result = parser.sum()
    if parser.kind != "end":
        parser.fail("an operator or the end")
    unused = [name for name in constants if not re.search(rf"\b{name}\b", text)]
    if unused:
        raise ValueError(f"the formula {text!r} does not use the constant {unused[0]!r}")
    return parser.emit.program(result)


def as_static(program: Program) -> Program:
    """Give a program of NumPy arrays, checked: every register read is written before.

    Raises:
      ValueError: with the instruction, if it reads what is not there or names no operator.
    """
    op, lhs, rhs = (np.atleast_1d(np.asarray(part)).astype(np.int32) for part in program[:3])
    constant = np.asarray(program.constant, np.float64)
    constant = constant if constant.size else np.zeros(op.shape)
    if op.ndim != 1 or not op.shape == lhs.shape == rhs.shape == constant.shape or not op.size:
        raise ValueError(f"a program has op, lhs and rhs of one length, got {op.shape, lhs.shape}")
    for i, row in enumerate(zip(op, lhs, rhs, strict=True)):
        if not 0 <= row[0] < len(OPERATORS):
            raise ValueError(f"instruction {i}: operator {row[0]} is not in the table")
        arity = OPERATORS[row[0]].arity
        if any(not 0 <= register < len(REGISTERS) + i for register in row[1 : 1 + arity]):
            raise ValueError(
                f"instruction {i}: {OPERATORS[row[0]].name} reads registers "
                f"{[int(r) for r in row[1 : 1 + arity]]}, only 0 to {len(REGISTERS) + i - 1} exist"
            )
    return Program(op, lhs, rhs, constant)


def _is_copy(program: Program, i: int) -> bool:
    """Say if instruction ``i`` only repeats a register.

    ``id`` of an operand clips it to the bounds and so is more than a copy, but for a bare operand.
    """
    if OPERATORS[program.op[i]].name != "id":
        return False
    return bool(program.lhs[i] >= len(REGISTERS)) or i == len(program.op) - 1


def complexity(program: Program) -> int:
    """Give the length of a program as postfix tokens, copies left out.

    >>> complexity(parse("max(label * reciprocal(pred), pred * reciprocal(label))"))
    9
    """
    program = as_static(program)
    counts = [1] * len(REGISTERS)
    for i, (number, lhs, rhs, _) in enumerate(zip(*program, strict=True)):
        arguments = (lhs, rhs)[: OPERATORS[number].arity]
        counts.append((not _is_copy(program, i)) + sum(counts[r] for r in arguments))
    return counts[-1]


def _number_text(value: float) -> str:
    """Give the shortest text that reads back as ``value`` (as a float32, where it is one)."""
    dtype = np.float32 if float(np.float32(value)) == value else np.float64
    short = f"{value:g}"
    return short if dtype(short) == value else str(dtype(value))


def to_text(program: Program) -> str:
    """Write a program as an infix formula that ``parse`` reads back.

    Raises:
      ValueError: if the formula would be longer than ``MAX_COMPLEXITY`` tokens.
    """
    program = as_static(program)
    if complexity(program) > MAX_COMPLEXITY:
        raise ValueError(f"written out, the formula has more than {MAX_COMPLEXITY} tokens")
    texts = [(name, 4) for name in REGISTERS]
    for i, (number, lhs, rhs, constant) in enumerate(zip(*program, strict=True)):
        op = OPERATORS[number]
        if op.name == "number":
            text = _number_text(constant)
            texts.append((text, 4 if constant >= 0 else 3))
            continue
        if _is_copy(program, i):
            texts.append(texts[lhs])
            continue
        arguments = []
        for position, register in enumerate((lhs, rhs)[: op.arity]):
            text, precedence = texts[register]
            # On the right an equal precedence needs brackets: a - (b - c).
            loose = precedence < op.precedence + position if op.precedence < 4 else False
            arguments.append(f"({text})" if loose else text)
        texts.append((op.text.format(*arguments), op.precedence))
    return texts[-1][0]
