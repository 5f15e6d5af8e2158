"""The fair test: every loss at its own best learning rate, weight decay and number of epochs.

One learning rate for all losses mostly measures the size of their gradients. Here the learning
rates tried for a loss are in proportion to the size of its gradient on an untrained recommender,
and every loss gets the same grid and the same number of epochs. Validation chooses, by the mean
over seeds (``tuning``); other seeds are then trained from scratch, and their differences are
paired.
"""

from collections.abc import Callable, Sequence
from functools import lru_cache, partial
from typing import NamedTuple, Protocol

import jax
import numpy as np

from ..interfaces import Array, ProgressFn, ignore_progress
from ..language.inputs import LossFn
from ..training.lanes import Lanes
from ..training.learning_rates import make_settings_grid
from ..training.loss_gradients import LogitGradFn
from ..training.optimizers import Hyper
from ..training.tasks import RATING, Task
from ..training.trainer import Trainer, make_trainer
from .contenders import Contender
from .kept import NOTHING, Kept, do_once
from .statistics import FairTestResult, Splits, measure, resample_users
from .trainings import Epoch, follow_training, plan_training
from .tuning import Tuned, TuneFn, TuningSettings, tune


class RunFn(Protocol):
    """Test of losses with the settings that are chosen."""

    def __call__(
        self, contenders: Sequence[Contender], tuned: Tuned, splits: Splits, kept: Kept = NOTHING
    ) -> list[FairTestResult]:
        """Trains every loss with all seeds; goes on from what is kept of these losses."""


class FairTest(NamedTuple):
    """A fair test as functions of contenders and data."""

    tune: TuneFn
    run: RunFn


class _TestSettings(NamedTuple):
    trainer_of: Callable[..., Trainer]  # of losses; the last one is kept
    seeds: int
    epochs: int
    patience: int
    key: Array
    progress: ProgressFn
    task: Task


def make_fair_test(
    make_lanes: Callable[[LogitGradFn], Lanes],
    *,
    learning_rates: Sequence[float],
    weight_decays: Sequence[float],
    l2: float,
    tuning_seeds: int,
    seeds: int,
    epochs: int,
    patience: int,
    batch_size: int,
    scale: str,
    confirmed: int = 0,
    seed: int = 0,
    progress: ProgressFn = ignore_progress,
    task: Task = RATING,
) -> FairTest:
    """Builds a fair test.

    Args:
      make_lanes: builds lanes of the recommender for the losses' logit gradients.
      learning_rates: tried for every loss; for a gradient as large as BCE's, or BPR's.
      weight_decays: tried with each of them, for the same gradient.
      l2: penalty in the loss, for the same gradient.
      tuning_seeds: trainings of each loss at each setting; their mean counts, epoch by epoch. The
        best of many epochs of one training is a lucky one as often as a good setting.
      seeds: trainings of each loss in the end, with other random numbers. A seed decides initial
        weights and order of batches, which all losses share.
      epochs: at most; the best by validation counts.
      patience: a stage ends when no loss got better in so many epochs.
      batch_size: interactions of a step, B.
      scale: ``"gradient"``, or ``"raw"`` for learning rates as they are (the paper).
      confirmed: settings of each loss, the best by the first tuning seed, that train with the other
        tuning seeds and are chosen from; 0 for all.
      seed: of initial weights and shuffles.
      progress: called before the first and after each epoch of a stage.
      task: what losses train on, and the metric that chooses and compares.

    Raises:
      ValueError: for values out of range.
    """
    counts = {
        "tuning_seeds": tuning_seeds,
        "seeds": seeds,
        "epochs": epochs,
        "patience": patience,
        "batch_size": batch_size,
    }
    for name, count in counts.items():
        if count < 1:
            raise ValueError(f"a fair test needs {name} of at least 1, got {count}")

    @lru_cache(maxsize=1)  # or the test would compile scoring again after tuning
    def trainer_of(*losses: LossFn) -> Trainer:
        logit_grads = task.static_logit_grads(losses)
        return make_trainer(make_lanes, logit_grads, batch_size=batch_size, task=task)

    if confirmed < 0:
        raise ValueError(f"test.confirmed is a number of settings, or 0 for all, got {confirmed}")
    tuning_key, test_key = jax.random.split(jax.random.key(seed))
    grid = make_settings_grid(learning_rates, weight_decays, l2=l2, scale=scale)
    tuning = TuningSettings(
        trainer_of=trainer_of,
        grid=grid,
        confirmed=confirmed,
        l2=l2,
        scale=scale,
        seeds=tuning_seeds,
        epochs=epochs,
        patience=patience,
        key=tuning_key,
        progress=progress,
    )
    settings = _TestSettings(
        trainer_of=trainer_of,
        seeds=seeds,
        epochs=epochs,
        patience=patience,
        key=test_key,
        progress=progress,
        task=task,
    )
    return FairTest(tune=partial(tune, tuning), run=partial(_run, settings))


def _run(
    settings: _TestSettings,
    contenders: Sequence[Contender],
    tuned: Tuned,
    splits: Splits,
    kept: Kept = NOTHING,
) -> list[FairTestResult]:
    """Trains every loss from scratch with several seeds; the best epoch of their mean counts."""
    test = partial(_train_to_test, settings, contenders, tuned, splits, kept)
    found = do_once(kept, "test", test)
    valid, test_predictions = found["valid"], found["test"]
    resampled = resample_users(valid, test_predictions, splits, settings.task)
    results = []
    for j, contender in enumerate(contenders):
        valid_metrics, test_metrics = measure(
            valid[:, j], test_predictions[:, j], splits, settings.task
        )
        results.append(
            FairTestResult(
                contender=contender,
                learning_rate=float(tuned.learning_rate[j]),
                weight_decay=float(tuned.weight_decay[j]),
                epochs=int(found["epochs"][j]),
                valid=valid_metrics,
                test=test_metrics,
                resampled=resampled[j],
                course=found["courses"][:, j].tolist(),
                tuning=_list_trials(tuned, j),
            )
        )
    return results


def _train_to_test(
    settings: _TestSettings,
    contenders: Sequence[Contender],
    tuned: Tuned,
    splits: Splits,
    kept: Kept,
) -> dict[str, np.ndarray]:
    """Returns what is known of J losses after their training.

    That is the best epochs [J], predictions then for validation and test, [S, J, n] each, and the
    rewards after each epoch [epochs, J].
    """
    num_losses, seeds = len(contenders), settings.seeds
    best, best_epoch = np.full(num_losses, -1.0), np.zeros(num_losses, int)
    courses, done = np.zeros((settings.epochs, num_losses), np.float32), np.zeros((), int)
    valid = np.zeros((seeds, num_losses, splits.valid.label.shape[0]), np.float32)
    test = np.zeros((seeds, num_losses, splits.test.label.shape[0]), np.float32)

    def improves(epoch: Epoch) -> bool:
        mean = epoch.valid[:, 0].mean(0)
        courses[done] = mean
        done[...] = epoch.number
        improved = mean > best
        if improved.any():
            valid[:, improved] = epoch.predict(splits.valid)[:, 0, improved]
            test[:, improved] = epoch.predict(splits.test)[:, 0, improved]
            best[improved], best_epoch[improved] = mean[improved], epoch.number
        return bool(improved.any())

    hyper = Hyper(
        learning_rate=tuned.learning_rate[None],
        weight_decay=tuned.weight_decay[None],
        l2=tuned.l2[None],
    )
    training = plan_training(
        jax.random.split(settings.key, seeds),
        hyper,
        names=[contender.name for contender in contenders],
        trainer=settings.trainer_of(*(contender.loss for contender in contenders)),
        splits=splits,
        epochs=settings.epochs,
        patience=settings.patience,
        progress=settings.progress,
    )
    noted = [best, best_epoch, valid, test, courses, done]
    follow_training(training, "test", "test", improves, noted, kept)
    return {"epochs": best_epoch, "valid": valid, "test": test, "courses": courses[:done]}


def _list_trials(tuned: Tuned, j: int) -> list[dict[str, float]]:
    """Returns the settings that were tried of a loss, and how good they were."""
    return [
        {
            "learning_rate": float(learning_rate),
            "weight_decay": float(weight_decay),
            "valid": float(score),
        }
        for learning_rate, weight_decay, score in zip(
            tuned.tried.learning_rate[:, j],
            tuned.tried.weight_decay[:, j],
            tuned.scores[:, j],
            strict=True,
        )
    ]
