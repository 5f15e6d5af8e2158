"""Checks of an operator's row, so that a user's operator cannot break the language.

A row states one function several times: as a function, as text, as Python, as PyTorch. It is taken
only if they agree, and if value and derivative are finite wherever a program can lead.
"""

import importlib.util
import keyword
import string
from functools import lru_cache, partial
from typing import NoReturn

import jax
import jax.numpy as jnp
import numpy as np

from .operators import Op

TOLERANCE = 1e-4
"""Largest difference between two forms of a row, relative to the larger value and at least 1."""

_SIZES = [1e-7, 1e-5, 1e-3, 0.1, *np.arange(1, 21) / 2, 79, 81, 100, 1e3, 1e4, 99999, 1e5]
_BETWEEN = np.random.default_rng(0).uniform(0, 10, 100)


def _either_sign(*sizes: np.ndarray) -> np.ndarray:
    sizes = np.unique(np.float32(np.concatenate([_SIZES, *sizes])))
    return np.concatenate([-sizes[sizes > 0][::-1], sizes])


# A pole shows only where a point hits it, and people put poles at short decimal numbers.
_POINTS = {
    1: _either_sign(np.linspace(0, 10, 1001), np.geomspace(1e-7, 1e5, 121), _BETWEEN),
    2: _either_sign(np.linspace(0, 2, 41), _BETWEEN[:5]),
}
"""Where a row of one argument is looked at, and one of two, at every pair."""


class _Refused(ValueError):
    """The reason why a row is refused."""


def _refuse(op: Op, reason: str) -> NoReturn:
    raise _Refused(f"operator {op.name!r} is refused: {reason}")


def use_float64():
    """Give a context in which JAX works in float64."""
    return jax.enable_x64(True)


def make_arguments(op: Op, dtype=np.float32) -> list[jax.Array]:
    """Give arguments over the clip range, zero and both ends included: every pair for two."""
    points = _POINTS[op.arity].astype(dtype)
    pairs = (points,) if op.arity == 1 else np.meshgrid(points, points)
    return [jnp.asarray(x.ravel()) for x in pairs]


def compute_derivatives(op: Op, function) -> list[jax.Array]:
    """Give forward- and then reverse-mode derivatives of a function, by each argument in turn."""
    inputs = make_arguments(op, np.float64 if jax.config.jax_enable_x64 else np.float32)

    def forward(i: int, *inputs: jax.Array) -> jax.Array:
        tangents = [jnp.full_like(x, i == j) for j, x in enumerate(inputs)]
        return jax.jvp(function, inputs, tuple(tangents))[1]

    @jax.jit
    def all_of_them(*inputs: jax.Array) -> list[jax.Array]:
        backward = jax.vjp(function, *inputs)[1](jnp.ones_like(inputs[0]))
        return [*(forward(i, *inputs) for i in range(op.arity)), *backward]

    return all_of_them(*inputs)


def call_python(op: Op, *inputs):
    """Evaluate the row's Python form, as an exported loss would."""
    names = ("x", "y")[: op.arity]
    scope = {"jax": jax, "jnp": jnp, **dict(zip(names, inputs, strict=True))}
    return eval(compile(op.python.format(*names), f"<python form of {op.name}>", "eval"), scope)


def call_torch(op: Op, *inputs) -> list[np.ndarray]:
    """Give value and derivatives of the row's PyTorch form on arrays; needs PyTorch."""
    import torch

    names = ("x", "y")[: op.arity]
    tensors = [torch.from_numpy(np.array(x)).requires_grad_() for x in inputs]
    scope = {"torch": torch, **dict(zip(names, tensors, strict=True))}
    code = compile(op.torch.format(*names), f"<PyTorch form of {op.name}>", "eval")
    value = eval(code, scope)
    total = value.sum() + sum(0 * x.sum() for x in tensors)  # also where nothing has a gradient
    return [x.detach().numpy() for x in (value, *torch.autograd.grad(total, tensors))]


def is_different(x, y) -> bool:
    """Say if two forms of a row give different values."""
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
    inputs = make_arguments(op)
    try:
        value = jnp.asarray(op.function(*inputs))
    except Exception as error:
        _refuse(op, f"its function fails on {op.arity} array(s): {type(error).__name__}: {error}")
    if value.shape != inputs[0].shape or value.dtype != jnp.float32:
        _refuse(op, f"it gives {value.dtype}{value.shape} for float32{inputs[0].shape}")
    slopes = compute_derivatives(op, op.function)
    for name, result in [("value", value), *(("derivative", slope) for slope in slopes)]:
        bad = np.flatnonzero(~np.isfinite(np.asarray(result)))
        if bad.size:
            point = ", ".join(f"{float(x[bad[0]]):g}" for x in inputs)
            _refuse(op, f"its {name} at ({point}) is {float(result[bad[0]])}, expected finite")
    for limit in (0.0, 1e-3, 0.5, 2.0, 1e3, 1e5):
        within = np.all([np.abs(x) <= limit for x in inputs], axis=0)
        if op.size and np.abs(value)[within].max() > 1.0001 * op.size(*[limit] * op.arity):
            _refuse(
                op, f"its size is said to be at most {op.size(*[limit] * op.arity):g} and is not"
            )
    if op.commutative and (op.arity != 2 or is_different(op.function(*inputs[::-1]), value)):
        _refuse(op, "it is marked commutative and is not")
    return np.asarray(value)


def _check_reach(op: Op, value: np.ndarray) -> None:
    """Check which entries a result depends on: its own, or all that count of the last axis."""
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
        _refuse(op, "an aggregate gives all entries the value over those that count")


def validate_op(op: Op) -> Op:
    """Give the row back, if it is sound.

    Every form is evaluated on a grid over the clip range; PyTorch's where PyTorch is installed.

    Raises:
      ValueError: with the reason, if the row is not sound.
    """
    if not isinstance(op, Op):
        raise ValueError(f"an extra operator is an Op, got {type(op).__name__}")
    _check_forms_are_templates(op)
    try:
        return _checked(op)
    except _Refused:
        raise
    except Exception as error:
        _refuse(op, f"its check fails: {type(error).__name__}: {error}")


@lru_cache(maxsize=256)
def _checked(op: Op) -> Op:
    _check_reach(op, _check_function(op))
    with use_float64():
        _check_forms(op)
    return op


def _check_forms(op: Op) -> None:
    """Check the forms against the function, in float64, where rounding does not blur them."""
    inputs = make_arguments(op, np.float64)
    expected = [op.function(*inputs), *compute_derivatives(op, op.function)]
    forms = {
        "Python": lambda: [
            call_python(op, *inputs),
            *compute_derivatives(op, partial(call_python, op)),
        ]
    }
    if importlib.util.find_spec("torch"):
        # PyTorch has the reverse-mode derivatives only.
        expected_of_torch = [expected[0], *expected[1 + op.arity :]]
        forms["PyTorch"] = lambda: call_torch(op, *inputs)
    for form, call in forms.items():
        try:
            results = call()
        except Exception as error:
            _refuse(op, f"its {form} form fails: {type(error).__name__}: {error}")
        wanted = expected if form == "Python" else expected_of_torch
        for i, (result, want) in enumerate(zip(results, wanted, strict=True)):
            if is_different(result, want):
                what = "values" if i == 0 else "derivatives"
                _refuse(op, f"its {form} form and its function give different {what}")
