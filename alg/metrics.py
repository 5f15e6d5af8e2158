"""Metrics on device and for one lane; ``vmap`` for several.

Those of binary labels take scores [n] (logits), labels [n] in {0, 1} and optionally weights [n], 0
for padding. Those of rankings take the ranks [n] that ``first_rank`` gives of groups, and weights.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from .types import Array


def auc(scores: Array, labels: Array, weights: Array | None = None) -> Array:
    """Give the exact area under the ROC curve; a tie counts half; NaN where a class is missing.

    Weights may have leading axes, [..., n], and then so has the result: one sort serves all.

    >>> float(auc(jnp.array([0.1, 0.4, 0.4, 0.8]), jnp.array([0, 0, 1, 1])))
    0.875
    """
    weights = jnp.ones_like(scores) if weights is None else weights
    keys = _ordered(scores)
    place = jnp.searchsorted(jnp.sort(keys), keys)  # that of the first of a tie
    positive, negative = weights * labels, weights * (1 - labels)
    here = jnp.zeros_like(negative).at[..., place].add(negative)
    upto = jnp.cumsum(here, axis=-1)
    # Negatives below the tie, and half of those in it, as a share: sums of shares stay exact
    # enough in float32 where a product of two counts would not.
    share = (upto - 0.5 * here)[..., place] / upto[..., -1:]
    return jnp.sum(positive * share, axis=-1) / jnp.sum(positive, axis=-1)


def _ordered(x: Array) -> Array:
    """Give integers in the order of floats: XLA sorts those six times faster on CPU."""
    x = jnp.where(x == 0, 0.0, x)  # -0 is 0
    bits = jax.lax.bitcast_convert_type(x, jnp.dtype(f"int{8 * x.dtype.itemsize}"))
    return jnp.where(bits < 0, bits ^ jnp.iinfo(bits.dtype).max, bits)


def log_loss(scores: Array, labels: Array, weights: Array | None = None) -> Array:
    """Give the mean binary cross-entropy in nats of logits."""
    return jnp.average(jax.nn.softplus(scores) - labels * scores, weights=weights)


def accuracy(scores: Array, labels: Array, threshold: Array) -> Array:
    """Give the share of examples on the right side of a threshold on the logits."""
    return jnp.mean((scores > threshold) == (labels > 0.5))


def f1(scores: Array, labels: Array, threshold: Array) -> Array:
    """Give F1 of predicting 1 above a threshold on the logits; 0 where nothing is found."""
    predicted = scores > threshold
    hits = jnp.sum(predicted & (labels > 0.5))
    return 2 * hits / jnp.maximum(jnp.sum(predicted) + jnp.sum(labels > 0.5), 1)


def best_threshold(
    metric: Callable[[Array, Array, Array], Array], scores: Array, labels: Array
) -> Array:
    """Give the threshold on the logits at which ``accuracy`` or ``f1`` is largest.

    Tried are the cuts between neighbouring scores and the two outside them; ties go to the lowest.
    """
    s = jnp.sort(scores)
    cuts = jnp.concatenate([s[:1] - 1.0, (s[1:] + s[:-1]) / 2, s[-1:] + 1.0])
    return cuts[jnp.argmax(jax.lax.map(lambda cut: metric(scores, labels, cut), cuts))]


def first_rank(scores: Array, weights: Array | None = None) -> Array:
    """Give the rank [...] of the first of each group of scores [..., G], from 1.

    A tie counts half: the rank is the middle one of all that share the score, so that a constant
    score is no better than chance. NaN where a score is not finite. Weights [..., G] are 0 for what
    is not to be ranked.

    >>> float(first_rank(jnp.array([0.3, 0.9, 0.3, 0.1])))
    2.5
    """
    first, others = scores[..., :1], scores[..., 1:]
    above = (others > first) + 0.5 * (others == first)
    above = above if weights is None else above * weights[..., 1:]
    return jnp.where(jnp.isfinite(scores).all(-1), 1.0 + above.sum(-1), jnp.nan)


def _mean(values: Array, weights: Array | None) -> Array:
    """Give the mean of values [n] by weights [..., n]."""
    weights = jnp.ones_like(values) if weights is None else weights
    return jnp.sum(weights * values, axis=-1) / jnp.sum(weights, axis=-1)


def ndcg(ranks: Array, weights: Array | None = None, *, k: int = 10) -> Array:
    """Give the mean normalised discounted gain at ``k`` of ranks [n], one relevant item each.

    A relevant item on rank r up to k gains 1 / log2(1 + r), the best possible being 1.

    >>> float(ndcg(jnp.array([1.0, 3.0, 11.0])))
    0.5
    """
    return _mean(jnp.where(ranks <= k, 1 / jnp.log2(1 + ranks), 0.0), weights)


def recall(ranks: Array, weights: Array | None = None, *, k: int = 10) -> Array:
    """Give the share of ranks [n] up to ``k``: with one relevant item each, also the hit rate."""
    return _mean((ranks <= k).astype(jnp.float32), weights)


def mrr(ranks: Array, weights: Array | None = None, *, k: int = 10) -> Array:
    """Give the mean reciprocal of ranks [n], 0 for those beyond ``k``."""
    return _mean(jnp.where(ranks <= k, 1 / ranks, 0.0), weights)
