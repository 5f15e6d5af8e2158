"""The last trainings of a loss: its best settings with several seeds, then on more data."""

from collections.abc import Mapping
from typing import Any

import jax
import numpy as np

from ..interfaces import Array
from .courses import Course, Stage, Track, follow
from .trainer import EvalSplit, RankState, to_lanes


def hold_out(track: Track, chosen: Mapping[str, float], split: EvalSplit) -> dict[str, Any]:
    """Trains all seeds on train, for as many epochs as are best on validation.

    Args:
      track: of the loss.
      chosen: its settings.
      split: of the test.

    Returns:
      Metrics on validation and test, how many seeds diverged, epochs and their course.
    """
    stage = Stage("test", len(track.settings.trials), is_one=True)
    course = _train_seeds(track, chosen, stage)
    assert track.valid is not None  # it decides when to stop
    assert course.best_state is not None
    valid = track.trainer.evaluate(course.best_state, track.valid)
    return {
        "epochs": course.best_epoch,
        "num_epochs": np.asarray(course.num_epochs),
        "course": course.values[np.isfinite(course.values[:, 0])],
        "valid": _to_numpy(valid.users),
        **_test(track, course.best_state, split),
    }


def train_again(
    track: Track, chosen: Mapping[str, float], epochs: int, split: EvalSplit
) -> dict[str, Any]:
    """Trains all seeds on train and validation for so many epochs.

    Args:
      track: of the loss, without a validation.
      chosen: its settings.
      epochs: of the training.
      split: of the test.

    Returns:
      Metrics on the test, and how many seeds diverged.
    """
    track = track._replace(settings=track.settings._replace(epochs=epochs))
    course = _train_seeds(track, chosen, Stage("refit", len(track.plan) - 1))
    return _test(track, course.state, split)


def _train_seeds(track: Track, chosen: Mapping[str, float], stage: Stage) -> Course:
    """Trains a lane for each seed; seeds are others than that of the trials."""
    seeds = track.settings.seeds
    lanes = to_lanes({name: np.full(seeds, value) for name, value in chosen.items()})
    keys = jax.random.split(jax.random.key(track.settings.seed + 1), seeds)
    return follow(track, stage, lanes, keys)


def _test(track: Track, state: RankState, split: EvalSplit) -> dict[str, Any]:
    """Returns the test's metrics of each seed, and how many seeds diverged."""
    found = track.trainer.evaluate(state, split)
    return {
        "test": _to_numpy(found.users),
        "lists": _to_numpy(found.lists),
        "diverged": np.asarray(count_diverged(state)),
    }


def count_diverged(state: RankState) -> int:
    """Counts lanes with a parameter whose square is no finite number: scores have no sense then.

    The metrics of such a lane are 0, for what is not ranked finds nothing.
    """
    with np.errstate(over="ignore"):
        squares = [np.square(leaf) for leaf in jax.tree.leaves(jax.device_get(state.params))]
    finite = [np.isfinite(square).reshape(len(square), -1).all(1) for square in squares]
    return int((~np.all(finite, axis=0)).sum())


def _to_numpy(values: Mapping[str, Array]) -> dict[str, np.ndarray]:
    return {name: np.asarray(value) for name, value in values.items()}
