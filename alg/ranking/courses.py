"""Trainings that validation follows: lanes train for a few epochs, are evaluated, and go on.

All that is known of a training is a ``Course``. It is kept now and then, and a training that was
killed goes on from there to the same bits.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from ..evaluation.kept import Kept, go_on
from ..interfaces import Array, ProgressFn
from ..search.checkpoints import pack_state
from .settings import RankTestSettings
from .trainer import (
    EvalSplit,
    LaneSettings,
    RankState,
    RankTrainer,
    TrainingPairs,
    train_epochs,
)


class Track(NamedTuple):
    """What a loss is trained and evaluated with."""

    settings: RankTestSettings
    trainer: RankTrainer
    data: TrainingPairs
    valid: EvalSplit | None  # None if it is trained on
    name: str  # of the loss
    plan: tuple[int, ...]  # epochs at most of each round of tuning, of the test, and of training on
    progress: ProgressFn
    kept: Kept  # of the loss


class Stage(NamedTuple):
    """A part of a test whose lanes train side by side."""

    name: str  # for people
    number: int  # in the plan
    halving: int = 0  # epoch after which the worse half of the lanes stops; 0 for none
    is_one: bool = False  # whether lanes are judged by their mean, and the best state is kept


@partial(
    jax.tree_util.register_dataclass,
    data_fields=[
        *("state", "epoch", "num_epochs", "going_on", "halving", "best", "waited"),
        *("best_epoch", "best_state", "values"),
    ],
    meta_fields=[],
)
@dataclass(frozen=True)
class Course:
    """What is known of K lanes after some epochs; L is K, or 1 if their mean is judged."""

    state: RankState  # now
    epoch: np.ndarray  # int []
    num_epochs: np.ndarray  # int [], of all lanes together
    going_on: np.ndarray  # bool [K]
    halving: np.ndarray  # int [], epoch of the next halving; 0 for none
    best: np.ndarray  # [L], of the metric on validation
    waited: np.ndarray  # int [], evaluations without a better one
    best_epoch: np.ndarray  # int []
    best_state: RankState | None  # after the best epoch, if it is kept
    values: np.ndarray  # [most evaluations, 2], epoch and mean of all lanes; NaN if to come


def plan_epochs(settings: RankTestSettings) -> tuple[int, ...]:
    """Returns the epochs at most of all lanes together, of each stage in turn."""
    of_rounds = (_count_epochs(settings, count, settings.halving) for count in settings.trials)
    of_seeds = _count_epochs(settings, settings.seeds)
    return (*of_rounds, of_seeds, of_seeds)


def _count_epochs(settings: RankTestSettings, num_lanes: int, halving: int = 0) -> int:
    """Returns the epochs of lanes, ever fewer of which go on, if none stops early."""
    epoch = total = 0
    while epoch < settings.epochs:
        epochs = min(settings.evaluate_every, settings.epochs - epoch)
        epoch, total = epoch + epochs, total + epochs * num_lanes
        while halving and epoch >= halving:
            halving, num_lanes = 2 * halving, -(-num_lanes // 2)
    return total


def follow(track: Track, stage: Stage, lanes: LaneSettings, keys: Array) -> Course:
    """Trains lanes until validation gets no better, or for all epochs.

    Args:
      track: what they are trained and evaluated with.
      stage: of the test.
      lanes: settings, of K lanes.
      keys: of their weights and orders, [K].

    Returns:
      The course when it ends. With ``halving`` ever fewer lanes go on; the others stay as they are.
    """
    settings, name = track.settings, f"part-{stage.number}"
    weight_keys, order_keys = jax.vmap(jax.random.split, out_axes=1)(keys)
    course = go_on(track.kept, name, _begin(track, stage, track.trainer.init(weight_keys)))
    _show(track, stage, course, {})
    while True:
        course = _train(track, course, lanes, order_keys)
        scores: Mapping[str, float] = {}
        if track.valid is not None:
            found = track.trainer.evaluate(course.state, track.valid).users[settings.metric]
            valid = np.asarray(found)
            means = np.nan_to_num(valid.mean(1), nan=0.0)
            scores = {track.name: float(means.mean() if stage.is_one else means.max())}
        _show(track, stage, course, scores)
        if track.valid is not None:
            course = _note(stage, course, valid)
        if course.epoch >= settings.epochs or course.waited >= settings.patience:
            return course
        course = _halve(course)
        track.kept.offer(name, partial(pack_state, course))


def _begin(track: Track, stage: Stage, state: RankState) -> Course:
    """Returns the course of lanes that have not trained."""
    num_lanes, zero = len(state.epoch), np.zeros((), int)
    most = -(-track.settings.epochs // track.settings.evaluate_every)
    return Course(
        state=state,
        epoch=zero,
        num_epochs=zero,
        going_on=np.ones(num_lanes, bool),
        halving=np.asarray(stage.halving),
        best=np.full(1 if stage.is_one else num_lanes, -np.inf),
        waited=zero,
        best_epoch=zero,
        best_state=jax.tree.map(jnp.copy, state) if stage.is_one else None,
        values=np.full((most, 2), np.nan),
    )


def _train(track: Track, course: Course, lanes: LaneSettings, keys: Array) -> Course:
    """Trains the lanes that go on up to the next evaluation."""
    settings, done = track.settings, int(course.epoch)
    epochs = min(settings.evaluate_every, settings.epochs - done)
    state = train_epochs(
        track.trainer,
        course.state,
        lanes,
        track.data,
        keys,
        epochs * course.going_on,
        done=done,
        refresh_every=settings.refresh_every,
    )
    return replace(
        course,
        state=state,
        epoch=np.asarray(done + epochs),
        num_epochs=course.num_epochs + epochs * course.going_on.sum(),
    )


def _show(track: Track, stage: Stage, course: Course, scores: Mapping[str, float]) -> None:
    done = sum(track.plan[: stage.number]) + int(course.num_epochs)
    track.progress(stage.name, done, sum(track.plan), scores)


def _note(stage: Stage, course: Course, valid: np.ndarray) -> Course:
    """Notes how good lanes are, from the metric of each user of validation [K, E]."""
    mean = float(np.nan_to_num(valid, nan=0.0).mean())
    values = course.values.copy()
    values[np.isnan(values[:, 0]).argmax()] = course.epoch, mean
    of_lanes = np.nan_to_num(valid.mean(1), nan=-np.inf)
    scores = np.asarray([mean]) if stage.is_one else of_lanes
    is_better = bool((scores > course.best).any())
    course = replace(
        course,
        best=np.maximum(course.best, scores),
        waited=np.asarray(0 if is_better else course.waited + 1),
        values=values,
    )
    if not is_better:
        return course
    # A copy, for training donates the state.
    best_state = jax.tree.map(jnp.copy, course.state) if stage.is_one else None
    return replace(course, best_epoch=course.epoch, best_state=best_state)


def _halve(course: Course) -> Course:
    """Stops the worse half of the lanes that go on, each time that the epoch for it is reached."""
    halving, going_on = int(course.halving), course.going_on.copy()
    while halving and course.epoch >= halving:
        halving *= 2
        order = np.argsort(np.where(going_on, -course.best, np.inf), kind="stable")
        going_on[order[-(-int(going_on.sum()) // 2) :]] = False
    return replace(course, halving=np.asarray(halving), going_on=going_on)
