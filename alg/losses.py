"""Losses: programs as functions.

Two evaluators read the operator table. ``build_loss`` unrolls one program while tracing, so XLA
sees only the operators used: for training scripts and export. ``interpret`` takes the program as
traced data, so all programs share one compilation: for the search. A test holds the two equal.
"""

from collections.abc import Callable, Sequence
from functools import lru_cache, partial
from typing import Protocol

import jax
import jax.numpy as jnp
import numpy as np

from .formulas import as_static, parse, to_text
from .operators import OPERATORS, SIGNED, clip
from .programs import DEFAULT_VOCABULARY, REGISTERS, Program, assemble, suggestion, tokens_of
from .types import Array

UNBOUNDED = (-np.inf, np.inf)

NAMED = {
    "bce": "softplus(logit) - label * logit",
    "mse": "square(label - pred)",
    "hinge": "label * relu(1 - logit) + (1 - label) * logit",
    "focal": "label * square(1 - pred) * softplus(-logit)"
    " + (1 - label) * square(pred) * softplus(logit)",
    "maxr": "max((label + s) / (pred + s), (pred + s) / (label + s))",
    "sumr": "(label + pred + s) / (s + pred * label)",
    "logmin": "log(1 / (min(label, pred) + s) + s) * (min(label, pred) + label + pred)",
}
"""The losses of the paper's comparison; ``s`` is their smoothing. Hinge is PyTorch's
``HingeEmbeddingLoss`` on logits, focal has gamma 2 (Lin et al., 2017, arXiv:1708.02002)."""

SMOOTHED = ("maxr", "sumr", "logmin")


class LossFn(Protocol):
    """A loss over a batch."""

    def __call__(
        self,
        scores: Array,
        labels: Array,
        *,
        where: Array | None = None,
        weights: Array | None = None,
        reduce_fn: Callable[..., Array] | None = jnp.mean,
    ) -> Array:
        """Give the reduced loss, or with ``reduce_fn=None`` its values, shaped like ``scores``."""
        ...


def interpret(
    program: Program,
    pred: Array,
    label: Array,
    *,
    logit: Array | None = None,
    bounds: tuple[Array | float, Array | float] = SIGNED,
    operators: Sequence[int] = tuple(range(len(OPERATORS))),
) -> Array:
    """Evaluate a program that is traced data; shapes of ``pred``, ``label`` and the result agree.

    Args:
      program: instructions, [I]; ``vmap`` over leading axes for several.
      pred: probabilities.
      label: labels.
      logit: the logits, where a program loads them; worked out from ``pred`` when left out.
      bounds: every result is clipped to them; may be traced.
      operators: numbers of the operators that programs may use (static); fewer are faster. An
        instruction with any other operator copies its first argument.

    >>> program = parse("square(label - pred)")
    >>> print(interpret(program, jnp.array([0.25, 0.5]), jnp.array([0.0, 1.0])))
    [0.0625 0.25  ]
    """
    low, high = bounds
    label = jnp.broadcast_to(jnp.asarray(label, pred.dtype), pred.shape)
    logit = jnp.log(pred) - jnp.log1p(-pred) if logit is None else logit
    op, lhs, rhs = (jnp.asarray(part, jnp.int32) for part in program[:3])
    slots, base = op.shape[0], len(REGISTERS)
    constant = jnp.asarray(program.constant, pred.dtype)
    constant = constant if constant.size else jnp.zeros(slots, pred.dtype)
    registers = jnp.zeros((base + slots, *pred.shape), pred.dtype)
    registers = registers.at[:base].set(jnp.stack([pred, label, jnp.ones_like(pred)]))

    def instruction(i: Array, registers: Array) -> Array:
        x, y = registers[lhs[i]], registers[rhs[i]]
        value = x
        for number in operators:
            row = OPERATORS[number]
            if row.arity > 0 and row.name != "id":
                value = jnp.where(op[i] == number, row.function(*(x, y)[: row.arity]), value)
        value = clip(value, low, high)
        for number in operators:
            if OPERATORS[number].arity == 0:
                loaded = logit if OPERATORS[number].name == "logit" else constant[i]
                value = jnp.where(op[i] == number, loaded, value)
        return registers.at[base + i].set(value)

    # The loop is also a wall: XLA's CPU backend would fuse unrolled instructions into the
    # embedding update and compute them again for every column.
    return jax.lax.fori_loop(0, slots, instruction, registers)[-1]


def _evaluate(program: Program, bounds, pred: Array, label: Array, logit: Array) -> Array:
    """Evaluate a static program by unrolling it."""
    registers = [pred, label, jnp.ones_like(pred)]
    for number, lhs, rhs, constant in zip(*program, strict=True):
        op = OPERATORS[number]
        if op.arity == 0:
            value = logit if op.name == "logit" else jnp.full_like(pred, constant)
        else:
            value = op.function(*(registers[r] for r in (lhs, rhs)[: op.arity]))
            value = value if bounds == UNBOUNDED else clip(value, *bounds)
        registers.append(value)
    return registers[-1]


def as_program(source: str | Sequence[int] | Sequence[str] | Program, **constants) -> Program:
    """Give the static program of a formula, of tokens (numbers or names), or of a program.

    Token numbers are those of the default vocabulary.

    Raises:
      ValueError: with the position, if the source is not a loss.
    """
    if isinstance(source, str):
        return as_static(parse(source, **constants))
    if constants:
        raise ValueError(f"constants {sorted(constants)} are for formulas, got {type(source)}")
    if isinstance(source, Program):
        return as_static(source)
    tokens = list(source)
    if not all(isinstance(token, str) for token in tokens):
        numbers = np.asarray(tokens)
        size = len(DEFAULT_VOCABULARY.names)
        for position, number in enumerate(numbers):
            if not 0 <= int(number) < size:
                raise ValueError(f"token {position} is {number}, expected 0 to {size - 1}")
        tokens = [DEFAULT_VOCABULARY.names[int(number)] for number in numbers]
    return as_static(assemble(jnp.asarray(tokens_of(tokens))))


def build_loss(
    source: str | Sequence[int] | Sequence[str] | Program,
    *,
    inputs: str = "logits",
    bounds: tuple[float, float] = SIGNED,
    **constants: float,
) -> LossFn:
    """Build a jitted loss from a formula, a token sequence or a program.

    The same source gives the same function, so nothing is traced twice.

    Args:
      source: an infix formula over ``pred``, ``label``, ``logit`` and numbers; tokens of the
        default vocabulary, as names or numbers; or a ``Program``.
      inputs: what scores are: ``"logits"``, or ``"probabilities"``.
      bounds: every intermediate result is clipped to them.
      **constants: values of names in the formula.

    Raises:
      ValueError: with the position, if the source is not a loss.

    >>> loss = build_loss("square(label - pred)")
    >>> float(loss(jnp.array([0.0, 0.0]), jnp.array([1.0, 0.0])))
    0.25
    """
    if inputs not in ("logits", "probabilities"):
        raise ValueError(f"inputs is 'logits' or 'probabilities', got {inputs!r}")
    low, high = float(bounds[0]), float(bounds[1])
    if not low < high:
        raise ValueError(f"bounds are (low, high) with low < high, got {bounds}")
    program = as_program(source, **constants)
    rows = tuple(tuple(part.tolist()) for part in program)
    return _build(rows, inputs, (low, high))


@lru_cache(maxsize=4096)
def _build(rows: tuple[tuple, ...], inputs: str, bounds: tuple[float, float]) -> LossFn:
    program = Program(*map(np.asarray, rows))

    @partial(jax.jit, static_argnames="reduce_fn")
    def loss(scores, labels, *, where=None, weights=None, reduce_fn=jnp.mean):
        scores = jnp.asarray(scores)
        dtype = scores.dtype if jnp.issubdtype(scores.dtype, jnp.floating) else jnp.float32
        # Half precision cannot hold the bounds: work in float32, answer in what came.
        working = jnp.promote_types(dtype, jnp.float32)
        scores, labels = jnp.asarray(scores, working), jnp.asarray(labels, working)
        scores, labels = jnp.broadcast_arrays(scores, labels)
        if where is not None:
            # Masked entries must not reach the operators: their gradient may be NaN.
            where = jnp.broadcast_to(where, scores.shape)
            scores = jnp.where(where, scores, 0.0 if inputs == "logits" else 0.5)
            labels = jnp.where(where, labels, 0.0)
        if inputs == "logits":
            pred, logit = jax.nn.sigmoid(scores), scores
        else:
            pred, logit = scores, jax.scipy.special.logit(scores)
        values = _evaluate(program, bounds, pred, labels, logit)
        if weights is not None:
            values = values * jnp.asarray(weights, working)
        if where is not None:
            values = jnp.where(where, values, 0.0)
        if reduce_fn is None:
            return values.astype(dtype)
        if where is None and values.size:
            return reduce_fn(values).astype(dtype)
        where = jnp.ones(values.shape, bool) if where is None else where
        return jnp.where(jnp.any(where), reduce_fn(values, where=where), 0.0).astype(dtype)

    loss.__name__ = loss.__qualname__ = "loss"
    loss.__doc__ = f"Loss {to_text(program)}, clipped to {bounds}, of {inputs} and labels."
    return loss


def named_program(name: str, *, smoothing: float = 1e-6) -> Program:
    """Give the program of a named loss; to be evaluated under ``UNBOUNDED``.

    Raises:
      ValueError: for an unknown name (with a suggestion) or a smoothing that is not positive.
    """
    if name not in NAMED:
        raise ValueError(f"{name!r} is not a named loss{suggestion(name, list(NAMED))}")
    if not smoothing > 0:
        raise ValueError(f"smoothing is positive, got {smoothing}")
    constants = {"s": smoothing} if name in SMOOTHED else {}
    return as_program(NAMED[name], **constants)


def named_loss(name: str, *, smoothing: float = 1e-6) -> LossFn:
    """Build a named loss over logits: bce, mse, hinge, focal, maxr, sumr or logmin.

    Args:
      name: a key of ``NAMED``.
      smoothing: keeps the ratios of maxr, sumr and logmin finite; the others have none.

    >>> round(float(named_loss("bce")(jnp.array([0.0]), jnp.array([1.0]))), 4)
    0.6931
    """
    return build_loss(named_program(name, smoothing=smoothing), bounds=UNBOUNDED)


def slope(
    program: Program, logit: Array, label: Array, *, bounds=SIGNED, operators: Sequence[int]
) -> Array:
    """Give d loss / d logit of a traced program at every example, shaped like ``logit``.

    A loss is elementwise, so this is one forward-mode derivative; nothing is differentiated
    backwards through the interpreter.
    """

    def value(z: Array) -> Array:
        return interpret(
            program, jax.nn.sigmoid(z), label, logit=z, bounds=bounds, operators=operators
        )

    return jax.jvp(value, (logit,), (jnp.ones_like(logit),))[1]
