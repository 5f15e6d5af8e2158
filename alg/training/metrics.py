"""Metrics on device and for one lane; ``vmap`` for several.

Those of binary labels take scores [n] (logits), labels [n] in {0, 1} and optionally weights
[..., n], 0 for padding. Those of rankings take the ranks [n] of what is relevant, and weights.
Leading axes of the weights are leading axes of the result. Where users count, they are whole
numbers [n], in any order.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from ..interfaces import Array


def auc(scores: Array, labels: Array, weights: Array | None = None) -> Array:
    """Give the exact area under the ROC curve; a tie counts half; NaN where a class is missing.

    One sort serves all leading axes of the weights.

    >>> float(auc(jnp.array([0.1, 0.4, 0.4, 0.8]), jnp.array([0, 0, 1, 1])))
    0.875
    """
    weights = _weights(scores, weights)
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


def user_auc(scores: Array, labels: Array, users: Array, weights: Array | None = None) -> Array:
    """Give the mean of the users' own AUCs; NaN where no user has both classes.

    Every user with both classes counts the same, however many rows are theirs; the others do not
    count. (Weighted by rows it would be the GAUC of Zhu et al., KDD 2018, arXiv:1706.06978.) With
    weights, a user counts by the largest of their rows'.

    >>> scores, labels = jnp.array([0.1, 0.9, 0.4, 0.3, 0.5]), jnp.array([0, 1, 0, 1, 1])
    >>> float(user_auc(scores, labels, jnp.array([7, 7, 3, 3, 5])))
    0.5
    """
    order = jnp.lexsort((scores, users))
    s, y, u = scores[order], labels[order], users[order]
    w = _weights(scores, weights)[..., order]
    positive, negative = w * y, w * (1 - y)
    below = jnp.cumsum(negative, axis=-1)
    is_new = u[1:] != u[:-1]
    first, last = _ends((s[1:] != s[:-1]) | is_new)
    begin, end = _ends(is_new)
    before = below - negative
    theirs = below[..., end] - before[..., begin]  # negatives of the row's user
    twice = before[..., first] + below[..., last] - 2 * before[..., begin]
    share = 0.5 * twice / jnp.where(theirs > 0, theirs, 1)
    user = jnp.cumsum(jnp.append(False, is_new))
    zeros = jnp.zeros_like(w)
    area, likes = (zeros.at[..., user].add(x) for x in (positive * share, positive))
    dislikes = zeros.at[..., user].max(theirs)
    counts = zeros.at[..., user].max(w) * ((likes > 0) & (dislikes > 0))
    own = area / jnp.where(likes > 0, likes, 1)
    return jnp.sum(counts * own, axis=-1) / jnp.sum(counts, axis=-1)


def log_loss(scores: Array, labels: Array, weights: Array | None = None) -> Array:
    """Give the mean binary cross-entropy in nats of logits."""
    return _mean(jax.nn.softplus(scores) - labels * scores, weights)


def rmse(scores: Array, labels: Array, weights: Array | None = None) -> Array:
    """Give the root of the mean squared error of the probabilities.

    >>> float(rmse(jnp.zeros(3), jnp.array([0, 1, 1])))
    0.5
    """
    return jnp.sqrt(_mean(jnp.square(jax.nn.sigmoid(scores) - labels), weights))


def mae(scores: Array, labels: Array, weights: Array | None = None) -> Array:
    """Give the mean absolute error of the probabilities.

    >>> float(mae(jnp.zeros(3), jnp.array([0, 1, 1])))
    0.5
    """
    return _mean(jnp.abs(jax.nn.sigmoid(scores) - labels), weights)


class Counts(NamedTuple):
    """What predicting 1 above a threshold does, counted by weight."""

    hits: Array  # labels 1 above it
    predicted: Array  # all above it
    positives: Array  # labels 1
    total: Array


def count_predictions(
    scores: Array, labels: Array, weights: Array | None = None, *, threshold: Array | float = 0.0
) -> Counts:
    """Give what ``accuracy`` and ``f1`` need of a threshold on the logits."""
    w = _weights(scores, weights)
    above = scores > threshold
    parts = (above * labels, above, labels, jnp.ones_like(scores))
    return Counts(*(jnp.sum(w * part, axis=-1) for part in parts))


def accuracy(counts: Counts) -> Array:
    """Give the share of examples on the right side of the threshold.

    >>> float(accuracy(count_predictions(jnp.array([-1.0, 1, 2]), jnp.array([0, 0, 1]))))  # doctest: +ELLIPSIS
    0.666...
    """
    wrong = counts.predicted + counts.positives - 2 * counts.hits
    return (counts.total - wrong) / counts.total


def f1(counts: Counts) -> Array:
    """Give F1 of predicting 1 above the threshold; 0 where nothing is found.

    >>> float(f1(count_predictions(jnp.array([-1.0, 1, 2]), jnp.array([0, 0, 1]))))  # doctest: +ELLIPSIS
    0.666...
    """
    among = counts.predicted + counts.positives
    return 2 * counts.hits / jnp.where(among > 0, among, 1)


def best_threshold(
    metric: Callable[[Counts], Array], scores: Array, labels: Array, weights: Array | None = None
) -> Array:
    """Give the threshold on the logits at which ``accuracy`` or ``f1`` is largest.

    Tried are the cuts between neighbouring scores and the two outside them; ties go to the lowest.
    The weights are [n].

    >>> float(best_threshold(f1, jnp.array([-1.0, 1, 3]), jnp.array([0, 0, 1])))
    2.0
    """
    order = jnp.argsort(scores)
    s, y, w = scores[order], labels[order], _weights(scores, weights)[order]
    cuts = jnp.concatenate([s[:1] - 1.0, (s[1:] + s[:-1]) / 2, s[-1:] + 1.0])
    below, likes_below = (jnp.append(0.0, jnp.cumsum(x)) for x in (w, w * y))
    total, positives = below[-1], likes_below[-1]
    found = metric(Counts(positives - likes_below, total - below, positives, total))
    # No cut goes through a tie.
    real = jnp.concatenate([jnp.array([True]), s[1:] != s[:-1], jnp.array([True])])
    return cuts[jnp.argmax(jnp.where(real, found, -1.0))]


def count_ahead(scores: Array, first: Array, weights: Array) -> Array:
    """Give how far scores [..., n] put the first of their groups back, whose are [..., n].

    A rank is 1 and the sum of that over the others of a group. A tie counts half: the rank is the
    middle one of all that share the score, so that a constant score is no better than chance. NaN
    for a score that is not finite. Weights are 0 for what is not to be ranked.

    >>> others = jnp.array([0.9, 0.3, 0.1])
    >>> float(1 + count_ahead(others, jnp.array(0.3), jnp.ones(3)).sum())
    2.5
    """
    above = (scores > first) + 0.5 * (scores == first)
    return jnp.where(jnp.isfinite(scores), weights * above, jnp.nan)


def ndcg(ranks: Array, weights: Array | None = None, *, k: int = 10) -> Array:
    """Give the mean normalised discounted gain at ``k`` of ranks [n], one relevant item each.

    A relevant item on rank r up to k gains 1 / log2(1 + r), the best possible being 1 (Järvelin and
    Kekäläinen, 2002, doi:10.1145/582415.582418).

    >>> float(ndcg(jnp.array([1.0, 3.0, 11.0])))
    0.5
    """
    return _mean(jnp.where(ranks <= k, 1 / jnp.log2(1 + ranks), 0.0), weights)


def recall(ranks: Array, weights: Array | None = None, *, k: int = 10) -> Array:
    """Give the share of relevant items with a rank [n] up to ``k``."""
    return _mean((ranks <= k).astype(jnp.float32), weights)


def mrr(ranks: Array, weights: Array | None = None, *, k: float = jnp.inf) -> Array:
    """Give the mean reciprocal of ranks [n], 0 for those beyond ``k``.

    >>> float(mrr(jnp.array([1.0, 2.0, 20.0, 20.0]), k=10))
    0.375
    """
    return _mean(jnp.where(ranks <= k, 1 / ranks, 0.0), weights)


def hit_rate(ranks: Array, users: Array, weights: Array | None = None, *, k: int = 10) -> Array:
    """Give the share of users with a relevant item on a rank [n] up to ``k``.

    It is the recall where each user has one relevant item. With weights, a user counts by the
    largest of their items'.

    >>> float(hit_rate(jnp.array([1.0, 30.0, 40.0]), jnp.array([5, 5, 2])))
    0.5
    """
    order = jnp.argsort(users)
    u, w = users[order], _weights(ranks, weights)[..., order]
    user = jnp.cumsum(jnp.append(False, u[1:] != u[:-1]))
    counts, hits = (jnp.zeros_like(w).at[..., user].max(x) for x in (w, w * (ranks[order] <= k)))
    return jnp.sum(hits, axis=-1) / jnp.sum(counts, axis=-1)


def _weights(values: Array, weights: Array | None) -> Array:
    return jnp.ones_like(values, jnp.float32) if weights is None else weights


def _mean(values: Array, weights: Array | None) -> Array:
    """Give the mean of values [n] by weights [..., n]."""
    weights = _weights(values, weights)
    return jnp.sum(weights * values, axis=-1) / jnp.sum(weights, axis=-1)


def _ends(changes: Array) -> tuple[Array, Array]:
    """Give the first and last index [n] of the run that each is in; ``changes`` is [n - 1]."""
    index = jnp.arange(changes.shape[0] + 1)
    first = jax.lax.cummax(jnp.where(jnp.append(True, changes), index, 0))
    last = jnp.where(jnp.append(changes, True), index, index[-1])
    return first, jax.lax.cummin(last, reverse=True)
