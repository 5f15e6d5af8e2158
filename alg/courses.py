"""Courses: recommenders trained from scratch in lanes, epoch by epoch, each at its own setting."""

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import product
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from .judges import Judged
from .lanes import Hyper, Lanes, LaneState, batches
from .metrics import ahead
from .objectives import Slopes
from .pieces import pieces
from .tasks import RATING, Task
from .types import Array, Batch, Data, Positives


class Courses(NamedTuple):
    """Training in K lanes, compiled once for all losses of one objective."""

    begin: Callable[[Array], LaneState]  # keys [K]
    # What turns learning rates for gradients of the common size into each loss's own; 1 where the
    # optimizer divides by the size of gradients. Objective, untrained lanes, data -> [K].
    factors: Callable[[Any, LaneState, Data], Array]
    # state, objective, hyper, key of the epoch, data, judged split -> state, reward [K]; the state
    # that was is gone. Keys [D] are one for each device, which sees batches of its own; not for a
    # source.
    epoch: Callable[[LaneState, Any, Hyper, Array, Data, Batch], tuple[LaneState, Array]]
    reward: Callable[[LaneState, Batch], Array]  # judged split -> reward [K]
    score: Callable[[LaneState, Batch], Array]  # interactions -> what metrics need of them [K, n]
    devices: int  # that lanes are divided over


def settings_grid(
    learning_rates: Sequence[float], weight_decays: Sequence[float], *, l2: float, scale: str
) -> np.ndarray:
    """Give every learning rate with every weight decay: [V, 2].

    Raises:
      ValueError: for values out of range.

    >>> settings_grid((1.0, 3.0), (1e-4,), l2=0.0, scale="gradient").shape
    (2, 2)
    """
    if scale not in ("gradient", "raw"):
        raise ValueError(f"scale is 'gradient' or 'raw', got {scale!r}")
    given = f"learning rates {learning_rates}, weight decays {weight_decays} and l2 {l2}"
    if not learning_rates or not weight_decays:
        raise ValueError(f"at least one learning rate and one weight decay are needed, got {given}")
    # Written so that NaN is refused.
    if not (min(learning_rates) > 0 and min(weight_decays) >= 0 and l2 >= 0):
        raise ValueError(
            f"learning rates are positive, weight decays and l2 not negative, got {given}"
        )
    if not max(learning_rates) * (max(weight_decays) + 2 * l2) < 1:
        raise ValueError(
            "the largest learning rate times the largest weight decay (and twice l2) stays below "
            f"1, got {given}"
        )
    return np.asarray(list(product(learning_rates, weight_decays)))


def _kept(lanes: Lanes, state: LaneState, data: Batch) -> Array:
    """Give the logits of interactions [n], or the ranks of the first of groups [n, G]: [K, n]."""
    count = data.label.shape[0]
    if data.label.ndim == 1:
        return lanes.predict(state, batches(data, min(1024, count)))[:, :count]
    size = _side_by_side(count)

    def ranks(block: Batch) -> Array:
        """Give the ranks [K, size] in a block [size * G], whose groups are scored place by place.

        Among all items, groups have the same item at a place, so its row is fetched once for all
        of them: the table of items, which no cache holds, passes by once a block, not once a group.
        The first is scored by the code that scores the others, so that ties stay ties.
        """
        places = jax.tree.map(lambda x: x.reshape(size, -1).T, block)

        def score(seen: tuple[Array, Array], place: tuple[Array, Batch]) -> tuple[tuple, None]:
            (first, rank), (at, one) = seen, place
            logits = lanes.predict(state, jax.tree.map(lambda x: x[None], one))
            first = jnp.where(at == 0, logits, first)
            return (first, rank + ahead(logits, first, one.weight * (at > 0))), None

        begun = jnp.zeros((state.scale.size, size)), jnp.ones((state.scale.size, size))
        return jax.lax.scan(score, begun, (jnp.arange(data.label.shape[1]), places))[0][1]

    found = jax.lax.map(ranks, batches(data, size))
    return jnp.moveaxis(found, 0, 1).reshape(found.shape[1], -1)[:, :count]


def _side_by_side(groups: int) -> int:
    """Give how many groups are ranked side by side, in blocks that are about as large.

    A core's caches hold the rows of few users; an accelerator waits for its host unless a place of
    many is scored at once.
    """
    most = 64 if jax.default_backend() == "cpu" else 1024
    return -(-groups // max(1, -(-groups // most)))


def epoch_batches(task: Task, data: Batch | Positives, size: int, key: Array) -> Batch:
    """Give the batches [N, B] of the epoch that ``key`` chooses: what it draws, and the order."""
    return batches(task.examples(data, jax.random.fold_in(key, 1)), size, key)


def judge(lanes: Lanes, state: LaneState, data: Batch, task: Task = RATING) -> Array:
    """Give the reward [K] of lanes by the task's metric on interactions [n] or groups [n, G].

    It is from 0 to 1, and 0 for a lane that diverged.
    """
    judged = whom(data)
    kept = _kept(lanes, state, data)
    finite = jnp.isfinite(kept).all(1)
    kept = jnp.where(finite[:, None], kept, 0.0)
    found = jax.vmap(lambda lane: task.metric.reward(lane, judged))(kept)
    return lanes.everywhere(jnp.where(finite, found, 0.0))


def whom(data: Batch) -> Judged:
    """Give what metrics need of interactions [n], or of the first of each group [n, G]."""
    columns = (data.label, data.ids["user"], data.weight)
    return Judged(*(x if x.ndim == 1 else x[:, 0] for x in columns))


def _waited_for(gathers: Callable[..., Array]) -> Callable[..., Array]:
    """Give a function that returns when all devices are done with the program that it calls.

    Of two programs that gather over devices in flight, one device may reach the second while
    another is still to reach the first. On CPU each of them holds a thread meanwhile, and with one
    thread a device none is left to go on.
    """
    return lambda *given: jax.block_until_ready(gathers(*given))


def make_courses(
    make_lanes: Callable[[Slopes], Lanes],
    slopes: Slopes,
    *,
    batch_size: int,
    task: Task = RATING,
) -> Courses:
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
        cut = epoch_batches(task, data, 256, jax.random.key(0))
        few = jax.tree.map(lambda x: x[:8], cut)
        size = lanes.gradient_size(state, objective, few)
        if lanes.scale_free:
            return lanes.everywhere(jnp.ones_like(size))
        return lanes.everywhere(task.common_size / jnp.maximum(size, 1e-30))

    @partial(jax.jit, donate_argnums=0)
    def train(state, objective, hyper, key: Array, data: Batch | Positives) -> LaneState:
        def cut(data: Batch | Positives, key: Array) -> Batch:
            return epoch_batches(task, data, batch_size, key)

        if key.ndim:
            return lanes.train_each(state, objective, hyper, cut, data, key)
        return lanes.train(state, objective, hyper, cut(data, key), key)

    @_waited_for
    @jax.jit
    def score(state: LaneState, data: Batch) -> Array:
        return lanes.everywhere(_kept(lanes, state, data))

    reward = _waited_for(jax.jit(partial(judge, lanes, task=task)))

    def factors_of(objective: Any, state: LaneState, data: Data) -> Array:
        _, piece = next(pieces(data, jax.random.key(0)))
        return factors(objective, state, piece)

    def epoch(state, objective, hyper, key: Array, data: Data, judged: Batch):
        for piece_key, piece in pieces(data, key):  # read while the one before trains
            jax.block_until_ready(state)
            state = train(state, objective, hyper, piece_key, piece)
        return state, reward(state, judged)

    return Courses(jax.jit(lanes.init), factors_of, epoch, reward, score, lanes.devices)


def train_from_scratch(
    courses: Courses,
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
    state = courses.begin(jnp.repeat(key[None], len(settings)))
    factor = courses.factors(losses, state, data) if scale == "gradient" else 1.0
    rate, decay = settings[:, 0] * factor, settings[:, 1] / factor
    hyper = Hyper(*jnp.broadcast_arrays(rate, decay, l2 / factor))
    first, *others = judged
    for epoch in range(epochs):
        shuffle = jax.random.fold_in(key, epoch)
        state, found = courses.epoch(state, losses, hyper, shuffle, data, first)
        yield np.mean([found, *(courses.reward(state, part) for part in others)], axis=0)
