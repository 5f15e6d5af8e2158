"""The vocabulary of a search space, and the grammar under which every token sequence is a loss."""

import re
from collections.abc import Callable, Sequence
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
FREE = "c"
"""Token of a free constant: each one in a sequence is a number of its own, ``c0``, ``c1``, ...,
that a tuner sets."""
FREE_NAME = re.compile(r"\bc\d+\b")
"""Names of free constants in a formula."""

FREE_VALUE, FREE_RATIO = 0.613, 1.17
"""Value of the first free constant before it is tuned, and the ratio of each to the one before: no
round numbers, so that screening does not take losses for one another, or a kink for a probe."""


class Vocabulary(NamedTuple):
    """Tokens of a search space; token 0 is the padding."""

    names: tuple[str, ...]  # [V]
    arity: np.ndarray  # int32 [V], -1 for padding
    op: np.ndarray  # int32 [V], -1 where the token only names a register
    register: np.ndarray  # int32 [V], -1 where the token is an instruction
    reads: np.ndarray  # int32 [V, 2], registers that an operand's own instruction reads, or -1
    constant: np.ndarray  # float32 [V], value of a number token
    family: Family

    @property
    def operators(self) -> tuple[int, ...]:
        """Returns the numbers of the operators that programs of this vocabulary use."""
        return tuple(sorted({int(number) for number in self.op if number >= 0}))

    @property
    def table(self) -> tuple[Op, ...]:
        """Returns the rows that ``operators`` number: ``OPERATORS``, then a user's own."""
        return self.family.table


def parse_number(name: str) -> float | None:
    """Returns the number that a token's name writes; None if it writes none that float32 holds."""
    try:
        value = float(name)
    except ValueError:
        return None
    return value if abs(value) <= float(np.finfo(np.float32).max) else None


def extend_family(family: str | Family, extra: Sequence[Op]) -> Family:
    """Returns the family with a user's operators, checked, at the end of its table.

    Raises:
      ValueError: for an operator that is not sound, or whose name is taken, with the reason.

    Example:
      >>> form = "({0} * {0} * {0})"
      >>> cube = Op("cube", 1, lambda x: x * x * x, "cube({0})", "{0}^3", python=form, torch=form)
      >>> extend_family("pointwise", [cube]).table[-1].name
      'cube'
    """
    family = as_family(family)
    if not extra:
        return family
    taken = [PAD, *(op.name for op in family.table), *get_operands(family)]
    for op in extra:
        if getattr(op, "name", None) in taken:
            raise ValueError(f"operator {op.name!r} is refused: the name is taken")
        validate_op(op)
        if op.aggregate and not family.aggregates:
            raise ValueError(f"operator {op.name!r} is refused: {family.name} is elementwise")
        taken.append(op.name)
    return family._replace(table=(*family.table, *extra))


class _Token(NamedTuple):
    """One entry of a vocabulary; see there."""

    name: str
    arity: int
    op: int = -1
    register: int = -1
    reads: tuple[int, int] = (-1, -1)
    constant: float = 0.0


def _make_operand(name: str, family: Family) -> _Token:
    if name in family.registers:
        return _Token(name, arity=0, register=family.registers.index(name))
    if name == FREE:
        return _Token(name, arity=0, op=NUMBER_OF["number"], constant=FREE_VALUE)
    if name in get_operands(family):
        number, lhs, rhs = get_load(family, name)
        return _Token(name, arity=0, op=number, reads=(lhs, rhs))
    if (value := parse_number(name)) is not None:
        return _Token(name, arity=0, op=NUMBER_OF["number"], constant=value)
    hint = did_you_mean(name, [*get_operands(family), "1", FREE])
    raise ValueError(f"operand {name!r} is neither known nor a finite number{hint}")


def make_vocabulary(
    operators: Sequence[str] | None = None,
    operands: Sequence[str] | None = None,
    *,
    family: str | Family = POINTWISE,
    extra: Sequence[Op] = (),
) -> Vocabulary:
    """Builds the vocabulary of a search space.

    Args:
      operators: names of operators, in any order; None for the family's default.
      operands: those of the family (``pred``, ``label`` and ``logit``, or ``pos``, ``neg``,
        ``diff``, ``threshold`` and ``num_negatives``), ``1``, numbers such as ``"0.5"``, or ``c``
        for free constants; None for the family's default.
      family: ``"pointwise"``, ``"pairwise"``, or a ``Family``.
      extra: your own operators, in addition to ``operators``. The vocabulary's ``family`` is the
        language that has them.

    Raises:
      ValueError: for an unknown or repeated name, a space without operands, or an operator of your
        own that is not sound, with the reason.

    Example:
      >>> make_vocabulary(operators=("add", "log"), operands=("pred", "label")).names
      ('PAD', 'pred', 'label', 'add', 'log')
      >>> make_vocabulary(("softplus",), family="pairwise").names
      ('PAD', 'pos', 'neg', 'diff', '1', 'softplus')
      >>> form = "({0} * {0} * {0})"
      >>> cube = Op("cube", 1, lambda x: x * x * x, "cube({0})", "{0}^3", python=form, torch=form)
      >>> make_vocabulary(("sub",), extra=[cube]).names
      ('PAD', 'pred', 'label', '1', 'sub', 'cube')
    """
    family = extend_family(family, extra)
    operators = family.operators if operators is None else operators
    operands = family.operands if operands is None else operands
    known = get_operators(family)
    operators = [*operators, *(op.name for op in extra if op.name not in operators)]
    names = [*operands, *operators]
    if not operands:
        raise ValueError("a search space needs at least one operand, got none")
    if len(set(names)) != len(names):
        raise ValueError(f"a search space lists each name once, got {names}")
    tokens = [_Token(PAD, arity=-1), *(_make_operand(name, family) for name in operands)]
    for name in operators:
        if name not in known:
            raise ValueError(f"{name!r} is not an operator{did_you_mean(name, list(known))}")
        tokens.append(_Token(name, arity=family.table[known[name]].arity, op=known[name]))
    return Vocabulary(
        names=tuple(token.name for token in tokens),
        arity=np.asarray([token.arity for token in tokens], np.int32),
        op=np.asarray([token.op for token in tokens], np.int32),
        register=np.asarray([token.register for token in tokens], np.int32),
        reads=np.asarray([token.reads for token in tokens], np.int32),
        constant=np.asarray([token.constant for token in tokens], np.float32),
        family=family,
    )


DEFAULT_VOCABULARY = make_vocabulary()


def make_grammar(
    vocab: Vocabulary, length: int, *, length_prior: tuple[float, float] | None = None
) -> Grammar:
    """Builds the grammar of ``length`` tokens, under which every sequence is a loss.

    With stack depth ``d`` and ``r`` slots left (this one included), a token of arity ``a`` is
    allowed iff ``a <= d`` and ``d - a + 1 <= r``; padding iff ``d = 1``, and then only padding.

    With a length prior of mean ``m`` and deviation ``s``, ``-(t - m)^2 / (2 s^2)`` is added to the
    logits of padding that would end a loss at ``t < m`` tokens, and of other tokens after which a
    loss has at least ``t > m`` tokens. This is the soft length prior of Landajuela et al., 2021,
    arXiv:2107.09158, for postfix, where each value on the stack but one needs a binary operator.

    Args:
      vocab: vocabulary of the space.
      length: tokens in a sequence, L.
      length_prior: mean and deviation of the number of tokens; None for no prior.

    Raises:
      ValueError: for a length below 1, or a deviation that is not above 0.

    Example:
      >>> vocab = make_vocabulary(("add",), ("pred", "label"))
      >>> grammar = make_grammar(vocab, length=3)
      >>> allowed = grammar.allowed(1, 2, 1)  # after "pred" with two slots left
      >>> [name for name, is_allowed in zip(vocab.names, allowed) if is_allowed]
      ['PAD', 'pred', 'label']
    """
    add_prior = _check_length(length, length_prior)
    arity = jnp.asarray(vocab.arity)
    is_pad = arity < 0
    # Without a binary operator, two values never become one.
    max_depth = length if np.any(vocab.arity == 2) else 1

    def allowed(depth: Array, remaining: Array, previous: Array) -> Array:
        fits = (arity <= depth) & (depth - arity + 1 <= jnp.minimum(remaining, max_depth)) & ~is_pad
        ended = (previous == 0) & (depth > 0)
        return jnp.where(ended, is_pad, jnp.where(depth == 1, fits | is_pad, fits))

    def advance(depth: Array, token: Array) -> Array:
        return jnp.where(is_pad[token], depth, depth - arity[token] + 1)

    def prior(depth: Array, remaining: Array) -> Array:
        return add_prior(length - remaining, depth - arity + 1, is_pad)

    return Grammar(
        length=length, size=len(vocab.names), allowed=allowed, advance=advance, prior=prior
    )


def _check_length(
    length: int, length_prior: tuple[float, float] | None
) -> Callable[[Array, Array, Array], Array]:
    """Returns what a length prior adds to the logits of tokens [V].

    It is a function of the tokens that are written, the tokens that still come at least [V], and
    whether each is padding [V].

    Raises:
      ValueError: see ``make_grammar``.
    """
    if length < 1:
        raise ValueError(f"a loss needs at least one token, got length {length}")
    mean, deviation = (0.0, np.inf) if length_prior is None else length_prior
    if not deviation > 0 or not np.isfinite(mean):
        raise ValueError(
            f"a length prior is a mean and a deviation above 0, or None, got {length_prior}"
        )

    def prior(num_written: Array, at_least: Array, is_pad: Array) -> Array:
        too_short = jnp.maximum(mean - num_written, 0)
        too_long = jnp.maximum(num_written + at_least - mean, 0)
        return -(jnp.where(is_pad, too_short, too_long) ** 2) / (2 * deviation**2)

    return prior


CONSTANT, POSITIVE, NEGATIVE = range(3)
"""What a value on the stack belongs to: nothing, a positive, or each of its negatives."""
_DEPTH_BITS, _KIND_BITS = 5, 2
MAX_TYPED_DEPTH = (31 - _DEPTH_BITS) // _KIND_BITS


def make_typed_grammar(
    vocab: Vocabulary, length: int, *, length_prior: tuple[float, float] | None = None
) -> Grammar:
    """Builds a grammar of pairwise losses that knows what each value belongs to.

    Beyond ``make_grammar``, an aggregate takes a value of each negative, and no operator takes
    constants alone: such a value is a constant again, or what it was, in more tokens. Every
    sequence reads a score.

    The state holds the kinds of all values on the stack, two bits each, above its depth.

    Args:
      vocab: vocabulary of the space, of a pairwise family.
      length: tokens in a sequence, L.
      length_prior: see ``make_grammar``.

    Raises:
      ValueError: for a family that is not pairwise, a space that no binary operator joins or that
        has no operand of a positive or a negative, or the errors of ``make_grammar``.

    Example:
      >>> vocab = make_vocabulary(("add", "exp", "mean_neg"), ("pos", "c"), family="pairwise")
      >>> grammar = make_typed_grammar(vocab, length=5)
      >>> state = grammar.advance(jnp.int32(0), 1)  # pos
      >>> allowed = grammar.allowed(state, 4, 1)
      >>> [name for name, is_allowed in zip(vocab.names, allowed) if is_allowed]
      ['PAD', 'pos', 'c', 'exp']
    """
    add_prior = _check_length(length, length_prior)
    arity, kind = jnp.asarray(vocab.arity), jnp.asarray(_find_kinds(vocab))
    is_pad = arity < 0
    rows = [vocab.table[number] if number >= 0 else None for number in vocab.op]
    aggregates = jnp.asarray([row is not None and row.arity > 0 and row.aggregate for row in rows])
    max_depth = min(length, MAX_TYPED_DEPTH) if np.any(vocab.arity == 2) else 1

    def write(state: Array) -> tuple[Array, Array, Array]:
        """Returns, for each token, whether its arguments suit it, and depth and kinds after it."""
        depth, kinds = _unpack(state)
        top, second = kinds & 3, kinds >> _KIND_BITS & 3
        suits = jnp.select(
            [arity == 0, arity == 1],
            [True, jnp.where(aggregates, top == NEGATIVE, top != CONSTANT)],
            jnp.maximum(top, second) != CONSTANT,
        )
        result = jnp.select(
            [arity == 0, arity == 1],
            [kind, jnp.where(aggregates, POSITIVE, top)],
            jnp.maximum(top, second),
        )
        kinds = kinds >> _KIND_BITS * jnp.maximum(arity, 0) << _KIND_BITS | result
        return suits & (arity <= depth) & ~is_pad, depth - arity + 1, kinds

    def allowed(state: Array, remaining: Array, previous: Array) -> Array:
        suits, new_depth, new_kinds = write(state)
        needed, is_stuck = _count_needed(new_depth, new_kinds)
        fits = suits & (needed < remaining) & (new_depth + is_stuck <= max_depth)
        depth, kinds = _unpack(state)
        may_end = (depth == 1) & (kinds & 3 != CONSTANT)
        ended = (previous == 0) & (depth > 0)
        return jnp.where(ended, is_pad, fits | is_pad & may_end)

    def advance(state: Array, token: Array) -> Array:
        _, depth, kinds = write(state)
        new_state = (kinds << _DEPTH_BITS | depth)[token]
        return jnp.where(is_pad[token], state, new_state).astype(jnp.int32)

    def prior(state: Array, remaining: Array) -> Array:
        _, depth, kinds = write(state)
        return add_prior(length - remaining, 1 + _count_needed(depth, kinds)[0], is_pad)

    return Grammar(
        length=length, size=len(vocab.names), allowed=allowed, advance=advance, prior=prior
    )


def _unpack(state: Array) -> tuple[Array, Array]:
    """Returns depth and kinds of a typed grammar's state."""
    return state & (1 << _DEPTH_BITS) - 1, state >> _DEPTH_BITS


def _count_needed(depth: Array, kinds: Array) -> tuple[Array, Array]:
    """Returns how many tokens make one value of a stack, and whether constants alone are on top.

    Those need an operand behind them, and an operator more.
    """
    top, second = kinds & 3, kinds >> _KIND_BITS & 3
    is_stuck = (top == CONSTANT) & ((depth == 1) | (second == CONSTANT))
    return depth - 1 + 2 * is_stuck, is_stuck


def _find_kinds(vocab: Vocabulary) -> np.ndarray:
    """Returns what each operand belongs to [V]; 0 for operators.

    Raises:
      ValueError: if no operand belongs to a positive or a negative.
    """
    if not vocab.family.is_pairwise:
        raise ValueError(f"a typed grammar is of pairwise losses, got {vocab.family.name} ones")
    of_register = {-1: CONSTANT, 0: POSITIVE, 1: NEGATIVE, 2: CONSTANT}
    kinds = np.zeros(len(vocab.names), np.int32)
    for i, number in enumerate(vocab.op):
        if vocab.arity[i] != 0:
            continue
        if number < 0:
            kinds[i] = of_register[int(vocab.register[i])]
        elif vocab.table[number].name == "threshold":
            kinds[i] = POSITIVE
        else:
            kinds[i] = max(of_register[int(read)] for read in vocab.reads[i])
    if not kinds.any():
        raise ValueError(f"a ranking loss reads pos, neg or diff, got {vocab.names}")
    return kinds


def encode_tokens(names: Sequence[str], vocab: Vocabulary = DEFAULT_VOCABULARY) -> np.ndarray:
    """Returns token numbers [L] for names in postfix order, checked against the grammar.

    Raises:
      ValueError: for an unknown name or a sequence that is no loss; it names the position.

    Example:
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
            raise ValueError(f"token {position} {PAD} follows {depth} values, expected 1")
        if arity > depth:
            raise ValueError(f"token {position} {name!r} takes {arity} values, got {depth}")
        ended = arity < 0
        depth = depth if ended else depth - arity + 1
        numbers.append(token)
    if depth != 1:
        raise ValueError(f"a loss leaves one value, these {len(numbers)} tokens leave {depth}")
    return np.asarray(numbers, np.int32)
