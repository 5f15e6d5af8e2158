"""The fair test: every loss at its own best learning rate, weight decay and number of epochs.

One learning rate for all losses mostly measures the size of their gradients. Here the learning
rates tried for a loss are in proportion to the size of its gradient on an untrained recommender,
and every loss gets the same grid and the same number of epochs. Validation chooses, by the mean
over seeds; other seeds are then trained from scratch, and their differences are paired. Losses and
settings train in lanes; a seed is a training of its own, as its batches are, beside the others:
with one setting a loss, each device has a seed.
"""

from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache, partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from ..interfaces import Array, Batch, StreamedData
from ..language.inputs import LossFn
from ..training.lanes import Lanes
from ..training.learning_rates import make_settings_grid, scale_settings
from ..training.loss_gradients import LogitGradFn
from ..training.optimizers import Hyper
from ..training.tasks import RATING, Task
from ..training.trainer import Trainer, make_trainer
from .contenders import Contender
from .statistics import Outcome, Splits, measure, resample_users


class Tuned(NamedTuple):
    """What validation chose for J losses, [J] each."""

    learning_rate: np.ndarray  # for the loss as it is written
    weight_decay: np.ndarray
    l2: np.ndarray  # likewise
    valid: np.ndarray  # best reward


class FairTest(NamedTuple):
    """A fair test as functions of contenders and data."""

    tune: Callable[[Sequence[Contender], Splits], Tuned]
    run: Callable[[Sequence[Contender], Tuned, Splits], list[Outcome]]


class _Settings(NamedTuple):
    courses: Callable[..., Trainer]  # of losses; those of the last losses are there still
    grid: np.ndarray  # [V, 2], learning rate and weight decay
    l2: float
    tuning_seeds: int
    seeds: int
    epochs: int
    patience: int
    scale: str
    devices: int
    tuning_key: Array
    key: Array
    progress: Callable[[str, int, int], None]
    task: Task


class _Epoch(NamedTuple):
    number: int
    valid: np.ndarray  # reward [S, V, J]
    # Interactions -> kept of them [S, V, J, n]; only until the next epoch.
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
    progress: Callable[[str, int, int], None] = lambda stage, done, total: None,
    task: Task = RATING,
) -> FairTest:
    """Make a fair test.

    Args:
      make_lanes: gives lanes of the recommender for the losses' slopes.
      learning_rates: tried for every loss; for a gradient as large as BCE's, or BPR's.
      weight_decays: tried with each of them; likewise.
      l2: penalty in the loss, likewise.
      tuning_seeds: trainings of each loss at each setting; their mean counts, epoch by epoch. The
        best of many epochs of one training is a lucky one as often as a good setting.
      seeds: trainings of each loss in the end, with other random numbers. A seed stands for first
        weights and order of batches, which all losses share.
      epochs: at most; the best by validation counts.
      patience: a stage ends when no loss got better in so many epochs.
      batch_size: interactions of a step, B.
      scale: ``"gradient"``, or ``"raw"`` for learning rates as they stand (the paper).
      devices: that lanes are divided over.
      seed: of initial weights and shuffles.
      progress: told of the stage, epochs done and epochs to come.
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

    def courses(*losses: LossFn) -> Trainer:
        slopes = task.static_logit_grads(losses)
        return make_trainer(make_lanes, slopes, batch_size=batch_size, task=task)

    settings = _Settings(
        lru_cache(maxsize=1)(courses),  # or the test would compile scoring again
        make_settings_grid(learning_rates, weight_decays, l2=l2, scale=scale),
        l2,
        tuning_seeds,
        seeds,
        epochs,
        patience,
        scale,
        devices,
        *jax.random.split(jax.random.key(seed)),
        progress,
        task,
    )
    return FairTest(partial(_tune, settings), partial(_run, settings))


def seeds_together(variants: int, devices: int, *, streamed: bool) -> int:
    """Give how many seeds train at once: with one variant, a seed on each device.

    More variants are divided over the devices. Of a stream all devices share a piece, so a seed.

    >>> seeds_together(1, 8, streamed=False), seeds_together(4, 8, streamed=False)
    (8, 1)
    """
    return devices if variants == 1 and not streamed else 1


def _course(
    settings: _Settings,
    courses: Trainer,
    keys: Array,
    variants: Hyper,
    splits: Splits,
) -> Iterator[tuple[np.ndarray, Callable[[Batch], np.ndarray]]]:
    """Train V variants ([V, J] each) of J losses; yield every epoch's part [S, V, J].

    Of one seed (keys [1]), or of one variant with a seed on each device (keys [D]).
    """
    number, count = variants.learning_rate.shape
    apart = len(keys) > 1
    # Every device takes whole turns of the J losses; spare variants fill the last turn up. Where
    # seeds are apart, each device has a copy of the one variant.
    rows = np.concatenate([np.arange(number), np.zeros(-number % settings.devices, int)])
    ones = jnp.ones(len(rows) * count)
    hyper = Hyper(*(jnp.asarray(x[rows].ravel(), jnp.float32) for x in variants))

    def turns(x: Array) -> np.ndarray:
        found = np.asarray(x).reshape(len(rows), count, *x.shape[1:])
        return found[:, None] if apart else found[None, :number]

    weight_keys, shuffle_keys = jax.vmap(jax.random.split, out_axes=1)(keys)
    state = courses.init(jnp.repeat(weight_keys, len(ones) // len(keys)))
    for epoch in range(settings.epochs):
        shuffles = jax.vmap(jax.random.fold_in, in_axes=(0, None))(shuffle_keys, epoch)
        shuffle = shuffles if apart else shuffles[0]
        state, valid = courses.epoch(state, ones, hyper, shuffle, splits.train, splits.valid)
        predict = partial(courses.predict, state)
        yield turns(valid), lambda data, f=predict: turns(f(data))


def _side_by_side(
    settings: _Settings,
    courses: Trainer,
    keys: Array,
    variants: Hyper,
    splits: Splits,
) -> Iterator[_Epoch]:
    """Train with S seeds (keys [S]), each with weights and batches of its own, epoch by epoch.

    All lanes of a device have the same batches, so seeds are trainings of their own: in lanes of
    one, whatever the order of its batches does would be done to all seeds alike.
    """
    streamed = isinstance(splits.train, StreamedData)
    together = seeds_together(len(variants.learning_rate), settings.devices, streamed=streamed)
    count = len(keys)
    of_training = np.arange(count + -count % together).reshape(-1, together) % count
    trainings = [_course(settings, courses, keys[of], variants, splits) for of in of_training]
    for number, parts in enumerate(zip(*trainings, strict=True), start=1):
        valid, predicts = zip(*parts, strict=True)

        def predict(data: Batch, predicts=predicts) -> np.ndarray:
            return np.concatenate([one(data) for one in predicts])[:count]

        yield _Epoch(number, np.concatenate(valid)[:count], predict)


def _follow(
    settings: _Settings, stage: str, course: Iterator[_Epoch], improves: Callable[[_Epoch], bool]
) -> None:
    """Follow a course until ``improves`` has said no for ``patience`` epochs."""
    last = 0
    for epoch in course:
        settings.progress(stage, epoch.number, settings.epochs)
        last = epoch.number if improves(epoch) else last
        if epoch.number - last >= settings.patience:
            break


def _tune(settings: _Settings, contenders: Sequence[Contender], splits: Splits) -> Tuned:
    """Choose learning rate and weight decay of every loss by its best epoch on validation."""
    courses = settings.courses(*(contender.loss for contender in contenders))
    factor = np.ones(len(contenders))
    if settings.scale == "gradient":
        ones = jnp.ones(len(contenders) * settings.devices)
        untrained = courses.init(jnp.repeat(settings.tuning_key[None], len(ones)))
        factor = np.asarray(courses.learning_rate_factors(ones, untrained, splits.train))[
            : len(contenders)
        ]
        del untrained  # or they would take memory beside those that are trained
    scaled = scale_settings(settings.grid[:, None], factor, l2=settings.l2)
    variants = Hyper(*np.broadcast_arrays(*scaled))
    best = np.zeros(variants.learning_rate.shape)

    def improves(epoch: _Epoch) -> bool:
        mean = epoch.valid.mean(0)
        improved = bool((mean.max(0) > best.max(0)).any())
        np.maximum(best, mean, out=best)
        return improved

    keys = jax.random.split(settings.tuning_key, settings.tuning_seeds)
    course = _side_by_side(settings, courses, keys, variants, splits)
    _follow(settings, "tuning", course, improves)
    chosen = best.argmax(0), np.arange(len(contenders))
    return Tuned(*(x[chosen] for x in variants), best[chosen])


def _run(
    settings: _Settings, contenders: Sequence[Contender], tuned: Tuned, splits: Splits
) -> list[Outcome]:
    """Train every loss from scratch with several seeds; the best epoch of their mean counts."""
    count, seeds = len(contenders), settings.seeds
    best, chosen = np.full(count, -1.0), np.zeros(count, int)
    valid = np.zeros((seeds, count, splits.valid.label.shape[0]), np.float32)
    test = np.zeros((seeds, count, splits.test.label.shape[0]), np.float32)

    def improves(epoch: _Epoch) -> bool:
        mean = epoch.valid[:, 0].mean(0)
        improved = mean > best
        if improved.any():
            valid[:, improved] = epoch.predict(splits.valid)[:, 0, improved]
            test[:, improved] = epoch.predict(splits.test)[:, 0, improved]
            best[improved], chosen[improved] = mean[improved], epoch.number
        return bool(improved.any())

    keys = jax.random.split(settings.key, seeds)
    courses = settings.courses(*(contender.loss for contender in contenders))
    one = Hyper(tuned.learning_rate[None], tuned.weight_decay[None], tuned.l2[None])
    _follow(settings, "testing", _side_by_side(settings, courses, keys, one, splits), improves)
    resampled = resample_users(valid, test, splits, settings.task)
    return [
        Outcome(
            contender,
            float(tuned.learning_rate[j]),
            float(tuned.weight_decay[j]),
            int(chosen[j]),
            *measure(valid[:, j], test[:, j], splits, settings.task),
            resampled[j],
        )
        for j, contender in enumerate(contenders)
    ]
