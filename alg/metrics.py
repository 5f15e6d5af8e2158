"""Metrics of binary labels, on device and for one lane; ``vmap`` for several.

All take scores [n] (logits), labels [n] in {0, 1} and optionally weights [n], 0 for padding.
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
    order = jnp.argsort(scores)
    s, y, w = scores[order], labels[order], weights[..., order]
    positive, negative = w * y, w * (1 - y)
    below = jnp.cumsum(negative, axis=-1)
    index = jnp.arange(s.size)
    changes = s[1:] != s[:-1]
    first = jax.lax.cummax(jnp.where(jnp.append(True, changes), index, 0))
    last = jax.lax.cummin(jnp.where(jnp.append(changes, True), index, s.size - 1), reverse=True)
    # Negatives below the tie, and half of those in it, as a share: sums of shares stay exact
    # enough in float32 where a product of two counts would not.
    twice = (below - negative)[..., first] + below[..., last]
    share = 0.5 * twice / below[..., -1:]
    return jnp.sum(positive * share, axis=-1) / jnp.sum(positive, axis=-1)


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
