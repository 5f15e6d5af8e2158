"""Training of candidates: losses that start from one base model, on the same batches."""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple, Protocol

import chex
import jax
import jax.numpy as jnp

from ..interfaces import Array, Batch, Bounds, Data, Positives
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


class _Settings(NamedTuple):
    """The parts and settings that the functions of a candidate trainer share."""

    lanes: Lanes
    task: Task
    only_reference: LossBatch  # of one loss
    bounds: Bounds  # of candidates
    epochs: int
    batch_size: int
    learning_rate: float
    weight_decay: float
    reward_scale: str
    ones: Array  # [K]


def make_candidate_trainer(
    make_lanes: Callable[[LogitGradFn], Lanes],
    operators: set[int],
    *,
    task: Task,
    reference: str | None = None,
    length: int,
    bounds: Bounds,
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
    _check_settings(reward_scale, epochs)
    formula = task.reference if reference is None else reference
    only_reference = stack_losses([as_program(formula, family=task.family)], [DEFAULT_BOUNDS])
    program = only_reference.program
    logit_grads = task.traced_logit_grads(sorted({*operators, *program.op[0].tolist()}))
    lanes = make_lanes(logit_grads)
    num_instructions = max(program.op.shape[-1], length)
    settings = _Settings(
        lanes=lanes,
        task=task,
        only_reference=only_reference._replace(program=pad_programs(program, num_instructions)),
        bounds=bounds,
        epochs=epochs,
        batch_size=batch_size,
        learning_rate=learning_rate,
        weight_decay=weight_decay,
        reward_scale=reward_scale,
        ones=jnp.ones(num_lanes),
    )
    return CandidateTrainer(
        lanes=lanes,
        logit_grads=logit_grads,
        num_instructions=num_instructions,
        train=partial(_train, settings),
        evaluate=partial(evaluate, lanes, task=task),
    )


def _check_settings(reward_scale: str, epochs: int) -> None:
    """Checks the settings that nothing else checks."""
    if reward_scale not in ("gradient", "raw"):
        raise ValueError(f"reward_scale is 'gradient' or 'raw', got {reward_scale!r}")
    if epochs < 1:
        raise ValueError(f"candidates train for at least 1 epoch (generation.epochs), got {epochs}")


def _train(
    settings: _Settings,
    key: Array,
    base_model: LaneState,
    programs: Program,
    l2: Array | float,
    data: Batch | Positives,
    reward_split: Batch,
) -> tuple[LaneState, Array]:
    """Trains K copies of the base model; see ``TrainCandidatesFn``."""
    lanes, ones, batch_size = settings.lanes, settings.ones, settings.batch_size
    num_instructions = settings.only_reference.program.op.shape[-1]
    chex.assert_shape(programs.op, (len(ones), num_instructions))
    batches = _make_all_batches(settings, data, key)
    sample = jax.tree.map(lambda x: x[: max(1, 1024 // batch_size)], batches)
    hyper = Hyper(
        learning_rate=settings.learning_rate * ones,
        weight_decay=settings.weight_decay * ones,
        l2=l2 * ones,
    )
    copies = lanes.repeat(base_model, len(ones))
    losses = _stack_with_reference(settings, lanes.replicate(programs))
    losses = _equalize_gradients(settings, losses, copies, sample)
    trained = lanes.train(copies, losses, hyper, batches, key)
    return trained, evaluate(lanes, trained, reward_split, settings.task)


def _make_all_batches(settings: _Settings, data: Batch | Positives, key: Array) -> Batch:
    """Returns batches [N, B] of all epochs together, as a loop of loops would copy tables."""
    numbers = FURTHER_EPOCHS + jnp.arange(1, settings.epochs)
    further = jax.vmap(partial(jax.random.fold_in, key))(numbers)
    keys = jnp.concatenate([key[None], further])
    make_batches = partial(make_epoch_batches, settings.task, data, settings.batch_size)
    batches = jax.lax.map(make_batches, keys)
    return jax.tree.map(lambda x: x.reshape(-1, *x.shape[2:]), batches)


def _stack_with_reference(settings: _Settings, programs: Program) -> LossBatch:
    """Returns the losses of K programs, the first one replaced by the reference."""
    low, high = (bound * settings.ones for bound in settings.bounds)
    losses = LossBatch(program=programs, low=low, high=high, scale=settings.ones)
    return jax.tree.map(
        lambda of_all, one: of_all.at[0].set(one[0]), losses, settings.only_reference
    )


def _equalize_gradients(
    settings: _Settings, losses: LossBatch, base_models: LaneState, sample: Batch
) -> LossBatch:
    """Scales losses so that their gradients are as large as the reference's."""
    if settings.reward_scale == "raw":
        return losses
    lanes = settings.lanes
    size = lanes.replicate(lanes.gradient_size(base_models, losses, sample))
    scale = jnp.clip(compute_factors(size, size[:1]), 1e-6, 1e6)
    return losses._replace(scale=scale)
