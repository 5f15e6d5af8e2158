"""Evaluates K recommenders on a split: their predictions, and the metric of a task."""

import jax
import jax.numpy as jnp

from ..interfaces import Array, Batch, Positives
from .lanes import Lanes, LaneState, make_batches
from .metric_registry import EvalTargets
from .metrics import count_ahead
from .random_keys import EXAMPLES
from .tasks import RATING, Task


def scores_or_ranks(lanes: Lanes, state: LaneState, data: Batch) -> Array:
    """Give the logits of interactions [n], or the ranks of the first of groups [n, G]: [K, n]."""
    count = data.label.shape[0]
    if data.label.ndim == 1:
        return lanes.predict(state, make_batches(data, min(1024, count)))[:, :count]
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
            return (first, rank + count_ahead(logits, first, one.weight * (at > 0))), None

        begun = jnp.zeros((state.scale.size, size)), jnp.ones((state.scale.size, size))
        return jax.lax.scan(score, begun, (jnp.arange(data.label.shape[1]), places))[0][1]

    found = jax.lax.map(ranks, make_batches(data, size))
    return jnp.moveaxis(found, 0, 1).reshape(found.shape[1], -1)[:, :count]


def _side_by_side(groups: int) -> int:
    """Give how many groups are ranked side by side, in blocks that are about as large.

    A core's caches hold the rows of few users; an accelerator waits for its host unless a place of
    many is scored at once.
    """
    most = 64 if jax.default_backend() == "cpu" else 1024
    return -(-groups // max(1, -(-groups // most)))


def make_epoch_batches(task: Task, data: Batch | Positives, size: int, key: Array) -> Batch:
    """Give the batches [N, B] of the epoch that ``key`` chooses: what it draws, and the order."""
    return make_batches(task.examples(data, jax.random.fold_in(key, EXAMPLES)), size, key)


def evaluate(lanes: Lanes, state: LaneState, data: Batch, task: Task = RATING) -> Array:
    """Give the reward [K] of lanes by the task's metric on interactions [n] or groups [n, G].

    It is from 0 to 1, and 0 for a lane that diverged.
    """
    judged = make_eval_targets(data)
    kept = scores_or_ranks(lanes, state, data)
    finite = jnp.isfinite(kept).all(1)
    kept = jnp.where(finite[:, None], kept, 0.0)
    found = jax.vmap(lambda lane: task.metric.reward(lane, judged))(kept)
    return lanes.replicate(jnp.where(finite, found, 0.0))


def make_eval_targets(data: Batch) -> EvalTargets:
    """Give what metrics need of interactions [n], or of the first of each group [n, G]."""
    columns = (data.label, data.ids["user"], data.weight)
    return EvalTargets(*(x if x.ndim == 1 else x[:, 0] for x in columns))
