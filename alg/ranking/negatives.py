"""Negatives of a batch of positives: the whole catalogue, or items that are drawn.

If popular items are drawn more often than others, a loss of what is drawn is that of the whole
catalogue only if an item counts as 1 / q, q being its chance. In a log-sum-exp that subtracts
``log q`` from each logit, which is known for softmax (Bengio and Senécal, 2008; Yi et al., RecSys
2019, doi:10.1145/3298689.3346996); sums and means are weighted. Here q is relative to an even draw,
so an even draw needs no correction, and losses keep their scale.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from ..interfaces import Array

KINDS = ("all", "shared", "each", "in_batch", "mixed")


class Negatives(NamedTuple):
    """How negatives are chosen."""

    # "all" items; "shared": drawn once for a batch; "each": drawn for each positive; "in_batch":
    # the batch's positives; "mixed": half of them drawn, half from the batch.
    kind: str = "all"
    number: int = 1000  # of those that are drawn
    power: float = 0.0  # a draw is in proportion to popularity to this power; 0 is even
    correct: bool = False  # whether an item counts as 1 / q


class Drawn(NamedTuple):
    """Negatives of a batch."""

    items: Array  # int32 [num_negatives], or [B, num_negatives] with kind "each"
    log_q: Array  # float32 of the same shape, relative to an even draw


class ItemChances(NamedTuple):
    """How likely each item is drawn, [num_items] each."""

    cumulative: Array  # of the draw
    log_q: Array  # of the draw, relative to an even one
    log_q_batch: Array  # of a batch's positive, relative to an even draw


def check_negatives(negatives: Negatives) -> None:
    """Checks the settings; ValueError with what was expected."""
    if negatives.kind not in KINDS:
        raise ValueError(f"negatives are one of {', '.join(KINDS)}, got {negatives.kind!r}")
    if negatives.number < 1:
        raise ValueError(f"at least 1 negative is drawn, got {negatives.number}")
    if not 0 <= negatives.power <= 2:
        raise ValueError(f"the power of popularity is from 0 to 2, got {negatives.power}")


def compute_chances(counts: np.ndarray, power: float) -> ItemChances:
    """Computes the chances of items from how often they are liked, [num_items].

    An item that nobody liked is drawn as if one had.

    Example:
      >>> chances = compute_chances(np.array([1, 3]), power=1.0)
      >>> chances.cumulative.tolist(), np.exp(chances.log_q).round(3).tolist()
      ([0.25, 1.0], [0.5, 1.5])
    """
    liked = np.maximum(np.asarray(counts, np.float64), 1)
    draw, batch = (weights / weights.sum() for weights in (liked**power, liked))
    return ItemChances(
        cumulative=jnp.asarray(np.cumsum(draw), jnp.float32),
        log_q=jnp.asarray(np.log(draw * liked.size), jnp.float32),
        log_q_batch=jnp.asarray(np.log(batch * liked.size), jnp.float32),
    )


def draw_negatives(
    negatives: Negatives, chances: ItemChances, positives: Array, key: Array
) -> Drawn:
    """Draws negatives for positives [B]; known positives may be among them, and are masked later.

    Args:
      negatives: any kind but "all", for which nothing is drawn.
      chances: of the items.
      positives: items of the batch, [B].
      key: of the draw.
    """
    count = negatives.number
    if negatives.kind == "in_batch":
        return Drawn(positives, chances.log_q_batch[positives])
    if negatives.kind == "mixed":
        draw_key, batch_key = jax.random.split(key)
        half = count // 2
        chosen = jax.random.randint(batch_key, (count - half,), 0, positives.shape[0])
        items = jnp.concatenate([_draw(chances, draw_key, (half,)), positives[chosen]])
        # An item comes by either way: its chance is the mean of both.
        by_draw, by_batch = jnp.exp(chances.log_q), jnp.exp(chances.log_q_batch)
        mean = (half * by_draw + (count - half) * by_batch) / count
        return Drawn(items, jnp.log(mean)[items])
    shape = (positives.shape[0], count) if negatives.kind == "each" else (count,)
    items = _draw(chances, key, shape)
    return Drawn(items, chances.log_q[items])


def _draw(chances: ItemChances, key: Array, shape: tuple[int, ...]) -> Array:
    place = jax.random.uniform(key, shape) * chances.cumulative[-1]
    items = jnp.searchsorted(chances.cumulative, place, side="right")
    return jnp.minimum(items, chances.cumulative.size - 1).astype(jnp.int32)
