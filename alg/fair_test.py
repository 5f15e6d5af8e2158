"""The fair test: every loss at its own best learning rate, weight decay and number of epochs.

One learning rate for all losses mostly measures the size of their gradients. Here the learning
rates tried for a loss are in proportion to the size of its gradient on an untrained recommender,
and every loss gets the same grid and the same number of epochs. Validation chooses; several seeds
are then trained from scratch, and their differences are paired. All of it runs in lanes.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from itertools import product
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from scipy import stats

from .lanes import Hyper, Lanes, LaneState, batches
from .losses import LossFn
from .metrics import accuracy, auc, best_threshold, f1, log_loss
from .objectives import Slopes, gradient_size, static_slopes
from .types import Array, Batch

COMMON_SIZE = 0.5
"""The size that learning rates are given for: BCE's d loss / d logit on untrained predictions."""


class Contender(NamedTuple):
    """A loss in the test."""

    name: str
    formula: str
    loss: LossFn  # over logits
    found: bool
    tokens: tuple[str, ...] | None = None


class Splits(NamedTuple):
    """The data of a test; ``valid`` chooses, ``test`` is looked at last."""

    train: Batch
    valid: Batch
    test: Batch


class Tuned(NamedTuple):
    """What validation chose for J losses, [J] each."""

    learning_rate: np.ndarray  # for the loss as it is written
    weight_decay: np.ndarray
    valid: np.ndarray  # best AUC


class Outcome(NamedTuple):
    """What the test says of one loss."""

    contender: Contender
    learning_rate: float
    weight_decay: float
    epochs: int
    valid: Mapping[str, np.ndarray]  # metric -> one value a seed
    test: Mapping[str, np.ndarray]


class FairTest(NamedTuple):
    """A fair test as functions of contenders and data."""

    tune: Callable[[Sequence[Contender], Splits], Tuned]
    run: Callable[[Sequence[Contender], Tuned, Splits], list[Outcome]]


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
    if max(learning_rates) * (max(weight_decays) + 2 * l2) >= 1:
        raise ValueError("the largest learning rate times weight decay must stay below 1")
    root = jax.random.key(seed)
    grid = list(product(learning_rates, weight_decays))

    def scales(contenders: Sequence[Contender], train: Batch) -> np.ndarray:
        """Give for J losses the factor between the grid's and their own learning rate."""
        count = len(contenders)
        if scale == "raw":
            return np.ones(count)
        slopes = static_slopes([contender.loss for contender in contenders])
        lanes = make_lanes(slopes)
        few = jax.tree.map(lambda x: x[:8], batches(train, 256, jax.random.fold_in(root, 1)))

        @jax.jit
        def sizes():
            state = lanes.init(jnp.repeat(jax.random.fold_in(root, 0)[None], count * devices))
            logits = lanes.predict(state, few)[:count]
            return gradient_size(slopes(jnp.ones(count), logits, few.label.reshape(-1)))

        return COMMON_SIZE / np.maximum(np.asarray(sizes()), 1e-30)

    def courses(
        contenders: Sequence[Contender], keys: Array, rate: np.ndarray, decay: np.ndarray, splits
    ) -> Iterator[_Epoch]:
        """Train V variants (keys [V], rate and decay [V, J]) of J losses, yield every epoch."""
        variants, count = rate.shape
        spare = -variants % devices  # every device takes whole turns of the J losses
        pad = lambda x: np.concatenate([x, x[:1].repeat(spare, 0)])  # noqa: E731
        keys = jnp.repeat(keys[jnp.asarray(pad(np.arange(variants)))], count, axis=0)
        lanes = make_lanes(static_slopes([contender.loss for contender in contenders]))
        rate, decay = (jnp.asarray(pad(x).ravel(), jnp.float32) for x in (rate, decay))
        ones = jnp.ones(len(rate))
        hyper = Hyper(rate, decay, l2 * ones)

        def turns(x: Array) -> np.ndarray:
            return np.asarray(x).reshape(-1, count, *x.shape[1:])[:variants]

        @jax.jit
        def score(state: LaneState, data: Batch) -> Array:
            cut = batches(data, min(1024, data.label.shape[0]))
            return lanes.predict(state, cut)[:, : data.label.shape[0]]

        @jax.jit
        def epoch(state: LaneState, key: Array) -> tuple[LaneState, Array]:
            state = lanes.train(state, ones, hyper, batches(splits.train, batch_size, key))
            valid = jax.vmap(auc, in_axes=(0, None))(score(state, splits.valid), splits.valid.label)
            return state, jnp.nan_to_num(valid)

        state = jax.jit(lanes.init)(keys)
        for number in range(epochs):
            state, valid = epoch(state, jax.random.fold_in(root, 2 + number))
            predict = partial(score, state)
            yield _Epoch(number + 1, turns(valid), lambda data, f=predict: turns(f(data)))

    def until_stale(stage: str, course: Iterator[_Epoch], better: Callable[[_Epoch], bool]) -> None:
        """Follow a course until ``better`` has said no for ``patience`` epochs."""
        last = 0
        for epoch in course:
            progress(stage, epoch.number, epochs)
            last = epoch.number if better(epoch) else last
            if epoch.number - last >= patience:
                break

    def tune(contenders: Sequence[Contender], splits: Splits) -> Tuned:
        factor = scales(contenders, splits.train)
        rate = np.asarray([r for r, _ in grid])[:, None] * factor
        decay = np.asarray([d for _, d in grid])[:, None] / factor
        best = np.zeros((len(grid), len(contenders)))

        def better(epoch: _Epoch) -> bool:
            improved = bool((epoch.valid.max(0) > best.max(0)).any())
            np.maximum(best, epoch.valid, out=best)
            return improved

        keys = jnp.repeat(jax.random.fold_in(root, 0)[None], len(grid))
        until_stale("tuning", courses(contenders, keys, rate, decay, splits), better)
        chosen = best.argmax(0), np.arange(len(contenders))
        return Tuned(rate[chosen], decay[chosen], best[chosen])

    def run(contenders: Sequence[Contender], tuned: Tuned, splits: Splits) -> list[Outcome]:
        count = len(contenders)
        rate, decay = (np.tile(x, (seeds, 1)) for x in (tuned.learning_rate, tuned.weight_decay))
        best, chosen_epoch = np.full(count, -1.0), np.zeros(count, int)
        valid = np.zeros((seeds, count, splits.valid.label.shape[0]), np.float32)
        test = np.zeros((seeds, count, splits.test.label.shape[0]), np.float32)

        def better(epoch: _Epoch) -> bool:
            mean = epoch.valid.mean(0)
            improved = mean > best
            if improved.any():
                valid[:, improved] = epoch.predict(splits.valid)[:, improved]
                test[:, improved] = epoch.predict(splits.test)[:, improved]
                best[improved], chosen_epoch[improved] = mean[improved], epoch.number
            return bool(improved.any())

        keys = jax.random.split(jax.random.fold_in(root, 1), seeds)
        until_stale("testing", courses(contenders, keys, rate, decay, splits), better)
        outcomes = []
        for j, contender in enumerate(contenders):
            measured = measure(valid[:, j], test[:, j], splits)
            setting = (float(tuned.learning_rate[j]), float(tuned.weight_decay[j]))
            outcomes.append(Outcome(contender, *setting, int(chosen_epoch[j]), *measured))
        return outcomes

    return FairTest(tune, run)


@jax.jit
def _measure(valid: Array, test: Array, valid_label: Array, test_label: Array):
    cuts = {name: best_threshold(m, valid, valid_label) for name, m in _AT_THRESHOLD.items()}

    def metrics(scores: Array, label: Array) -> dict[str, Array]:
        plain = {"auc": auc(scores, label), "logloss": log_loss(scores, label)}
        return plain | {name: m(scores, label, cuts[name]) for name, m in _AT_THRESHOLD.items()}

    return metrics(valid, valid_label), metrics(test, test_label)


_AT_THRESHOLD = {"accuracy": accuracy, "f1": f1}


def measure(
    valid: np.ndarray, test: np.ndarray, splits: Splits
) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Give the metrics of logits ``valid`` [S, n] and ``test`` [S, m] of S seeds, one value each.

    The thresholds of accuracy and F1 are those that are best on validation, seed by seed.
    """
    labels = splits.valid.label, splits.test.label
    pairs = [_measure(v, t, *labels) for v, t in zip(valid, test, strict=True)]
    return tuple(
        {name: np.asarray([float(pair[side][name]) for pair in pairs]) for name in pairs[0][side]}
        for side in (0, 1)
    )


def interval(values: np.ndarray) -> list[float] | None:
    """Give the 95 % interval of the mean by Student's t; None for fewer than two values.

    >>> [round(x, 3) for x in interval(np.array([1.0, 2.0, 3.0]))]
    [-0.484, 4.484]
    """
    if len(values) < 2:
        return None
    half = stats.t.ppf(0.975, len(values) - 1) * values.std(ddof=1) / np.sqrt(len(values))
    return [float(values.mean() - half), float(values.mean() + half)]


def rows(outcomes: Sequence[Outcome], *, model: str, dataset: str) -> list[dict]:
    """Give outcomes as the ``losses`` of ``results.json``.

    Differences are in test AUC, seed by seed, to the usual loss that is best on validation.
    """
    usual = [outcome for outcome in outcomes if not outcome.contender.found]
    best = max(usual, key=lambda outcome: outcome.valid["auc"].mean())

    def against_best(outcome: Outcome) -> dict | None:
        if outcome is best:
            return None
        difference = outcome.test["auc"] - best.test["auc"]
        mean = float(difference.mean())
        return {"metric": "auc", "difference": mean, "ci95": interval(difference)}

    def summary(values: np.ndarray) -> dict:
        std = float(values.std(ddof=1)) if len(values) > 1 else None
        return {"mean": float(values.mean()), "std": std, "ci95": interval(values)}

    return [
        {
            "name": outcome.contender.name,
            "formula": outcome.contender.formula,
            "tokens": list(outcome.contender.tokens) if outcome.contender.tokens else None,
            "found": outcome.contender.found,
            "model": model,
            "dataset": dataset,
            "learning_rate": outcome.learning_rate,
            "weight_decay": outcome.weight_decay,
            "seeds": list(range(len(outcome.test["auc"]))),
            "epochs": outcome.epochs,
            "valid": {name: float(v.mean()) for name, v in outcome.valid.items()},
            "test": {name: summary(v) for name, v in outcome.test.items()},
            "vs_best_baseline": against_best(outcome),
        }
        for outcome in outcomes
    ]
