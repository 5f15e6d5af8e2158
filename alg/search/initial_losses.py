"""Initial losses: known losses that a search begins with, written as tokens of its space."""

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from ..interfaces import Bounds
from ..language.build import UNBOUNDED
from ..language.equivalence import evaluate_on_grid, is_close, make_comparison_grid
from ..language.families import Family, get_load, get_operands, get_operators
from ..language.grammar import FREE, FREE_NAME, FREE_VALUE, Vocabulary
from ..language.inputs import as_program, as_template
from ..language.named_losses import (
    PAIRWISE_LOSSES,
    POINTWISE_LOSSES,
    get_formula,
    named_loss,
    named_program,
)
from ..language.operators import NUMBER_OF
from ..language.printing import find_live_registers, format_number, to_text
from ..language.programs import Program
from ..language.simplify import simplify

TOLERANCE = 1e-2
"""Largest difference, as in ``is_close``, between the values and derivatives of a loss and those of
its tokens: the ``eps`` of ``log`` and ``reciprocal`` differs from a ``softplus`` only where a logit
is beyond 8."""

SHORTER_FORMULAS = {"maxr": "(max(label, pred) + s) / (min(label, pred) + s)"}
"""Formulas of named losses that take fewer tokens than their own."""

KNOWN = "known"
KNOWN_LOSSES = {
    # A loss that a search found on MovieTweetings, and a square that punishes large errors more.
    "pointwise": (
        "square(reciprocal(log(square(pred - label)) + square(reciprocal(pred - label))))",
        "square(square(label - pred))",
    ),
    "pairwise": ("exp(-diff)", "square(relu(1 - diff))"),  # exponential loss, squared hinge
}
"""Good losses that are no baselines, which the name ``known`` stands for."""

Tokens = tuple[int, ...]

# Postfix forms of an operator's result, and of its negative, in other operators. {0} and {1} are
# the arguments, {-0} and {-1} their negatives.
_FORMS = {
    "id": ["{0}"],
    "neg": ["{-0}"],
    "sub": ["{0} {-1} add"],
    "add": ["{0} {-1} sub"],
    "div": ["{0} {1} reciprocal mul"],
    "reciprocal": ["1 {0} div"],
    "square": ["{0} {0} mul"],
    "abs": ["{0} {-0} max"],
    "relu": ["{0} 0 max", "{0} 1 1 neg add max"],
    "sigmoid": ["1 {-0} exp add reciprocal"],
    "softplus": ["1 {0} exp add log"],
    "logit": ["pred reciprocal 1 neg add log neg"],
    "softplus(logit)": ["pred 1 neg add log", "1 pred sub log neg"],  # log(-x) is -log(x)
    "softplus(-logit)": ["pred reciprocal log", "pred log neg"],
    "0": ["1 1 neg add", "1 1 sub"],
    "2": ["1 1 add"],
    "0.5": ["1 1 add reciprocal"],
}
_NEGATIVE_FORMS = {
    "id": ["{-0}"],
    "neg": ["{0}"],
    "add": ["{-0} {-1} add", "{-0} {1} sub"],
    "sub": ["{1} {0} sub", "{1} {-0} add"],
    "mul": ["{-0} {1} mul", "{0} {-1} mul"],
    "div": ["{-0} {1} div", "{0} {-1} div", "{-0} {1} reciprocal mul"],
    "max": ["{-0} {-1} min"],
    "min": ["{-0} {-1} max"],
    "log": ["{-0} log"],
    "reciprocal": ["{-0} reciprocal"],
    "logit": ["pred reciprocal 1 neg add log"],
    "softplus(logit)": ["1 pred neg add log", "1 pred sub log"],
    "softplus(-logit)": ["pred log"],
}
MAX_TOKENS = 1000
"""Of a part of a loss; forms that repeat their arguments would otherwise grow without end."""


class _Attempt(NamedTuple):
    """A program in the words of a space."""

    tokens: Tokens | None  # None if it cannot be written
    missing: tuple[str, ...]  # operators and operands that the space would need


class _Register(NamedTuple):
    """A register of a program, written as tokens."""

    name: str  # operand, operator, or a pair of operators that the tables know
    tokens: Tokens | None  # fewest tokens of its value; None if it cannot be written
    negative: Tokens | None  # fewest tokens of its negative


class _Writer:
    """Writes programs in the words of a space, in as few tokens as it finds.

    Goes through the instructions in order, and keeps for each register the fewest tokens of its
    value and of its negative. With ``reworded``, what the space has no operator for is written in
    other operators, by the tables above.
    """

    def __init__(self, vocabulary: Vocabulary, reworded: bool):
        self.family, self.reworded = vocabulary.family, reworded
        self.operators: dict[str, int] = {}
        self.operands: dict[str, int] = {}
        for token in range(1, len(vocabulary.names)):
            if vocabulary.arity[token] > 0:
                self.operators[self.family.table[vocabulary.op[token]].name] = token
            elif vocabulary.op[token] == NUMBER_OF["number"]:
                self.operands[format_number(float(vocabulary.constant[token]))] = token
            else:
                self.operands[vocabulary.names[token]] = token
        self.operator_names = {op.name for op in self.family.table if op.arity > 0}
        self.registers: list[_Register] = []

    def write(self, program: Program) -> _Attempt:
        """Returns the tokens of a program, or what the space lacks."""
        first = len(self.family.registers)
        instructions = list(zip(*program, strict=True))
        live = find_live_registers(instructions, first + len(instructions) - 1, self.family)
        self.registers, missing = [], []
        reads: Sequence[int]
        for number in range(first + len(instructions)):
            if number < first:
                name, op, reads, is_operand = self.family.registers[number], "", (), True
            else:
                instruction = instructions[number - first]
                row = self.family.table[instruction[0]]
                op, reads = row.name, instruction[1:3][: row.arity]
                name, is_operand = self._name(*instruction)
            tokens = self._write_value(name, op, reads, is_operand)
            negative = self._write_negative(name, op, reads, tokens) if self.reworded else None
            self.registers.append(_Register(name=name, tokens=tokens, negative=negative))
            readable = is_operand or all(self.registers[read].tokens for read in reads)
            if number in live and readable and not tokens:
                missing.append(name if is_operand else op)
        return _Attempt(tokens=self.registers[-1].tokens, missing=tuple(dict.fromkeys(missing)))

    def _name(self, number: int, lhs: int, rhs: int, constant: float) -> tuple[str, bool]:
        """Returns what the tables call an instruction's result, and whether it is an operand."""
        op = self.family.table[number].name
        for load in self.family.loads:
            if (number, lhs, rhs) == get_load(self.family, load.name):
                return load.name, True
        if op == "number":
            return format_number(float(constant)), True
        if op == "neg" and self.registers[lhs].name == "logit":
            return "-logit", False
        if op == "softplus" and self.registers[lhs].name in ("logit", "-logit"):
            return f"softplus({self.registers[lhs].name})", False
        return op, False

    def _write_value(
        self, name: str, op: str, reads: Sequence[int], is_operand: bool
    ) -> Tokens | None:
        """Returns the fewest tokens of a register's value."""
        forms = [" ".join([*(f"{{{i}}}" for i in range(len(reads))), op])] if reads else []
        if self.reworded:
            forms += [form for key in {name: 0, op: 0} for form in _FORMS.get(key, ())]
            forms += [f"{name[1:]} neg"] if is_operand and name[0] == "-" else []
        candidates = [self._shortest(forms, reads)]
        if is_operand and name in self.operands:
            candidates.append((self.operands[name],))
        return _fewest(candidates)

    def _write_negative(
        self, name: str, op: str, reads: Sequence[int], value: Tokens | None
    ) -> Tokens | None:
        """Returns the fewest tokens of the negative of a register, whose value is written."""
        forms = [form for key in {name: 0, op: 0} for form in _NEGATIVE_FORMS.get(key, ())]
        candidates = [self._shortest(forms, reads)]
        if op == "number":
            opposite = name[1:] if name[0] == "-" else f"-{name}"
            candidates.append(self._fill(opposite, {}))
        candidates += [self._fill(form, {"{0}": value}) for form in ("{0} neg", "1 1 sub {0} sub")]
        return _fewest(candidates)

    def _shortest(self, forms: Iterable[str], reads: Sequence[int]) -> Tokens | None:
        """Returns the fewest tokens of several forms of the registers that are read."""
        arguments = {f"{{{i}}}": self.registers[read].tokens for i, read in enumerate(reads)}
        arguments |= {f"{{-{i}}}": self.registers[read].negative for i, read in enumerate(reads)}
        return _fewest(self._fill(form, arguments) for form in forms)

    def _fill(self, form: str, arguments: Mapping[str, Tokens | None]) -> Tokens | None:
        """Returns the tokens of a form with its arguments; None for what cannot be written."""
        tokens: list[int] = []
        for word in form.split():
            if word in arguments:
                part = arguments[word]
            else:
                # "neg" may be an operand; in a form it is the operator.
                words = self.operators if word in self.operator_names else self.operands
                part = (words[word],) if word in words else None
            if not part or len(tokens) + len(part) > MAX_TOKENS:
                return None
            tokens.extend(part)
        return tuple(tokens)


def _fewest(candidates: Iterable[Tokens | None]) -> Tokens | None:
    return min(filter(None, candidates), key=len, default=None)


def name_initial_losses(
    sources: Sequence[str], vocabulary: Vocabulary, *, length: int, bounds: Bounds
) -> tuple[str, ...]:
    """Names the initial losses of a space.

    The name ``known`` stands for those of ``KNOWN_LOSSES`` that the space can write.

    Args:
      sources: as ``write_initial_losses`` takes them, or ``known``.
      vocabulary: words of the space.
      length: largest number of tokens, L.
      bounds: of the space.

    Example:
      >>> from ..language.grammar import make_vocabulary
      >>> space = make_vocabulary(("sub", "square"), ("pred", "label"))
      >>> name_initial_losses(["mse", "known"], space, length=7, bounds=(-1e5, 1e5))
      ('mse', 'square(square(label - pred))')
    """
    if isinstance(sources, str):
        raise ValueError(
            f"space.initial_losses is a tuple of losses, as in ('bce',), got {sources!r}"
        )

    def is_writable(source: str) -> bool:
        try:
            write_initial_losses((source,), vocabulary, length=length, bounds=bounds)
        except ValueError:
            return False
        return True

    known = KNOWN_LOSSES[vocabulary.family.name] if KNOWN in sources else ()
    writable = [source for source in known if is_writable(source)]
    return tuple(name for source in sources for name in (writable if source == KNOWN else [source]))


def write_initial_losses(
    sources: Sequence[str], vocabulary: Vocabulary, *, length: int, bounds: Bounds
) -> np.ndarray:
    """Writes losses as token sequences of a search space.

    What the space has no operator for is written in those that it has: a ``sub`` as the sum with a
    negative, a ``softplus`` of the logit as a logarithm of ``1 - pred``. The smoothing of a named
    loss is the least of the space's positive numbers with which the loss fits, or 1 where it has no
    other. Values and derivatives are compared with the loss's own, for labels 0 and 1 and logits
    from -8 to 8.

    Args:
      sources: named losses with their default options, or formulas. In a space with free
        constants, options and ``c0``, ``c1``, ... are such constants.
      vocabulary: words of the space.
      length: largest number of tokens, L.
      bounds: of the space; a formula is clipped to them, too, a named loss to none.

    Returns:
      Tokens [n, L], padded with 0.

    Raises:
      ValueError: for what is no loss of the space's family, or cannot be written in the space, with
        what the space lacks.

    Example:
      >>> from ..language.grammar import make_vocabulary
      >>> vocabulary = make_vocabulary()
      >>> rows = write_initial_losses(["mse"], vocabulary, length=15, bounds=(-1e5, 1e5))
      >>> [" ".join(vocabulary.names[token] for token in row if token) for row in rows]
      ['label pred neg add square']
    """
    rows = np.zeros((len(sources), length), np.int32)
    for row, source in zip(rows, sources, strict=True):
        tokens = _write_shortest(source, vocabulary, length, bounds)
        row[: len(tokens)] = tokens
    return rows


def _write_shortest(source: str, vocabulary: Vocabulary, length: int, bounds: Bounds) -> Tokens:
    """Returns the fewest tokens that are the same loss."""
    attempts: list[_Attempt] = []
    for programs, its_bounds in _readings(source, vocabulary, bounds):
        new_attempts = [
            attempt
            for program in programs
            for attempt in _attempts(program, vocabulary, its_bounds)
        ]
        attempts += new_attempts
        fitting = {
            attempt.tokens
            for attempt in new_attempts
            if attempt.tokens and len(attempt.tokens) <= length
        }
        for tokens in sorted(fitting, key=lambda tokens: (len(tokens), tokens)):
            names = [vocabulary.names[token] for token in tokens]
            program = _with_equal_constants(names, vocabulary.family)
            if _is_same_loss(programs[0], its_bounds, program, bounds, vocabulary.family):
                return tokens
    raise ValueError(
        f"the initial loss {source!r} cannot be written in the search space: "
        f"{_explain_failure(attempts, vocabulary, length, bounds)}"
    )


def _with_equal_constants(names: Sequence[str], family: Family) -> Program:
    """Returns the program of tokens, all of whose free constants have the value of the first."""
    program, slots = as_template(names, family=family)
    constant = np.array(program.constant)
    constant[[slot.instruction for slot in slots]] = FREE_VALUE
    return program._replace(constant=constant)


def _explain_failure(
    attempts: Sequence[_Attempt], vocabulary: Vocabulary, length: int, bounds: Bounds
) -> str:
    """Returns why no attempt is the loss, and how to go on."""
    if not attempts:
        return (
            "it is smoothed by a positive number, and the space has none; add one, such as '1', to "
            "space.operands"
        )
    complete = [attempt.tokens for attempt in attempts if attempt.tokens]
    if not complete:
        return _advise(attempts[-1].missing, vocabulary)
    shortest = min(complete, key=len)
    if len(shortest) > length:
        return (
            f"it takes {len(shortest)} tokens, space.length is {length}; make it {len(shortest)}, "
            "or add operators that write it shorter"
        )
    text = to_text([vocabulary.names[token] for token in shortest], family=vocabulary.family)
    return (
        f"in its words it is {text}, another loss under space.bounds={bounds}; bounds such as "
        "(-1e5, 1e5) leave differences and logarithms their sign"
    )


def _advise(missing: Sequence[str], vocabulary: Vocabulary) -> str:
    """Returns which words to add to the space."""
    known = get_operators(vocabulary.family)
    # Where an operand has the name of the operator, a difference says it.
    words = ["sub" if name == "neg" and "neg" not in known else name for name in missing]
    parts = {
        "operators": [name for name in words if name in known],
        "operands": [name for name in words if name not in known],
    }
    added = [
        f"{', '.join(map(repr, names))} in space.{key}" for key, names in parts.items() if names
    ]
    return f"it needs {' and '.join(added)}; add what is missing, or leave the loss out"


def _readings(
    source: str, vocabulary: Vocabulary, bounds: Bounds
) -> Iterable[tuple[list[Program], Bounds]]:
    """Yields what a source may mean, best first: programs that are the same loss, their bounds."""
    if not isinstance(source, str):
        raise ValueError(f"space.initial_losses are named losses and formulas, got {source!r}")
    family = vocabulary.family
    family_losses, other_losses = POINTWISE_LOSSES, PAIRWISE_LOSSES
    if family.is_pairwise:
        family_losses, other_losses = other_losses, family_losses
    if source in other_losses:
        raise ValueError(
            f"initial losses are {family.name} losses, as the space is, got {source!r}"
        )
    has_free = FREE in vocabulary.names
    if source not in family_losses:
        if source.isidentifier() and source not in get_operands(family):
            get_formula(source)  # raises, and says which named loss may be meant
        free = dict.fromkeys(FREE_NAME.findall(source), FREE_VALUE) if has_free else {}
        yield [as_program(source, family=family, **free)], bounds
    elif has_free and (slots := named_loss(source).constants):
        free = dict.fromkeys(slots, FREE_VALUE)
        yield [as_program(get_formula(source), family=family, **free)], UNBOUNDED
    elif not re.search(r"\bs\b", get_formula(source)):
        yield [named_program(source)], UNBOUNDED
    else:
        numbers = {float(value) for value in vocabulary.constant if value > 0}
        for smoothing in sorted(numbers | ({1.0} if "1" in vocabulary.names else set())):
            programs = [named_program(source, smoothing=smoothing)]
            if source in SHORTER_FORMULAS:
                formula = SHORTER_FORMULAS[source]
                programs.append(as_program(formula, family=family, s=smoothing))
            yield programs, UNBOUNDED


def _attempts(program: Program, vocabulary: Vocabulary, bounds: Bounds) -> Iterable[_Attempt]:
    """Yields a program as it is, in other words, and in other words of its simplest form."""
    yield _Writer(vocabulary, reworded=False).write(program)
    writer = _Writer(vocabulary, reworded=True)
    yield writer.write(program)
    yield writer.write(simplify(program, bounds=bounds, family=vocabulary.family))


def _is_same_loss(
    program: Program, its_bounds: Bounds, other: Program, bounds: Bounds, family: Family
) -> bool:
    """Whether two programs, each under its bounds, are one loss but for rounding by ``eps``."""
    compared = np.ones(len(make_comparison_grid(family)[0]), bool)
    if not family.is_pairwise:
        logit, label = make_comparison_grid(family)
        compared = (np.abs(logit) <= 8) & np.isin(label, (0.0, 1.0))
    one = evaluate_on_grid(program, bounds=its_bounds, family=family)
    two = evaluate_on_grid(other, bounds=bounds, family=family)
    return all(is_close(x[compared], y[compared], TOLERANCE) for x, y in zip(one, two, strict=True))
