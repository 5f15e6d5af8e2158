"""Training from scratch: recommenders in lanes, epoch by epoch, each at its own setting."""

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any, NamedTuple, Protocol

import jax
import jax.numpy as jnp
import numpy as np

from ..interfaces import AnyArray, Array, Batch, Data, Positives
from .chunks import iterate_chunks
from .evaluate import compute_predictions, evaluate, make_epoch_batches
from .lanes import Lanes, LaneState
from .learning_rates import compute_factors, scale_settings
from .loss_gradients import LogitGradFn
from .optimizers import Hyper
from .tasks import RATING, Task


class EpochFn(Protocol):
    """Training of one epoch, and evaluation after it."""

    def __call__(
        self, state: LaneState, losses: Any, hyper: Hyper, key: Array, data: Data, split: Batch, /
    ) -> tuple[LaneState, Array]:
        """Trains one epoch; returns the new state and rewards [K]. Donates ``state``.

        Args:
          state: of K lanes.
          losses: as the ``LogitGradFn`` of the lanes takes them.
          hyper: of each lane, [K].
          key: of the epoch; or keys [num_devices], one for each device, which then sees batches of
            its own (not for a stream).
          data: to train on.
          split: to evaluate on.
        """


class Trainer(NamedTuple):
    """Training of K lanes as functions, compiled once for all losses."""

    init: Callable[[Array], LaneState]  # keys [K]
    # losses, untrained state, data -> [K]: what brings learning rates that are given for gradients
    # of the common size to each loss's own; 1 if the optimizer divides by the size of gradients.
    learning_rate_factors: Callable[[Any, LaneState, Data], Array]
    epoch: EpochFn
    evaluate: Callable[[LaneState, Batch], Array]  # state, split -> rewards [K]
    predict: Callable[[LaneState, Batch], Array]  # state, data -> logits or ranks [K, n]
    devices: int  # over which lanes are divided


def _wait_for(function: Callable[..., Array]) -> Callable[..., Array]:
    """Wraps a compiled program so that its call returns when all devices are done with it.

    Of two programs that gather over devices in flight, one device may reach the second while
    another has yet to reach the first. On CPU each of them holds a thread meanwhile, and with one
    thread a device none is left to go on.
    """
    return lambda *arguments: jax.block_until_ready(function(*arguments))


def _compute_factors(
    lanes: Lanes, task: Task, losses: Any, state: LaneState, data: Batch | Positives
) -> Array:
    """Computes ``Trainer.learning_rate_factors`` from the first batches of data in memory."""
    batches = make_epoch_batches(task, data, 256, jax.random.key(0))
    first = jax.tree.map(lambda x: x[:8], batches)
    size = lanes.gradient_size(state, losses, first)
    if lanes.scale_free:
        return lanes.replicate(jnp.ones_like(size))
    return lanes.replicate(compute_factors(size, task.common_gradient_size))


def _cut_epoch(task: Task, batch_size: int, data: Batch | Positives, key: Array) -> Batch:
    """Returns the batches [N, B] of an epoch."""
    return make_epoch_batches(task, data, batch_size, key)


def make_trainer(
    make_lanes: Callable[[LogitGradFn], Lanes],
    logit_grads: LogitGradFn,
    *,
    batch_size: int,
    task: Task = RATING,
) -> Trainer:
    """Builds a trainer.

    Args:
      make_lanes: builds lanes of the recommender from the gradients of their losses.
      logit_grads: gradients of the losses; its first argument is the ``losses`` of the trainer's
        functions.
      batch_size: interactions of a step, B.
      task: what losses are trained on, and the metric that evaluates.

    Returns:
      Functions that compile when they are first called.
    """
    lanes = make_lanes(logit_grads)

    @_wait_for
    @jax.jit
    def factors(losses: Any, state: LaneState, data: Batch | Positives) -> Array:
        return _compute_factors(lanes, task, losses, state, data)

    @partial(jax.jit, donate_argnums=0)
    def train(
        state: LaneState, losses: Any, hyper: Hyper, key: Array, data: Batch | Positives
    ) -> LaneState:
        cut = partial(_cut_epoch, task, batch_size)
        if key.ndim:
            return lanes.train_per_device(state, losses, hyper, cut, data, key)
        return lanes.train(state, losses, hyper, cut(data, key), key)

    @_wait_for
    @jax.jit
    def predict(state: LaneState, data: Batch) -> Array:
        return lanes.replicate(compute_predictions(lanes, state, data))

    reward = _wait_for(jax.jit(partial(evaluate, lanes, task=task)))

    def learning_rate_factors(losses: Any, state: LaneState, data: Data) -> Array:
        _, chunk = next(iterate_chunks(data, jax.random.key(0)))
        return factors(losses, state, chunk)

    def epoch(
        state: LaneState, losses: Any, hyper: Hyper, key: Array, data: Data, split: Batch
    ) -> tuple[LaneState, Array]:
        for chunk_key, chunk in iterate_chunks(data, key):  # read while the one before trains
            jax.block_until_ready(state)
            state = train(state, losses, hyper, chunk_key, chunk)
        return state, reward(state, split)

    return Trainer(
        init=jax.jit(lanes.init),
        learning_rate_factors=learning_rate_factors,
        epoch=epoch,
        evaluate=reward,
        predict=predict,
        devices=lanes.devices,
    )


def train_from_scratch(
    trainer: Trainer,
    losses: Any,
    settings: np.ndarray,
    *,
    l2: float,
    scale: str,
    epochs: int,
    key: Array,
    data: Data,
    splits: Sequence[Batch],
    begin: Callable[[LaneState], tuple[int, LaneState]] = lambda untrained: (0, untrained),
) -> Iterator[tuple[LaneState, np.ndarray]]:
    """Trains K losses, each at a setting; yields every epoch's state, and rewards [K].

    The lanes are freed after the last epoch.

    Args:
      trainer: of K lanes.
      losses: of the K lanes.
      settings: learning rate and weight decay [K, 2], rows of ``make_settings_grid``.
      l2: penalty in the loss.
      scale: ``"gradient"``, or ``"raw"`` for learning rates that are used as given.
      epochs: to train.
      key: of initial weights and shuffles, the same for all lanes.
      data: to train on.
      splits: to evaluate on; a reward is the mean over them.
      begin: untrained state -> epochs that are done, and the state after them.

    Yields:
      The state, which the next epoch donates, and rewards [K] after each epoch.
    """
    state = trainer.init(jnp.repeat(key[None], len(settings)))
    factors: AnyArray = np.ones(())
    if scale == "gradient":
        factors = trainer.learning_rate_factors(losses, state, data)
    scaled = scale_settings(settings, factors, l2=l2)
    shape = scaled.learning_rate.shape
    hyper = jax.tree.map(lambda part: jnp.broadcast_to(part, shape), scaled)
    first, *others = splits
    done, state = begin(state)
    for epoch in range(done, epochs):
        shuffle = jax.random.fold_in(key, epoch)
        state, rewards = trainer.epoch(state, losses, hyper, shuffle, data, first)
        all_rewards = [rewards, *(trainer.evaluate(state, split) for split in others)]
        yield state, np.mean(all_rewards, axis=0)
