"""The fair test: every loss at its own best learning rate, weight decay and number of epochs.

One learning rate for all losses mostly measures the size of their gradients. Here the learning
rates tried for a loss are in proportion to the size of its gradient on an untrained recommender,
and every loss gets the same grid and the same number of epochs. Validation chooses, by the mean
over seeds; other seeds are then trained from scratch, and their differences are paired.

Losses and settings train in lanes next to each other, see ``lane_layout``. Lanes on one device
share batches. Seeds must not: batch order would then shift all seeds together, and the interval
over seeds would be too narrow. So seeds train one after the other, epoch by epoch, or, where there
is one setting, on different devices.
"""

from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache, partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from ..interfaces import AnyArray, Array, Batch, ProgressFn, StreamedData, ignore_progress
from ..language.inputs import LossFn
from ..training.lanes import Lanes, LaneState
from ..training.learning_rates import make_settings_grid, scale_settings
from ..training.loss_gradients import LogitGradFn
from ..training.optimizers import Hyper
from ..training.tasks import RATING, Task
from ..training.trainer import Trainer, make_trainer
from .contenders import Contender
from .lane_layout import layout_in_turns
from .statistics import FairTestResult, Splits, measure, resample_users


class Tuned(NamedTuple):
    """Settings that validation chose for J losses, and their rewards, [J] each."""

    learning_rate: AnyArray  # for the loss as it is written
    weight_decay: AnyArray  # the same
    l2: AnyArray  # the same
    valid: np.ndarray  # best reward
    tried: Hyper  # all settings, [num_settings, J] each
    scores: np.ndarray  # best reward of each setting [num_settings, J]


class FairTest(NamedTuple):
    """A fair test as functions of contenders and data."""

    tune: Callable[[Sequence[Contender], Splits], Tuned]
    run: Callable[[Sequence[Contender], Tuned, Splits], list[FairTestResult]]


class _TestSettings(NamedTuple):
    trainer_of: Callable[..., Trainer]  # of losses; the last one is kept
    grid: np.ndarray  # [num_settings, 2], learning rate and weight decay
    l2: float
    tuning_seeds: int
    seeds: int
    epochs: int
    patience: int
    scale: str
    devices: int
    tuning_key: Array
    key: Array
    progress: ProgressFn
    task: Task


class _Epoch(NamedTuple):
    """An epoch of all seeds, settings and losses."""

    number: int  # from 1
    valid: np.ndarray  # reward [S, num_settings, J]
    # Interactions [n] -> predictions [S, num_settings, J, n]; only until the next epoch.
    predict: Callable[[Batch], np.ndarray]


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
    devices: int = 1,
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
      devices: that lanes are divided over.
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

    tuning_key, test_key = jax.random.split(jax.random.key(seed))
    settings = _TestSettings(
        trainer_of=trainer_of,
        grid=make_settings_grid(learning_rates, weight_decays, l2=l2, scale=scale),
        l2=l2,
        tuning_seeds=tuning_seeds,
        seeds=seeds,
        epochs=epochs,
        patience=patience,
        scale=scale,
        devices=devices,
        tuning_key=tuning_key,
        key=test_key,
        progress=progress,
        task=task,
    )
    return FairTest(tune=partial(_tune, settings), run=partial(_run, settings))


def count_seeds_together(num_settings: int, devices: int, *, streamed: bool) -> int:
    """Returns how many seeds train at once: with one setting, a seed on each device.

    Several settings are divided over the devices. Of a stream all devices share a chunk, so they
    also share a seed.

    Example:
      >>> count_seeds_together(1, 8, streamed=False), count_seeds_together(4, 8, streamed=False)
      (8, 1)
    """
    return devices if num_settings == 1 and not streamed else 1


def _tune(settings: _TestSettings, contenders: Sequence[Contender], splits: Splits) -> Tuned:
    """Chooses learning rate and weight decay of every loss by its best epoch on validation."""
    trainer = settings.trainer_of(*(contender.loss for contender in contenders))
    hyper = _scale_settings(settings, trainer, len(contenders), splits)
    best = np.zeros(hyper.learning_rate.shape)  # [num_settings, J]

    def improves(epoch: _Epoch) -> bool:
        mean = epoch.valid.mean(0)
        improved = bool((mean.max(0) > best.max(0)).any())
        np.maximum(best, mean, out=best)
        return improved

    keys = jax.random.split(settings.tuning_key, settings.tuning_seeds)
    epochs = _train_seeds(settings, trainer, keys, hyper, splits)
    _follow(settings, "tuning", contenders, epochs, improves)
    chosen = best.argmax(0), np.arange(len(contenders))
    return Tuned(
        learning_rate=hyper.learning_rate[chosen],
        weight_decay=hyper.weight_decay[chosen],
        l2=hyper.l2[chosen],
        valid=best[chosen],
        tried=hyper,
        scores=best,
    )


def _scale_settings(
    settings: _TestSettings, trainer: Trainer, num_losses: int, splits: Splits
) -> Hyper:
    """Returns the settings of every loss, [num_settings, J] each, in proportion to its gradient."""
    factor = np.ones(num_losses)
    if settings.scale == "gradient":
        ones = jnp.ones(num_losses * settings.devices)
        # Gone before others train, or they would take memory.
        untrained = trainer.init(jnp.repeat(settings.tuning_key[None], len(ones)))
        factor = np.asarray(trainer.learning_rate_factors(ones, untrained, splits.train))[
            :num_losses
        ]
    scaled = scale_settings(settings.grid[:, None], factor, l2=settings.l2)
    shape = scaled.learning_rate.shape
    return jax.tree.map(lambda part: np.broadcast_to(part, shape), scaled)


def _run(
    settings: _TestSettings, contenders: Sequence[Contender], tuned: Tuned, splits: Splits
) -> list[FairTestResult]:
    """Trains every loss from scratch with several seeds; the best epoch of their mean counts."""
    num_losses, seeds = len(contenders), settings.seeds
    best, best_epoch = np.full(num_losses, -1.0), np.zeros(num_losses, int)
    courses: list[np.ndarray] = []
    valid = np.zeros((seeds, num_losses, splits.valid.label.shape[0]), np.float32)
    test = np.zeros((seeds, num_losses, splits.test.label.shape[0]), np.float32)

    def improves(epoch: _Epoch) -> bool:
        mean = epoch.valid[:, 0].mean(0)
        courses.append(mean)
        improved = mean > best
        if improved.any():
            valid[:, improved] = epoch.predict(splits.valid)[:, 0, improved]
            test[:, improved] = epoch.predict(splits.test)[:, 0, improved]
            best[improved], best_epoch[improved] = mean[improved], epoch.number
        return bool(improved.any())

    keys = jax.random.split(settings.key, seeds)
    trainer = settings.trainer_of(*(contender.loss for contender in contenders))
    hyper = Hyper(
        learning_rate=tuned.learning_rate[None],
        weight_decay=tuned.weight_decay[None],
        l2=tuned.l2[None],
    )
    epochs = _train_seeds(settings, trainer, keys, hyper, splits)
    _follow(settings, "test", contenders, epochs, improves)
    resampled = resample_users(valid, test, splits, settings.task)
    results = []
    for j, contender in enumerate(contenders):
        valid_metrics, test_metrics = measure(valid[:, j], test[:, j], splits, settings.task)
        results.append(
            FairTestResult(
                contender=contender,
                learning_rate=float(tuned.learning_rate[j]),
                weight_decay=float(tuned.weight_decay[j]),
                epochs=int(best_epoch[j]),
                valid=valid_metrics,
                test=test_metrics,
                resampled=resampled[j],
                course=[float(rewards[j]) for rewards in courses],
                tuning=_list_trials(tuned, j),
            )
        )
    return results


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


def _follow(
    settings: _TestSettings,
    stage: str,
    contenders: Sequence[Contender],
    epochs: Iterator[_Epoch],
    improves: Callable[[_Epoch], bool],
) -> None:
    """Trains until ``improves`` was false for ``patience`` epochs."""
    last_improved = 0
    names = [contender.name for contender in contenders]
    settings.progress(stage, 0, settings.epochs, {})
    for epoch in epochs:
        best = epoch.valid.mean(0).max(0).tolist()  # of each loss, at its best setting
        scores = dict(zip(names, best, strict=True))
        settings.progress(stage, epoch.number, settings.epochs, scores)
        if improves(epoch):
            last_improved = epoch.number
        if epoch.number - last_improved >= settings.patience:
            break


def _train_seeds(
    settings: _TestSettings, trainer: Trainer, keys: Array, hyper: Hyper, splits: Splits
) -> Iterator[_Epoch]:
    """Trains J losses at all settings with S seeds, epoch by epoch.

    Args:
      settings: of the test.
      trainer: of the losses.
      keys: of the seeds [S]: each has initial weights and batches of its own.
      hyper: settings, [num_settings, J] each.
      splits: to train and evaluate on.
    """
    num_seeds, num_settings = len(keys), hyper.learning_rate.shape[0]
    streamed = isinstance(splits.train, StreamedData)
    together = count_seeds_together(num_settings, settings.devices, streamed=streamed)
    # Spare devices of the last training repeat the first seeds.
    groups = np.arange(num_seeds + -num_seeds % together).reshape(-1, together) % num_seeds
    trainings = [_train_group(settings, trainer, keys[group], hyper, splits) for group in groups]
    for number, of_groups in enumerate(zip(*trainings, strict=True), start=1):
        valid, predicts = zip(*of_groups, strict=True)

        def predict(data: Batch, predicts=predicts) -> np.ndarray:
            return np.concatenate([of_group(data) for of_group in predicts])[:num_seeds]

        yield _Epoch(number=number, valid=np.concatenate(valid)[:num_seeds], predict=predict)


def _train_group(
    settings: _TestSettings, trainer: Trainer, keys: Array, hyper: Hyper, splits: Splits
) -> Iterator[tuple[np.ndarray, Callable[[Batch], np.ndarray]]]:
    """Trains J losses at all settings with one seed, or at one setting with a seed a device.

    Yields every epoch's rewards [S, num_settings, J], and predictions as in ``_Epoch``.
    """
    num_settings, num_losses = hyper.learning_rate.shape
    layout = layout_in_turns(
        num_settings=num_settings,
        num_losses=num_losses,
        num_devices=settings.devices,
        num_seeds=len(keys),
    )
    of_lanes = jax.tree.map(lambda part: jnp.asarray(layout.flatten(part), jnp.float32), hyper)
    ones = jnp.ones(layout.num_lanes)
    weight_keys, shuffle_keys = jax.vmap(jax.random.split, out_axes=1)(keys)
    state = trainer.init(weight_keys[layout.seed])
    for epoch in range(settings.epochs):
        shuffles = jax.vmap(jax.random.fold_in, in_axes=(0, None))(shuffle_keys, epoch)
        # One key is for all devices together, several are for one device each.
        shuffle = shuffles if len(keys) > 1 else shuffles[0]
        state, valid = trainer.epoch(state, ones, of_lanes, shuffle, splits.train, splits.valid)

        def predict(data: Batch, state: LaneState = state) -> np.ndarray:
            return layout.unflatten(trainer.predict(state, data))

        yield layout.unflatten(valid), predict
