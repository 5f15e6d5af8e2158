"""Courses: recommenders trained from scratch in lanes, epoch by epoch, each at its own setting."""

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from ..interfaces import Array, Batch, Data, Positives
from .chunks import iterate_chunks
from .evaluate import evaluate, make_epoch_batches, scores_or_ranks
from .lanes import Lanes, LaneState
from .learning_rates import compute_factors, scale_settings
from .loss_gradients import LogitGradFn
from .optimizers import Hyper
from .tasks import RATING, Task


class Trainer(NamedTuple):
    """Training in K lanes, compiled once for all losses of one objective."""

    init: Callable[[Array], LaneState]  # keys [K]
    # What turns learning rates for gradients of the common size into each loss's own; 1 where the
    # optimizer divides by the size of gradients. Objective, untrained lanes, data -> [K].
    learning_rate_factors: Callable[[Any, LaneState, Data], Array]
    # state, objective, hyper, key of the epoch, data, judged split -> state, reward [K]; the state
    # that was is gone. Keys [D] are one for each device, which sees batches of its own; not for a
    # source.
    epoch: Callable[[LaneState, Any, Hyper, Array, Data, Batch], tuple[LaneState, Array]]
    evaluate: Callable[[LaneState, Batch], Array]  # judged split -> reward [K]
    predict: Callable[[LaneState, Batch], Array]  # interactions -> what metrics need of them [K, n]
    devices: int  # that lanes are divided over


def _waited_for(gathers: Callable[..., Array]) -> Callable[..., Array]:
    """Give a function that returns when all devices are done with the program that it calls.

    Of two programs that gather over devices in flight, one device may reach the second while
    another is still to reach the first. On CPU each of them holds a thread meanwhile, and with one
    thread a device none is left to go on.
    """
    return lambda *given: jax.block_until_ready(gathers(*given))


def make_trainer(
    make_lanes: Callable[[LogitGradFn], Lanes],
    slopes: LogitGradFn,
    *,
    batch_size: int,
    task: Task = RATING,
) -> Trainer:
    """Make courses.

    Args:
      make_lanes: gives lanes of the recommender for the losses' slopes.
      slopes: gradients of the losses; what it takes for an objective, the functions take.
      batch_size: interactions of a step, B.
      task: what losses are trained on, and the metric that judges.
    """
    lanes = make_lanes(slopes)

    @_waited_for
    @jax.jit
    def factors(objective: Any, state: LaneState, data: Batch | Positives) -> Array:
        cut = make_epoch_batches(task, data, 256, jax.random.key(0))
        few = jax.tree.map(lambda x: x[:8], cut)
        size = lanes.gradient_size(state, objective, few)
        if lanes.scale_free:
            return lanes.replicate(jnp.ones_like(size))
        return lanes.replicate(compute_factors(size, task.common_gradient_size))

    @partial(jax.jit, donate_argnums=0)
    def train(state, objective, hyper, key: Array, data: Batch | Positives) -> LaneState:
        def cut(data: Batch | Positives, key: Array) -> Batch:
            return make_epoch_batches(task, data, batch_size, key)

        if key.ndim:
            return lanes.train_per_device(state, objective, hyper, cut, data, key)
        return lanes.train(state, objective, hyper, cut(data, key), key)

    @_waited_for
    @jax.jit
    def score(state: LaneState, data: Batch) -> Array:
        return lanes.replicate(scores_or_ranks(lanes, state, data))

    reward = _waited_for(jax.jit(partial(evaluate, lanes, task=task)))

    def factors_of(objective: Any, state: LaneState, data: Data) -> Array:
        _, chunk = next(iterate_chunks(data, jax.random.key(0)))
        return factors(objective, state, chunk)

    def epoch(state, objective, hyper, key: Array, data: Data, judged: Batch):
        for chunk_key, chunk in iterate_chunks(data, key):  # read while the one before trains
            jax.block_until_ready(state)
            state = train(state, objective, hyper, chunk_key, chunk)
        return state, reward(state, judged)

    return Trainer(jax.jit(lanes.init), factors_of, epoch, reward, score, lanes.devices)


def train_from_scratch(
    courses: Trainer,
    losses: Any,
    settings: np.ndarray,
    *,
    l2: float,
    scale: str,
    epochs: int,
    key: Array,
    data: Data,
    judged: Sequence[Batch],
) -> Iterator[np.ndarray]:
    """Train K losses, each at a setting; yield every epoch's rewards [K].

    The lanes are gone when the last epoch is.

    Args:
      courses: in K lanes.
      losses: objective of the K losses.
      settings: learning rate and weight decay [K, 2], as of ``settings_grid``.
      l2: penalty in the loss, likewise.
      scale: ``"gradient"`` or ``"raw"``, likewise.
      epochs: of training.
      key: of initial weights and shuffles, the same for all lanes.
      data: to train on.
      judged: splits; a reward is the mean over them.
    """
    state = courses.init(jnp.repeat(key[None], len(settings)))
    factor = courses.learning_rate_factors(losses, state, data) if scale == "gradient" else 1.0
    hyper = Hyper(*jnp.broadcast_arrays(*scale_settings(settings, factor, l2=l2)))
    first, *others = judged
    for epoch in range(epochs):
        shuffle = jax.random.fold_in(key, epoch)
        state, found = courses.epoch(state, losses, hyper, shuffle, data, first)
        yield np.mean([found, *(courses.evaluate(state, part) for part in others)], axis=0)
