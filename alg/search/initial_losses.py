"""Seeds: known losses, written as the tokens of a search space, for a search to begin with."""

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from ..language.build import UNBOUNDED
from ..language.equivalence import evaluate_on_grid, is_close, make_comparison_grid
from ..language.families import Family, get_load, get_operands, get_operators
from ..language.grammar import Vocabulary
from ..language.inputs import as_program
from ..language.named_losses import PAIRWISE_LOSSES, POINTWISE_LOSSES, get_formula, named_program
from ..language.operators import NUMBER_OF
from ..language.printing import find_live_registers, format_number, to_text
from ..language.programs import Program
from ..language.simplify import simplify

TOLERANCE = 1e-2
"""Largest difference, as in ``probes``, of a seed's values and slopes from its loss's: the ``eps``
of ``log`` and ``reciprocal`` is told apart from a ``softplus`` only where a logit is beyond 8."""

SHORTER = {"maxr": "(max(label, pred) + s) / (min(label, pred) + s)"}
"""Formulas of named losses that take fewer tokens than their usual ones."""

# Postfix of an operator's result, and of its negative, in other words. {0} and {1} stand for the
# arguments, {-0} and {-1} for their negatives.
_RESULT = {
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
_NEGATIVE = {
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
_MOST = 1000  # tokens of a part; what repeats its parts would else grow without end


class _Written(NamedTuple):
    """A program in a space's words."""

    tokens: tuple[int, ...] | None  # None if it cannot be written
    lacking: tuple[str, ...]  # what the space would need


def _fewest(written: Iterable[tuple[int, ...] | None]) -> tuple[int, ...] | None:
    return min(filter(None, written), key=len, default=None)


class _Writer:
    """Finds the fewest tokens of the registers of a program, and of their negatives."""

    def __init__(self, vocab: Vocabulary, reworded: bool):
        self.vocab, self.family, self.reworded = vocab, vocab.family, reworded
        self.operators = {
            self.family.table[vocab.op[token]].name: token
            for token in range(1, len(vocab.names))
            if vocab.arity[token] > 0
        }
        self.operands = {
            format_number(float(vocab.constant[token]))
            if vocab.op[token] == NUMBER_OF["number"]
            else vocab.names[token]: token
            for token in range(1, len(vocab.names))
            if vocab.arity[token] == 0
        }
        self.known = {op.name for op in self.family.table if op.arity > 0}

    def __call__(self, program: Program) -> _Written:
        base = len(self.family.registers)
        rows = list(zip(*program, strict=True))
        alive = find_live_registers(rows, base + len(rows) - 1, self.family)
        self.names, self.plain, self.minus = [], [], []
        lacking = []
        for register in range(base + len(rows)):
            if register < base:
                name, op, reads, is_operand = self.family.registers[register], "", (), True
            else:
                number, lhs, rhs, constant = rows[register - base]
                row = self.family.table[number]
                op, reads = row.name, (lhs, rhs)[: row.arity]
                name, is_operand = self.name(number, lhs, rhs, constant)
            self.names.append(name)
            self.plain.append(self.result(name, op, reads, is_operand))
            self.minus.append(self.negative(name, op, reads) if self.reworded else None)
            readable = is_operand or all(self.plain[r] for r in reads)
            if register in alive and readable and not self.plain[-1]:
                lacking.append(name if is_operand else op)
        return _Written(self.plain[-1], tuple(dict.fromkeys(lacking)))

    def name(self, number: int, lhs: int, rhs: int, constant: float) -> tuple[str, bool]:
        """Name what an instruction gives, as the tables above do, and say if it is an operand."""
        op = self.family.table[number].name
        for load in self.family.loads:
            if (number, lhs, rhs) == get_load(self.family, load.name):
                return load.name, True
        if op == "number":
            return format_number(float(constant)), True
        if op == "neg" and self.names[lhs] == "logit":
            return "-logit", False
        if op == "softplus" and self.names[lhs] in ("logit", "-logit"):
            return f"softplus({self.names[lhs]})", False
        return op, False

    def result(self, name: str, op: str, reads: Sequence[int], is_operand: bool) -> tuple | None:
        """Give the fewest tokens of what a register holds."""
        forms = [" ".join([*(f"{{{i}}}" for i in range(len(reads))), op])] if reads else []
        if self.reworded:
            forms += [form for key in {name: 0, op: 0} for form in _RESULT.get(key, ())]
            forms += [f"{name[1:]} neg"] if is_operand and name[0] == "-" else []
        found = [self.shortest(forms, reads)]
        if is_operand and name in self.operands:
            found.append((self.operands[name],))
        return _fewest(found)

    def negative(self, name: str, op: str, reads: Sequence[int]) -> tuple | None:
        """Give the fewest tokens of the negative of the last register's."""
        forms = [form for key in {name: 0, op: 0} for form in _NEGATIVE.get(key, ())]
        found = [self.shortest(forms, reads)]
        if op == "number":
            opposite = name[1:] if name[0] == "-" else f"-{name}"
            found.append(self.joined(opposite, {}))
        whole = {"{0}": self.plain[-1]}
        found += [self.joined(form, whole) for form in ("{0} neg", "1 1 sub {0} sub")]
        return _fewest(found)

    def shortest(self, forms: Iterable[str], reads: Sequence[int]) -> tuple[int, ...] | None:
        holes = {f"{{{i}}}": self.plain[r] for i, r in enumerate(reads)}
        holes |= {f"{{-{i}}}": self.minus[r] for i, r in enumerate(reads)}
        written = (self.joined(form, holes) for form in forms)
        return _fewest(written)

    def joined(self, form: str, holes: Mapping[str, tuple | None]) -> tuple[int, ...] | None:
        tokens: list[int] = []
        for word in form.split():
            if word in holes:
                part = holes[word]
            else:
                # "neg" may be an operand; in a form it is the operator.
                token = (self.operators if word in self.known else self.operands).get(word)
                part = None if token is None else (token,)
            if not part or len(tokens) + len(part) > _MOST:
                return None
            tokens.extend(part)
        return tuple(tokens)


def write_initial_loss(
    sources: Sequence[str], vocab: Vocabulary, *, length: int, bounds: tuple[float, float]
) -> np.ndarray:
    """Give losses as token sequences [N, L] of a search space.

    What the space has no word for is said in those that it has: a ``sub`` as the sum with a
    negative, a ``softplus`` of the logit as a logarithm of ``1 - pred``. The smoothing of a named
    loss is the least of the space's positive numbers with which the loss fits, 1 where it has no
    other. Values and slopes are compared with the loss's own, for labels 0 and 1 and logits from -8
    to 8.

    Args:
      sources: named losses with their default options, or formulas.
      vocab: words of the space.
      length: tokens at most, L.
      bounds: those of the space; a formula is under them too, a named loss is under none.

    Raises:
      ValueError: for what is no loss of the space's family, or cannot be written in the space, with
        what the space lacks.

    >>> from .programs import vocabulary
    >>> vocab = vocabulary()
    >>> tokens = write_initial_loss(["mse", "bce"], vocab, length=15, bounds=(-1e5, 1e5))
    >>> [" ".join(vocab.names[token] for token in row if token) for row in tokens]
    ['label pred neg add square', 'pred 1 neg add log label pred reciprocal 1 neg add log mul add']
    """
    if isinstance(sources, str):
        raise ValueError(f"space.seeds is a tuple of losses, as in ('bce',), got {sources!r}")
    tokens = np.zeros((len(sources), length), np.int32)
    for row, source in zip(tokens, sources, strict=True):
        written = _written(source, vocab, length, bounds)
        row[: len(written)] = written
    return tokens


def _written(
    source: str, vocab: Vocabulary, length: int, bounds: tuple[float, float]
) -> tuple[int, ...]:
    """Give the shortest way to write a seed that is the same loss."""
    told, tried = f"the seed {source!r} cannot be written in the search space", []
    for programs, its_bounds in _meanings(source, vocab, bounds):
        ways = [way for program in programs for way in _ways(program, vocab, its_bounds)]
        tried += ways
        fitting = {way.tokens for way in ways if way.tokens and len(way.tokens) <= length}
        for tokens in sorted(fitting, key=lambda tokens: (len(tokens), tokens)):
            ours = as_program([vocab.names[token] for token in tokens], family=vocab.family)
            if _same(programs[0], its_bounds, ours, bounds, vocab.family):
                return tokens
    if not tried:
        raise ValueError(
            f"{told}: it is smoothed by a positive number, and the space has none; add one, such "
            "as '1', to space.operands"
        )
    complete = [way.tokens for way in tried if way.tokens]
    if not complete:
        raise ValueError(f"{told}: {_advice(tried[-1].lacking, vocab)}")
    shortest = min(complete, key=len)
    if len(shortest) > length:
        raise ValueError(
            f"{told}: it takes {len(shortest)} tokens, space.length is {length}; make it "
            f"{len(shortest)}, or add operators that say it shorter"
        )
    text = to_text([vocab.names[token] for token in shortest], family=vocab.family)
    raise ValueError(
        f"{told}: in its words it is {text}, another loss under space.bounds={bounds}; bounds such "
        "as (-1e5, 1e5) leave differences and logarithms their sign"
    )


def _advice(lacking: Sequence[str], vocab: Vocabulary) -> str:
    known = get_operators(vocab.family)
    # Where an operand has the name of the operator, a difference says it.
    words = ["sub" if name == "neg" and "neg" not in known else name for name in lacking]
    parts = {"operators": [name for name in words if name in known]}
    parts["operands"] = [name for name in words if name not in known]
    adds = [f"{', '.join(map(repr, some))} in space.{key}" for key, some in parts.items() if some]
    return f"it needs {' and '.join(adds)}; add what is missing, or leave the seed out"


def _meanings(
    source: str, vocab: Vocabulary, bounds: tuple[float, float]
) -> Iterable[tuple[list[Program], tuple[float, float]]]:
    """Give what a seed may stand for, best first: programs that are the same loss, their bounds."""
    if not isinstance(source, str):
        raise ValueError(f"space.seeds are named losses and formulas, got {source!r}")
    family = vocab.family
    mine, others = POINTWISE_LOSSES, PAIRWISE_LOSSES
    if family.is_pairwise:
        mine, others = others, mine
    if source in others:
        raise ValueError(f"seeds are {family.name} losses, as the space is, got {source!r}")
    if source not in mine:
        if source.isidentifier() and source not in get_operands(family):
            get_formula(source)  # says which named loss may be meant
        yield [as_program(source, family=family)], bounds
    elif not re.search(r"\bs\b", get_formula(source)):
        yield [named_program(source)], UNBOUNDED
    else:
        numbers = {float(value) for value in vocab.constant if value > 0}
        for smoothing in sorted(numbers | ({1.0} if "1" in vocab.names else set())):
            programs = [named_program(source, smoothing=smoothing)]
            if source in SHORTER:
                programs.append(as_program(SHORTER[source], family=family, s=smoothing))
            yield programs, UNBOUNDED


def _ways(program: Program, vocab: Vocabulary, bounds: tuple[float, float]) -> Iterable[_Written]:
    """Give a program as it stands, in other words, and in other words of its shortest form."""
    yield _Writer(vocab, reworded=False)(program)
    in_other_words = _Writer(vocab, reworded=True)
    yield in_other_words(program)
    yield in_other_words(simplify(program, bounds=bounds, family=vocab.family))


def _same(
    program: Program,
    its_bounds: tuple[float, float],
    ours: Program,
    bounds: tuple[float, float],
    family: Family,
) -> bool:
    """Say if two programs, each under its bounds, are the same loss but for rounding by ``eps``."""
    counts = np.ones(len(make_comparison_grid(family)[0]), bool)
    if not family.is_pairwise:
        logit, label = make_comparison_grid(family)
        counts = (np.abs(logit) <= 8) & np.isin(label, (0.0, 1.0))
    theirs = evaluate_on_grid(program, bounds=its_bounds, family=family)
    mine = evaluate_on_grid(ours, bounds=bounds, family=family)
    return all(is_close(x[counts], y[counts], TOLERANCE) for x, y in zip(theirs, mine, strict=True))
