"""The fair test of rankings: every loss with the same number of trials, then with several seeds.

Validation tunes learning rate, weight decay and the constants of each loss, chooses the number of
epochs, and stops. Test is looked at once for each frozen configuration, in two ways:

- ``train``: the recommender that saw the train split, with what it saw masked. Published figures
  on data with a validation split are often taken so; items held out for validation count as
  errors.
- ``train+valid``: a recommender that is trained again on train and validation, for as many epochs,
  with both masked. It is what a user would be served.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np

from ..evaluation.kept import NOTHING, Kept, do_once_timed
from ..interfaces import EmbeddingModel, ItemSets, ProgressFn, RankingData, ignore_progress
from .contenders import RankContender
from .courses import Track, plan_epochs
from .rounds import Tuned, choose_settings, list_ranges, list_trials, tune_loss
from .seeds import hold_out, train_again
from .settings import RankTestSettings, check_settings
from .trainer import RankTrainer, make_eval_split, make_rank_trainer, make_training_pairs
from .tuning import Trials, find_edges

MASKS = ("train", "train+valid")
"""What is left out of the rankings of a test."""


class RankResult(NamedTuple):
    """Result of the test for one loss, or for a recommender without one."""

    name: str
    formula: str  # empty without a loss
    score: str  # the same
    found: bool
    settings: dict[str, float]  # learning rate, weight decay and constants
    epochs: int
    edges: list[str]  # settings at an edge of what was tried
    trials: Trials | None  # None for what is tuned on a grid
    valid: dict[str, np.ndarray]  # metric -> [S, E] of validation's users
    test: dict[str, dict[str, np.ndarray]]  # mask -> metric -> [S, E] of the test's users
    lists: dict[str, dict[str, np.ndarray]]  # mask -> metric of all lists together -> [S]
    num_trainings: int
    num_epochs: int  # of all trainings together
    seconds: float
    course: Sequence[tuple[int, float]] = ()  # epoch and mean of the metric on validation
    tuning: Sequence[Mapping[str, float]] = ()  # settings that were tried, and their metric
    diverged: Mapping[str, int] = MappingProxyType({})  # mask -> seeds that diverged


MakeModel = Callable[[ItemSets], EmbeddingModel]
"""What is known of each user -> model; a graph model needs it."""


def run_rank_test(
    contender: RankContender,
    data: RankingData,
    make_model: MakeModel,
    settings: RankTestSettings = RankTestSettings(),  # noqa: B008
    *,
    progress: ProgressFn = ignore_progress,
    kept: Kept = NOTHING,
) -> RankResult:
    """Tunes a loss and tests it.

    Args:
      contender: the loss.
      data: train, validation and test.
      make_model: builds the recommender.
      settings: of the test, the same for all losses that are compared.
      progress: called with the epochs of all trainings of the loss, those that it may skip too.
      kept: of this loss.

    Raises:
      ValueError: for settings that cannot be.
    """
    check_settings(settings)
    track = _make_track(contender, data, make_model(data.train), settings, progress, kept)
    tuned, ranges = tune_loss(contender, track), list_ranges(contender, settings)
    chosen = choose_settings(tuned, ranges)
    split = make_eval_split(data.test, data.mask(data.train), data.num_items)
    held_out = do_once_timed(kept, "held-out", partial(hold_out, track, chosen, split))
    epochs, known = int(held_out["epochs"]), data.train.union(data.valid)
    again = track._replace(
        trainer=make_contender_trainer(contender, make_model(known), settings),
        data=make_training_pairs(known, data.num_items, power=settings.negatives.power),
        valid=None,
    )
    split = make_eval_split(data.test, data.mask(known), data.num_items)
    refit = do_once_timed(kept, "refit", partial(train_again, again, chosen, epochs, split))
    return _make_result(contender, settings, tuned, held_out, refit)


def _make_result(
    contender: RankContender,
    settings: RankTestSettings,
    tuned: Tuned,
    held_out: Mapping[str, Any],
    refit: Mapping[str, Any],
) -> RankResult:
    """Returns the result of trials, of seeds with validation held out, and of seeds after that."""
    ranges, epochs = list_ranges(contender, settings), int(held_out["epochs"])
    of_masks = dict(zip(MASKS, (held_out, refit), strict=True))
    return RankResult(
        name=contender.name,
        formula=contender.formula,
        score=contender.score,
        found=contender.found,
        settings=choose_settings(tuned, ranges),
        epochs=epochs,
        edges=[
            *find_edges(tuned.trials, harmless=("weight_decay",)),
            *["epochs at their highest"] * (epochs == settings.epochs),
        ],
        trials=tuned.trials,
        valid=held_out["valid"],
        test={mask: tested["test"] for mask, tested in of_masks.items()},
        lists={mask: tested["lists"] for mask, tested in of_masks.items()},
        num_trainings=len(tuned.trials.scores) + 2 * settings.seeds,
        num_epochs=tuned.num_epochs + int(held_out["num_epochs"]) + epochs * settings.seeds,
        seconds=tuned.seconds + float(held_out["seconds"] + refit["seconds"]),
        course=[(int(epoch), float(value)) for epoch, value in held_out["course"]],
        tuning=list_trials(tuned.trials, ranges),
        diverged={mask: int(tested["diverged"]) for mask, tested in of_masks.items()},
    )


def make_contender_trainer(
    contender: RankContender, model: EmbeddingModel, settings: RankTestSettings
) -> RankTrainer:
    """Builds the trainer of a contender as the test trains it."""
    return make_rank_trainer(
        model,
        contender.loss,
        score=contender.score,
        negatives=settings.negatives,
        batch_size=settings.batch_size,
        top=settings.top,
        cutoffs=settings.cutoffs,
    )


def _make_track(
    contender: RankContender,
    data: RankingData,
    model: EmbeddingModel,
    settings: RankTestSettings,
    progress: ProgressFn,
    kept: Kept,
) -> Track:
    """Returns what a loss is tuned with: train to train on, validation to choose by."""
    return Track(
        settings=settings,
        trainer=make_contender_trainer(contender, model, settings),
        data=make_training_pairs(data.train, data.num_items, power=settings.negatives.power),
        valid=make_eval_split(data.valid, data.mask(data.train), data.num_items),
        name=contender.name,
        plan=plan_epochs(settings),
        progress=progress,
        kept=kept,
    )
