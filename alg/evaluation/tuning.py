"""Tuning: validation chooses the learning rate and weight decay of every loss.

All settings of all losses train next to each other. Where ``halve_after`` says so, the better half
of each loss's settings trains on and the others leave: successive halving (Jamieson and Talwalkar,
2016, arXiv:1502.07943), with the same budget for each loss.
"""

from collections.abc import Callable, Sequence
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
from .trainings import (
    Epoch,
    Reached,
    Training,
    begin_training,
    follow_training,
    is_over,
    plan_training,
    resume_training,
    take_settings,
)


class Tuned(NamedTuple):
    """Settings that validation chose for J losses, and their rewards, [J] each."""

    learning_rate: AnyArray  # for the loss as it is written
    weight_decay: AnyArray  # the same
    l2: AnyArray  # the same
    valid: np.ndarray  # best reward
    tried: Hyper  # all settings, [num_settings, J] each
    scores: np.ndarray  # best reward of each setting [num_settings, J], by when it left


class TuneFn(Protocol):
    """Tuning of losses."""

    def __call__(
        self, contenders: Sequence[Contender], splits: Splits, kept: Kept = NOTHING
    ) -> Tuned:
        """Chooses the settings of every loss; goes on from what is kept of these losses."""


class Rung(NamedTuple):
    """A part of tuning, in which so many settings of each loss train."""

    num_settings: int
    until: int  # its last epoch


class TuningSettings(NamedTuple):
    """How losses are tuned."""

    trainer_of: Callable[..., Trainer]  # of losses
    grid: np.ndarray  # [num_settings, 2], learning rate and weight decay
    rungs: Sequence[Rung]
    l2: float
    scale: str
    seeds: int
    epochs: int
    patience: int
    key: Array
    progress: ProgressFn


class _Place(NamedTuple):
    """Where tuning is: in a rung, with some settings of each loss."""

    rung: int
    left: np.ndarray  # numbers of the settings that train, int [n, J]
    reached: Reached


def plan_rungs(num_settings: int, halve_after: Sequence[int], epochs: int) -> list[Rung]:
    """Returns the rungs of tuning. Two settings stay to the end, so that its course chooses.

    Args:
      num_settings: of each loss.
      halve_after: epochs after which half of them go on, rounded up.
      epochs: of tuning, at most.

    Raises:
      ValueError: for epochs that do not ascend.

    Example:
      >>> [tuple(rung) for rung in plan_rungs(6, (5, 20), 100)]
      [(6, 5), (3, 20), (2, 100)]
    """
    if list(halve_after) != sorted({*halve_after}) or min(halve_after, default=1) < 1:
        raise ValueError(
            "test.halve_after is numbers of epochs from 1 up, in ascending order, as in (5, 20); "
            f"got {tuple(halve_after)}"
        )
    rungs = []
    for until in halve_after:
        if num_settings > 2 and until < epochs:
            rungs.append(Rung(num_settings, until))
            num_settings -= num_settings // 2
    return [*rungs, Rung(num_settings, epochs)]


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
        training = plan_training(
            [contender.name for contender in contenders],
            trainer,
            jax.random.split(settings.key, settings.seeds),
            hyper,
            splits,
            epochs=settings.epochs,
            patience=settings.patience,
            progress=settings.progress,
        )
        best = _train_rungs(settings, training, kept)
        chosen = best.argmax(0), np.arange(len(contenders))
        tried = {name: np.asarray(values) for name, values in hyper._asdict().items()}
        best_settings = {name: values[chosen] for name, values in tried.items()}
        return {**best_settings, "valid": best[chosen], "tried": tried, "scores": best}

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


def _train_rungs(settings: TuningSettings, training: Training, kept: Kept) -> np.ndarray:
    """Returns the best reward of each setting [num_settings, J], by the time that it left."""
    best = np.zeros(training.hyper.learning_rate.shape)
    place = _find_place(settings, training, best, kept)
    for number in range(place.rung, len(settings.rungs)):
        if number > place.rung:
            place = _halve(settings, training, place, best)
        of_rung, left = _take(training, place.left), place.left

        def improves(epoch: Epoch, left: np.ndarray = left) -> bool:
            mean, before = epoch.valid.mean(0), np.take_along_axis(best, left, 0)
            improved = bool((mean.max(0) > best.max(0)).any())
            np.put_along_axis(best, left, np.maximum(before, mean), 0)
            return improved

        reached = follow_training(
            of_rung,
            "tuning",
            _name_rung(number),
            place.reached,
            improves,
            [best, left],
            kept,
            settings.rungs[number].until,
        )
        place = place._replace(reached=reached)
        if is_over(training, reached):
            break
    return best


def _find_place(
    settings: TuningSettings, training: Training, best: np.ndarray, kept: Kept
) -> _Place:
    """Returns where tuning begins, or goes on; fills in the best rewards so far."""
    num_settings, num_losses = best.shape
    every = np.tile(np.arange(num_settings)[:, None], num_losses)
    for number, rung in reversed([*enumerate(settings.rungs)]):
        left = every[: rung.num_settings].copy()  # what is kept says which they were
        of_rung = _take(training, left)
        if reached := resume_training(of_rung, _name_rung(number), [best, left], kept):
            return _Place(number, left, reached)
    return _Place(0, every, begin_training(training))


def _halve(settings: TuningSettings, training: Training, place: _Place, best: np.ndarray) -> _Place:
    """Returns the next rung, with the better settings of each loss, in the order of the grid."""
    number = place.rung + 1
    scores = np.take_along_axis(best, place.left, 0)
    order = np.argsort(-scores, axis=0, kind="stable")[: settings.rungs[number].num_settings]
    places = np.sort(order, axis=0)
    reached = take_settings(training, place.reached, places)
    return _Place(number, np.take_along_axis(place.left, places, 0), reached)


def _take(training: Training, left: np.ndarray) -> Training:
    """Returns the training of some settings of each loss, int [n, J]."""
    take = partial(np.take_along_axis, indices=left, axis=0)
    return training._replace(hyper=jax.tree.map(take, training.hyper))


def _name_rung(number: int) -> str:
    return f"tuning of rung {number + 1}" if number else "tuning"
