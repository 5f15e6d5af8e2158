"""Tuning of a loss: rounds of trials, the later ones around the best of those before."""

from collections.abc import Mapping
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from ..evaluation.kept import do_once_timed
from .contenders import RankContender
from .courses import Stage, Track, follow
from .settings import RankTestSettings
from .trainer import LaneSettings, to_lanes
from .tuning import Range, Trials, add_trials, find_best, propose, to_settings


class Tuned(NamedTuple):
    """What tuning found, and what it took."""

    trials: Trials  # of all rounds
    num_epochs: int  # of all together
    seconds: float


def tune_loss(contender: RankContender, track: Track) -> Tuned:
    """Tries settings of a loss, round by round."""
    settings, ranges = track.settings, list_ranges(contender, track.settings)
    trials, num_epochs, seconds = None, 0, 0.0
    for number, count in enumerate(settings.trials):
        units = propose(
            ranges,
            count,
            number=number,
            seed=settings.seed,
            before=trials,
            published=contender.published,
        )
        lanes = to_lanes(to_settings(ranges, units))
        tried = do_once_timed(track.kept, f"round-{number}", partial(_try, track, lanes, number))
        num_epochs += int(tried["num_epochs"])
        seconds += float(tried["seconds"])
        new = Trials(names=tuple(ranges), units=units, scores=tried["scores"])
        trials = add_trials(trials, new)
    assert trials is not None  # there is at least one round
    return Tuned(trials, num_epochs, seconds)


def list_ranges(contender: RankContender, settings: RankTestSettings) -> dict[str, Range]:
    """Returns name -> values that are tried of all that is tuned."""
    return {
        "learning_rate": settings.learning_rate,
        "weight_decay": settings.weight_decay,
        **contender.constants,
    }


def choose_settings(tuned: Tuned, ranges: Mapping[str, Range]) -> dict[str, float]:
    """Returns the settings of the best trial."""
    best = tuned.trials.units[[find_best(tuned.trials)]]
    return {name: float(values[0]) for name, values in to_settings(ranges, best).items()}


def list_trials(trials: Trials, ranges: Mapping[str, Range]) -> list[dict[str, float]]:
    """Returns the settings that were tried, and how good they were."""
    tried = {**to_settings(ranges, trials.units), "valid": trials.scores}
    rows = zip(*(values.tolist() for values in tried.values()), strict=True)
    return [dict(zip(tried, row, strict=True)) for row in rows]


def _try(track: Track, lanes: LaneSettings, number: int) -> dict[str, Any]:
    """Returns the scores of the trials of a round, and the epochs of all together."""
    # All trials begin with the same weights and see the same batches: settings differ alone.
    keys = jnp.repeat(jax.random.key(track.settings.seed)[None], len(lanes.learning_rate))
    course = follow(track, Stage("tuning", number, track.settings.halving), lanes, keys)
    return {"scores": course.best, "num_epochs": np.asarray(course.num_epochs)}
