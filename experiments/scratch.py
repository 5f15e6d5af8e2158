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
from autolossgen.pipeline.phases import Run
from autolossgen.training.evaluate import make_eval_targets
from autolossgen.training.learning_rates import make_settings_grid
from autolossgen.training.loss_gradients import LossBatch, pad_programs, stack_losses
from autolossgen.training.optimizers import Hyper
from autolossgen.training.trainer import Trainer, make_trainer

WIDTH = 64  # lanes
WEIGHT_DECAY = 1e-4


class Curves(NamedTuple):
    """Rewards by epoch, loss and learning rate [E, J, V] on the split that chooses, and on test."""

    chooses: np.ndarray
    test: np.ndarray

    def best(self) -> np.ndarray:
        """Give where the split that chooses is best: test [J]."""
        epochs, losses, rates = self.chooses.shape
        flat = np.moveaxis(self.chooses, 1, 0).reshape(losses, epochs * rates)
        of_test = np.moveaxis(self.test, 1, 0).reshape(losses, epochs * rates)
        return of_test[np.arange(losses), flat.argmax(1)]


def reference(run: Run) -> Program:
    """Give BCE, or what the task has in its place."""
    return as_program(run.ground.task.reference, family=run.ground.task.family)


def padded(run: Run, programs: Sequence[Program], bounds: Sequence[tuple]) -> LossBatch:
    """Give an objective of programs with as many instructions as any loss can have."""
    losses = stack_losses(programs, bounds)
    slots = max(run.space.length, len(reference(run).op))
    return losses._replace(program=pad_programs(losses.program, slots))


def final_courses(run: Run) -> Trainer:
    """Give trainings of the reference and of losses of the space, compiled once for all of them."""
    operators = {*run.space.vocabulary.operators, *np.asarray(reference(run).op).tolist()}
    on = run.ground
    slopes = on.task.traced_logit_grads(sorted(operators))
    return make_trainer(on.lanes, slopes, batch_size=on.config.train.batch_size, task=on.task)


def curves(
    run: Run,
    courses: Trainer,
    programs: Sequence[Program],
    *,
    epochs: int,
    seed: int,
    train: Data,
    chooses: Batch,
    test: Batch,
) -> Curves:
    """Train the reference (loss 0) and losses of the space (1 to J - 1) at the fair test's rates.

    All have the same first weights and batches, and gradients scaled to one size.
    """
    rates = run.ground.config.test.learning_rates
    grid = make_settings_grid(rates, (WEIGHT_DECAY,), l2=0.0, scale="gradient")
    ours = [reference(run), *programs]
    bounds = [DEFAULT_BOUNDS] + [run.space.bounds] * len(programs)
    lanes = len(ours) * len(grid)
    found = np.zeros((2, epochs, lanes))
    key = jax.random.fold_in(jax.random.key(seed), 1)
    metric, judged = run.ground.task.metric, make_eval_targets(test)
    of_test = jax.jit(jax.vmap(lambda kept: metric.reward(kept, judged)))
    for first in range(0, lanes, WIDTH):
        lane = np.minimum(first + np.arange(WIDTH), lanes - 1)
        losses = padded(run, *zip(*[(ours[j], bounds[j]) for j in lane // len(grid)], strict=True))
        setting = grid[lane % len(grid)]
        state = courses.init(jnp.repeat(key[None], WIDTH))
        factor = courses.learning_rate_factors(losses, state, train)
        hyper = Hyper(setting[:, 0] * factor, setting[:, 1] / factor, jnp.zeros(WIDTH))
        for epoch in range(epochs):
            shuffle = jax.random.fold_in(key, epoch)
            state, reached = courses.epoch(state, losses, hyper, shuffle, train, chooses)
            kept = courses.predict(state, test)
            found[0, epoch, lane] = np.asarray(reached)
            found[1, epoch, lane] = np.nan_to_num(np.asarray(of_test(kept)))
    return Curves(*found.reshape(2, epochs, len(ours), len(grid)))
