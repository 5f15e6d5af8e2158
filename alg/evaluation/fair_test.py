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
from typing import Any, NamedTuple, Protocol

import jax
import jax.numpy as jnp
import numpy as np

from ..interfaces import AnyArray, Array, Batch, ProgressFn, StreamedData, ignore_progress
from ..language.inputs import LossFn
from ..search.checkpoints import pack_state
from ..training.lanes import Lanes, LaneState
from ..training.learning_rates import make_settings_grid, scale_settings
from ..training.loss_gradients import LogitGradFn
from ..training.optimizers import Hyper
from ..training.tasks import RATING, Task
from ..training.trainer import Trainer, make_trainer
from .contenders import Contender
from .kept import NOTHING, Kept, do_once, go_on
from .lane_layout import LaneLayout, layout_in_turns
from .statistics import FairTestResult, Splits, measure, resample_users


class Tuned(NamedTuple):
    """Settings that validation chose for J losses, and their rewards, [J] each."""

    learning_rate: AnyArray  # for the loss as it is written
    weight_decay: AnyArray  # the same
    l2: AnyArray  # the same
    valid: np.ndarray  # best reward
    tried: Hyper  # all settings, [num_settings, J] each
    scores: np.ndarray  # best reward of each setting [num_settings, J]


class TuneFn(Protocol):
    """Tuning of losses."""

    def __call__(
        self, contenders: Sequence[Contender], splits: Splits, kept: Kept = NOTHING
    ) -> Tuned:
        """Chooses the settings of every loss; goes on from what is kept of these losses."""


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
    states: list[LaneState]  # of the groups of seeds; only until the next epoch


class _Training(NamedTuple):
    """Losses that train, all seeds and settings of each."""

    names: list[str]  # of the losses
    trainer: Trainer
    groups: list[Array]  # keys of the seeds that train at once
    num_seeds: int
    hyper: Hyper  # settings, [num_settings, J] each
    splits: Splits


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


def _tune(
    settings: _TestSettings, contenders: Sequence[Contender], splits: Splits, kept: Kept = NOTHING
) -> Tuned:
    """Chooses learning rate and weight decay of every loss by its best epoch on validation."""

    def tune() -> dict[str, Any]:
        trainer = settings.trainer_of(*(contender.loss for contender in contenders))
        hyper = _scale_settings(settings, trainer, len(contenders), splits)
        best = np.zeros(hyper.learning_rate.shape)  # [num_settings, J]

        def improves(epoch: _Epoch) -> bool:
            mean = epoch.valid.mean(0)
            improved = bool((mean.max(0) > best.max(0)).any())
            np.maximum(best, mean, out=best)
            return improved

        keys = jax.random.split(settings.tuning_key, settings.tuning_seeds)
        training = _plan_training(settings, contenders, trainer, keys, hyper, splits)
        _follow(settings, "tuning", training, improves, [best], kept)
        chosen = best.argmax(0), np.arange(len(contenders))
        tried = {name: np.asarray(values) for name, values in hyper._asdict().items()}
        best_settings = {name: values[chosen] for name, values in tried.items()}
        return {**best_settings, "valid": best[chosen], "tried": tried, "scores": best}

    found = do_once(kept, "tuning", tune)
    return Tuned(**found | {"tried": Hyper(**found["tried"])})


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

    def improves(epoch: _Epoch) -> bool:
        mean = epoch.valid[:, 0].mean(0)
        courses[done] = mean
        done[...] = epoch.number
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
    training = _plan_training(settings, contenders, trainer, keys, hyper, splits)
    noted = [best, best_epoch, valid, test, courses, done]
    _follow(settings, "test", training, improves, noted, kept)
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


def _follow(
    settings: _TestSettings,
    stage: str,
    training: _Training,
    improves: Callable[[_Epoch], bool],
    noted: list[np.ndarray],
    kept: Kept,
) -> None:
    """Trains until ``improves`` was false for ``patience`` epochs.

    Args:
      settings: of the test.
      stage: its name.
      training: what is trained.
      improves: looks at an epoch, and changes ``noted`` in place.
      noted: what it knows of all epochs so far.
      kept: where states are kept, with what is noted.
    """
    untrained = [_init_group(settings, training, keys) for keys in training.groups]
    begin = untrained, noted, np.zeros(2, int)  # the last: epochs done, and the last better one
    states, before, (done, last_improved) = go_on(kept, stage, begin)
    if states is not untrained:
        untrained.clear()  # they would take memory
    for array, values in zip(noted, before, strict=True):
        array[...] = values
    if done - last_improved >= settings.patience:
        return
    settings.progress(stage, int(done), settings.epochs, {})
    for epoch in _train_seeds(settings, training, states, int(done)):
        reached = epoch.valid.mean(0).max(0).tolist()  # of each loss, at its best setting
        scores = dict(zip(training.names, reached, strict=True))
        settings.progress(stage, epoch.number, settings.epochs, scores)
        if improves(epoch):
            last_improved = epoch.number
        if epoch.number - last_improved >= settings.patience:
            break
        counts = np.array([epoch.number, last_improved])
        kept.offer(stage, partial(pack_state, (epoch.states, noted, counts)))


def _plan_training(
    settings: _TestSettings,
    contenders: Sequence[Contender],
    trainer: Trainer,
    keys: Array,
    hyper: Hyper,
    splits: Splits,
) -> _Training:
    """Plans to train J losses at all settings with S seeds.

    Args:
      settings: of the test.
      contenders: the losses.
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
    return _Training(
        names=[contender.name for contender in contenders],
        trainer=trainer,
        groups=[keys[group] for group in groups],
        num_seeds=num_seeds,
        hyper=hyper,
        splits=splits,
    )


def _train_seeds(
    settings: _TestSettings, training: _Training, states: list[LaneState], done: int
) -> Iterator[_Epoch]:
    """Trains on, epoch by epoch, from the states of the groups after the epochs that are done."""
    trainings = [
        _train_group(settings, training, keys, state, done)
        for keys, state in zip(training.groups, states, strict=True)
    ]
    states.clear()  # the trainings have them, and donate them
    for number, of_groups in enumerate(zip(*trainings, strict=True), start=done + 1):
        valid, predicts, new_states = zip(*of_groups, strict=True)

        def predict(data: Batch, predicts=predicts) -> np.ndarray:
            return np.concatenate([of_group(data) for of_group in predicts])[: training.num_seeds]

        yield _Epoch(
            number=number,
            valid=np.concatenate(valid)[: training.num_seeds],
            predict=predict,
            states=list(new_states),
        )


def _layout(settings: _TestSettings, training: _Training, keys: Array) -> LaneLayout:
    num_settings, num_losses = training.hyper.learning_rate.shape
    return layout_in_turns(
        num_settings=num_settings,
        num_losses=num_losses,
        num_devices=settings.devices,
        num_seeds=len(keys),
    )


def _init_group(settings: _TestSettings, training: _Training, keys: Array) -> LaneState:
    """Returns the untrained lanes of the seeds that train at once."""
    weight_keys, _ = jax.vmap(jax.random.split, out_axes=1)(keys)
    return training.trainer.init(weight_keys[_layout(settings, training, keys).seed])


def _train_group(
    settings: _TestSettings, training: _Training, keys: Array, state: LaneState, done: int
) -> Iterator[tuple[np.ndarray, Callable[[Batch], np.ndarray], LaneState]]:
    """Trains J losses at all settings with one seed, or at one setting with a seed a device.

    Yields every epoch's rewards [S, num_settings, J], predictions as in ``_Epoch``, and the state.
    """
    trainer, splits = training.trainer, training.splits
    layout = _layout(settings, training, keys)
    of_lanes = jax.tree.map(
        lambda part: jnp.asarray(layout.flatten(part), jnp.float32), training.hyper
    )
    ones = jnp.ones(layout.num_lanes)
    _, shuffle_keys = jax.vmap(jax.random.split, out_axes=1)(keys)
    for epoch in range(done, settings.epochs):
        shuffles = jax.vmap(jax.random.fold_in, in_axes=(0, None))(shuffle_keys, epoch)
        # One key is for all devices together, several are for one device each.
        shuffle = shuffles if len(keys) > 1 else shuffles[0]
        state, valid = trainer.epoch(state, ones, of_lanes, shuffle, splits.train, splits.valid)

        def predict(data: Batch, state: LaneState = state) -> np.ndarray:
            return layout.unflatten(trainer.predict(state, data))

        yield layout.unflatten(valid), predict, state
