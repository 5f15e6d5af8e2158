"""Training of candidates: losses that start from one base model, on the same batches."""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple, Protocol

import chex
import jax
import jax.numpy as jnp

from ..interfaces import Array, Batch, Data, Positives
from ..language.inputs import as_program
from ..language.operators import DEFAULT_BOUNDS
from ..language.programs import Program
from ..training.evaluate import evaluate, make_epoch_batches
from ..training.lanes import Lanes, LaneState
from ..training.learning_rates import compute_factors
from ..training.loss_gradients import LogitGradFn, LossBatch, pad_programs, stack_losses
from ..training.optimizers import Hyper
from ..training.random_keys import FURTHER_EPOCHS
from ..training.tasks import Task


class TrainCandidatesFn(Protocol):
    """Training of K losses, the first of them the reference."""

    def __call__(
        self,
        key: Array,
        base_model: LaneState,
        programs: Program,
        l2: Array | float,
        data: Data,
        reward_split: Batch,
    ) -> tuple[LaneState, Array]:
        """Trains K copies of the base model, each with its own loss.

        Args:
          key: of the batches, the same for all lanes.
          base_model: where all lanes start, a state of one lane.
          programs: [K, I]; the first one is replaced by the reference loss.
          l2: penalty in the loss.
          data: to train on.
          reward_split: to evaluate on.

        Returns:
          The trained lanes, and their rewards [K].
        """


class CandidateTrainer(NamedTuple):
    """Training of candidate losses, as pure functions; lane 0 trains the reference loss."""

    lanes: Lanes
    logit_grads: LogitGradFn  # of candidates and reference
    num_instructions: int  # of every program, I
    train: TrainCandidatesFn
    evaluate: Callable[[LaneState, Batch], Array]  # K lanes, reward split -> rewards [K]


def make_candidate_trainer(
    make_lanes: Callable[[LogitGradFn], Lanes],
    operators: set[int],
    *,
    task: Task,
    reference: str | None = None,
    length: int,
    bounds: tuple[float, float],
    num_lanes: int,
    epochs: int = 1,
    batch_size: int,
    learning_rate: float,
    weight_decay: float,
    reward_scale: str,
) -> CandidateTrainer:
    """Builds the training of candidates.

    Args:
      make_lanes: builds lanes of the recommender for the losses' logit gradients.
      operators: numbers of the operators that candidates use.
      task: what losses are trained on, and the metric that rewards them.
      reference: formula of the loss that all others are compared with; None for the task's.
      length: largest number of instructions of a candidate.
      bounds: that intermediate results of candidates are clipped to.
      num_lanes: K, the reference's included.
      epochs: that losses are trained for before their reward.
      batch_size: interactions of a training step, B.
      learning_rate: of the reference, and of all lanes where ``reward_scale`` is ``"raw"``.
      weight_decay: of all lanes.
      reward_scale: ``"gradient"`` scales each loss so that its gradient on the predictions of the
        base model is as large as the reference's; ``"raw"`` leaves it as it is (the paper). An
        optimizer that divides by the size of gradients starts with the base model's accumulators,
        so it needs gradients of one size as much as SGD does.

    Raises:
      ValueError: for values out of range.
    """
    if reward_scale not in ("gradient", "raw"):
        raise ValueError(f"reward_scale is 'gradient' or 'raw', got {reward_scale!r}")
    if epochs < 1:
        raise ValueError(f"candidates train for at least 1 epoch (generation.epochs), got {epochs}")
    formula = task.reference if reference is None else reference
    only_reference = stack_losses([as_program(formula, family=task.family)], [DEFAULT_BOUNDS])
    program = only_reference.program
    logit_grads = task.traced_logit_grads(sorted({*operators, *program.op[0].tolist()}))
    lanes = make_lanes(logit_grads)
    num_instructions = max(program.op.shape[-1], length)
    only_reference = only_reference._replace(program=pad_programs(program, num_instructions))
    ones = jnp.ones(num_lanes)

    def stack(programs: Program) -> LossBatch:
        """Returns the losses of K programs, the first one replaced by the reference."""
        low, high = (bound * ones for bound in bounds)
        losses = LossBatch(program=programs, low=low, high=high, scale=ones)
        return jax.tree.map(lambda of_all, one: of_all.at[0].set(one[0]), losses, only_reference)

    def equalize_gradients(losses: LossBatch, base_models: LaneState, sample: Batch) -> LossBatch:
        """Scales losses so that their gradients are as large as the reference's."""
        if reward_scale == "raw":
            return losses
        size = lanes.replicate(lanes.gradient_size(base_models, losses, sample))
        scale = jnp.clip(compute_factors(size, size[:1]), 1e-6, 1e6)
        return losses._replace(scale=scale)

    def batches_of_all_epochs(data: Batch | Positives, key: Array) -> Batch:
        """Returns batches [N, B] of all epochs together, as a loop of loops would copy tables."""
        further = jax.vmap(partial(jax.random.fold_in, key))(FURTHER_EPOCHS + jnp.arange(1, epochs))
        keys = jnp.concatenate([key[None], further])
        batches = jax.lax.map(partial(make_epoch_batches, task, data, batch_size), keys)
        return jax.tree.map(lambda x: x.reshape(-1, *x.shape[2:]), batches)

    def train(key, base_model, programs, l2, data, reward_split):
        chex.assert_shape(programs.op, (num_lanes, num_instructions))
        batches = batches_of_all_epochs(data, key)
        sample = jax.tree.map(lambda x: x[: max(1, 1024 // batch_size)], batches)
        hyper = Hyper(
            learning_rate=learning_rate * ones, weight_decay=weight_decay * ones, l2=l2 * ones
        )
        copies = lanes.repeat(base_model, num_lanes)
        losses = equalize_gradients(stack(lanes.replicate(programs)), copies, sample)
        trained = lanes.train(copies, losses, hyper, batches, key)
        return trained, evaluate(lanes, trained, reward_split, task)

    return CandidateTrainer(
        lanes=lanes,
        logit_grads=logit_grads,
        num_instructions=num_instructions,
        train=train,
        evaluate=partial(evaluate, lanes, task=task),
    )
