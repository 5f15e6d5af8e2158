"""Losses as functions: a program is unrolled while tracing, so XLA sees only what it uses.

``interpret`` evaluates the same operators with the program as traced data; tests compare the two.
"""

import html
import inspect
import math
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache, partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from ..interfaces import Array
from ..suggest import did_you_mean
from .families import LARGEST_LOGIT, POINTWISE, Family, as_family
from .inputs import LossFn, LossLike, as_template
from .latex import write_latex
from .operators import (
    DEFAULT_BOUNDS,
    NUMBER_OF,
    OPERATORS,
    Op,
    as_bounds,
    clip,
    compute_logit,
    mean_of_negatives,
)
from .parser import Slot
from .printing import check_size, describe_program
from .programs import Program

UNBOUNDED = (-np.inf, np.inf)
"""Bounds that clip nothing, for losses that need no protection."""

LARGEST_SCORE = 1e30
"""What an infinite score counts as where results are clipped: its product with 0 is 0, not NaN."""

REDUCTIONS = (
    "reduce_fn=jnp.sum gives the sum, reduce_fn=None the loss of each example, and the default the "
    "mean"
)
_KEYWORDS = ("threshold", "where", "weights", "neg_weights", "constants", "reduce_fn")


def find_active_clips(
    program: Program, bounds: tuple[float, float], family: Family
) -> tuple[bool, ...]:
    """Returns, for each instruction of a static program, whether its clip can act.

    Operands are assumed to lie in the family's ranges; largest sizes are followed through the
    operators. Clips that cannot act are left out of a built or exported loss.
    """
    low, high = bounds
    smaller_bound = 0.999 * min(-low, high)  # rounding does not matter below
    larger_bound = max(abs(low), abs(high))
    sizes = [max(map(abs, interval)) for interval in family.ranges]
    active = []
    for number, lhs, rhs, constant in zip(*program, strict=True):
        op = family.table[number]
        if op.arity == 0:
            sizes.append(abs(float(constant)) if op.name == "number" else LARGEST_LOGIT)
            active.append(False)
            continue
        arguments = [sizes[register] for register in (lhs, rhs)[: op.arity]]
        size = math.inf if op.size is None else op.size(*arguments)
        active.append(not size <= smaller_bound)
        sizes.append(min(size, larger_bound))
    return tuple(active)


def evaluate(
    program: Program,
    registers: Sequence[Array],
    *,
    loads: Mapping[str, Array] | None = None,
    constants: Sequence[Array | float] | None = None,
    where: Array | None = None,
    neg_weights: Array | None = None,
    bounds: tuple[float, float] = DEFAULT_BOUNDS,
    family: Family = POINTWISE,
    clipped: Sequence[bool] | None = None,
) -> Array:
    """Evaluates a static program by unrolling it.

    What belongs to a positive may have a last axis of 1. It stays so as long as no negative comes
    in, so a factor of a positive costs nothing per negative.

    Args:
      program: from ``as_static``.
      registers: values of registers 0, 1 and 2, arrays that broadcast to the second.
      loads: name -> values of operands that the program loads, such as ``logit``.
      constants: for each instruction, in place of the program's; may be traced.
      where: mask of the entries that aggregates take; None for all.
      neg_weights: how much each of them counts; None for alike.
      bounds: every result is clipped to them.
      family: the language of the program.
      clipped: for each instruction, whether its result is clipped; None to clip all.

    Returns:
      The loss of each entry, of a shape that broadcasts to the second register's.
    """
    registers, shape = list(registers), registers[1].shape
    clipped = [True] * len(program.op) if clipped is None else clipped
    values = program.constant if constants is None else constants
    rows = zip(*program[:3], values, clipped, strict=True)
    for number, lhs, rhs, constant, is_clipped in rows:
        op = family.table[number]
        arguments = [registers[r] for r in (lhs, rhs)[: op.arity]]
        if op.name == "number":
            registers.append(jnp.full_like(registers[0], constant))
        elif op.arity == 0:
            assert loads is not None, f"a program that loads {op.name} is evaluated with it"
            registers.append(loads[op.name])
        else:
            if op.aggregate:
                settings = (where,) if neg_weights is None else (where, neg_weights)
                value = op.function(jnp.broadcast_to(arguments[0], shape), *settings)[..., :1]
            else:
                value = op.function(*arguments)
            registers.append(clip(value, *bounds) if is_clipped and bounds != UNBOUNDED else value)
    return registers[-1]


def build_loss(
    source: LossLike,
    /,
    *,
    inputs: str = "logits",
    bounds: tuple[float, float] = DEFAULT_BOUNDS,
    family: str | Family = "pointwise",
    **constants: float,
) -> LossFn:
    """Builds a jitted loss; the same source returns the same object, so nothing is traced twice.

    Args:
      source: a formula of operands and numbers, tokens (a list, or text), or a ``Program``.
      inputs: what the scores are, ``"logits"`` or ``"probabilities"``.
      bounds: all intermediate results are clipped to them, where they can get so large.
      family: ``"pointwise"``, of scores and labels; ``"pairwise"``, of logits of positives and of
        their negatives; or one with your own operators.
      **constants: values of names in the formula.

    Example:
      >>> loss = build_loss("square(label - pred)")
      >>> float(loss(jnp.array([0.0, 0.0]), jnp.array([1.0, 0.0])))
      0.25
      >>> build_loss("relu(m - diff)", family="pairwise", m=0.5, bounds=UNBOUNDED)
      <pairwise loss of logits: relu(m - (pos - neg)), m=0.5>
    """
    family = as_family(family)
    if inputs not in ("logits", "probabilities"):
        raise ValueError(f"inputs is 'logits' or 'probabilities', got {inputs!r}")
    if inputs == "probabilities" and family.is_pairwise:
        raise ValueError(f"inputs of a {family.name} loss are 'logits', got {inputs!r}")
    bounds = as_bounds(bounds)
    program, slots = as_template(source, family=family, **constants)
    return build_from_program(program, family, bounds, inputs=inputs, slots=slots)


def build_from_program(
    program: Program,
    family: Family,
    bounds: tuple[float, float],
    *,
    inputs: str = "logits",
    name: str = "loss",
    slots: tuple[Slot, ...] = (),
) -> LossFn:
    """Builds a jitted loss from a static program.

    Args:
      program: of the loss.
      family: its language.
      bounds: every intermediate result is clipped to them.
      inputs: ``"logits"`` or ``"probabilities"``.
      name: what Python and XLA call the loss.
      slots: where the program holds named constants, which can then be given at each call.
    """
    columns = tuple(tuple(np.asarray(part).tolist()) for part in program)
    return _build_from_parts(LossParts(columns, inputs, bounds, family, name, slots))


class LossParts(NamedTuple):
    """All that determines a built loss, in a form that can be compared and pickled."""

    columns: tuple[tuple, ...]  # of the program
    inputs: str
    bounds: tuple[float, float]
    family: Family
    name: str
    slots: tuple[Slot, ...]


class Loss:
    """A loss as ``build_loss`` and ``named_loss`` return it; ``LossFn`` says how it is called.

    It is a description, which never changes, and a compiled function. Losses that are built alike
    are equal, and so are copies and what was pickled.
    """

    def __init__(self, parts: LossParts):
        """Prepares the function; it is compiled when it is called."""
        op, lhs, rhs, constant = (np.asarray(column) for column in parts.columns)
        for part in (op, lhs, rhs, constant):
            part.flags.writeable = False  # shared by all callers that build this loss
        self.program = Program(op=op, lhs=lhs, rhs=rhs, constant=constant)
        self.family, self.bounds, self.inputs = parts.family, parts.bounds, parts.inputs
        self.constants: Mapping[str, float] = {
            slot.name: slot.sign * float(constant[slot.instruction]) for slot in parts.slots
        }
        self.reads_threshold = bool(NUMBER_OF["threshold"] in op)
        self.__name__ = self.__qualname__ = parts.name
        self._parts, self._hash = parts, hash(parts)
        function = _make_function(self.program, parts, self.reads_threshold)
        function.__name__ = function.__qualname__ = parts.name  # what XLA calls it
        self.__signature__ = inspect.signature(function)
        self.__doc__ = f"The {self._describe()}."
        self._run = jax.jit(function, static_argnames="reduce_fn")

    def __call__(self, *arguments: Any, **settings: Any) -> Array:
        """Computes the reduced loss; see ``LossFn``."""
        try:
            return self._run(*arguments, **settings)
        except TypeError as error:
            _explain_settings(settings, self.__signature__, error)
            raise

    def lower(self, *arguments: Any, **settings: Any) -> Any:
        """Lowers the loss for arguments, as ``jax.jit(...).lower`` does."""
        return self._run.lower(*arguments, **settings)

    def _describe(self) -> str:
        """Returns what the loss is, in a line."""
        name = "" if self.__name__ == "loss" else f"{self.__name__}, "
        values = "".join(f", {name}={value:g}" for name, value in self.constants.items())
        clips = "" if self.bounds == UNBOUNDED else f", intermediates clipped to {self.bounds}"
        text = describe_program(self.program, self.family, self._parts.slots)
        return f"{name}{self.family.name} loss of {self.inputs}: {text}{values}{clips}"

    def __repr__(self) -> str:
        """Returns family, formula and constants."""
        return f"<{self._describe()}>"

    def _repr_latex_(self) -> str | None:
        """Returns the formula for a notebook; None if it is too long to write."""
        try:
            check_size(self.program, self.family)
        except ValueError:
            return None
        return f"$\\displaystyle {write_latex(self.program, self.family)}$"

    def _repr_html_(self) -> str:
        """Returns the description for a notebook, the formula as code."""
        before, formula = self._describe().split(": ", 1)
        return f"<div>{html.escape(before)}: <code>{html.escape(formula)}</code></div>"

    def __eq__(self, other: object) -> bool:
        """Whether both are built alike."""
        return self is other or (isinstance(other, Loss) and self._parts == other._parts)

    def __hash__(self) -> int:
        """Returns a hash that is equal for losses that are built alike."""
        return self._hash

    def __copy__(self) -> "Loss":
        """Returns itself, as a loss never changes."""
        return self

    def __deepcopy__(self, memo: dict) -> "Loss":
        """Returns itself, as a loss never changes."""
        return self

    def __reduce__(self) -> tuple:
        """Returns what pickle writes: the parts, with the family's name and a user's operators."""
        own = self.family.table[len(OPERATORS) :]
        return _restore, (*self._parts[:3], self.family.name, own, *self._parts[4:])


def _restore(
    columns: tuple[tuple, ...],
    inputs: str,
    bounds: tuple[float, float],
    family_name: str,
    own: tuple[Op, ...],
    name: str,
    slots: tuple[Slot, ...],
) -> Loss:
    """Returns the loss that was pickled."""
    family = as_family(family_name)
    family = family._replace(table=(*family.table, *own))
    return _build_from_parts(LossParts(columns, inputs, bounds, family, name, slots))


@lru_cache(maxsize=4096)
def _build_from_parts(parts: LossParts) -> Loss:
    return Loss(parts)


def _explain_settings(
    settings: Mapping[str, Any], signature: inspect.Signature, error: TypeError
) -> None:
    """Says what to write in place of a keyword that losses do not take.

    Raises:
      TypeError: if there is one.
    """
    unknown = [name for name in settings if name not in signature.parameters]
    if "reduction" in unknown:
        raise TypeError(f"losses take no reduction: {REDUCTIONS}") from error
    if unknown:
        known = [name for name in signature.parameters if name in _KEYWORDS]
        raise TypeError(
            f"losses take no {unknown[0]!r}{did_you_mean(unknown[0], known)}; constants of a "
            "formula are given as constants={'name': value}"
        ) from error


def _make_function(
    program: Program, parts: LossParts, reads_threshold: bool
) -> Callable[..., Array]:
    """Returns the function of a loss, not compiled."""
    bounds, family, inputs = parts.bounds, parts.family, parts.inputs
    clipped = find_active_clips(program, bounds, family)
    bound = partial(_bound, bounds=bounds)

    def run_with(constants: Mapping[str, Array] | None) -> Callable[..., Array]:
        """Returns the evaluation; with other constants, clips that were left out may act."""
        if constants is None:
            return partial(evaluate, program, bounds=bounds, family=family, clipped=clipped)
        values = fill_slots(program, parts.slots, constants)
        return partial(evaluate, program, bounds=bounds, family=family, constants=values)

    def pointwise(scores, labels, *, where=None, weights=None, constants=None, reduce_fn=jnp.mean):
        dtype, (scores, labels) = _widen(scores, labels)
        run = run_with(constants)
        values, where = _pointwise_values(run, inputs, bound(scores), labels, where)
        return _reduce(values, where, weights, reduce_fn).astype(dtype)

    def pairwise(
        pos,
        neg,
        *,
        threshold=None,
        where=None,
        weights=None,
        neg_weights=None,
        constants=None,
        reduce_fn=jnp.mean,
    ):
        dtype, (pos, neg) = _widen(pos, neg)
        pos, neg, run = bound(pos), bound(neg), run_with(constants)
        if reads_threshold:
            loads = jax.tree.map(bound, _load_threshold(threshold, pos))
            run = partial(run, loads=loads)
        if neg_weights is not None and neg.shape[-1]:  # nothing is weighed where there is nothing
            neg_weights = _load_weights(neg_weights, neg)
            run = partial(run, neg_weights=neg_weights)
        values, where = _pairwise_values(run, pos, neg, where, neg_weights)
        return _reduce(values, where, weights, reduce_fn).astype(dtype)

    return pairwise if family.is_pairwise else pointwise


def _bound(scores: Array, bounds: tuple[float, float]) -> Array:
    """Returns scores in which none is infinite, where results are clipped."""
    if bounds == UNBOUNDED:
        return scores
    return jnp.where(jnp.isinf(scores), LARGEST_SCORE * jnp.sign(scores), scores)


def fill_slots(
    program: Program, slots: Sequence[Slot], constants: Mapping[str, Array | float]
) -> list[Array | float]:
    """Returns the constant of each instruction, with new values of named constants.

    Raises:
      ValueError: for a name that no slot has.
    """
    names = sorted({slot.name for slot in slots})
    for name in constants:
        if name not in names:
            raise ValueError(f"the loss has no constant {name!r}{did_you_mean(name, names)}")
    values: list[Array | float] = list(program.constant)
    for slot in slots:
        if slot.name in constants:
            values[slot.instruction] = slot.sign * jnp.asarray(constants[slot.name], jnp.float32)
    return values


def _load_threshold(threshold: Array | None, pos: Array) -> dict[str, Array]:
    """Returns the users' thresholds [..., B, 1], through which no gradient passes."""
    if threshold is None:
        raise ValueError(
            "the loss reads the users' thresholds: threshold=array of the shape of pos, a user's "
            "score at the last rank that counts"
        )
    values = _broadcast("threshold", jnp.asarray(threshold, pos.dtype), pos.shape)
    return {"threshold": jax.lax.stop_gradient(values)[..., None]}


def _load_weights(neg_weights: Array, neg: Array) -> Array:
    """Returns the weights of negatives [..., B, num_negatives]."""
    return _broadcast("neg_weights", jnp.asarray(neg_weights, neg.dtype), neg.shape)


def _pointwise_values(
    run: Callable[..., Array], inputs: str, scores: Array, labels: Array, where: Array | None
) -> tuple[Array, Array | None]:
    """Returns the loss of each score, and the mask of those that count."""
    labels = _broadcast("labels", labels, scores.shape)
    if where is not None:
        # Masked entries must not reach the operators: their gradient may be NaN.
        where = _broadcast("where", jnp.asarray(where, bool), scores.shape)
        scores = jnp.where(where, scores, 0.0 if inputs == "logits" else 0.5)
        labels = jnp.where(where, labels, 0.0)
    if inputs == "logits":
        pred, logit = jax.nn.sigmoid(scores), scores
    else:
        pred, logit = scores, compute_logit(scores)
    values = run((pred, labels, jnp.ones_like(pred)), loads={"logit": logit})
    return jnp.broadcast_to(values, scores.shape), where


def _pairwise_values(
    run: Callable[..., Array],
    pos: Array,
    neg: Array,
    where: Array | None,
    neg_weights: Array | None,
) -> tuple[Array, Array | None]:
    """Returns the loss of each example [..., B], the mean over its negatives, and their mask."""
    if neg.ndim != pos.ndim + 1 or neg.shape[:-1] != pos.shape:
        raise ValueError(
            f"pos is [..., B] and neg [..., B, num_negatives], got {pos.shape} and {neg.shape}"
        )
    if neg.shape[-1] == 0:
        neg, where = jnp.zeros((*pos.shape, 1), neg.dtype), jnp.zeros(pos.shape, bool)
    if where is None:
        values = run((pos[..., None], neg, jnp.ones_like(pos)[..., None]))
        return _mean_over_negatives(values, None, neg_weights), None
    where = _broadcast_mask(jnp.asarray(where, bool), pos.shape, neg.shape)
    neg = jnp.where(where, neg, 0.0)
    has_negatives = jnp.any(where, -1)
    pos = jnp.where(has_negatives, pos, 0.0)
    # An aggregate over nothing is not finite: examples without negatives take all, masked later.
    where = where | ~has_negatives[..., None]
    values = run((pos[..., None], neg, jnp.ones_like(pos)[..., None]), where=where)
    return _mean_over_negatives(values, where, neg_weights), has_negatives


def _mean_over_negatives(values: Array, where: Array | None, neg_weights: Array | None) -> Array:
    """Returns the mean [..., B] of what is one value of a positive, or one of each negative."""
    if values.shape[-1] == 1:
        return values[..., 0]
    return mean_of_negatives(values, where, neg_weights)


def _broadcast_mask(where: Array, pos: tuple[int, ...], neg: tuple[int, ...]) -> Array:
    """Broadcasts a mask of examples ``pos`` or of negatives ``neg`` to the negatives' shape."""
    try:
        return jnp.broadcast_to(where if where.ndim == len(neg) else where[..., None], neg)
    except ValueError:
        raise ValueError(
            f"where broadcasts to the examples {pos} or to their negatives {neg}, got {where.shape}"
        ) from None


def _broadcast(name: str, array: Array, shape: tuple[int, ...]) -> Array:
    """Broadcasts an array to the scores' shape; scores never broadcast to it."""
    try:
        return jnp.broadcast_to(array, shape)
    except ValueError:
        raise ValueError(
            f"{name} broadcast to the shape {shape} of the scores, got {array.shape}"
        ) from None


def _widen(*arrays: Array) -> tuple[jnp.dtype, list[Array]]:
    """Returns the dtype of the result, and the arrays in the dtype to compute in.

    Half precision cannot hold the bounds, so losses are computed in float32 at least.
    """
    values = [jnp.asarray(x) for x in arrays]
    if any(jnp.iscomplexobj(x) for x in values):
        got = " and ".join(str(x.dtype) for x in values)
        raise ValueError(f"a loss is of real scores and labels, got {got}")
    dtype = values[0].dtype
    dtype = dtype if jnp.issubdtype(dtype, jnp.floating) else jnp.dtype(jnp.float32)
    return dtype, [x.astype(jnp.promote_types(dtype, jnp.float32)) for x in values]


def _reduce(
    values: Array, where: Array | None, weights: Array | None, reduce_fn: Callable | None
) -> Array:
    """Reduces weighted values over those that count; 0 if none does."""
    if weights is not None:
        weights = jnp.asarray(weights, values.dtype)
        values = values * _broadcast("weights", weights, values.shape)
    if where is not None:
        values = jnp.where(where, values, 0.0)
    if reduce_fn is None:
        return values
    if not callable(reduce_fn):
        raise ValueError(f"reduce_fn is a function or None, got {reduce_fn!r}: {REDUCTIONS}")
    if where is None and values.size:
        return reduce_fn(values)
    # A mean over nothing is NaN and becomes 0; a mean over NaNs stays NaN.
    if where is None:
        reduced = reduced_ones = reduce_fn(values)
    else:
        reduced, reduced_ones = (reduce_fn(x, where=where) for x in (values, jnp.ones_like(values)))
    return jnp.where(jnp.isnan(reduced_ones), 0.0, reduced)
