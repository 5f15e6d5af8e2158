"""Promotion: which of the many losses that a search found are worth a fair test.

Successive halving (Jamieson and Talwalkar, 2016, arXiv:1502.07943): all are trained from scratch
for a few epochs, each at several settings; a share of them goes on to a longer training.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import NamedTuple, Protocol

import chex
import jax
import numpy as np

from ..interfaces import Array, Batch, Data, ProgressFn, ignore_progress
from ..search.checkpoints import pack_state
from ..training.lanes import Lanes, LaneState
from ..training.learning_rates import make_settings_grid
from ..training.loss_gradients import LogitGradFn, LossBatch
from ..training.random_keys import FURTHER_SEEDS
from ..training.tasks import RATING, Task
from ..training.trainer import make_trainer, train_from_scratch
from .kept import NOTHING, Kept, do_once, go_on
from .lane_layout import LaneLayout, layout_in_blocks

KEEP = 0.25
"""Share of the losses of a rung that goes on to the next one."""


class Rung(NamedTuple):
    """The n losses that were trained for so many epochs."""

    epochs: int
    losses: np.ndarray  # int [n], their numbers: the best of each kind first, then the others
    rewards: np.ndarray  # float [n], without penalty
    courses: np.ndarray  # float [n, epochs], rewards after each epoch at the best setting


class Promote(Protocol):
    """Promotion of the losses that a search found."""

    def __call__(
        self,
        losses: LossBatch,
        fingerprints: np.ndarray,
        data: Data,
        eval_splits: Sequence[Batch],
        penalty: np.ndarray | float = 0.0,
        names: Sequence[str] = (),
        kept: Kept = NOTHING,
    ) -> list[Rung]:
        """Trains losses rung by rung.

        Args:
          losses: J losses.
          fingerprints: of the losses [J, P].
          data: to train on.
          eval_splits: to evaluate on, none of them part of ``data``; a reward is the mean over
            them.
          penalty: of each loss [J]: what is taken from its reward before losses are ordered.
          names: of the losses, for who follows the progress; their numbers if left out.
          kept: of these losses.

        Returns:
          All rungs, the longest training last.
        """


def order_by_kind(fingerprints: np.ndarray, distinct_tolerance: float) -> np.ndarray:
    """Returns the order of losses, best first, in which the first of each kind come first.

    Args:
      fingerprints: [J, P].
      distinct_tolerance: losses that differ by no more at any probe point are of one kind.

    Returns:
      int [J].

    Example:
      >>> fingerprints = np.array([[0.0], [0.05], [0.5], [0.52], [0.9]])
      >>> order_by_kind(fingerprints, distinct_tolerance=0.1).tolist()
      [0, 2, 4, 1, 3]
    """
    first: list[int] = []
    others: list[int] = []
    for j, fingerprint in enumerate(fingerprints):
        is_near = np.abs(fingerprints[first] - fingerprint).max(1) <= distinct_tolerance
        (others if is_near.any() else first).append(j)
    return np.array([*first, *others], int)


class _PromotionSettings(NamedTuple):
    train: Callable[..., Iterator[tuple[LaneState, np.ndarray]]]  # see ``train_from_scratch``
    grid: np.ndarray  # [num_settings, 2], learning rate and weight decay
    keys: list[Array]  # of the seeds
    together: int  # losses that train next to each other
    num_lanes: int
    devices: int
    epochs: Sequence[int]  # of each rung
    first_losses: int  # of the first rung, at most; 0 for all
    keep: float
    distinct_tolerance: float
    min_survivors: int
    progress: ProgressFn


def make_promotion(
    make_lanes: Callable[[LogitGradFn], Lanes],
    logit_grads: LogitGradFn,
    *,
    learning_rates: Sequence[float],
    weight_decays: Sequence[float],
    l2: float,
    epochs: Sequence[int],
    losses: int = 0,
    keep: float = KEEP,
    distinct_tolerance: float,
    min_survivors: int = 1,
    scale: str,
    num_lanes: int,
    batch_size: int,
    seeds: int = 1,
    seed: int = 0,
    progress: ProgressFn = ignore_progress,
    task: Task = RATING,
) -> Promote:
    """Builds a promotion.

    Args:
      make_lanes: builds lanes of the recommender for the losses' logit gradients.
      logit_grads: of as many losses as there are lanes.
      learning_rates: tried for every loss; for a gradient as large as BCE's, or BPR's.
      weight_decays: tried with each of them, for the same gradient.
      l2: penalty in the loss, for the same gradient.
      epochs: of each rung.
      losses: that train in the first rung, at most: the first ones, and no fewer than
        ``min_survivors``; 0 for all.
      keep: share of the losses that goes on to the next rung.
      distinct_tolerance: losses whose fingerprints differ by no more at any probe point are of one
        kind; the best of each kind goes on before a second one does.
      min_survivors: losses in every rung, where there are as many, however small the share.
      scale: ``"gradient"``, or ``"raw"`` for learning rates as they are (the paper).
      num_lanes: K, a multiple of the devices; a rung of few losses takes as many as it needs.
      batch_size: interactions of a step, B.
      seeds: trainings of each loss at each setting; their mean counts, epoch by epoch.
      seed: of initial weights and shuffles.
      progress: called after each epoch of the losses that train next to each other.
      task: that the logit gradients are of.

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
    if losses < 0:
        raise ValueError(f"promote.losses is a number of losses, or 0 for all, got {losses}")
    if not distinct_tolerance >= 0:
        raise ValueError(
            f"promote.distinct_tolerance is a distance of at least 0, got {distinct_tolerance}"
        )
    if len(grid) > num_lanes:
        raise ValueError(
            f"promotion tries 1 to {num_lanes} settings (promote.num_lanes), got {len(grid)}"
        )
    together = num_lanes // len(grid)  # losses that train next to each other
    trainer = make_trainer(make_lanes, logit_grads, batch_size=batch_size, task=task)
    key = jax.random.key(seed)
    further = (jax.random.fold_in(key, FURTHER_SEEDS + number) for number in range(1, seeds))
    train = partial(train_from_scratch, trainer, l2=l2, scale=scale)
    return partial(
        _promote,
        _PromotionSettings(
            train=train,
            grid=grid,
            keys=[key, *further],
            together=together,
            num_lanes=num_lanes,
            devices=trainer.devices,
            epochs=epochs,
            first_losses=losses,
            keep=keep,
            distinct_tolerance=distinct_tolerance,
            min_survivors=min_survivors,
            progress=progress,
        ),
    )


class _Rung(NamedTuple):
    """What a rung trains, and on what."""

    number: int
    losses: LossBatch
    epochs: int
    data: Data
    eval_splits: Sequence[Batch]
    kept: Kept
    tick: Callable[[int, np.ndarray], None]  # epochs of the rung that are done, rewards [J]


def _promote(
    settings: _PromotionSettings,
    losses: LossBatch,
    fingerprints: np.ndarray,
    data: Data,
    eval_splits: Sequence[Batch],
    penalty: np.ndarray | float = 0.0,
    names: Sequence[str] = (),
    kept: Kept = NOTHING,
) -> list[Rung]:
    """Trains losses rung by rung; see ``Promote``."""
    chex.assert_equal_shape_prefix([losses.scale, fingerprints], 1)
    names = names or [str(j) for j in range(losses.scale.shape[0])]
    survivors = np.arange(len(names))
    sizes = compute_rung_sizes(
        len(survivors),
        len(settings.epochs),
        first=settings.first_losses,
        min_survivors=settings.min_survivors,
        keep=settings.keep,
    )
    penalty = np.broadcast_to(penalty, len(names))
    rungs: list[Rung] = []
    num_groups = [-(-size // settings.together) for size in sizes]
    of_rungs = len(settings.keys) * np.multiply(settings.epochs, num_groups)
    ends = np.cumsum(of_rungs)

    def tick(number: int, done: int, rewards: np.ndarray) -> None:
        scores = zip(survivors, rewards, strict=True)
        now = {names[int(j)]: float(reward) for j, reward in scores if np.isfinite(reward)}
        before = int(ends[number] - of_rungs[number])
        settings.progress("promotion", before + done, int(ends[-1]), now)

    settings.progress("promotion", 0, int(ends[-1]), {})
    for number, (epochs, size) in enumerate(zip(settings.epochs, sizes, strict=True)):
        survivors = survivors[:size]
        of_rung = jax.tree.map(lambda part, rows=survivors: part[rows], losses)
        rung = _Rung(number, of_rung, epochs, data, eval_splits, kept, partial(tick, number))
        courses = _run_rung(settings, rung)
        rewards = np.maximum(courses.max(1), 0.0)  # what diverged has none
        order = np.argsort(penalty[survivors] - rewards, kind="stable")
        kinds = order_by_kind(fingerprints[survivors[order]], settings.distinct_tolerance)
        order = order[kinds]
        survivors = survivors[order]
        rungs.append(
            Rung(epochs=epochs, losses=survivors, rewards=rewards[order], courses=courses[order])
        )
    return rungs


def compute_rung_sizes(
    num_losses: int, num_rungs: int, *, first: int = 0, min_survivors: int, keep: float = KEEP
) -> list[int]:
    """Returns how many losses each rung trains.

    Args:
      num_losses: that there are.
      num_rungs: how many rungs there are.
      first: losses of the first rung, if there are as many; 0 for all.
      min_survivors: losses in every rung, where there are as many.
      keep: share of the losses that goes on.

    Example:
      >>> compute_rung_sizes(128, 3, min_survivors=4)
      [128, 32, 8]
      >>> compute_rung_sizes(128, 2, first=1, min_survivors=4)
      [4, 4]
    """
    sizes = [min(num_losses, max(first, min_survivors)) if first else num_losses]
    for _ in range(1, num_rungs):
        share = math.ceil(keep * sizes[-1])
        sizes.append(min(sizes[-1], max(share, min_survivors)))
    return sizes


def _run_rung(settings: _PromotionSettings, rung: _Rung) -> np.ndarray:
    """Returns the mean reward over seeds after each epoch [J, epochs], at the best setting."""
    num_losses, num_settings = rung.losses.scale.shape[0], len(settings.grid)
    needed = num_settings * num_losses
    num_lanes = min(settings.num_lanes, needed + -needed % settings.devices)
    courses = np.full((num_losses, rung.epochs), -np.inf)
    for first in range(0, num_losses, settings.together):
        # The last group repeats the last loss.
        group = np.minimum(first + np.arange(settings.together), num_losses - 1)
        layout = layout_in_blocks(
            group, num_losses=num_losses, num_settings=num_settings, num_lanes=num_lanes
        )
        mean = np.zeros((rung.epochs, num_lanes))
        for seed in range(len(settings.keys)):
            part = first // settings.together * len(settings.keys) + seed
            train = partial(_train, settings, rung, layout, part)
            rewards = do_once(rung.kept, _name_part(rung, part), train)["rewards"]
            mean += rewards / len(settings.keys)
        for j in np.unique(group):
            lanes = np.flatnonzero(layout.loss == j)
            courses[j] = mean[:, lanes[mean.max(0)[lanes].argmax()]]
    return courses


def _name_part(rung: _Rung, part: int) -> str:
    return f"rung-{rung.number}-part-{part}"


def _train(
    settings: _PromotionSettings, rung: _Rung, layout: LaneLayout, part: int
) -> dict[str, np.ndarray]:
    """Returns the rewards [epochs, num_lanes] of a part of a rung: some losses, with one seed."""
    rewards, done = np.zeros((rung.epochs, layout.num_lanes), np.float32), np.zeros((), int)
    name = _name_part(rung, part)

    def begin(untrained: LaneState) -> tuple[int, LaneState]:
        nonlocal rewards, done
        state, rewards, done = go_on(rung.kept, name, (untrained, rewards, done))
        return int(done), state

    training = settings.train(
        jax.tree.map(lambda x: x[layout.loss], rung.losses),
        settings.grid[layout.setting],
        epochs=rung.epochs,
        key=settings.keys[part % len(settings.keys)],
        data=rung.data,
        splits=rung.eval_splits,
        begin=begin,
    )
    for state, of_epoch in training:
        rewards[done] = of_epoch
        done = done + 1
        rung.tick(part * rung.epochs + int(done), layout.max_by_loss(of_epoch).max(0))
        rung.kept.offer(name, partial(pack_state, (state, rewards, done)))
    return {"rewards": rewards}
