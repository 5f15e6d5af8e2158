"""Promotion: which of the many losses that a search found are worth a fair test.

Successive halving (Jamieson and Talwalkar, 2016, arXiv:1502.07943): all are trained from scratch
for a few epochs, each at several settings; a share of them goes on to a longer training.
"""

import math
from collections.abc import Callable, Sequence
from functools import partial

import jax
import numpy as np

from ..interfaces import Batch, Data
from ..training.lanes import Lanes
from ..training.learning_rates import make_settings_grid
from ..training.loss_gradients import LogitGradFn, LossBatch
from ..training.tasks import RATING, Task
from ..training.trainer import make_trainer, train_from_scratch

FURTHER = 2**31  # what further seeds fold into a key; epochs fold in smaller numbers

Promote = Callable[[LossBatch, np.ndarray, Data, Sequence[Batch]], tuple[np.ndarray, np.ndarray]]
"""(J losses, their fingerprints [J, P], data, judged splits) -> those of the last rung, and their
reward: the best of each kind first, then the others.

A reward is the mean over the splits. None of them may be among the data.
"""


def kinds_first(prints: np.ndarray, apart: float) -> np.ndarray:
    """Give the order [J] of losses, best first, in which the first of each kind come first.

    Args:
      prints: fingerprints [J, P].
      apart: two that differ by no more at any probe are of one kind.

    >>> kinds_first(np.array([[0.0], [0.05], [0.5], [0.52], [0.9]]), apart=0.1).tolist()
    [0, 2, 4, 1, 3]
    """
    first, others = [], []
    for j, mine in enumerate(prints):
        near = np.abs(prints[first] - mine).max(1) <= apart
        (others if near.any() else first).append(j)
    return np.array([*first, *others], int)


def make_promotion(
    make_lanes: Callable[[LogitGradFn], Lanes],
    slopes: LogitGradFn,
    *,
    learning_rates: Sequence[float],
    weight_decays: Sequence[float],
    l2: float,
    epochs: Sequence[int],
    keep: float,
    apart: float,
    least: int = 1,
    scale: str,
    width: int,
    batch_size: int,
    seeds: int = 1,
    seed: int = 0,
    progress: Callable[[str, int, int], None] = lambda stage, done, total: None,
    task: Task = RATING,
) -> Promote:
    """Make a promotion.

    Args:
      make_lanes: gives lanes of the recommender for the losses' slopes.
      slopes: of objectives of as many losses as there are lanes.
      learning_rates: tried for every loss; for a gradient as large as BCE's, or BPR's.
      weight_decays: tried with each of them; likewise.
      l2: penalty in the loss, likewise.
      epochs: of each rung.
      keep: share of the losses that goes on to the next rung.
      apart: losses whose fingerprints differ by no more at any probe are of one kind; others go on
        before a second one of a kind does.
      least: losses in every rung, where there are as many, however small the share.
      scale: ``"gradient"``, or ``"raw"`` for learning rates as they stand (the paper).
      width: lanes, K, a multiple of the devices; of a rung of few losses as many as they take.
      batch_size: interactions of a step, B.
      seeds: trainings of each loss at each setting; their mean counts, epoch by epoch.
      seed: of initial weights and shuffles.
      progress: told of the stage, epochs done and epochs to come.
      task: that the slopes are of.

    Raises:
      ValueError: for values out of range.
    """
    grid = make_settings_grid(learning_rates, weight_decays, l2=l2, scale=scale)
    if seeds < 1:
        raise ValueError(f"promotion needs seeds of at least 1, got {seeds}")
    if not epochs or min(epochs) < 1 or not 0 < keep <= 1:
        raise ValueError(
            f"promotion needs rungs of at least 1 epoch and keep in (0, 1], got {epochs} and {keep}"
        )
    if not apart >= 0:
        raise ValueError(f"promotion tells losses apart by a distance of at least 0, got {apart}")
    if len(grid) > width:
        raise ValueError(f"promotion tries 1 to {width} settings (its width), got {len(grid)}")
    together = width // len(grid)  # losses trained side by side
    courses = make_trainer(make_lanes, slopes, batch_size=batch_size, task=task)
    key = jax.random.key(seed)
    keys = [key, *(jax.random.fold_in(key, FURTHER + number) for number in range(1, seeds))]
    train = partial(train_from_scratch, courses, l2=l2, scale=scale)

    def rung(
        losses: LossBatch, count: int, data: Data, judged: Sequence[Batch], tick: Callable[[], None]
    ) -> np.ndarray:
        """Give the best mean reward [J'] of the losses over settings and ``count`` epochs."""
        number = losses.scale.shape[0]
        best = np.zeros((number, len(grid)))
        taken = len(grid) * number
        lanes = min(width, taken + -taken % courses.devices)
        # Lanes that the settings leave over repeat the first ones.
        setting = np.arange(lanes) % len(grid)
        member = np.arange(lanes) // len(grid) % together
        for first in range(0, number, together):
            rows = np.minimum(first + member, number - 1)
            mine = jax.tree.map(lambda part, rows=rows: part[rows], losses)
            found = np.zeros((count, lanes))
            for key in keys:
                told = train(mine, grid[setting], epochs=count, key=key, data=data, splits=judged)
                for epoch, rewards in enumerate(told):
                    found[epoch] += rewards / seeds
                    tick()
            np.maximum.at(best, (rows, setting), found.max(0))
        return best.max(1)

    def promote(
        losses: LossBatch, prints: np.ndarray, data: Data, judged: Sequence[Batch]
    ) -> tuple[np.ndarray, np.ndarray]:
        left = np.arange(losses.scale.shape[0])
        sizes = [len(left)]
        for _ in epochs[1:]:
            sizes.append(min(sizes[-1], max(math.ceil(keep * sizes[-1]), least)))
        trainings = [seeds * -(-size // together) for size in sizes]
        total = sum(n * count for n, count in zip(epochs, trainings, strict=True))
        done = iter(range(1, total + 1))
        for count, size in zip(epochs, sizes, strict=True):
            left = left[:size]
            some = jax.tree.map(lambda part, left=left: part[left], losses)
            found = rung(
                some, count, data, judged, lambda: progress("promoting", next(done), total)
            )
            order = np.argsort(-found, kind="stable")
            order = order[kinds_first(prints[left[order]], apart)]
            left, found = left[order], found[order]
        return left, found

    return promote
