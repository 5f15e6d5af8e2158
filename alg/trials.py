"""A trial: K losses trained from one start on the same batches, and their rewards."""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp

from .courses import epoch_batches, judge
from .lanes import Hyper, Lanes, LaneState
from .losses import as_program
from .objectives import Objective, Slopes, extend, objective
from .operators import SIGNED
from .programs import Program
from .tasks import Task
from .types import Array, Batch


class Trials(NamedTuple):
    """Trials of K lanes, lane 0 of which trains the reference, as pure functions."""

    lanes: Lanes
    slopes: Slopes
    slots: int  # instructions of every program, I
    # key, start (one lane), programs [K, I], penalty, data, reward split -> lanes, rewards [K]
    run: Callable[..., tuple[LaneState, Array]]
    reward: Callable[[LaneState, Batch], Array]  # K lanes, reward split -> rewards [K]


def make_trials(
    make_lanes: Callable[[Slopes], Lanes],
    operators: set[int],
    *,
    task: Task,
    reference: str | None,
    length: int,
    bounds: tuple[float, float],
    width: int,
    batch_size: int,
    learning_rate: float,
    weight_decay: float,
    reward_scale: str,
) -> Trials:
    """Make trials.

    Args:
      make_lanes: gives lanes of the recommender for the losses' slopes.
      operators: numbers of the operators that candidates use.
      task: what losses are trained on, and the metric that rewards them.
      reference: formula of the loss of lane 0, beside which all others are seen; None for the
        task's.
      length: instructions of a candidate at most.
      bounds: intermediate results of candidates are clipped to them.
      width: lanes, K.
      batch_size: interactions of a training step, B.
      learning_rate: of the reference, and of all where ``reward_scale`` is ``"raw"``.
      weight_decay: of all lanes.
      reward_scale: ``"gradient"`` scales each loss so that its gradient on the recommender's
        predictions is as large as the reference's; ``"raw"`` leaves it (the paper). An optimizer
        that divides by the size of gradients goes on from the recommender's accumulators, so it
        needs gradients of one size as much as SGD does.

    Raises:
      ValueError: for values out of range.
    """
    if reward_scale not in ("gradient", "raw"):
        raise ValueError(f"reward_scale is 'gradient' or 'raw', got {reward_scale!r}")
    formula = task.reference if reference is None else reference
    beside = objective([as_program(formula, family=task.family)], [SIGNED])
    slopes = task.traced_slopes(sorted({*operators, *beside.program.op[0].tolist()}))
    lanes = make_lanes(slopes)
    slots = max(beside.program.op.shape[-1], length)
    beside = beside._replace(program=extend(beside.program, slots))
    ones = jnp.ones(width)

    def objectives(programs: Program) -> Objective:
        """Give the objective of K programs, the first replaced by the reference."""
        ours = Objective(programs, bounds[0] * ones, bounds[1] * ones, ones)
        return jax.tree.map(lambda mine, theirs: mine.at[0].set(theirs[0]), ours, beside)

    def rescale(losses: Objective, copies: LaneState, sample: Batch) -> Objective:
        if reward_scale == "raw":
            return losses
        size = lanes.everywhere(lanes.gradient_size(copies, losses, sample))
        return losses._replace(scale=jnp.clip(size[0] / jnp.maximum(size, 1e-30), 1e-6, 1e6))

    def run(key, start, programs, penalty, data, rewarded):
        cut = epoch_batches(task, data, batch_size, key)
        few = jax.tree.map(lambda x: x[: max(1, 1024 // batch_size)], cut)
        hyper = Hyper(learning_rate * ones, weight_decay * ones, penalty * ones)
        copies = lanes.spread(start, width)
        losses = rescale(objectives(lanes.everywhere(programs)), copies, few)
        trained = lanes.train(copies, losses, hyper, cut, key)
        return trained, judge(lanes, trained, rewarded, task)

    return Trials(lanes, slopes, slots, run, partial(judge, lanes, task=task))
