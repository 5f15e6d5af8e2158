"""The vocabulary of a search space, and the grammar that makes every token sequence a loss."""

from collections.abc import Sequence
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np

from ..interfaces import Array, Grammar
from ..suggest import did_you_mean
from .families import (
    POINTWISE,
    Family,
    as_family,
    get_load,
    get_operands,
    get_operators,
)
from .operator_checks import validate_op
from .operators import NUMBER_OF, Op

PAD = "PAD"


class Vocabulary(NamedTuple):
    """The tokens of a search space; token 0 is the padding."""

    names: tuple[str, ...]  # [V]
    arity: np.ndarray  # int32 [V], -1 for padding
    op: np.ndarray  # int32 [V], -1 where the token is a register as it stands
    register: np.ndarray  # int32 [V], -1 where the token is an instruction
    reads: np.ndarray  # int32 [V, 2], registers that an operand's own instruction reads, or -1
    constant: np.ndarray  # float32 [V], what a number token stands for
    family: Family

    @property
    def operators(self) -> tuple[int, ...]:
        """Numbers of the operators that programs of this vocabulary use."""
        return tuple(sorted({int(number) for number in self.op if number >= 0}))

    @property
    def table(self) -> tuple[Op, ...]:
        """The rows that ``Program.op`` numbers: ``OPERATORS``, then the user's own."""
        return self.family.table


def parse_number(name: str) -> float | None:
    """Give the number that a token's name writes, or None if float32 holds none such."""
    try:
        value = float(name)
    except ValueError:
        return None
    return value if abs(value) <= float(np.finfo(np.float32).max) else None


def _extended(family: Family, extra: Sequence[Op]) -> Family:
    """Give the family with a user's rows, checked, at the end of its table."""
    taken = [PAD, *(op.name for op in family.table), *get_operands(family)]
    for op in extra:
        if getattr(op, "name", None) in taken:
            raise ValueError(f"operator {op.name!r} is refused: the name is taken")
        validate_op(op)
        if op.aggregate and not family.aggregates:
            raise ValueError(f"operator {op.name!r} is refused: {family.name} is elementwise")
        taken.append(op.name)
    return family._replace(table=(*family.table, *extra))


def _operand_row(name: str, family: Family) -> tuple:
    if name in family.registers:
        return (name, 0, -1, family.registers.index(name), (-1, -1), 0.0)
    if name in get_operands(family):
        number, lhs, rhs = get_load(family, name)
        return (name, 0, number, -1, (lhs, rhs), 0.0)
    if (value := parse_number(name)) is not None:
        return (name, 0, NUMBER_OF["number"], -1, (-1, -1), value)
    hint = did_you_mean(name, [*get_operands(family), "1"])
    raise ValueError(f"operand {name!r} is neither known nor a finite number{hint}")


def make_vocabulary(
    operators: Sequence[str] | None = None,
    operands: Sequence[str] | None = None,
    *,
    family: str | Family = POINTWISE,
    extra: Sequence[Op] = (),
) -> Vocabulary:
    """Give the vocabulary of a search space.

    Args:
      operators: names of operators, in any order; those of the family's default if left out.
      operands: those of the family (``pred``, ``label`` and ``logit``, or ``pos``, ``neg`` and
        ``diff``), ``1``, or numbers such as ``"0.5"``; the family's default if left out.
      family: ``"pointwise"`` or ``"pairwise"``.
      extra: rows of a user's own operators. They belong to the space, besides ``operators``;
        ``vocabulary(...).family`` is the language with them.

    Raises:
      ValueError: for an unknown or repeated name, a space without operands, or an extra row that
        is not sound, with the reason.

    >>> make_vocabulary(operators=("add", "log"), operands=("pred", "label")).names
    ('PAD', 'pred', 'label', 'add', 'log')
    >>> make_vocabulary(("softplus",), family="pairwise").names
    ('PAD', 'pos', 'neg', 'diff', '1', 'softplus')
    >>> cube = Op("cube", 1, lambda x: x * x * x, "cube({0})", "{0}^3", *["({0} * {0} * {0})"] * 2)
    >>> make_vocabulary(("sub",), extra=[cube]).names
    ('PAD', 'pred', 'label', '1', 'sub', 'cube')
    """
    family = _extended(as_family(family), extra)
    operators = family.operators if operators is None else operators
    operands = family.operands if operands is None else operands
    known = get_operators(family)
    operators = [*operators, *(op.name for op in extra if op.name not in operators)]
    names = [*operands, *operators]
    if not operands:
        raise ValueError("a search space needs at least one operand, got none")
    if len(set(names)) != len(names):
        raise ValueError(f"a search space lists each name once, got {names}")
    rows = [(PAD, -1, -1, -1, (-1, -1), 0.0), *(_operand_row(name, family) for name in operands)]
    for name in operators:
        if name not in known:
            raise ValueError(f"{name!r} is not an operator{did_you_mean(name, list(known))}")
        number = known[name]
        rows.append((name, family.table[number].arity, number, -1, (-1, -1), 0.0))
    columns = list(zip(*rows, strict=True))
    integers = [np.asarray(column, np.int32) for column in columns[1:5]]
    constant = np.asarray(columns[5], np.float32)
    return Vocabulary(tuple(columns[0]), *integers, constant, family)


DEFAULT_VOCABULARY = make_vocabulary()


def make_grammar(
    vocab: Vocabulary, length: int, *, length_prior: tuple[float, float] | None = None
) -> Grammar:
    """Give the grammar of sequences of ``length`` tokens, under which every sequence is a loss.

    With stack depth ``d`` and ``r`` slots left (this one included), a token of arity ``a`` may come
    iff ``a <= d`` and ``d - a + 1 <= r``; padding iff ``d = 1``, and after it only padding.

    With a length prior of mean ``m`` and deviation ``s``, ``-(t - m)^2 / (2 s^2)`` is added to the
    logits of padding where that would end a loss at ``t < m`` tokens, and of other tokens after
    which a loss has at least ``t > m`` (the soft length prior of Landajuela et al., 2021,
    arXiv:2107.09158, for postfix, where every value on the stack but one takes a binary operator).

    Raises:
      ValueError: for a length below 1, or a deviation that is not above 0.

    >>> vocab = make_vocabulary(("add",), ("pred", "label"))
    >>> rules = make_grammar(vocab, length=3)
    >>> allowed = rules.allowed(1, 2, 1)  # after "pred" with two slots left
    >>> [name for name, may_come in zip(vocab.names, allowed) if may_come]
    ['PAD', 'pred', 'label']
    """
    if length < 1:
        raise ValueError(f"a loss needs at least one token, got length {length}")
    mean, deviation = (0.0, np.inf) if length_prior is None else length_prior
    if not deviation > 0 or not np.isfinite(mean):
        raise ValueError(
            f"a length prior is a mean and a deviation above 0, or None, got {length_prior}"
        )
    arity = jnp.asarray(vocab.arity)
    is_pad = arity < 0
    # Without a binary operator, two values never become one.
    deepest = length if np.any(vocab.arity == 2) else 1

    def allowed(depth: Array, remaining: Array, previous: Array) -> Array:
        fits = (arity <= depth) & (depth - arity + 1 <= jnp.minimum(remaining, deepest)) & ~is_pad
        ended = (previous == 0) & (depth > 0)
        return jnp.where(ended, is_pad, jnp.where(depth == 1, fits | is_pad, fits))

    def advance(depth: Array, token: Array) -> Array:
        return jnp.where(is_pad[token], depth, depth - arity[token] + 1)

    def prior(depth: Array, remaining: Array) -> Array:
        written = length - remaining
        too_short = jnp.maximum(mean - written, 0)
        too_long = jnp.maximum(written + depth - arity + 1 - mean, 0)
        return -(jnp.where(is_pad, too_short, too_long) ** 2) / (2 * deviation**2)

    return Grammar(length, len(vocab.names), allowed, advance, prior)


def encode_tokens(names: Sequence[str], vocab: Vocabulary = DEFAULT_VOCABULARY) -> np.ndarray:
    """Give token numbers [L] for names in postfix order, checked against the grammar.

    Raises:
      ValueError: with the position, for an unknown name or a sequence that is no loss.

    >>> encode_tokens(["pred", "label", "neg", "add", "square"]).tolist()
    [1, 2, 8, 4, 11]
    """
    depth, ended, numbers = 0, False, []
    for position, name in enumerate(names):
        if name not in vocab.names:
            raise ValueError(
                f"token {position} {name!r} is not known{did_you_mean(name, vocab.names)}"
            )
        token = vocab.names.index(name)
        arity = int(vocab.arity[token])
        if ended and arity >= 0:
            raise ValueError(f"token {position} {name!r} follows {PAD}; only {PAD} may")
        if arity < 0 and depth != 1:
            raise ValueError(f"token {position} {PAD} comes while {depth} values wait, expected 1")
        if arity > depth:
            raise ValueError(f"token {position} {name!r} takes {arity} values, {depth} are there")
        ended = arity < 0
        depth = depth if ended else depth - arity + 1
        numbers.append(token)
    if depth != 1:
        raise ValueError(f"a loss leaves one value, these {len(numbers)} tokens leave {depth}")
    return np.asarray(numbers, np.int32)
