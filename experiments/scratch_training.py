"""Training many losses from scratch, each at several learning rates, side by side in lanes."""

from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from autolossgen.interfaces import Batch, Data
from autolossgen.language.inputs import as_program
from autolossgen.language.operators import DEFAULT_BOUNDS
from autolossgen.language.programs import Program
from autolossgen.training.evaluate import make_eval_targets
from autolossgen.training.learning_rates import make_settings_grid
from autolossgen.training.loss_gradients import LossBatch, pad_programs, stack_losses
from autolossgen.training.optimizers import Hyper
from autolossgen.training.trainer import Trainer, make_trainer
from experiments.run_parts import Run

NUM_LANES = 64
WEIGHT_DECAY = 1e-4


class Curves(NamedTuple):
    """Rewards by epoch, loss and learning rate [num_epochs, num_losses, num_rates]."""

    valid: np.ndarray  # on the split that chooses epoch and rate
    test: np.ndarray

    def pick_best(self) -> np.ndarray:
        """Returns the test rewards [num_losses] at the epoch and rate that validation picks."""
        epochs, losses, rates = self.valid.shape
        valid = np.moveaxis(self.valid, 1, 0).reshape(losses, epochs * rates)
        test = np.moveaxis(self.test, 1, 0).reshape(losses, epochs * rates)
        return test[np.arange(losses), valid.argmax(1)]


def get_reference(run: Run) -> Program:
    """Returns the program of BCE, or of what the task has in its place."""
    task = run.setup.task
    return as_program(task.reference, family=task.family)


def stack_padded(
    run: Run, programs: Sequence[Program], bounds: Sequence[tuple[float, float]]
) -> LossBatch:
    """Stacks programs, each padded to as many instructions as any loss can have."""
    losses = stack_losses(programs, bounds)
    slots = max(run.search.space.length, len(get_reference(run).op))
    return losses._replace(program=pad_programs(losses.program, slots))


def make_final_trainer(run: Run) -> Trainer:
    """Makes a trainer of the reference and of losses of the space, compiled once for all."""
    setup, vocabulary = run.setup, run.search.space.vocabulary
    operators = {*vocabulary.operators, *np.asarray(get_reference(run).op).tolist()}
    return make_trainer(
        setup.make_lanes,
        setup.task.traced_logit_grads(sorted(operators)),
        batch_size=setup.config.train.batch_size,
        task=setup.task,
    )


def train_curves(
    run: Run,
    trainer: Trainer,
    programs: Sequence[Program],
    *,
    epochs: int,
    seed: int,
    train: Data,
    valid: Batch,
    test: Batch,
) -> Curves:
    """Trains losses at the fair test's learning rates.

    All have the same first weights and batches, and gradients scaled to one size.

    Args:
      run: whose recommender, learning rates and metric are used.
      trainer: of ``make_final_trainer``.
      programs: of losses of the space.
      epochs: of training.
      seed: of weights and batches.
      train: data to train on.
      valid: split that chooses epoch and rate.
      test: split that tells what a loss is worth.

    Returns:
      The rewards; loss 0 is the reference, the others are those of ``programs``.
    """
    space, metric = run.search.space, run.setup.task.metric
    rates = run.setup.config.test.learning_rates
    grid = make_settings_grid(rates, (WEIGHT_DECAY,), l2=0.0, scale="gradient")
    programs = [get_reference(run), *programs]
    bounds = [DEFAULT_BOUNDS] + [space.bounds] * (len(programs) - 1)
    num_trainings = len(programs) * len(grid)
    rewards = np.zeros((2, epochs, num_trainings))
    key = jax.random.fold_in(jax.random.key(seed), 1)
    targets = make_eval_targets(test)
    compute_test_rewards = jax.jit(jax.vmap(lambda scores: metric.reward(scores, targets)))
    for first in range(0, num_trainings, NUM_LANES):
        lane = np.minimum(first + np.arange(NUM_LANES), num_trainings - 1)
        in_lanes = lane // len(grid)
        losses = stack_padded(run, [programs[j] for j in in_lanes], [bounds[j] for j in in_lanes])
        settings = grid[lane % len(grid)]
        state = trainer.init(jnp.repeat(key[None], NUM_LANES))
        factor = trainer.learning_rate_factors(losses, state, train)
        hyper = Hyper(
            learning_rate=settings[:, 0] * factor,
            weight_decay=settings[:, 1] / factor,
            l2=jnp.zeros(NUM_LANES),
        )
        for epoch in range(epochs):
            epoch_key = jax.random.fold_in(key, epoch)
            state, valid_rewards = trainer.epoch(state, losses, hyper, epoch_key, train, valid)
            test_rewards = compute_test_rewards(trainer.predict(state, test))
            rewards[0, epoch, lane] = np.asarray(valid_rewards)
            rewards[1, epoch, lane] = np.nan_to_num(np.asarray(test_rewards))
    return Curves(*rewards.reshape(2, epochs, len(programs), len(grid)))
