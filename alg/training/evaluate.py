"""Evaluates K recommenders on a split: their predictions, and the metric of a task."""

import chex
import jax
import jax.numpy as jnp

from ..interfaces import Array, Batch, Positives
from .lanes import Lanes, LaneState, make_batches
from .metric_registry import EvalTargets
from .metrics import count_ahead
from .random_keys import EXAMPLES
from .tasks import RATING, Task


def compute_logits(lanes: Lanes, state: LaneState, data: Batch) -> Array:
    """Computes the logits [K, n] of interactions [n]."""
    count = data.label.shape[0]
    return lanes.predict(state, make_batches(data, min(1024, count)))[:, :count]


def compute_positive_ranks(lanes: Lanes, state: LaneState, data: Batch) -> Array:
    """Computes the ranks [K, n] of the positives, the first of groups [n, G].

    Groups are scored in blocks, and a block place by place. Among all items, groups have the same
    item at a place, so its row is fetched once for all of them: the table of items, which no cache
    holds, passes by once a block, not once a group. The positive is scored by the code that scores
    the others, so that ties stay ties.
    """
    count = data.label.shape[0]
    size = _groups_per_block(count)

    def block_ranks(block: Batch) -> Array:
        """Returns the ranks [K, size] in a block of groups, given as one batch [size * G]."""
        by_place = jax.tree.map(lambda x: x.reshape(size, -1).T, block)

        def add_place(
            carry: tuple[Array, Array], inputs: tuple[Array, Batch]
        ) -> tuple[tuple[Array, Array], None]:
            (first, rank), (place, column) = carry, inputs
            scores = lanes.predict(state, jax.tree.map(lambda x: x[None], column))
            first = jnp.where(place == 0, scores, first)
            return (first, rank + count_ahead(scores, first, column.weight * (place > 0))), None

        shape = state.scale.size, size
        start = jnp.zeros(shape), jnp.ones(shape)
        places = jnp.arange(data.label.shape[1])
        return jax.lax.scan(add_place, start, (places, by_place))[0][1]

    ranks = jax.lax.map(block_ranks, make_batches(data, size))
    return jnp.moveaxis(ranks, 0, 1).reshape(ranks.shape[1], -1)[:, :count]


def _groups_per_block(groups: int) -> int:
    """Returns how many groups are ranked side by side, in blocks of about one size.

    A core's caches hold the rows of few users; an accelerator waits for its host unless a place of
    many is scored at once.
    """
    most = 64 if jax.default_backend() == "cpu" else 1024
    return -(-groups // max(1, -(-groups // most)))


def compute_predictions(lanes: Lanes, state: LaneState, data: Batch) -> Array:
    """Computes what metrics read, [K, n]: logits of interactions [n], or ranks of groups [n, G].

    Args:
      lanes: that score.
      state: of K lanes.
      data: interactions, or groups whose first item is to be ranked.
    """
    chex.assert_rank(data.label, {1, 2})
    chex.assert_equal_shape([data.label, data.weight, *data.ids.values()])
    return (compute_logits if data.label.ndim == 1 else compute_positive_ranks)(lanes, state, data)


def make_epoch_batches(task: Task, data: Batch | Positives, size: int, key: Array) -> Batch:
    """Returns the batches [N, B] of an epoch: ``key`` chooses what is drawn, and the order."""
    return make_batches(task.examples(data, jax.random.fold_in(key, EXAMPLES)), size, key)


def evaluate(lanes: Lanes, state: LaneState, data: Batch, task: Task = RATING) -> Array:
    """Computes the reward [K] of lanes by the task's metric.

    Args:
      lanes: that score.
      state: of K lanes.
      data: interactions [n] or groups [n, G], as the metric needs them.
      task: whose metric rewards.

    Returns:
      Rewards from 0 to 1; 0 for a lane that diverged.
    """
    targets = make_eval_targets(data)
    predictions = compute_predictions(lanes, state, data)
    finite = jnp.isfinite(predictions).all(1)
    predictions = jnp.where(finite[:, None], predictions, 0.0)
    rewards = jax.vmap(lambda lane: task.metric.reward(lane, targets))(predictions)
    chex.assert_shape(rewards, finite.shape)
    return lanes.replicate(jnp.where(finite, rewards, 0.0))


def make_eval_targets(data: Batch) -> EvalTargets:
    """Returns what metrics need of interactions [n], or of the first of each group [n, G]."""
    columns = EvalTargets(label=data.label, user=data.ids["user"], weight=data.weight)
    return jax.tree.map(lambda column: column if column.ndim == 1 else column[:, 0], columns)
