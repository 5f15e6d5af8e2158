"""Losses as functions: one program, unrolled while tracing, so that XLA sees only what it uses.

``interpret`` evaluates the same table with the program as traced data; a test holds the two equal.
"""

import operator
from collections.abc import Callable, Sequence
from functools import lru_cache, partial
from typing import Protocol

import jax
import jax.numpy as jnp
import numpy as np

from .families import POINTWISE, Family, as_family, operands_of, operators_of
from .formulas import as_static, described
from .operators import SIGNED, as_bounds, clip, logit_of
from .parser import Emitter, parse
from .programs import Program, as_number, tokens_of, vocabulary
from .ranges import clips
from .types import Array

UNBOUNDED = (-np.inf, np.inf)
"""Bounds that clip nothing, for losses known to be sound as they are written."""

Source = str | Sequence[int] | Sequence[str] | Program


class LossFn(Protocol):
    """A loss over a batch, as ``build_loss`` and ``named_loss`` give it.

    >>> loss = build_loss("square(label - pred)", inputs="probabilities")
    >>> pred, label = jnp.array([0.5, 0.0, 0.5]), jnp.array([1.0, 1.0, 0.0])
    >>> print(loss(pred, label, where=jnp.array([True, True, False]), reduce_fn=None))
    [0.25 1.   0.  ]
    >>> print(loss(pred, label, weights=jnp.array([1.0, 0.0, 3.0]), reduce_fn=jnp.sum))
    1.0
    """

    def __call__(
        self,
        scores: Array,
        labels: Array,
        *,
        where: Array | None = None,
        weights: Array | None = None,
        reduce_fn: Callable[..., Array] | None = jnp.mean,
    ) -> Array:
        """Give the reduced loss of scores [..., B]; the other arrays broadcast to them.

        Values are multiplied by ``weights``; then ``reduce_fn`` reduces those ``where`` says count,
        so that weights scale the loss and do not enter the mean's denominator, as in rax and optax.
        It is called as ``reduce_fn(values)``, or with ``where=`` too if a mask is given.
        ``reduce_fn=None`` gives the values [..., B], 0 where they do not count. If nothing counts,
        a mean is 0. A ``pairwise`` loss takes ``pos`` [..., B] and ``neg`` [..., B, S] in place of
        scores and labels; its ``where`` has the shape of either, its ``weights`` that of ``pos``.

        Raises:
          ValueError: if labels, mask or weights do not broadcast to the scores, which never
            broadcast themselves, or ``neg`` has no axis more than ``pos``.
        """
        ...


def evaluate(
    program: Program,
    registers: Sequence[Array],
    *,
    logit: Array | None = None,
    where: Array | None = None,
    bounds: tuple[float, float] = SIGNED,
    family: Family = POINTWISE,
    clipped: Sequence[bool] | None = None,
) -> Array:
    """Evaluate a static program by unrolling it; arrays have one shape, also the result's.

    Args:
      program: a program that ``as_static`` gave.
      registers: what registers 0, 1 and 2 hold.
      logit: the logits, for a pointwise program that loads them.
      where: for aggregates, the entries that count; all if left out.
      bounds: every result is clipped to them.
      family: the language of the program.
      clipped: the instructions whose results have to be clipped; all if left out.
    """
    registers = list(registers)
    clipped = [True] * len(program.op) if clipped is None else clipped
    for number, lhs, rhs, constant, is_clipped in zip(*program, clipped, strict=True):
        op = family.table[number]
        if op.name == "number":
            value = jnp.full_like(registers[0], constant)
        elif op.name == "logit":
            value = logit
        else:
            arguments = [registers[r] for r in (lhs, rhs)[: op.arity]]
            value = op.function(*arguments, where) if op.aggregate else op.function(*arguments)
            value = clip(value, *bounds) if is_clipped and bounds != UNBOUNDED else value
        registers.append(value)
    return registers[-1]


def _name_of(position: int, token: int, names: Sequence[str]) -> str:
    try:
        number = operator.index(token)
    except TypeError:
        number = -1
    if not 0 <= number < len(names):
        raise ValueError(f"token {position} is {token}, expected 0 to {len(names) - 1}")
    return names[number]


def _program_of_tokens(tokens: Sequence[int] | Sequence[str], family: Family) -> Program:
    """Assemble tokens outside ``jit``, where ``assemble`` would compile for each length."""
    names = list(tokens)
    if not all(isinstance(token, str) for token in names):
        known = vocabulary(family=family).names
        names = [_name_of(position, token, known) for position, token in enumerate(names)]
    operands = (*operands_of(family), "1")
    operators = tuple(operators_of(family))
    numbers = {name for name in names if as_number(name) is not None} - {"1"}
    vocab = vocabulary(operators, (*operands, *sorted(numbers)), family=family)
    emit, stack = Emitter(family), []
    for token in tokens_of(names, vocab):
        if vocab.arity[token] > 0:
            arguments = [stack.pop() for _ in range(vocab.arity[token])][::-1]
            stack.append(emit(int(vocab.op[token]), *arguments))
        elif vocab.register[token] >= 0:
            stack.append(int(vocab.register[token]))
        elif vocab.arity[token] == 0:
            reads, constant = vocab.reads[token].tolist(), float(vocab.constant[token])
            stack.append(emit(int(vocab.op[token]), *reads, constant))
    return emit.program(stack[0])


def as_program(source: Source, *, family: str | Family = POINTWISE, **constants: float) -> Program:
    """Give the static program of a formula, of postfix tokens, or of a program.

    Tokens are names, or numbers of tokens of ``vocabulary(family=family)``.

    Raises:
      ValueError: with the position, if the source is not a loss.
    """
    family = as_family(family)
    if isinstance(source, str):
        return as_static(parse(source, family=family, **constants), family)
    if constants:
        what = type(source).__name__
        raise ValueError(f"constants {sorted(constants)} are for formulas, the source is a {what}")
    if isinstance(source, Program):
        return as_static(source, family)
    if not np.iterable(source):
        raise ValueError(f"a loss is a formula, tokens or a program, got {type(source).__name__}")
    return as_static(_program_of_tokens(source, family), family)


def build_loss(
    source: Source,
    *,
    inputs: str = "logits",
    bounds: tuple[float, float] = SIGNED,
    family: str | Family = POINTWISE,
    **constants: float,
) -> LossFn:
    """Build a jitted loss from a formula, a token sequence or a program.

    The same source gives the same function, so nothing is traced twice.

    Args:
      source: an infix formula over the family's operands and numbers; postfix tokens, as names or
        as numbers in the family's default vocabulary; or a ``Program``.
      inputs: what scores are: ``"logits"``, or ``"probabilities"`` (pointwise losses only).
      bounds: every intermediate result is clipped to them. A clip that cannot act on logits up to
        10,000 and labels up to 5, of either sign, is left out.
      family: ``"pointwise"``, a loss of scores and labels; ``"pairwise"``, a loss of the logits of
        positives and of their negatives; or the family of a vocabulary with a user's operators.
      **constants: values of names in the formula.

    Raises:
      ValueError: with the position, if the source is not a loss.

    >>> loss = build_loss("square(label - pred)")
    >>> float(loss(jnp.array([0.0, 0.0]), jnp.array([1.0, 0.0])))
    0.25
    >>> loss = build_loss("relu(m - diff)", family="pairwise", m=0.5)
    >>> float(loss(jnp.array([1.0]), jnp.array([[0.0, 1.0]])))  # the mean of 0 and 0.5
    0.25
    """
    family = as_family(family)
    if inputs not in ("logits", "probabilities"):
        raise ValueError(f"inputs is 'logits' or 'probabilities', got {inputs!r}")
    if inputs == "probabilities" and family.registers != POINTWISE.registers:
        raise ValueError(f"inputs of a {family.name} loss are 'logits', got {inputs!r}")
    bounds = as_bounds(bounds)
    program = as_program(source, family=family, **constants)
    rows = tuple(tuple(part.tolist()) for part in program)
    return _build(rows, inputs, bounds, family)


@lru_cache(maxsize=4096)
def _build(
    rows: tuple[tuple, ...], inputs: str, bounds: tuple[float, float], family: Family
) -> LossFn:
    program = Program(*map(np.asarray, rows))
    clipped = clips(program, bounds, family)
    run = partial(evaluate, program, bounds=bounds, family=family, clipped=clipped)

    @partial(jax.jit, static_argnames="reduce_fn")
    def pointwise(scores, labels, *, where=None, weights=None, reduce_fn=jnp.mean):
        dtype, (scores, labels) = _working(scores, labels)
        values, where = _pointwise_values(run, inputs, scores, labels, where)
        return _reduce(values, where, weights, reduce_fn).astype(dtype)

    @partial(jax.jit, static_argnames="reduce_fn")
    def pairwise(pos, neg, *, where=None, weights=None, reduce_fn=jnp.mean):
        dtype, (pos, neg) = _working(pos, neg)
        values, where = _pairwise_values(run, pos, neg, where)
        return _reduce(values, where, weights, reduce_fn).astype(dtype)

    loss = pointwise if family.registers == POINTWISE.registers else pairwise
    loss.__name__ = loss.__qualname__ = "loss"
    text = described(program, family)
    loss.__doc__ = f"The {family.name} loss {text} of {inputs}, intermediates clipped to {bounds}."
    return loss


def _pointwise_values(
    run: Callable[..., Array], inputs: str, scores: Array, labels: Array, where: Array | None
) -> tuple[Array, Array | None]:
    """Give the value of each score, and which count."""
    labels = _spread("labels", labels, scores.shape)
    if where is not None:
        # Masked entries must not reach the operators: their gradient may be NaN.
        where = _spread("where", jnp.asarray(where, bool), scores.shape)
        scores = jnp.where(where, scores, 0.0 if inputs == "logits" else 0.5)
        labels = jnp.where(where, labels, 0.0)
    if inputs == "logits":
        pred, logit = jax.nn.sigmoid(scores), scores
    else:
        pred, logit = scores, logit_of(scores)
    return run((pred, labels, jnp.ones_like(pred)), logit=logit), where


def _pairwise_values(
    run: Callable[..., Array], pos: Array, neg: Array, where: Array | None
) -> tuple[Array, Array | None]:
    """Give the value of each example [..., B], the mean over its negatives, and which count."""
    if neg.ndim != pos.ndim + 1 or neg.shape[:-1] != pos.shape:
        raise ValueError(f"pos is [..., B] and neg [..., B, S], got {pos.shape} and {neg.shape}")
    if neg.shape[-1] == 0:
        neg, where = jnp.zeros((*pos.shape, 1), neg.dtype), jnp.zeros(pos.shape, bool)
    if where is None:
        wide = jnp.broadcast_to(pos[..., None], neg.shape)
        return jnp.mean(run((wide, neg, jnp.ones_like(neg))), -1), None
    where = jnp.asarray(where, bool)
    where = where if where.ndim == neg.ndim else where[..., None]
    where = jnp.broadcast_to(where, neg.shape)
    neg = jnp.where(where, neg, 0.0)
    has_negatives = jnp.any(where, -1)
    pos = jnp.where(has_negatives, pos, 0.0)
    wide = jnp.broadcast_to(pos[..., None], neg.shape)
    # An aggregate over nothing is not finite: examples without negatives take all, masked later.
    counted = where | ~has_negatives[..., None]
    values = run((wide, neg, jnp.ones_like(neg)), where=counted)
    return jnp.mean(values, -1, where=counted), has_negatives


def _spread(name: str, array: Array, shape: tuple[int, ...]) -> Array:
    """Broadcast an array to a shape, and never the scores to the array."""
    try:
        return jnp.broadcast_to(array, shape)
    except ValueError:
        got = f"{name} broadcast to the shape {shape} of the scores, got {array.shape}"
        raise ValueError(got) from None


def _working(*arrays: Array) -> tuple[jnp.dtype, list[Array]]:
    """Give the dtype of the answer, and the arrays in the dtype of the work.

    Half precision cannot hold the bounds, so the work is done in float32 at least.
    """
    arrays = [jnp.asarray(x) for x in arrays]
    dtype = arrays[0].dtype
    dtype = dtype if jnp.issubdtype(dtype, jnp.floating) else jnp.dtype(jnp.float32)
    return dtype, [x.astype(jnp.promote_types(dtype, jnp.float32)) for x in arrays]


def _reduce(
    values: Array, where: Array | None, weights: Array | None, reduce_fn: Callable | None
) -> Array:
    """Reduce weighted values over those that count; 0 if none does."""
    if weights is not None:
        weights = jnp.asarray(weights, values.dtype)
        values = values * _spread("weights", weights, values.shape)
    if where is not None:
        values = jnp.where(where, values, 0.0)
    if reduce_fn is None:
        return values
    if where is None and values.size:
        return reduce_fn(values)
    # A mean over nothing is NaN; one over values that are not finite stays what it is.
    if where is None:
        reduced = of_ones = reduce_fn(values)
    else:
        reduced, of_ones = (reduce_fn(x, where=where) for x in (values, jnp.ones_like(values)))
    return jnp.where(jnp.isnan(of_ones), 0.0, reduced)
