"""Training many losses from scratch, each at several learning rates, side by side in lanes."""

from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from alg.courses import Courses, make_courses, settings_grid, whom
from alg.lanes import Hyper
from alg.losses import as_program
from alg.objectives import Objective, extend, objective
from alg.operators import SIGNED
from alg.programs import Program
from alg.types import Batch, Data
from phases import Run

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


def padded(run: Run, programs: Sequence[Program], bounds: Sequence[tuple]) -> Objective:
    """Give an objective of programs with as many instructions as any loss can have."""
    losses = objective(programs, bounds)
    slots = max(run.space.length, len(reference(run).op))
    return losses._replace(program=extend(losses.program, slots))


def final_courses(run: Run) -> Courses:
    """Give trainings of the reference and of losses of the space, compiled once for all of them."""
    operators = {*run.space.vocabulary.operators, *np.asarray(reference(run).op).tolist()}
    on = run.ground
    slopes = on.task.traced_slopes(sorted(operators))
    return make_courses(on.lanes, slopes, batch_size=on.config.train.batch_size, task=on.task)


def curves(
    run: Run,
    courses: Courses,
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
    grid = settings_grid(rates, (WEIGHT_DECAY,), l2=0.0, scale="gradient")
    ours = [reference(run), *programs]
    bounds = [SIGNED] + [run.space.bounds] * len(programs)
    lanes = len(ours) * len(grid)
    found = np.zeros((2, epochs, lanes))
    key = jax.random.fold_in(jax.random.key(seed), 1)
    metric, judged = run.ground.task.metric, whom(test)
    of_test = jax.jit(jax.vmap(lambda kept: metric.reward(kept, judged)))
    for first in range(0, lanes, WIDTH):
        lane = np.minimum(first + np.arange(WIDTH), lanes - 1)
        losses = padded(run, *zip(*[(ours[j], bounds[j]) for j in lane // len(grid)], strict=True))
        setting = grid[lane % len(grid)]
        state = courses.begin(jnp.repeat(key[None], WIDTH))
        factor = courses.factors(losses, state, train)
        hyper = Hyper(setting[:, 0] * factor, setting[:, 1] / factor, jnp.zeros(WIDTH))
        for epoch in range(epochs):
            shuffle = jax.random.fold_in(key, epoch)
            state, reached = courses.epoch(state, losses, hyper, shuffle, train, chooses)
            kept = courses.score(state, test)
            found[0, epoch, lane] = np.asarray(reached)
            found[1, epoch, lane] = np.nan_to_num(np.asarray(of_test(kept)))
    return Curves(*found.reshape(2, epochs, len(ours), len(grid)))
