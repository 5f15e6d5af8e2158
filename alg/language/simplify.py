"""Simplification: programs that are the same function get one short program and one key.

What is exact whatever its arguments are is done by ``_Rewriter``. ``_Collector`` adds the algebra
of sums and products, which is exact as long as no intermediate result is clipped; ``simplify``
compares the result with the program before it returns it.
"""

import hashlib
from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np

from ..interfaces import AnyArray
from .equivalence import TOLERANCE, are_equivalent
from .families import LARGEST_LOGIT, Family, get_load
from .inputs import LossFn, LossLike, as_static, read_loss
from .operator_checks import use_float64
from .operators import NUMBER_OF
from .parser import MAX_NUMBER, Emitter
from .printing import complexity, find_live_registers, to_text
from .programs import Program

LABEL_TOLERANCE = 1e-4
"""As ``TOLERANCE``, where parts of the label alone are rounded to five digits."""

_NONNEGATIVE = frozenset(("square", "abs", "relu", "sigmoid", "exp", "softplus"))


class _Rewriter:
    """Emits instructions, each in the simplest form that is exact under the clip.

    A rule takes the registers of an operator's arguments. It returns the register of an equal,
    simpler result, or None if it knows none.
    """

    def __init__(self, family: Family, bounds: tuple[float, float]):
        self.family, (self.low, self.high) = family, bounds
        self.emit = Emitter(family)
        self.base = len(family.registers)
        self.one = family.registers.index("1")
        self.numbers = {op.name: number for number, op in enumerate(family.table)}
        self.rows: list[tuple[int, int, int, float]] = []
        self.rules: dict[str, Callable[..., int | None]] = {
            "id": self.copy,
            "neg": self.neg,
            "add": self.add,
            "sub": self.sub,
            "mul": self.mul,
            "div": self.div,
            "max": self.extreme,
            "min": self.extreme,
            "square": self.square,
            "abs": self.abs,
            "relu": self.relu,
            "sigmoid": self.sigmoid,
        }

    def __call__(self, name: str, *arguments: int) -> int:
        """Returns the register of an operator's result."""
        number = self.numbers[name]
        register = self.fold(number, *arguments)
        if register is None and name in self.rules:
            register = self.rules[name](*arguments)
        if register is not None:
            return register
        if self.family.table[number].commutative:
            swapped = (number, *arguments[::-1], 0.0, "")
            arguments = arguments[::-1] if swapped in self.emit.rows else arguments
        return self.row(number, *arguments)

    def row(self, number: int, lhs: int = -1, rhs: int = -1, constant: float = 0.0) -> int:
        register = self.emit(number, lhs, rhs, constant)
        if register == self.base + len(self.rows):
            self.rows.append((number, lhs, rhs, constant))
        return register

    def number(self, value: float) -> int:
        return self.one if value == 1 else self.row(NUMBER_OF["number"], constant=float(value))

    def is_a(self, name: str, register: int) -> bool:
        if register < self.base:
            return False
        return self.family.table[self.rows[register - self.base][0]].name == name

    def arguments(self, register: int) -> tuple[int, ...]:
        number, lhs, rhs, _ = self.rows[register - self.base]
        return (lhs, rhs)[: self.family.table[number].arity]

    def value(self, register: int) -> float | None:
        """Returns the value of a constant register."""
        if register == self.one:
            return 1.0
        return self.rows[register - self.base][3] if self.is_a("number", register) else None

    @property
    def is_symmetric(self) -> bool:
        return self.low == -self.high

    def is_unclipped(self, register: int) -> bool:
        """Whether a register lies within the bounds, so that a clip does not change it."""
        value = self.value(register)
        if value is not None:
            return self.low <= value <= self.high
        if register >= self.base and not self.is_a("logit", register):
            return True
        logit = (-LARGEST_LOGIT, LARGEST_LOGIT)
        low, high = logit if register >= self.base else self.family.ranges[register]
        return self.low <= low and high <= self.high

    def copy(self, x: int) -> int | None:
        """Returns ``x`` if a clip does not change it."""
        return x if self.is_unclipped(x) else None

    def opposite(self, x: int) -> int | None:
        """Returns ``y`` if ``x`` is ``-y`` exactly."""
        if not (self.is_symmetric and self.is_a("neg", x)):
            return None
        return self.copy(self.arguments(x)[0])

    def fold(self, number: int, *arguments: int) -> int | None:
        values = [self.value(register) for register in arguments]
        op = self.family.table[number]
        if None in values or op.aggregate:
            return None
        with use_float64():
            result = float(op.function(*(jnp.asarray(value, float) for value in values)))
        result = min(max(float(f"{result:.14g}"), self.low), self.high)
        return self.number(result) if abs(result) <= MAX_NUMBER else None

    def neg(self, x: int) -> int | None:
        if self.is_symmetric and self.is_a("sub", x):
            return self("sub", *self.arguments(x)[::-1])
        return self.opposite(x)

    def add(self, x: int, y: int) -> int | None:
        for this, other in ((x, y), (y, x)):
            if self.value(this) == 0:
                return self.copy(other)
            if (positive := self.opposite(this)) is not None:
                return self("sub", other, positive)
        return self("mul", self.number(2.0), x) if x == y else None

    def sub(self, x: int, y: int) -> int | None:
        if x == y and self.low <= 0 <= self.high:
            return self.number(0.0)
        if self.value(y) == 0:
            return self.copy(x)
        if self.value(x) == 0:
            return self("neg", y)
        positive = self.opposite(y)
        return None if positive is None else self("add", x, positive)

    def mul(self, x: int, y: int) -> int | None:
        for this, other in ((x, y), (y, x)):
            value, positive = self.value(this), self.opposite(this)
            if value == 1:
                return self.copy(other)
            if value == -1:
                return self("neg", other)
            if value == 0 and self.low <= 0 <= self.high < np.inf:
                return this
            if positive is not None:
                pair = (positive, y) if this == x else (x, positive)
                return self("neg", self("mul", *pair))
        return self("square", x) if x == y else None

    def div(self, x: int, y: int) -> int | None:
        if self.value(y) == 1:
            return self.copy(x)
        positive = self.opposite(x)
        return None if positive is None else self("neg", self("div", positive, y))

    def extreme(self, x: int, y: int) -> int | None:
        return self.copy(x) if x == y else None

    def square(self, x: int) -> int | None:
        if self.is_a("abs", x) and self.is_unclipped(self.arguments(x)[0]):
            return self("square", *self.arguments(x))
        positive = self.opposite(x)
        return None if positive is None else self("square", positive)

    def abs(self, x: int) -> int | None:
        positive = self.opposite(x)
        return self.relu(x) if positive is None else self("abs", positive)

    def relu(self, x: int) -> int | None:
        """Returns ``x`` if it is never negative."""
        return x if any(self.is_a(name, x) for name in _NONNEGATIVE) else None

    def sigmoid(self, x: int) -> int | None:
        is_pred = not self.family.is_pairwise and self.is_a("logit", x)
        return self.copy(0) if is_pred else None


class _Collector(_Rewriter):
    """Rewrites sums with each term once, and products with one number, in front.

    With binary labels, what depends on the label alone is ``a + b * label``, where that is no
    longer.
    """

    def __init__(self, family: Family, bounds: tuple[float, float], *, binary_labels: bool):
        super().__init__(family, bounds)
        odd = ("log", "reciprocal", "tanh", "atan")
        self.rules |= {name: partial(self.odd, name) for name in odd}
        self.rules |= {"max": partial(self.pick, max), "min": partial(self.pick, min)}
        self.loads = {get_load(family, load.name) for load in family.loads}
        self.counts: dict[int, int] = {}
        self.of_label: dict[int, np.ndarray] = {}  # register -> its values for labels 0 and 1
        if binary_labels and not family.is_pairwise:
            self.of_label = {1: np.array([0.0, 1.0]), self.one: np.array([1.0, 1.0])}

    def __call__(self, name: str, *arguments: int) -> int:
        """Returns the register of an operator's result."""
        register = super().__call__(name, *arguments)
        if self.value(register) is not None:
            return register
        values = self.compute_label_values(self.numbers[name], *arguments)
        if values is None:
            return register
        folded = self.write_label_values(*values)
        if self.count(folded) <= self.count(register):
            register = folded
        self.of_label[register] = values
        return register

    def compute_label_values(self, number: int, *arguments: int) -> np.ndarray | None:
        """Returns the values for labels 0 and 1 of a result that depends on the label alone."""
        values = [self.get_label_values(register) for register in arguments]
        if any(value is None for value in values) or self.family.table[number].aggregate:
            return None
        op = self.family.table[number]
        for function in (op.exact or op.function, op.function):
            with use_float64():
                result = np.asarray(function(*map(jnp.asarray, values)), float)
            if np.all(np.abs(result) <= MAX_NUMBER):
                return np.clip(result, self.low, self.high)
        return None

    def get_label_values(self, register: int) -> np.ndarray | None:
        if not self.of_label:
            return None
        value = self.value(register)
        return self.of_label.get(register) if value is None else np.array([value, value])

    def write_label_values(self, at_zero: float, at_one: float) -> int:
        """Returns the register of ``a + b * label``."""
        offset, slope = (float(f"{x:.5g}") for x in (at_zero, at_one - at_zero))
        return self.write_sum({1: slope}, offset)

    def count(self, register: int) -> int:
        """Returns the complexity of a register."""
        if register < self.base:
            return 1
        if register not in self.counts:
            self.counts[register] = 1 + sum(map(self.count, self.arguments(register)))
        return self.counts[register]

    def find_terms(self, register: int) -> tuple[dict[int, float], float]:
        """Returns the terms of a sum with their factors, and the number that is added."""
        value = self.value(register)
        if value is not None:
            return {}, value
        if register >= self.base and self.rows[register - self.base][:3] in self.loads:
            return {register: 1.0}, 0.0
        for name, signs in (("add", (1, 1)), ("sub", (1, -1)), ("neg", (-1,))):
            if self.is_a(name, register):
                parts = [self.find_terms(argument) for argument in self.arguments(register)]
                return _add_up(parts, signs)
        factor, rest = self.split(register)
        return {rest: factor}, 0.0

    def write_sum(self, terms: dict[int, float], offset: float) -> int:
        """Returns the register of a sum, what is added first, then what is subtracted."""
        terms = {register: factor for register, factor in terms.items() if factor}
        added = [self.scale(factor, term) for term, factor in terms.items() if factor > 0]
        subtracted = [self.scale(-factor, term) for term, factor in terms.items() if factor < 0]
        if offset > 0 or not (added or (subtracted and not offset)):
            added.append(self.number(offset))
        elif offset < 0:
            subtracted.append(self.number(-offset))
        if not added:
            return self.negate_sum(subtracted)
        total = added[0]
        for name, registers in (("add", added[1:]), ("sub", subtracted)):
            for register in registers:
                total = self.row(self.numbers[name], total, register)
        return total

    def negate_sum(self, registers: list[int]) -> int:
        """Returns the register of the negative of a sum."""
        factor, total = self.split(registers[0])
        total = self.scale(-factor, total)
        for register in registers[1:]:
            total = self.row(self.numbers["sub"], total, register)
        return total

    def scale(self, factor: float, register: int) -> int:
        """Returns the register of a multiple."""
        if factor == 1:
            return register
        if self.is_a("mul", register):
            x, y = self.arguments(register)
            return self.row(self.numbers["mul"], self.scale(factor, x), y)
        if factor != -1:
            return self.row(self.numbers["mul"], self.number(factor), register)
        if self.is_a("sub", register):
            return self.row(self.numbers["sub"], *self.arguments(register)[::-1])
        return self.row(self.numbers["neg"], register)

    def split(self, register: int) -> tuple[float, int]:
        """Returns the number in front of a product, and the rest."""
        value = self.value(register)
        if value is not None:
            return value, self.one
        if self.is_a("neg", register):
            factor, rest = self.split(*self.arguments(register))
            return -factor, rest
        if self.is_a("mul", register):
            x, y = self.arguments(register)
            factor, rest = self.split(x)
            if factor != 1:
                return factor, y if rest == self.one else self.row(self.numbers["mul"], rest, y)
        return 1.0, register

    def add(self, x: int, y: int) -> int | None:
        return self.write_sum(*_add_up([self.find_terms(x), self.find_terms(y)], (1, 1)))

    def sub(self, x: int, y: int) -> int | None:
        return self.write_sum(*_add_up([self.find_terms(x), self.find_terms(y)], (1, -1)))

    def neg(self, x: int) -> int | None:
        return self.write_sum(*_add_up([self.find_terms(x)], (-1,)))

    def mul(self, x: int, y: int) -> int | None:
        (factor, x), (other, y) = self.split(x), self.split(y)
        factor = _round(factor * other)
        if factor == 0:
            return self.number(0.0)
        if self.one in (x, y):
            return self.scale(factor, y if x == self.one else x)
        if x == y:
            return self.scale(factor, self("square", x))
        product, swapped = (self.numbers["mul"], x, y, 0.0), (self.numbers["mul"], y, x, 0.0)
        return self.scale(factor, self.row(*(swapped if swapped in self.rows else product)))

    def odd(self, name: str, x: int) -> int | None:
        """Returns the negative of the result for the opposite of ``x``, if that has no sign."""
        factor, rest = self.split(x)
        return self.scale(-1.0, self(name, self.scale(-factor, rest))) if factor < 0 else None

    def pick(self, choose: Callable[..., float], x: int, y: int) -> int | None:
        """Returns the larger or smaller of two, where a number lies beyond the other's range."""
        for this, other in ((x, y), (y, x)):
            value = self.value(this)
            if value is None or other >= self.base:
                continue
            ends = [choose(value, end) for end in self.family.ranges[other]]
            if ends[0] == ends[1] == value:
                return this
            if tuple(ends) == self.family.ranges[other]:
                return other
        return self.extreme(x, y)

    def div(self, x: int, y: int) -> int | None:
        factor, rest = self.split(x)
        if rest == self.one or factor == 1:
            return super().div(x, y)
        value = self.value(y)
        if value:
            return self("mul", self.number(_round(factor / value)), rest)
        return self.scale(factor, self("div", rest, y))


def _round(value: float) -> float:
    """Rounds a number as constants are that are folded."""
    return float(f"{value:.14g}")


def _add_up(
    parts: Sequence[tuple[dict[int, float], float]], factors: Sequence[float]
) -> tuple[dict[int, float], float]:
    """Returns the terms and the number of a weighted sum of sums."""
    terms: dict[int, float] = {}
    offset = 0.0
    for (part, number), factor in zip(parts, factors, strict=True):
        offset += factor * number
        for register, value in part.items():
            terms[register] = terms.get(register, 0.0) + factor * value
    return {register: _round(value) for register, value in terms.items()}, _round(offset)


def rewrite(program: Program, *, bounds: tuple[float, float], family: Family) -> Program:
    """Returns the program without copies, dead registers, double negations and the like."""
    return _rewrite_by(_Rewriter(family, bounds), program)


def _rewrite_by(write: _Rewriter, program: Program) -> Program:
    """Returns what a rewriter makes of a program."""
    family = write.family
    registers = list(range(write.base))
    for number, lhs, rhs, constant in zip(*program, strict=True):
        op = family.table[number]
        if op.arity == 0:
            is_number = op.name == "number"
            registers.append(write.number(constant) if is_number else write.row(int(number)))
        else:
            registers.append(write(op.name, *(registers[r] for r in (lhs, rhs)[: op.arity])))
    return _prune(write.rows, registers[-1], family)


def _prune(rows: list[tuple[int, int, int, float]], result: int, family: Family) -> Program:
    """Returns the instructions that the result depends on, as a program."""
    base, live = len(family.registers), find_live_registers(rows, result, family)
    emit, new = Emitter(family), {register: register for register in range(-1, base)}
    for i, (number, lhs, rhs, constant) in enumerate(rows):
        if base + i in live:
            new[base + i] = emit(number, new[lhs], new[rhs], constant)
    return as_static(emit.program(new[result]), family)


def simplify(
    source: LossLike | LossFn,
    /,
    *,
    bounds: tuple[float, float] | None = None,
    family: str | Family | None = None,
    binary_labels: bool = False,
) -> Program:
    """Returns the shortest program found that is the same loss under its bounds.

    Copies, dead registers and double negations are removed, constants are folded, and the terms of
    sums and the numbers of products are collected. A program whose value or gradient differs on a
    grid of logits and labels is not returned.

    Args:
      source: as ``to_python`` takes it.
      bounds: intermediate results are clipped to them.
      family: language of the source.
      binary_labels: whether labels are 0 or 1 and nothing between. What depends on the label alone
        is then ``a + b * label``, and the result may differ by a ten-thousandth.

    Example:
      >>> from autolossgen import to_text
      >>> to_text(simplify("-(-label) + -(pred * 1) + (2 - 2)"))
      'label - pred'
      >>> to_text(simplify("pred * log(square(label) + 1)", binary_labels=True))
      '0.69315 * pred * label'
    """
    program, family, bounds = read_loss(source, family=family, bounds=bounds)
    collector = _Collector(family, bounds, binary_labels=binary_labels)
    candidates = [_rewrite_by(collector, program), rewrite(program, bounds=bounds, family=family)]
    candidates.sort(key=partial(complexity, family=family))
    is_same = partial(
        are_equivalent,
        program,
        bounds=bounds,
        family=family,
        tolerance=LABEL_TOLERANCE if binary_labels else TOLERANCE,
        binary_labels=binary_labels,
    )
    return next(filter(is_same, candidates), program)


def canonical_key(
    source: LossLike | LossFn,
    /,
    *,
    bounds: tuple[float, float] | None = None,
    family: str | Family | None = None,
) -> str:
    """Returns 32 hexadecimal digits, equal for programs that rewriting shows to be the same loss.

    Order of commutative arguments, sign of a difference that is squared, copies, dead registers,
    foldable constants and double negations do not matter. What differs in rounding only, such as
    ``(a + b) + c`` and ``a + (b + c)``, has two keys; a search compares gradients in addition.

    Args:
      source: as ``to_python`` takes it.
      bounds: intermediate results are clipped to them.
      family: language of the source.

    Example:
      >>> same = canonical_key("pred * label + 0.5")
      >>> same == canonical_key("1 / 2 + id(label * pred)")
      True
    """
    program, family, bounds = read_loss(source, family=family, bounds=bounds)
    program = rewrite(program, bounds=bounds, family=family)
    digests = [name.encode() for name in family.registers]
    unsigned = list(digests)  # the same for a difference and its negative
    is_symmetric = bounds[0] == -bounds[1]
    for number, lhs, rhs, constant in zip(*program, strict=True):
        op = family.table[number]
        read = unsigned if is_symmetric and op.name in ("square", "abs") else digests
        parts = [read[register] for register in (lhs, rhs)[: op.arity]]
        if op.name == "number":
            parts = [np.float32(constant).tobytes()]
        digests.append(_digest(op.name, sorted(parts) if op.commutative else parts))
        unsigned.append(_digest("+-", sorted(parts)) if op.name == "sub" else digests[-1])
    return _digest(repr(tuple(map(float, bounds))), digests[-1:]).hex()


def _digest(name: str, parts: list[bytes]) -> bytes:
    return hashlib.blake2b(b"\0".join([name.encode(), *parts]), digest_size=16).digest()


class TextByLabel(NamedTuple):
    """A pointwise loss as two formulas that do not read the label."""

    like: str  # of label 1
    dislike: str  # of label 0


def to_text_by_label(
    source: LossLike | LossFn,
    /,
    *,
    bounds: tuple[float, float] | None = None,
    family: str | Family | None = None,
) -> TextByLabel:
    """Writes a pointwise loss as two formulas: for label 1, a like, and for label 0, a dislike.

    Args:
      source: as ``to_python`` takes it.
      bounds: intermediate results are clipped to them.
      family: language of the source.

    Raises:
      ValueError: for a pairwise loss, which has no labels; or if a formula is too long to write.

    Example:
      >>> to_text_by_label("-(label * log(pred) + (1 - label) * log(1 - pred))")
      TextByLabel(like='-log(pred)', dislike='-log(1 - pred)')
    """
    program, family, bounds = read_loss(source, family=family, bounds=bounds)
    if family.is_pairwise:
        raise ValueError(f"likes and dislikes are of pointwise losses, got a {family.name} one")
    texts = []
    for label in (1.0, 0.0):
        of_label = _fill_in_label(program, label, family)
        texts.append(to_text(simplify(of_label, bounds=bounds, family=family), family=family))
    return TextByLabel(*texts)


def _fill_in_label(program: Program, label: float, family: Family) -> Program:
    """Returns a program with a number in place of the label; its first instruction loads that."""
    base = len(family.registers)

    def move(registers: AnyArray) -> np.ndarray:
        registers = np.asarray(registers)
        moved = np.where(registers >= base, registers + 1, registers)
        return np.where(registers == family.registers.index("label"), base, moved)

    return Program(
        op=np.concatenate([[NUMBER_OF["number"]], program.op]),
        lhs=np.concatenate([[-1], move(program.lhs)]),
        rhs=np.concatenate([[-1], move(program.rhs)]),
        constant=np.concatenate([[label], program.constant]),
    )
