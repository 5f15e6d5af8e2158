"""Checks of an operator, so that a user's own cannot break the language.

A row of the table states one function several times: as a function, as text, as Python and as
PyTorch. It is accepted if these agree, and value and derivative are finite over the clip range.
"""

import importlib.util
import keyword
import string
from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import lru_cache, partial
from typing import NoReturn

import jax
import jax.numpy as jnp
import numpy as np

from .operators import Op

TOLERANCE = 1e-4
"""Largest difference between two forms, relative to the larger value and to at least 1."""

_SIZES = [1e-7, 1e-5, 1e-3, 0.1, *np.arange(1, 21) / 2, 79, 81, 100, 1e3, 1e4, 99999, 1e5]
_BETWEEN = np.random.default_rng(0).uniform(0, 10, 100)


def _either_sign(*sizes: np.ndarray) -> np.ndarray:
    ordered = np.unique(np.float32(np.concatenate([_SIZES, *sizes])))
    return np.concatenate([-ordered[ordered > 0][::-1], ordered])


# A pole shows only where a point hits it, and people put poles at short decimal numbers.
_POINTS = {
    1: _either_sign(np.linspace(0, 10, 1001), np.geomspace(1e-7, 1e5, 121), _BETWEEN),
    2: _either_sign(np.linspace(0, 2, 41), _BETWEEN[:5]),
}
"""Points at which operators of one argument are checked; for two, at every pair of points."""


class _Refused(ValueError):
    """Reason why an operator is refused."""


def _refuse(op: Op, reason: str) -> NoReturn:
    raise _Refused(f"operator {op.name!r} is refused: {reason}")


def use_float64() -> AbstractContextManager[None]:
    """Returns a context in which JAX computes in float64."""
    return jax.enable_x64(True)


def make_arguments(op: Op, dtype=np.float32) -> list[jax.Array]:
    """Returns arguments over the clip range, with zero and both ends; all pairs for arity 2."""
    points = _POINTS[op.arity].astype(dtype)
    pairs = (points,) if op.arity == 1 else np.meshgrid(points, points)
    return [jnp.asarray(x.ravel()) for x in pairs]


def compute_derivatives(op: Op, function: Callable[..., jax.Array]) -> list[jax.Array]:
    """Computes forward-mode derivatives of a function by each argument, then reverse-mode ones."""
    has_float64 = jax.config.jax_enable_x64  # type: ignore[attr-defined]  # JAX adds its flags later
    inputs = make_arguments(op, np.float64 if has_float64 else np.float32)

    def forward(i: int, *inputs: jax.Array) -> jax.Array:
        tangents = [jnp.full_like(x, i == j) for j, x in enumerate(inputs)]
        return jax.jvp(function, inputs, tuple(tangents))[1]

    @jax.jit
    def both(*inputs: jax.Array) -> list[jax.Array]:
        backward = jax.vjp(function, *inputs)[1](jnp.ones_like(inputs[0]))
        return [*(forward(i, *inputs) for i in range(op.arity)), *backward]

    return both(*inputs)


def call_python(op: Op, *inputs):
    """Evaluates an operator's Python form, as an exported loss would."""
    names = ("x", "y")[: op.arity]
    scope = {"jax": jax, "jnp": jnp, **dict(zip(names, inputs, strict=True))}
    return eval(compile(op.python.format(*names), f"<python form of {op.name}>", "eval"), scope)


def call_torch(op: Op, *inputs) -> list[np.ndarray]:
    """Computes value and derivatives of an operator's PyTorch form on arrays; needs PyTorch."""
    import torch

    names = ("x", "y")[: op.arity]
    tensors = [torch.from_numpy(np.array(x)).requires_grad_() for x in inputs]
    scope = {"torch": torch, **dict(zip(names, tensors, strict=True))}
    code = compile(op.torch.format(*names), f"<PyTorch form of {op.name}>", "eval")
    value = eval(code, scope)
    total = value.sum() + sum(0 * x.sum() for x in tensors)  # also where nothing has a gradient
    return [x.detach().numpy() for x in (value, *torch.autograd.grad(total, tensors))]


def is_different(x, y) -> bool:
    """Whether two forms of an operator have different values."""
    x, y = np.asarray(x, np.float64), np.asarray(y, np.float64)
    if x.shape != y.shape:
        return True
    return bool(np.any(np.abs(x - y) > TOLERANCE * np.maximum(1.0, np.maximum(abs(x), abs(y)))))


def _check_forms_are_templates(op: Op) -> None:
    if not (isinstance(op.name, str) and op.name.isidentifier() and op.name.isascii()):
        _refuse(op, "its name is not a name in ASCII letters, digits and underscores")
    if keyword.iskeyword(op.name):
        _refuse(op, "its name is a keyword of Python")
    if op.arity not in (1, 2) or isinstance(op.arity, bool):
        _refuse(op, f"its arity is {op.arity}, expected 1 or 2")
    call = f"{op.name}({', '.join(('{0}', '{1}')[: op.arity])})"
    if op.text != call or op.precedence != 4:
        _refuse(op, f"its text form is {op.text!r}, expected the call {call!r}")
    for form in ("latex", "python", "torch"):
        template = getattr(op, form)
        try:
            fields = {field for _, field, _, _ in string.Formatter().parse(template)} - {None}
        except (TypeError, ValueError) as error:
            _refuse(op, f"its {form} form {template!r} is not a template: {error}")
        if fields != set("01"[: op.arity]):
            _refuse(op, f"its {form} form {template!r} does not take its {op.arity} argument(s)")


def _check_function(op: Op) -> np.ndarray:
    """Checks the function itself; returns its values."""
    inputs = make_arguments(op)
    try:
        value = jnp.asarray(op.function(*inputs))
    except Exception as error:
        _refuse(op, f"its function fails on {op.arity} array(s): {type(error).__name__}: {error}")
    if value.shape != inputs[0].shape or value.dtype != jnp.float32:
        _refuse(op, f"it returns {value.dtype}{value.shape} for float32{inputs[0].shape}")
    derivatives = compute_derivatives(op, op.function)
    for name, result in [("value", value), *(("derivative", x) for x in derivatives)]:
        bad = np.flatnonzero(~np.isfinite(np.asarray(result)))
        if bad.size:
            point = ", ".join(f"{float(x[bad[0]]):g}" for x in inputs)
            _refuse(op, f"its {name} at ({point}) is {float(result[bad[0]])}, expected finite")
    _check_size(op, value)
    if op.commutative and (op.arity != 2 or is_different(op.function(*inputs[::-1]), value)):
        _refuse(op, "it is marked commutative and is not")
    return np.asarray(value)


def _check_size(op: Op, value: jax.Array) -> None:
    """Checks the limit of results that the row states for limits of arguments."""
    if not op.size:
        return
    for limit in (0.0, 1e-3, 0.5, 2.0, 1e3, 1e5):
        is_within = np.all([np.abs(x) <= limit for x in make_arguments(op)], axis=0)
        size = op.size(*[limit] * op.arity)
        if np.abs(value)[is_within].max() > 1.0001 * size:
            _refuse(op, f"its size is said to be at most {size:g} and is not")


def _check_reach(op: Op, value: np.ndarray) -> None:
    """Checks which entries a result depends on: its own, or all that count of the last axis."""
    inputs = make_arguments(op)
    few = [x[:3] for x in inputs]
    if not op.aggregate:
        if is_different(op.function(*few), value[:3]):
            _refuse(op, "a result depends on other entries; mark it as an aggregate")
        return
    try:
        masked = op.function(*inputs, jnp.arange(inputs[0].size) < 3)
    except TypeError:
        _refuse(op, "an aggregate takes a second argument, which entries count")
    if np.ptp(value) != 0 or is_different(masked[:3], op.function(*few)):
        _refuse(op, "an aggregate returns for all entries the value over those that count")


def validate_op(op: Op) -> Op:
    """Checks an operator, and returns it.

    Every form is evaluated on a grid over the clip range; PyTorch's where PyTorch is installed.

    Raises:
      ValueError: if the operator is not sound, with the reason.
    """
    if not isinstance(op, Op):
        raise ValueError(f"an extra operator is an Op, got {type(op).__name__}")
    _check_forms_are_templates(op)
    try:
        return _check_values(op)
    except _Refused:
        raise
    except Exception as error:
        _refuse(op, f"its check fails: {type(error).__name__}: {error}")


@lru_cache(maxsize=256)
def _check_values(op: Op) -> Op:
    _check_reach(op, _check_function(op))
    with use_float64():
        _check_forms(op)
    return op


def _check_forms(op: Op) -> None:
    """Checks the forms against the function, in float64, where rounding does not blur them."""
    inputs = make_arguments(op, np.float64)
    expected = [op.function(*inputs), *compute_derivatives(op, op.function)]

    def evaluate_python() -> list:
        return [call_python(op, *inputs), *compute_derivatives(op, partial(call_python, op))]

    _check_form(op, "Python", evaluate_python, expected)
    if importlib.util.find_spec("torch"):
        # PyTorch has the reverse-mode derivatives only.
        reverse = [expected[0], *expected[1 + op.arity :]]
        _check_form(op, "PyTorch", partial(call_torch, op, *inputs), reverse)


def _check_form(op: Op, form: str, evaluate: Callable[[], list], expected: list) -> None:
    try:
        results = evaluate()
    except Exception as error:
        _refuse(op, f"its {form} form fails: {type(error).__name__}: {error}")
    for i, (result, value) in enumerate(zip(results, expected, strict=True)):
        if is_different(result, value):
            quantity = "values" if i == 0 else "derivatives"
            _refuse(op, f"its {form} form and its function have different {quantity}")
