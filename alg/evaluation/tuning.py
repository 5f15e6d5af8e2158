"""Tuning: validation chooses the learning rate and weight decay of every loss.

All settings of all losses train next to each other, each for all epochs: to leave the worse ones
after some epochs would favour weak decays, which learn fast and end behind. But not all of them
with all seeds: the best of each loss by the first seed are confirmed by the others.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple, Protocol

import jax
import jax.numpy as jnp
import numpy as np

from ..interfaces import AnyArray, Array, ProgressFn
from ..training.learning_rates import scale_settings
from ..training.optimizers import Hyper
from ..training.trainer import Trainer
from .contenders import Contender
from .kept import NOTHING, Kept, do_once
from .statistics import Splits
from .trainings import Epoch, Training, follow_training, plan_training


class Tuned(NamedTuple):
    """Settings that validation chose for J losses, and their rewards, [J] each."""

    learning_rate: AnyArray  # for the loss as it is written
    weight_decay: AnyArray  # the same
    l2: AnyArray  # the same
    valid: np.ndarray  # best reward
    tried: Hyper  # all settings, [num_settings, J] each
    scores: np.ndarray  # best reward of each setting [num_settings, J]


class TuneFn(Protocol):
    """Tuning of losses."""

    def __call__(
        self, contenders: Sequence[Contender], splits: Splits, kept: Kept = NOTHING
    ) -> Tuned:
        """Chooses the settings of every loss; goes on from what is kept of these losses."""


class TuningSettings(NamedTuple):
    """How losses are tuned."""

    trainer_of: Callable[..., Trainer]  # of losses
    grid: np.ndarray  # [num_settings, 2], learning rate and weight decay
    confirmed: int  # settings that train with all seeds; 0 for all
    l2: float
    scale: str
    seeds: int
    epochs: int
    patience: int
    key: Array
    progress: ProgressFn


def plan_rounds(num_settings: int, confirmed: int, seeds: int) -> list[tuple[int, int]]:
    """Returns how many settings of each loss, and how many seeds, each round of tuning trains.

    Example:
      >>> plan_rounds(4, confirmed=2, seeds=3), plan_rounds(4, confirmed=0, seeds=3)
      ([(4, 1), (2, 2)], [(4, 3)])
    """
    if seeds > 1 and 0 < confirmed < num_settings:
        return [(num_settings, 1), (confirmed, seeds - 1)]
    return [(num_settings, seeds)]


def tune(
    settings: TuningSettings,
    contenders: Sequence[Contender],
    splits: Splits,
    kept: Kept = NOTHING,
) -> Tuned:
    """Chooses learning rate and weight decay of every loss by its best epoch on validation.

    Args:
      settings: how.
      contenders: the losses.
      splits: to train and evaluate on; test is not looked at.
      kept: of these losses.
    """

    def compute() -> dict[str, Any]:
        trainer = settings.trainer_of(*(contender.loss for contender in contenders))
        hyper = _scale_settings(settings, trainer, len(contenders), splits)
        plan = partial(
            plan_training,
            names=[contender.name for contender in contenders],
            trainer=trainer,
            splits=splits,
            epochs=settings.epochs,
            patience=settings.patience,
        )
        scores, may_be_chosen = _score_settings(settings, plan, hyper, kept)
        best = np.where(may_be_chosen, scores, -np.inf).argmax(0)
        chosen = best, np.arange(len(contenders))
        tried = {name: np.asarray(values) for name, values in hyper._asdict().items()}
        best_settings = {name: values[chosen] for name, values in tried.items()}
        return {**best_settings, "valid": scores[chosen], "tried": tried, "scores": scores}

    found = do_once(kept, "tuning", compute)
    return Tuned(**found | {"tried": Hyper(**found["tried"])})


def _scale_settings(
    settings: TuningSettings, trainer: Trainer, num_losses: int, splits: Splits
) -> Hyper:
    """Returns the settings of every loss, [num_settings, J] each, in proportion to its gradient."""
    factor = np.ones(num_losses)
    if settings.scale == "gradient":
        ones = jnp.ones(num_losses * trainer.devices)
        # Gone before others train, or they would take memory.
        untrained = trainer.init(jnp.repeat(settings.key[None], len(ones)))
        factor = np.asarray(trainer.learning_rate_factors(ones, untrained, splits.train))[
            :num_losses
        ]
    scaled = scale_settings(settings.grid[:, None], factor, l2=settings.l2)
    shape = scaled.learning_rate.shape
    return jax.tree.map(lambda part: np.broadcast_to(part, shape), scaled)


def _score_settings(
    settings: TuningSettings, plan: Callable[..., Training], hyper: Hyper, kept: Kept
) -> tuple[np.ndarray, np.ndarray]:
    """Returns the best reward of each setting, and whether it may be chosen, [num_settings, J]."""
    keys = jax.random.split(settings.key, settings.seeds)
    if len(plan_rounds(len(settings.grid), settings.confirmed, settings.seeds)) == 1:
        only = plan(keys, hyper, progress=settings.progress)
        scores = _train_round(only, "tuning", kept).max(0)
        return scores, np.ones(scores.shape, bool)
    first = plan(keys[:1], hyper, progress=partial(_report_round, settings.progress, 0))
    course = _train_round(first, "tuning of the first seed", kept)
    scores = course.max(0)
    best = np.argsort(-scores, axis=0, kind="stable")[: settings.confirmed]
    few = jax.tree.map(partial(np.take_along_axis, indices=best, axis=0), hyper)
    others = plan(keys[1:], few, progress=partial(_report_round, settings.progress, 1))
    confirming = _train_round(others, "tuning of the other seeds", kept)
    epochs = min(len(course), len(confirming))
    of_first = np.take_along_axis(course[:epochs], best[None], axis=1)
    mean = (of_first + (settings.seeds - 1) * confirming[:epochs]) / settings.seeds
    np.put_along_axis(scores, best, mean.max(0), axis=0)
    may_be_chosen = np.zeros(scores.shape, bool)
    np.put_along_axis(may_be_chosen, best, True, axis=0)
    return scores, may_be_chosen


def _report_round(
    progress: ProgressFn,
    number: int,
    stage: str,
    done: int,
    total: int,
    scores: Mapping[str, float],
) -> None:
    """Reports an epoch of one of two rounds, number 0 or 1, as one of both."""
    progress(stage, number * total + done, 2 * total, scores)


def _train_round(training: Training, name: str, kept: Kept) -> np.ndarray:
    """Returns the rewards after each epoch [epochs, num_settings, J], mean over the seeds."""
    course = np.zeros((training.epochs, *training.hyper.learning_rate.shape))
    done = np.zeros((), int)

    def improves(epoch: Epoch) -> bool:
        before = course[:done].max((0, 1), initial=0.0)
        course[done] = epoch.valid.mean(0)
        done[...] = epoch.number
        return bool((course[done - 1].max(0) > before).any())

    def train() -> dict[str, np.ndarray]:
        follow_training(training, "tuning", name, improves, [course, done], kept)
        return {"course": course[:done]}

    return do_once(kept, f"{name}, done", train)["course"]
