"""Exported source as a function: value and slope of the loss at points."""

import inspect
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from tests.helpers.numpy_reference import THRESHOLD


def function_of(source, name="loss"):
    """Returns the function that a source defines."""
    scope = {}
    exec(compile(source, f"<{name}>", "exec"), scope)
    return scope[name]


def with_threshold(function, full, pos):
    """Returns a function of positives and negatives alone; all users have one threshold."""
    if "threshold" not in inspect.signature(function).parameters:
        return function
    return partial(function, threshold=full(pos, THRESHOLD))


def along(by_first, by_second, direction):
    """Returns the slope [P] of derivatives [P] and [P, S] by both arguments along a direction.

    A pointwise loss has none, and the slope is that by the logit.
    """
    if direction is None:
        return np.asarray(by_first)
    return np.asarray(by_first * direction[0] + np.sum(by_second * direction[1], -1))


def by_jax(function, points):
    """Returns the value of a function that a Python source defines, and its derivatives."""
    function = with_threshold(function, jnp.full_like, points[0])
    value, pullback = jax.vjp(function, *points)
    return value, pullback(jnp.ones_like(value))


def by_torch(source, points, direction=None):
    """Returns value and slope of a PyTorch source; needs PyTorch."""
    import torch

    points = [torch.tensor(x, requires_grad=True) for x in points]
    value = with_threshold(function_of(source), torch.full_like, points[0])(*points)
    total = value.sum() + sum(0 * x.sum() for x in points)  # also where nothing has a gradient
    derivatives = [x.numpy() for x in torch.autograd.grad(total, points)]
    return value.detach().numpy(), along(*derivatives, direction)
