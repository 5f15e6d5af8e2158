"""The operator table: the one place that says what each operator of the loss language is.

Evaluation, gradients, parsing and every printed form read these rows, so they cannot disagree.
Operators 0 to 8 are the paper's nine, in the order of the original implementation. Formulas may use
the others, too; a search uses them only when asked to.

Every row has a finite value and derivative for arguments within the bounds: when programs are
evaluated in parallel, each slot runs every operator and keeps one result.

Aggregates over the negatives of an example (the last axis) belong to pairwise losses and are not
elementwise.
"""

import math
import operator
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.custom_derivatives import SymbolicZero

from ..interfaces import Array

EPS = 1e-6
"""Protects ``log``, ``reciprocal``, ``sqrt`` and ``div`` at zero, as in the paper."""

PAPER_BOUNDS = (1e-5, 1e5)
"""Bounds of the original implementation. They turn ``neg`` and the log of anything below 1 into a
constant, so BCE and MSE cannot be written."""

DEFAULT_BOUNDS = (-1e5, 1e5)
"""Default bounds, symmetric around zero."""


def as_bounds(bounds: tuple[float, float]) -> tuple[float, float]:
    """Returns bounds as two floats.

    Raises:
      ValueError: unless they are (low, high) with low < high.
    """
    if np.shape(bounds) != (2,) or not bounds[0] < bounds[1]:
        raise ValueError(f"bounds are (low, high) with low < high, got {bounds!r}")
    return float(bounds[0]), float(bounds[1])


class Op(NamedTuple):
    """One operator: what it computes, and how it is written.

    ``text``, ``latex``, ``python`` and ``torch`` are templates of arguments ``{0}`` and ``{1}``.
    In LaTeX, arguments get brackets where the template has none; the result gets none.

    A user's own operator is such a row, too; ``make_vocabulary`` checks it.

    Example:
      >>> form = "({0} * {0} * {0})"
      >>> Op("cube", 1, lambda x: x * x * x, "cube({0})", "{0}^3", python=form, torch=form).name
      'cube'
    """

    name: str
    arity: int
    function: Callable[..., Array]  # of an aggregate, also of optional mask and weights
    text: str
    latex: str
    python: str
    torch: str
    precedence: int = 4  # of ``text``, by Python's rules: 1 sum, 2 product, 3 sign, 4 call or name
    commutative: bool = False
    aggregate: bool = False  # every entry of the last axis gets the same value
    size: Callable[..., float] | None = None  # largest sizes of arguments -> that of the result
    exact: Callable[..., Array] | None = None  # the function without its protection, if it has one


@jax.custom_jvp
def _log(x: Array) -> Array:
    size = jnp.log(jnp.abs(x) + EPS)
    return jnp.where(x < 0, -size, jnp.where(x == 0, 0.0, size))  # that of NaN is NaN


@_log.defjvp
def _log_jvp(primals: tuple[Array], tangents: tuple[Array]) -> tuple[Array, Array]:
    # Written out, because the rule derived from sign and abs multiplies signs that cancel.
    (x,), (t,) = primals, tangents
    return _log(x), jnp.where(x == 0, 0.0, t / (jnp.abs(x) + EPS))


@jax.custom_jvp
def _reciprocal(x: Array) -> Array:
    return jnp.sign(x) / (jnp.abs(x) + EPS)


@_reciprocal.defjvp
def _reciprocal_jvp(primals: tuple[Array], tangents: tuple[Array]) -> tuple[Array, Array]:
    (x,), (t,) = primals, tangents
    y = _reciprocal(x)
    return y, -(y * y) * t


@jax.custom_jvp
def _div(x: Array, y: Array) -> Array:
    """Divides exactly where ``|y| >= EPS``; a smaller ``y`` counts as ``EPS`` with its sign."""
    return x / _divisor(y)


def _divisor(y: Array) -> Array:
    return jnp.where(jnp.abs(y) < EPS, jnp.where(y < 0, -EPS, EPS), y)


def _div_jvp(primals: tuple[Array, Array], tangents: tuple) -> tuple[Array, Array]:
    # Written out to divide once; the derived rule also divides by the square of the divisor.
    (x, y), (tx, ty) = primals, tangents
    divisor = _divisor(y)
    value, inverse = x / divisor, 1 / divisor
    tangent = jnp.zeros_like(value)
    if not isinstance(tx, SymbolicZero):
        tangent += inverse * tx
    if not isinstance(ty, SymbolicZero):
        tangent -= jnp.where(jnp.abs(y) < EPS, 0.0, value * inverse) * ty
    return value, tangent


_div.defjvp(_div_jvp, symbolic_zeros=True)


def _sqrt(x: Array) -> Array:
    return jnp.sign(x) * jnp.sqrt(jnp.abs(x) + EPS)


def _exp(x: Array) -> Array:
    return jnp.exp(jnp.minimum(x, 80.0))  # finite in float32, and far above the upper bound


def _exact_log(x: Array) -> Array:
    return jnp.sign(x) * jnp.log(jnp.abs(x))


def _exact_reciprocal(x: Array) -> Array:
    return 1 / x


@jax.custom_jvp
def _exact_sqrt(x: Array) -> Array:
    return jnp.sign(x) * jnp.sqrt(jnp.abs(x))


@_exact_sqrt.defjvp
def _exact_sqrt_jvp(primals: tuple[Array], tangents: tuple[Array]) -> tuple[Array, Array]:
    (x,), (t,) = primals, tangents
    # Huge at 0 in place of infinite: a constant root of 0 has slope 0, and JAX can transpose this.
    size = jnp.maximum(jnp.abs(x), jnp.finfo(jnp.result_type(x)).tiny)
    return _exact_sqrt(x), 0.5 * t / jnp.sqrt(size)


def _abs(x: Array) -> Array:
    return jnp.sign(x) * x  # derivative 0 at 0, as in PyTorch; that of jnp.abs is 1


def _square(x: Array) -> Array:
    return x * x


def _identity(x: Array) -> Array:
    return x


def _sum_neg(x: Array, where: Array | None = None, weights: Array | None = None) -> Array:
    weighted = x if weights is None else weights * x
    return jnp.broadcast_to(jnp.sum(weighted, -1, keepdims=True, where=where), x.shape)


def _mean_neg(x: Array, where: Array | None = None, weights: Array | None = None) -> Array:
    return jnp.broadcast_to(mean_of_negatives(x, where, weights)[..., None], x.shape)


def mean_of_negatives(x: Array, where: Array | None = None, weights: Array | None = None) -> Array:
    """Computes the mean [...] over the last axis of values, with the weights of negatives."""
    if weights is None:
        return jnp.mean(x, -1, where=where)
    weights = jnp.broadcast_to(weights, x.shape)
    return jnp.sum(weights * x, -1, where=where) / jnp.sum(weights, -1, where=where)


def _logsumexp_neg(x: Array, where: Array | None = None, weights: Array | None = None) -> Array:
    weighted = x if weights is None else x + jnp.log(weights)
    lowest = jnp.finfo(x.dtype).min  # of minus infinity alone, the gradient would be 0 / 0
    counts = weighted != -jnp.inf
    # One mask: jax.nn.logsumexp(where=) applies three, each a pass over all negatives.
    kept = jnp.where(counts if where is None else where & counts, weighted, lowest)
    total = jax.nn.logsumexp(kept, -1, keepdims=True)
    return jnp.broadcast_to(jnp.where(total < lowest / 2, -jnp.inf, total), x.shape)


def _max_neg(x: Array, where: Array | None = None, weights: Array | None = None) -> Array:
    del weights  # a negative is the largest however often it is drawn
    largest = jnp.max(x, -1, keepdims=True, where=where, initial=-jnp.inf)
    return jnp.broadcast_to(largest, x.shape)


def _call(
    name: str, arity: int, function: Callable[..., Array], *, latex: str, python: str, **fields: Any
) -> Op:
    """Returns the row of an operator that is written as a call.

    PyTorch's form, where it is not given, is the JAX form with PyTorch's names.
    """
    text = f"{name}({{0}})" if arity == 1 else f"{name}({{0}}, {{1}})"
    torch = python.replace("jnp.", "torch.").replace("jax.nn.", "torch.")
    fields = {"torch": torch, **fields}
    return Op(name, arity, function, text=text, latex=latex, python=python, **fields)


def _infix(name: str, function: Callable[..., Array], form: str, **fields: Any) -> Op:
    """Returns the row of an operator that is written the same in text, Python and PyTorch."""
    fields = {"latex": form, **fields}
    return Op(name, 2, function, text=form, python=form, torch=form, **fields)


def _same(x: float) -> float:
    return x


def _one(x: float) -> float:
    return 1.0


def _size_of_log(x: float) -> float:
    return max(-math.log(EPS), math.log(x + EPS))


_PROTECTED = "(jnp.abs({0}) + 1e-06)"

OPERATORS: tuple[Op, ...] = (
    # The paper's nine.
    _infix("add", jnp.add, "{0} + {1}", precedence=1, commutative=True, size=operator.add),
    _infix(
        "mul",
        jnp.multiply,
        "{0} * {1}",
        latex=r"{0} \cdot {1}",
        precedence=2,
        commutative=True,
        size=operator.mul,
    ),
    _call(
        "max",
        2,
        jnp.maximum,
        latex=r"\max\left({0}, {1}\right)",
        python="jnp.maximum({0}, {1})",
        commutative=True,
        size=max,
    ),
    _call(
        "min",
        2,
        jnp.minimum,
        latex=r"\min\left({0}, {1}\right)",
        python="jnp.minimum({0}, {1})",
        commutative=True,
        size=max,
    ),
    Op(
        "neg",
        1,
        jnp.negative,
        text="-{0}",
        latex="-{0}",
        python="-{0}",
        torch="-{0}",
        precedence=3,
        size=_same,
    ),
    # A copy: it fills the slots that a short program leaves over. Only the paper searches with it.
    _call("id", 1, _identity, latex="{0}", python="{0}", size=_same),
    _call(
        "log",
        1,
        _log,
        latex=r"\log\left({0}\right)",
        python=f"(jnp.sign({{0}}) * jnp.log{_PROTECTED})",
        size=_size_of_log,
        exact=_exact_log,
    ),
    _call(
        "square",
        1,
        _square,
        latex=r"\left({0}\right)^{{2}}",
        python="jnp.square({0})",
        size=lambda x: x * x,
    ),
    _call(
        "reciprocal",
        1,
        _reciprocal,
        latex=r"\frac{{1}}{{{0}}}",
        python=f"(jnp.sign({{0}}) / {_PROTECTED})",
        size=lambda x: 1 / EPS,
        exact=_exact_reciprocal,
    ),
    # The others.
    _infix("sub", jnp.subtract, "{0} - {1}", precedence=1, size=operator.add),
    Op(
        "div",
        2,
        _div,
        text="{0} / {1}",
        latex=r"\frac{{{0}}}{{{1}}}",
        python="({0} / jnp.where(jnp.abs({1}) < 1e-06, jnp.where({1} < 0, -1e-06, 1e-06), {1}))",
        # A where of two numbers is float32 in PyTorch; clamps keep the dtype.
        torch="({0} / torch.where({1} < 0, torch.clamp({1}, max=-1e-06), "
        "torch.clamp({1}, min=1e-06)))",
        precedence=2,
        size=lambda x, y: x / EPS,
        exact=jnp.divide,
    ),
    _call(
        "sigmoid",
        1,
        jax.nn.sigmoid,
        latex=r"\sigma\left({0}\right)",
        python="jax.nn.sigmoid({0})",
        size=_one,
    ),
    _call("tanh", 1, jnp.tanh, latex=r"\tanh\left({0}\right)", python="jnp.tanh({0})", size=_one),
    _call(
        "relu",
        1,
        jax.nn.relu,
        latex=r"\max\left(0, {0}\right)",
        python="jax.nn.relu({0})",
        size=_same,
    ),
    _call(
        "abs",
        1,
        _abs,
        latex=r"\left|{0}\right|",
        python="(jnp.sign({0}) * {0})",
        torch="torch.abs({0})",
        size=_same,
    ),
    _call(
        "sqrt",
        1,
        _sqrt,
        latex=r"\sqrt{{{0}}}",
        python=f"(jnp.sign({{0}}) * jnp.sqrt{_PROTECTED})",
        size=lambda x: math.sqrt(x + EPS),
        exact=_exact_sqrt,
    ),
    _call(
        "exp",
        1,
        _exp,
        latex=r"\exp\left({0}\right)",
        python="jnp.exp(jnp.minimum({0}, 80.0))",
        torch="torch.exp(torch.clamp({0}, max=80.0))",
        size=lambda x: math.exp(min(x, 80.0)),
        exact=jnp.exp,
    ),
    _call(
        "softplus",
        1,
        jax.nn.softplus,
        latex=r"\log\left(1 + e^{{{0}}}\right)",
        python="jax.nn.softplus({0})",
        torch="torch.logaddexp({0}, torch.zeros_like({0}))",
        size=lambda x: x + 0.7,
    ),
    # Loads bring an operand that is not in a register into one.
    Op("logit", 0, _identity, text="logit", latex="z", python="logit", torch="logit"),
    Op("number", 0, _identity, text="{0}", latex="{0}", python="{0}", torch="{0}"),
    # Aggregates over the negatives.
    _call(
        "sum_neg",
        1,
        _sum_neg,
        latex=r"\left[\sum_{{j}} \left({0}\right)\right]",
        python="jnp.broadcast_to(jnp.sum({0}, -1, keepdims=True), {0}.shape)",
        torch="torch.sum({0}, -1, keepdim=True).expand_as({0})",
        aggregate=True,
    ),
    _call(
        "mean_neg",
        1,
        _mean_neg,
        latex=r"\left[\frac{{1}}{{S}} \sum_{{j}} \left({0}\right)\right]",
        python="jnp.broadcast_to(jnp.mean({0}, -1, keepdims=True), {0}.shape)",
        torch="torch.mean({0}, -1, keepdim=True).expand_as({0})",
        aggregate=True,
        size=_same,
    ),
    _call(
        "logsumexp_neg",
        1,
        _logsumexp_neg,
        latex=r"\left[\log \sum_{{j}} e^{{{0}}}\right]",
        python="jnp.broadcast_to(jax.nn.logsumexp({0}, -1, keepdims=True), {0}.shape)",
        torch="torch.logsumexp({0}, -1, keepdim=True).expand_as({0})",
        aggregate=True,
    ),
    # Added later: an operator keeps its number.
    _call(
        "atan",
        1,
        jnp.arctan,
        latex=r"\arctan\left({0}\right)",
        python="jnp.arctan({0})",
        size=lambda x: math.pi / 2,
    ),
    Op(
        "threshold",
        0,
        _identity,
        text="threshold",
        latex="b_{u}",
        python="threshold",
        torch="threshold",
    ),
    _call(
        "max_neg",
        1,
        _max_neg,
        latex=r"\left[\max_{{j}} {0}\right]",
        python="jnp.broadcast_to(jnp.max({0}, -1, keepdims=True), {0}.shape)",
        torch="torch.amax({0}, -1, keepdim=True).expand_as({0})",
        aggregate=True,
    ),
    # Its argument counts as a number that the gradient does not pass: a weight of hard examples.
    _call(
        "stop_gradient",
        1,
        jax.lax.stop_gradient,
        latex=r"\operatorname{{sg}}\left({0}\right)",
        python="jax.lax.stop_gradient({0})",
        torch="({0}).detach()",
        size=_same,
    ),
)
"""Every operator that a program may use; an operator's index is its number in ``Program.op``."""


def remove_protection(table: Sequence[Op]) -> tuple[Op, ...]:
    """Returns a table whose operators are what their formulas say, infinite where they have a pole.

    Example:
      >>> log = remove_protection(OPERATORS)[NUMBER_OF["log"]].function
      >>> float(log(jnp.array(1.0))), float(log(jnp.array(0.0)))
      (0.0, nan)
    """
    return tuple(op._replace(function=op.exact or op.function) for op in table)


NUMBER_OF: dict[str, int] = {op.name: number for number, op in enumerate(OPERATORS)}
PAPER_OPERATORS = ("add", "mul", "max", "min", "neg", "id", "log", "square", "reciprocal")


@jax.custom_jvp
def clip(x: Array, low: Array, high: Array) -> Array:
    """Clips ``x`` into ``[low, high]``; the gradient passes inside and on the bounds.

    ``jnp.clip`` halves the gradient on a bound; the original (PyTorch's ``clamp``) does not.
    """
    return jnp.minimum(jnp.maximum(x, low), high)


@clip.defjvp
def _clip_jvp(primals, tangents):
    x, low, high = primals
    return clip(x, low, high), jnp.where((x >= low) & (x <= high), tangents[0], 0.0)


def compute_logit(pred: Array) -> Array:
    """Returns the logit of a probability; for 0 and 1, the last finite one.

    ``sigmoid`` rounds to 0 and 1, where the logit is infinite and its product with 0 is NaN. The
    derivative there is that of the last finite logit, so a wrong 0 or 1 is still corrected.
    """
    limits = jnp.finfo(pred.dtype)
    # Twice the least normal number, as rounding below that is to 0.
    inside = jnp.clip(pred, 2 * limits.tiny, 1 - limits.epsneg)
    return jax.scipy.special.logit(pred + jax.lax.stop_gradient(inside - pred))
