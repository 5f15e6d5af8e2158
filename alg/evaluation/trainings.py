"""Training of losses from scratch, all settings and seeds of each, epoch by epoch.

Losses and settings train in lanes next to each other, see ``lane_layout``. Lanes on one device
share batches. Seeds must not: batch order would then shift all seeds together, and the interval
over seeds would be too narrow. So seeds train one after the other, epoch by epoch, or, where there
is one setting, on different devices.
"""

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from ..interfaces import Array, Batch, ProgressFn, StreamedData
from ..search.checkpoints import pack_state
from ..training.lanes import LaneState
from ..training.optimizers import Hyper
from ..training.trainer import Trainer
from .kept import Kept, go_on
from .lane_layout import LaneLayout, layout_in_turns
from .statistics import Splits


class Epoch(NamedTuple):
    """An epoch of all seeds, settings and losses."""

    number: int  # from 1
    valid: np.ndarray  # reward [S, num_settings, J]
    # Interactions [n] -> predictions [S, num_settings, J, n]; only until the next epoch.
    predict: Callable[[Batch], np.ndarray]
    states: list[LaneState]  # of the groups of seeds; only until the next epoch


class Training(NamedTuple):
    """Losses that train, all settings and seeds of each, until none gets better."""

    names: Sequence[str]  # of the losses
    trainer: Trainer
    groups: list[Array]  # keys of the seeds that train at once
    num_seeds: int
    hyper: Hyper  # settings, [num_settings, J] each
    splits: Splits
    epochs: int  # at most
    patience: int  # epochs without improvement after which it ends
    progress: ProgressFn


def count_seeds_together(num_settings: int, devices: int, *, streamed: bool) -> int:
    """Returns how many seeds train at once: with one setting, a seed on each device.

    Several settings are divided over the devices. Of a stream all devices share a chunk, so they
    also share a seed.

    Example:
      >>> count_seeds_together(1, 8, streamed=False), count_seeds_together(4, 8, streamed=False)
      (8, 1)
    """
    return devices if num_settings == 1 and not streamed else 1


def plan_training(
    keys: Array,
    hyper: Hyper,
    *,
    names: Sequence[str],
    trainer: Trainer,
    splits: Splits,
    epochs: int,
    patience: int,
    progress: ProgressFn,
) -> Training:
    """Plans to train J losses at all settings with S seeds.

    Args:
      keys: of the seeds [S]: each has initial weights and batches of its own.
      hyper: settings, [num_settings, J] each.
      names: of the losses.
      trainer: of the losses.
      splits: to train and evaluate on.
      epochs: at most.
      patience: epochs without improvement after which it ends.
      progress: called before the first and after each epoch.
    """
    num_seeds, num_settings = len(keys), hyper.learning_rate.shape[0]
    streamed = isinstance(splits.train, StreamedData)
    together = count_seeds_together(num_settings, trainer.devices, streamed=streamed)
    # Spare devices of the last training repeat the first seeds.
    groups = np.arange(num_seeds + -num_seeds % together).reshape(-1, together) % num_seeds
    return Training(
        names=names,
        trainer=trainer,
        groups=[keys[group] for group in groups],
        num_seeds=num_seeds,
        hyper=hyper,
        splits=splits,
        epochs=epochs,
        patience=patience,
        progress=progress,
    )


def follow_training(
    training: Training,
    stage: str,
    name: str,
    improves: Callable[[Epoch], bool],
    noted: list[np.ndarray],
    kept: Kept,
) -> None:
    """Trains on until ``improves`` was false for ``patience`` epochs.

    Args:
      training: what is trained.
      stage: what the progress calls it.
      name: under which its state is kept.
      improves: looks at an epoch, and changes ``noted`` in place.
      noted: what it knows of all epochs so far.
      kept: where states are kept, with what is noted.
    """
    untrained = [_init_group(training, keys) for keys in training.groups]
    begin = untrained, noted, np.zeros(2, int)  # the last: epochs done, and the last better one
    states, before, (done, last_improved) = go_on(kept, name, begin)
    if states is not untrained:
        untrained.clear()  # they would take memory
    for array, values in zip(noted, before, strict=True):
        array[...] = values
    if done - last_improved >= training.patience:
        return
    training.progress(stage, int(done), training.epochs, {})
    for epoch in _train_seeds(training, states, int(done)):
        best = epoch.valid.mean(0).max(0).tolist()  # of each loss, at its best setting
        scores = dict(zip(training.names, best, strict=True))
        training.progress(stage, epoch.number, training.epochs, scores)
        if improves(epoch):
            last_improved = epoch.number
        if epoch.number - last_improved >= training.patience:
            break
        counts = np.array([epoch.number, last_improved])
        kept.offer(name, partial(pack_state, (epoch.states, noted, counts)))


def _train_seeds(training: Training, states: list[LaneState], done: int) -> Iterator[Epoch]:
    """Trains on, epoch by epoch, from the states of the groups after the epochs that are done."""
    trainings = [
        _train_group(training, keys, state, done)
        for keys, state in zip(training.groups, states, strict=True)
    ]
    states.clear()  # the trainings have them, and donate them
    for number, of_groups in enumerate(zip(*trainings, strict=True), start=done + 1):
        valid, predicts, new_states = zip(*of_groups, strict=True)

        def predict(data: Batch, predicts=predicts) -> np.ndarray:
            return np.concatenate([of_group(data) for of_group in predicts])[: training.num_seeds]

        yield Epoch(
            number=number,
            valid=np.concatenate(valid)[: training.num_seeds],
            predict=predict,
            states=list(new_states),
        )


def _layout(training: Training, keys: Array) -> LaneLayout:
    num_settings, num_losses = training.hyper.learning_rate.shape
    return layout_in_turns(
        num_settings=num_settings,
        num_losses=num_losses,
        num_devices=training.trainer.devices,
        num_seeds=len(keys),
    )


def _init_group(training: Training, keys: Array) -> LaneState:
    """Returns the untrained lanes of the seeds that train at once."""
    weight_keys, _ = jax.vmap(jax.random.split, out_axes=1)(keys)
    return training.trainer.init(weight_keys[_layout(training, keys).seed])


def _train_group(
    training: Training, keys: Array, state: LaneState, done: int
) -> Iterator[tuple[np.ndarray, Callable[[Batch], np.ndarray], LaneState]]:
    """Trains J losses at all settings with one seed, or at one setting with a seed a device.

    Yields every epoch's rewards [S, num_settings, J], predictions as in ``Epoch``, and the state.
    """
    trainer, splits = training.trainer, training.splits
    layout = _layout(training, keys)
    of_lanes = jax.tree.map(
        lambda part: jnp.asarray(layout.flatten(part), jnp.float32), training.hyper
    )
    ones = jnp.ones(layout.num_lanes)
    _, shuffle_keys = jax.vmap(jax.random.split, out_axes=1)(keys)
    for epoch in range(done, training.epochs):
        shuffles = jax.vmap(jax.random.fold_in, in_axes=(0, None))(shuffle_keys, epoch)
        # One key is for all devices together, several are for one device each.
        shuffle = shuffles if len(keys) > 1 else shuffles[0]
        state, valid = trainer.epoch(state, ones, of_lanes, shuffle, splits.train, splits.valid)

        def predict(data: Batch, state: LaneState = state) -> np.ndarray:
            return layout.unflatten(trainer.predict(state, data))

        yield layout.unflatten(valid), predict, state
