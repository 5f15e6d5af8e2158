"""Courses: recommenders trained from scratch in lanes, epoch by epoch, each at its own setting."""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from .lanes import Hyper, Lanes, LaneState, batches
from .metrics import auc
from .objectives import Slopes, gradient_size
from .types import Array, Batch

COMMON_SIZE = 0.5
"""The size that learning rates are given for: BCE's d loss / d logit on untrained predictions."""


class Courses(NamedTuple):
    """Training in K lanes as jitted functions, compiled once for all losses of one objective."""

    begin: Callable[[Array], LaneState]  # keys [K]
    factors: Callable[[Any, LaneState, Batch], Array]  # objective, untrained lanes, data -> [K]
    # state, objective, hyper, key of the shuffle, data, judged split -> state, AUC [K]
    epoch: Callable[[LaneState, Any, Hyper, Array, Batch, Batch], tuple[LaneState, Array]]
    score: Callable[[LaneState, Batch], Array]  # interactions [n] -> logits [K, n]


def judge(lanes: Lanes, state: LaneState, data: Batch) -> Array:
    """Give the AUC [K] of lanes on interactions [n]; 0 for a lane that diverged."""
    cut = batches(data, min(1024, data.label.shape[0]))
    label, weight = cut.label.reshape(-1), cut.weight.reshape(-1)
    logits = lanes.predict(state, cut)
    finite = jnp.isfinite(logits).all(1)
    logits = jnp.where(finite[:, None], logits, 0.0)
    return jnp.where(finite, jax.vmap(partial(auc, labels=label, weights=weight))(logits), 0.0)


def make_courses(
    make_lanes: Callable[[Slopes], Lanes], slopes: Slopes, *, batch_size: int
) -> Courses:
    """Make courses.

    Args:
      make_lanes: gives lanes of the recommender for the losses' slopes.
      slopes: gradients of the losses; what it takes for an objective, the functions take.
      batch_size: interactions of a step, B.
    """
    lanes = make_lanes(slopes)

    def factors(objective: Any, state: LaneState, data: Batch) -> Array:
        """Give what turns learning rates for gradients of the common size into a loss's own."""
        few = jax.tree.map(lambda x: x[:8], batches(data, 256, jax.random.key(0)))
        logits = lanes.predict(state, few)
        size = gradient_size(slopes(objective, logits, few.label.reshape(-1)))
        return COMMON_SIZE / jnp.maximum(size, 1e-30)

    def epoch(state, objective, hyper, key, data, judged):
        state = lanes.train(state, objective, hyper, batches(data, batch_size, key))
        return state, judge(lanes, state, judged)

    def score(state: LaneState, data: Batch) -> Array:
        cut = batches(data, min(1024, data.label.shape[0]))
        return lanes.predict(state, cut)[:, : data.label.shape[0]]

    return Courses(*map(jax.jit, (lanes.init, factors, epoch, score)))
