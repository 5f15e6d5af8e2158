"""The fair test: every loss at its own best learning rate, weight decay and number of epochs.

One learning rate for all losses mostly measures the size of their gradients. Here the learning
rates tried for a loss are in proportion to the size of its gradient on an untrained recommender,
and every loss gets the same grid and the same number of epochs. Validation chooses; several seeds
are then trained from scratch, and their differences are paired. All of it runs in lanes.
"""

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import product
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from .lanes import Hyper, Lanes, LaneState, batches
from .metrics import auc
from .objectives import Slopes, gradient_size, static_slopes
from .results import Contender, Outcome, Splits, measure, resample_users
from .types import Array, Batch

COMMON_SIZE = 0.5
"""The size that learning rates are given for: BCE's d loss / d logit on untrained predictions."""


class Tuned(NamedTuple):
    """What validation chose for J losses, [J] each."""

    learning_rate: np.ndarray  # for the loss as it is written
    weight_decay: np.ndarray
    valid: np.ndarray  # best AUC


class FairTest(NamedTuple):
    """A fair test as functions of contenders and data."""

    tune: Callable[[Sequence[Contender], Splits], Tuned]
    run: Callable[[Sequence[Contender], Tuned, Splits], list[Outcome]]


class _Settings(NamedTuple):
    make_lanes: Callable[[Slopes], Lanes]
    grid: np.ndarray  # [V, 2], learning rate and weight decay
    l2: float
    seeds: int
    epochs: int
    patience: int
    batch_size: int
    scale: str
    devices: int
    weight_key: Array
    shuffle_key: Array
    progress: Callable[[str, int, int], None]


class _Epoch(NamedTuple):
    number: int
    valid: np.ndarray  # AUC [V, J]
    predict: Callable[[Batch], np.ndarray]  # interactions [n] -> logits [V, J, n]


def make_fair_test(
    make_lanes: Callable[[Slopes], Lanes],
    *,
    learning_rates: Sequence[float],
    weight_decays: Sequence[float],
    l2: float,
    seeds: int,
    epochs: int,
    patience: int,
    batch_size: int,
    scale: str,
    devices: int = 1,
    seed: int = 0,
    progress: Callable[[str, int, int], None] = lambda stage, done, total: None,
) -> FairTest:
    """Make a fair test.

    Args:
      make_lanes: gives lanes of the recommender for the losses' slopes.
      learning_rates: tried for every loss; for a gradient as large as BCE's.
      weight_decays: tried with each of them; likewise.
      l2: penalty in the loss.
      seeds: trainings of each loss in the end.
      epochs: at most; the best by validation counts.
      patience: a stage ends when no loss got better in so many epochs.
      batch_size: interactions of a step, B.
      scale: ``"gradient"``, or ``"raw"`` for learning rates as they stand (the paper).
      devices: that lanes are divided over.
      seed: of initial weights and shuffles.
      progress: told of the stage, epochs done and epochs to come.

    Raises:
      ValueError: for values out of range.
    """
    if scale not in ("gradient", "raw"):
        raise ValueError(f"scale is 'gradient' or 'raw', got {scale!r}")
    if min(seeds, epochs, patience, batch_size) < 1 or not learning_rates or not weight_decays:
        raise ValueError(
            "a fair test needs at least one seed, epoch, learning rate and weight decay"
        )
    if min(learning_rates) <= 0 or min(weight_decays) < 0:
        raise ValueError("learning rates are positive and weight decays not negative")
    if max(learning_rates) * (max(weight_decays) + 2 * l2) >= 1:
        raise ValueError("the largest learning rate times weight decay must stay below 1")
    settings = _Settings(
        make_lanes,
        np.asarray(list(product(learning_rates, weight_decays))),
        l2,
        seeds,
        epochs,
        patience,
        batch_size,
        scale,
        devices,
        *jax.random.split(jax.random.key(seed)),
        progress,
    )
    return FairTest(partial(_tune, settings), partial(_run, settings))


def _factors(settings: _Settings, contenders: Sequence[Contender], train: Batch) -> np.ndarray:
    """Give for J losses the factor between a learning rate of the grid and their own."""
    count = len(contenders)
    if settings.scale == "raw":
        return np.ones(count)
    slopes = static_slopes([contender.loss for contender in contenders])
    lanes = settings.make_lanes(slopes)

    @jax.jit
    def sizes() -> Array:
        few = jax.tree.map(lambda x: x[:8], batches(train, 256, settings.shuffle_key))
        state = lanes.init(jnp.repeat(settings.weight_key[None], count * settings.devices))
        logits = lanes.predict(state, few)[:count]
        return gradient_size(slopes(jnp.ones(count), logits, few.label.reshape(-1)))

    return COMMON_SIZE / np.maximum(np.asarray(sizes()), 1e-30)


def _course(
    settings: _Settings,
    contenders: Sequence[Contender],
    keys: Array,
    rate: np.ndarray,
    decay: np.ndarray,
    splits: Splits,
) -> Iterator[_Epoch]:
    """Train V variants (keys [V], rate and decay [V, J]) of J losses; yield every epoch."""
    variants, count = rate.shape
    # Every device takes whole turns of the J losses; spare variants fill the last turn up.
    rows = np.concatenate([np.arange(variants), np.zeros(-variants % settings.devices, int)])
    lanes = settings.make_lanes(static_slopes([contender.loss for contender in contenders]))
    ones = jnp.ones(len(rows) * count)
    rates, decays = (jnp.asarray(x[rows].ravel(), jnp.float32) for x in (rate, decay))
    hyper = Hyper(rates, decays, settings.l2 * ones)

    def turns(x: Array) -> np.ndarray:
        return np.asarray(x).reshape(len(rows), count, *x.shape[1:])[:variants]

    @jax.jit
    def score(state: LaneState, data: Batch) -> Array:
        cut = batches(data, min(1024, data.label.shape[0]))
        return lanes.predict(state, cut)[:, : data.label.shape[0]]

    @jax.jit
    def train(state: LaneState, key: Array) -> tuple[LaneState, Array]:
        cut = batches(splits.train, settings.batch_size, key)
        state = lanes.train(state, ones, hyper, cut)
        valid = jax.vmap(auc, in_axes=(0, None))(score(state, splits.valid), splits.valid.label)
        return state, jnp.nan_to_num(valid)

    state = jax.jit(lanes.init)(jnp.repeat(keys[rows], count, axis=0))
    for number in range(settings.epochs):
        state, valid = train(state, jax.random.fold_in(settings.shuffle_key, number))
        predict = partial(score, state)
        yield _Epoch(number + 1, turns(valid), lambda data, f=predict: turns(f(data)))


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
    factor = _factors(settings, contenders, splits.train)
    rate, decay = settings.grid[:, :1] * factor, settings.grid[:, 1:] / factor
    best = np.zeros(rate.shape)

    def improves(epoch: _Epoch) -> bool:
        improved = bool((epoch.valid.max(0) > best.max(0)).any())
        np.maximum(best, epoch.valid, out=best)
        return improved

    keys = jnp.repeat(settings.weight_key[None], len(rate))
    _follow(settings, "tuning", _course(settings, contenders, keys, rate, decay, splits), improves)
    chosen = best.argmax(0), np.arange(len(contenders))
    return Tuned(rate[chosen], decay[chosen], best[chosen])


def _run(
    settings: _Settings, contenders: Sequence[Contender], tuned: Tuned, splits: Splits
) -> list[Outcome]:
    """Train every loss from scratch with several seeds; the best epoch of their mean counts."""
    count, seeds = len(contenders), settings.seeds
    rate, decay = (np.tile(x, (seeds, 1)) for x in (tuned.learning_rate, tuned.weight_decay))
    best, chosen = np.full(count, -1.0), np.zeros(count, int)
    valid = np.zeros((seeds, count, splits.valid.label.shape[0]), np.float32)
    test = np.zeros((seeds, count, splits.test.label.shape[0]), np.float32)

    def improves(epoch: _Epoch) -> bool:
        mean = epoch.valid.mean(0)
        improved = mean > best
        if improved.any():
            valid[:, improved] = epoch.predict(splits.valid)[:, improved]
            test[:, improved] = epoch.predict(splits.test)[:, improved]
            best[improved], chosen[improved] = mean[improved], epoch.number
        return bool(improved.any())

    keys = jax.random.split(settings.weight_key, seeds)
    _follow(settings, "testing", _course(settings, contenders, keys, rate, decay, splits), improves)
    return [
        Outcome(
            contender,
            float(tuned.learning_rate[j]),
            float(tuned.weight_decay[j]),
            int(chosen[j]),
            *measure(valid[:, j], test[:, j], splits),
            resample_users(test[:, j], splits.test),
        )
        for j, contender in enumerate(contenders)
    ]
