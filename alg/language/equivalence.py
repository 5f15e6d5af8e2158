"""Whether two programs are the same loss: a grid on which they are compared, in float64."""

import jax
import jax.numpy as jnp
import numpy as np

from .build import evaluate
from .families import POINTWISE, Family
from .operator_checks import use_float64
from .operators import DEFAULT_BOUNDS
from .programs import Program

TOLERANCE = 1e-6
"""Largest difference of values or derivatives that count as equal, relative to the larger of them
and to at least 1; they are computed in float64."""

_LOGITS = np.concatenate([np.linspace(-8, 8, 33), [-20.0, -1e-3, 1e-3, 20.0]])
_LABELS = (0.0, 0.25, 1.0)
_DIFFERENCES = np.asarray([-6.0, -1.5, -0.5, 0.25, 1.0, 4.0])


def make_comparison_grid(family: Family = POINTWISE) -> tuple[np.ndarray, np.ndarray]:
    """Returns logits [P] and labels [P], or logits of positives [P] and of negatives [P, 3]."""
    if not family.is_pairwise:
        logit, label = np.meshgrid(_LOGITS, _LABELS)
        return logit.ravel(), label.ravel()
    pos, shift = (part.ravel() for part in np.meshgrid(_LOGITS, _DIFFERENCES))
    neg = np.stack([pos - shift, 0.3 * pos + shift, np.cos(5 * pos) * shift], axis=-1)
    return pos, neg


def make_thresholds(pos: np.ndarray) -> np.ndarray:
    """Returns thresholds [P] of the users of positives [P], on both sides of them."""
    return 0.5 * pos + np.sin(3 * np.arange(pos.size))


def evaluate_on_grid(
    program: Program,
    *,
    bounds: tuple[float, float] = DEFAULT_BOUNDS,
    family: Family = POINTWISE,
) -> tuple[np.ndarray, np.ndarray]:
    """Returns a static program's values [P] and derivatives [P, ...] by the logits of the grid."""
    first, second = make_comparison_grid(family)

    def pointwise(logit):
        label = jnp.asarray(second)
        registers = (jax.nn.sigmoid(logit), label, jnp.ones_like(label))
        loads = {"logit": logit}
        return evaluate(program, registers, loads=loads, bounds=bounds, family=family)

    def pairwise(logits):
        pos, neg = logits[:, :1], logits[:, 1:]
        loads = {"threshold": jnp.asarray(make_thresholds(first))[:, None]}
        registers = (pos, neg, jnp.ones_like(pos))
        return evaluate(program, registers, loads=loads, bounds=bounds, family=family)

    with use_float64():
        if not family.is_pairwise:
            logit = jnp.asarray(first)
            value, derivative = jax.jvp(pointwise, (logit,), (jnp.ones_like(logit),))
        else:
            logits = jnp.asarray(np.concatenate([first[:, None], second], axis=1))
            value, pullback = jax.vjp(lambda x: jnp.mean(pairwise(x), -1), logits)
            (derivative,) = pullback(jnp.ones_like(value))
        return np.asarray(value), np.asarray(derivative)


def is_close(x: np.ndarray, y: np.ndarray, tolerance: float = TOLERANCE) -> bool:
    """Whether two arrays are equal within a tolerance; NaN equals nothing."""
    with np.errstate(invalid="ignore"):
        same = np.abs(x - y) <= tolerance * np.maximum(1.0, np.maximum(np.abs(x), np.abs(y)))
    return bool(np.all(same | (x == y)))


def are_equivalent(
    program: Program,
    other: Program,
    *,
    bounds: tuple[float, float] = DEFAULT_BOUNDS,
    family: Family = POINTWISE,
    tolerance: float = TOLERANCE,
    binary_labels: bool = False,
) -> bool:
    """Whether two static programs have equal values and derivatives on the grid.

    Args:
      program: one.
      other: the other.
      bounds: of the intermediate results of both.
      family: of both.
      tolerance: as of ``is_close``.
      binary_labels: whether pointwise losses are compared for labels 0 and 1 alone.
    """
    results = evaluate_on_grid(program, bounds=bounds, family=family)
    other_results = evaluate_on_grid(other, bounds=bounds, family=family)
    first, second = make_comparison_grid(family)
    compared = np.ones(len(first), bool)
    if binary_labels and not family.is_pairwise:
        compared = np.isin(second, (0.0, 1.0))
    return all(
        is_close(x[compared], y[compared], tolerance)
        for x, y in zip(results, other_results, strict=True)
    )
