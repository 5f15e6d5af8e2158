"""A trial: losses trained from the same starts on the same batches, and their rewards."""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp

from ..interfaces import Array, Batch, Data
from ..language.inputs import as_program
from ..language.operators import DEFAULT_BOUNDS
from ..language.programs import Program
from ..training.evaluate import evaluate, make_epoch_batches
from ..training.lanes import Lanes, LaneState
from ..training.learning_rates import compute_factors
from ..training.loss_gradients import LogitGradFn, LossBatch, pad_programs, stack_losses
from ..training.optimizers import Hyper
from ..training.tasks import Task


class CandidateTrainer(NamedTuple):
    """Trials of C losses from each of S starts in K = S * C lanes, as pure functions.

    Lanes of one start follow one another; the first of them trains the reference.
    """

    lanes: Lanes
    slopes: LogitGradFn
    slots: int  # instructions of every program, I
    # key, starts (S lanes), programs [C, I], penalty, data, reward split -> lanes, rewards [S, C];
    # the first program gives way to the reference
    run: Callable[..., tuple[LaneState, Array]]
    reward: Callable[[LaneState, Batch], Array]  # K lanes, reward split -> rewards [K]


def make_candidate_trainer(
    make_lanes: Callable[[LogitGradFn], Lanes],
    operators: set[int],
    *,
    task: Task,
    reference: str | None,
    length: int,
    bounds: tuple[float, float],
    width: int,
    epochs: int = 1,
    batch_size: int,
    learning_rate: float,
    weight_decay: float,
    reward_scale: str,
) -> CandidateTrainer:
    """Make trials.

    Args:
      make_lanes: gives lanes of the recommender for the losses' slopes.
      operators: numbers of the operators that candidates use.
      task: what losses are trained on, and the metric that rewards them.
      reference: formula of the loss beside which all others are seen; None for the task's.
      length: instructions of a candidate at most.
      bounds: intermediate results of candidates are clipped to them.
      width: lanes, K.
      epochs: that losses are trained for, before their reward.
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
    if epochs < 1:
        raise ValueError(f"candidates train for at least 1 epoch (generation.epochs), got {epochs}")
    formula = task.reference if reference is None else reference
    beside = stack_losses([as_program(formula, family=task.family)], [DEFAULT_BOUNDS])
    slopes = task.traced_logit_grads(sorted({*operators, *beside.program.op[0].tolist()}))
    lanes = make_lanes(slopes)
    slots = max(beside.program.op.shape[-1], length)
    beside = beside._replace(program=pad_programs(beside.program, slots))
    ones = jnp.ones(width)

    def objectives(programs: Program, starts: int) -> LossBatch:
        """Give the objective of C programs from every start, the first one the reference."""
        one = jnp.ones(width // starts)
        ours = LossBatch(programs, bounds[0] * one, bounds[1] * one, one)
        ours = jax.tree.map(lambda mine, theirs: mine.at[0].set(theirs[0]), ours, beside)
        return jax.tree.map(lambda part: jnp.concatenate([part] * starts), ours)

    def rescale(losses: LossBatch, copies: LaneState, sample: Batch, starts: int) -> LossBatch:
        if reward_scale == "raw":
            return losses
        size = lanes.replicate(lanes.gradient_size(copies, losses, sample))
        size = lanes.replicate(size.reshape(starts, -1))  # or XLA cuts it over devices again
        scale = jnp.clip(compute_factors(size, size[:, :1]), 1e-6, 1e6)
        return losses._replace(scale=scale.reshape(width))

    def course(data: Data, key: Array) -> Batch:
        """Give the batches of all epochs, [N, B]: in one loop, as a loop of loops copies tables."""
        # Numbers that nothing else folds into a key of batches.
        others = jax.vmap(partial(jax.random.fold_in, key))(2**30 + jnp.arange(1, epochs))
        keys = jnp.concatenate([key[None], others])
        cut = jax.lax.map(partial(make_epoch_batches, task, data, batch_size), keys)
        return jax.tree.map(lambda x: x.reshape(-1, *x.shape[2:]), cut)

    def run(key, begin, programs, penalty, data, rewarded):
        starts = begin.scale.shape[0]
        cut = course(data, key)
        few = jax.tree.map(lambda x: x[: max(1, 1024 // batch_size)], cut)
        hyper = Hyper(learning_rate * ones, weight_decay * ones, penalty * ones)
        copies = lanes.repeat(begin, width // starts)
        losses = rescale(objectives(lanes.replicate(programs), starts), copies, few, starts)
        trained = lanes.train(copies, losses, hyper, cut, key)
        return trained, evaluate(lanes, trained, rewarded, task).reshape(starts, -1)

    return CandidateTrainer(lanes, slopes, slots, run, partial(evaluate, lanes, task=task))
