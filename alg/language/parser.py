"""The parser: programs read from infix formulas.

The text is parsed by the grammar below and never evaluated; precedence is Python's::

    formula = sum
    sum     = product (("+" | "-") product)*
    product = signed (("*" | "/") signed)*
    signed  = ("-" | "+") signed | power
    power   = atom ["**" (whole number | constant)]
    atom    = number | name | name "(" formula ("," formula)* ")" | "(" formula ")"
"""

import re
import string
import unicodedata
from collections.abc import Mapping
from typing import Any, NamedTuple, NoReturn

import jax
import numpy as np

from ..suggest import did_you_mean
from .families import POINTWISE, Family, as_family, get_load, get_operands, get_operators
from .operators import NUMBER_OF
from .programs import Program

MAX_CHARACTERS = 10_000
MAX_DEPTH = 100
MAX_POWER = 64
MAX_NUMBER = float(np.finfo(np.float32).max)

_TOKEN = re.compile(
    r"\s*(?:(?P<number>(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)"
    r"|(?P<name>[A-Za-z_]\w*)|(?P<symbol>\*\*|[-+*/(),])|(?P<end>\Z))",
    re.ASCII,
)
_NOT_ASCII = re.compile(r"[^\x00-\x7f]")
_INFIX = {"+": ("add", 1), "-": ("sub", 1), "*": ("mul", 2), "/": ("div", 2)}
_REPLACEMENTS = {"^": "**", "×": "*", "·": "*", "−": "-", "–": "-", "÷": "/", ";": ",", "[": "("}
_REPLACEMENTS |= {"pow": "**", "ln": "log"}


class Slot(NamedTuple):
    """Where a program holds a named constant."""

    name: str
    instruction: int
    sign: int  # -1 where the formula has the constant with a minus


class Template(NamedTuple):
    """A program, and where it holds the named constants of its formula."""

    program: Program
    slots: tuple[Slot, ...]


class Emitter:
    """Collects the instructions of a program; a repeated one reuses its register."""

    def __init__(self, family: Family):
        self.family = family
        self.rows: dict[tuple[int, int, int, float, str], int] = {}

    def __call__(
        self, number: int, lhs: int = -1, rhs: int = -1, constant: float = 0.0, *, name: str = ""
    ) -> int:
        """Returns the register that an instruction writes; a named constant has one of its own."""
        row = (number, lhs, rhs, constant, name)
        return self.rows.setdefault(row, len(self.family.registers) + len(self.rows))

    def number(self, value: float, name: str = "") -> int:
        """Returns the register of a constant, which may have a name."""
        if value == 1 and not name:
            return self.family.registers.index("1")
        return self(NUMBER_OF["number"], constant=value, name=name)

    def slots(self) -> tuple[Slot, ...]:
        """Returns where the named constants are."""
        return tuple(
            Slot(name=row[4].lstrip("-"), instruction=i, sign=-1 if row[4][0] == "-" else 1)
            for i, row in enumerate(self.rows)
            if row[4]
        )

    def program(self, result: int) -> Program:
        """Returns the program whose loss is in the register ``result``."""
        if not self.rows or result != len(self.family.registers) + len(self.rows) - 1:
            self(NUMBER_OF["id"], result)
        op, lhs, rhs, constant, _ = zip(*self.rows, strict=True)
        return Program(
            op=np.asarray(op, np.int32),
            lhs=np.asarray(lhs, np.int32),
            rhs=np.asarray(rhs, np.int32),
            constant=np.asarray(constant),
        )


class _Parser:
    """Recursive descent over one formula, with bounded depth."""

    def __init__(self, text: str, family: Family, constants: Mapping[str, float]):
        self.text, self.family, self.constants = text, family, constants
        self.callable = get_operators(family)
        self.emit = Emitter(family)
        self.unused, self.depth, self.start, self.end = set(constants), 0, 0, 0
        if (match := _NOT_ASCII.search(text)) is not None:
            # Reported first: inside a name, a look-alike would only make the name unknown.
            self.start = match.start()
            self.refuse_character(match[0])
        self.advance()

    def fail(self, expected: str) -> NoReturn:
        got = repr(self.value[:40]) if self.kind != "end" else "the end"
        raise ValueError(f"{self.describe_position()}: expected {expected}, got {got}")

    def describe_position(self) -> str:
        first, last = max(0, self.start - 30), self.start + 30
        excerpt = self.text[first:last]
        excerpt = ("..." if first else "") + excerpt + ("..." if last < len(self.text) else "")
        return f"column {self.start + 1} of the formula {excerpt!r}"

    def advance(self) -> None:
        match = _TOKEN.match(self.text, self.end)
        if match is None:
            rest = self.text[self.end :].lstrip(string.whitespace)
            self.start = len(self.text) - len(rest)
            self.refuse_character(self.text[self.start])
        self.kind = match.lastgroup or "end"
        self.value = match[self.kind]
        self.start, self.end = match.start(self.kind), match.end()

    def refuse_character(self, character: str) -> NoReturn:
        name = unicodedata.name(character, f"U+{ord(character):04X}")
        replacement = _REPLACEMENTS.get(character)
        hint = f" (did you mean {replacement!r}?)" if replacement else ""
        raise ValueError(
            f"{self.describe_position()}: expected a number, a name, an operator or a bracket, "
            f"got {character!r}, {name}{hint}"
        )

    def is_symbol(self, symbol: str) -> bool:
        return self.kind == "symbol" and self.value == symbol

    def take(self, symbol: str) -> None:
        if not self.is_symbol(symbol):
            self.fail(repr(symbol))
        self.advance()

    def formula(self, lowest: int = 1) -> int:
        """Parses a chain of infix operators of at least the precedence ``lowest``."""
        result = self.signed()
        while self.kind == "symbol" and self.value in _INFIX:
            name, precedence = _INFIX[self.value]
            if precedence < lowest:
                break
            self.advance()
            result = self.emit(NUMBER_OF[name], result, self.formula(precedence + 1))
        return result

    def signed(self) -> int:
        self.depth += 1
        if self.depth > MAX_DEPTH:
            raise ValueError(f"{self.describe_position()}: nested deeper than {MAX_DEPTH} levels")
        if self.is_symbol("-"):
            self.advance()
            result = self.negative()
        elif self.is_symbol("+"):
            self.advance()
            result = self.signed()
        else:
            result = self.power(self.atom())
        self.depth -= 1
        return result

    def negative(self) -> int:
        name = ""
        if self.kind == "number":
            value = self.read_number()
        elif self.kind == "name" and self.value in self.constants:
            name = self.value
            value = self.read_constant()
        else:
            return self.emit(NUMBER_OF["neg"], self.signed())
        if self.is_symbol("**"):
            return self.emit(NUMBER_OF["neg"], self.power(self.emit.number(value, name)))
        return self.emit.number(-value, name and f"-{name}")

    def power(self, base: int) -> int:
        if not self.is_symbol("**"):
            return base
        self.advance()
        if self.kind == "number":
            exponent = float(self.value)
        elif self.kind == "name" and self.value in self.constants:
            exponent = self.constants[self.value]
            self.unused.discard(self.value)
        else:
            exponent = None
        if exponent is None or exponent not in range(MAX_POWER + 1):
            self.fail(f"a whole number from 0 to {MAX_POWER} as the power")
        self.advance()
        if self.is_symbol("**"):
            self.fail("brackets around a power of a power")
        return self.repeated(base, int(exponent))

    def repeated(self, base: int, exponent: int) -> int:
        """Multiplies ``base`` with itself, by squaring."""
        if exponent == 0:
            return self.emit.number(1.0)
        while exponent % 2 == 0:
            base = self.emit(NUMBER_OF["square"], base)
            exponent //= 2
        result = base
        while exponent := exponent // 2:
            base = self.emit(NUMBER_OF["square"], base)
            if exponent % 2:
                result = self.emit(NUMBER_OF["mul"], result, base)
        return result

    def atom(self) -> int:
        if self.kind == "number":
            return self.emit.number(self.read_number())
        if self.kind == "name":
            return self.call() if self.value in self.callable else self.operand()
        if not self.is_symbol("("):
            self.fail("a number, a name or '('")
        self.advance()
        result = self.formula()
        self.take(")")
        return result

    def read_number(self) -> float:
        value = float(self.value)
        if value > MAX_NUMBER:
            self.fail("a number that float32 holds")
        self.advance()
        return value

    def read_constant(self) -> float:
        value = self.constants[self.value]
        self.unused.discard(self.value)
        self.advance()
        return value

    def operand(self) -> int:
        name, family = self.value, self.family
        if name in self.constants:
            return self.emit.number(self.read_constant(), name)
        if name in family.registers:
            register = family.registers.index(name)
        elif name in get_operands(family):
            register = self.emit(*get_load(family, name))
        else:
            known = [*get_operands(family), *self.constants, *self.callable]
            short = name if len(name) <= 40 else name[:37] + "..."
            hint = did_you_mean(short, known)
            if replacement := _REPLACEMENTS.get(name):
                hint = f" (did you mean {replacement!r}?)"
            if self.text.strip() == name:
                hint += f"; if it is the name of a loss, named_loss({short!r}) builds it"
            raise ValueError(f"{self.describe_position()}: {short!r} is not known{hint}")
        self.advance()
        return register

    def call(self) -> int:
        name, number = self.value, self.callable[self.value]
        arity = self.family.table[number].arity
        self.advance()
        self.take("(")
        arguments = [self.formula()]
        while self.is_symbol(",") and len(arguments) < arity:
            self.advance()
            arguments.append(self.formula())
        if len(arguments) < arity:
            self.fail(f"',' and argument {len(arguments) + 1} of {arity} of {name}")
        self.take(")")
        return self.emit(number, *arguments)


def as_float(value: Any, name: str) -> float:
    """Returns a number of Python, NumPy or JAX as a float, and NaN for anything else.

    Raises:
      ValueError: for a value that JAX traces, with its name: it is no number yet.
    """
    if isinstance(value, jax.core.Tracer):
        raise ValueError(
            f"{name} is traced by JAX, expected a number: build the loss outside of jit, grad and "
            "vmap"
        )
    try:
        return np.nan if isinstance(value, str) else float(value)
    except (TypeError, ValueError, OverflowError):
        return np.nan


def _check_constants(constants: Mapping[str, object], family: Family) -> dict[str, float]:
    values = {}
    for name, value in constants.items():
        if name in get_operands(family) or name in get_operators(family):
            raise ValueError(f"constant {name!r} has the name of an operand or operator")
        values[name] = as_float(value, f"constant {name!r}")
        if not abs(values[name]) <= MAX_NUMBER:
            raise ValueError(f"constant {name!r} is a number that float32 holds, got {value!r}")
    return values


def parse(text: str, /, *, family: str | Family = POINTWISE, **constants: float) -> Program:
    """Parses an infix formula into a program.

    Args:
      text: formula of operators, by symbol or by name, and powers with whole exponents.
      family: ``"pointwise"``, ``"pairwise"``, or a family with your own operators.
      **constants: values of names in the formula.

    Raises:
      ValueError: with the column, what was expected and what came.

    Example:
      >>> from autolossgen import to_text
      >>> to_text(parse("max((label + s) / (pred + s), 1)", s=0.5))
      'max((label + 0.5) / (pred + 0.5), 1)'
      >>> to_text(parse("softplus(neg - pos)", family="pairwise"), family="pairwise")
      'softplus(neg - pos)'
    """
    return parse_template(text, family, constants).program


def parse_template(text: str, family: str | Family, constants: Mapping[str, float]) -> Template:
    """Parses a formula as ``parse`` does; also returns where its named constants are.

    A whole exponent is part of the program, so a constant has no slot there.
    """
    if not isinstance(text, str):
        raise ValueError(f"a formula is text, got {type(text).__name__}")
    if len(text) > MAX_CHARACTERS:
        raise ValueError(
            f"column {MAX_CHARACTERS + 1} of the formula: expected the end, a formula has at most "
            f"{MAX_CHARACTERS} characters, got {len(text)}"
        )
    family = as_family(family)
    parser = _Parser(text, family, _check_constants(constants, family))
    result = parser.formula()
    if parser.kind != "end":
        parser.fail("an operator or the end")
    if parser.unused:
        raise ValueError(f"the formula does not use the constant {min(parser.unused)!r}")
    program = parser.emit.program(result)
    return Template(program=program, slots=parser.emit.slots())
