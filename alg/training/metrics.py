"""Metrics on device and for one lane; ``vmap`` for several.

Metrics of binary labels take scores [n] (logits), labels [n] in {0, 1} and optionally weights
[..., n], 0 for padding. Metrics of rankings take the ranks [n] of relevant items, and weights.
Leading axes of the weights are leading axes of the result. Users are whole numbers [n], in any
order.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from ..interfaces import AnyArray, Array


def auc(scores: Array, labels: AnyArray, weights: AnyArray | None = None) -> Array:
    """Computes the exact area under the ROC curve; a tie counts half; NaN if a class is missing.

    One sort serves all leading axes of the weights.

    Example:
      >>> float(auc(jnp.array([0.1, 0.4, 0.4, 0.8]), jnp.array([0, 0, 1, 1])))
      0.875
    """
    weights = _weights(scores, weights)
    keys = _ordered(scores)
    place = jnp.searchsorted(jnp.sort(keys), keys)  # that of the first of a tie
    positive, negative = weights * labels, weights * (1 - labels)
    negative_at_place = jnp.zeros_like(negative).at[..., place].add(negative)
    upto = jnp.cumsum(negative_at_place, axis=-1)
    # Negatives below the tie, and half of those in it, as a share: sums of shares stay exact
    # enough in float32 where a product of two counts would not.
    share = (upto - 0.5 * negative_at_place)[..., place] / upto[..., -1:]
    return jnp.sum(positive * share, axis=-1) / jnp.sum(positive, axis=-1)


def _ordered(x: Array) -> Array:
    """Returns integers in the order of floats: XLA sorts those six times faster on CPU."""
    x = jnp.where(x == 0, 0.0, x)  # -0 is 0
    bits = jax.lax.bitcast_convert_type(x, jnp.dtype(f"int{8 * x.dtype.itemsize}"))
    return jnp.where(bits < 0, bits ^ jnp.iinfo(bits.dtype).max, bits)


def user_auc(
    scores: Array, labels: AnyArray, users: AnyArray, weights: AnyArray | None = None
) -> Array:
    """Computes the mean of the users' own AUCs; NaN if no user has both classes.

    Every user with both classes counts the same, however many rows are theirs; the others do not
    count. (Weighted by rows it would be the GAUC of Zhu et al., KDD 2018, arXiv:1706.06978.) With
    weights, a user counts by the largest weight of their rows.

    The AUC of a user is the mean over their positives i of the share of their negatives below it,
    ties counted half:

      ``share_i = (negatives below the tie + negatives below its end) / (2 * negatives)``

    With rows sorted by user and score, each count is a difference of two cumulative sums.

    Example:
      >>> scores, labels = jnp.array([0.1, 0.9, 0.4, 0.3, 0.5]), jnp.array([0, 1, 0, 1, 1])
      >>> float(user_auc(scores, labels, jnp.array([7, 7, 3, 3, 5])))
      0.5
    """
    order = jnp.lexsort((scores, users))
    s, y, u = scores[order], labels[order], users[order]
    w = _weights(scores, weights)[..., order]
    positive, negative = w * y, w * (1 - y)
    upto = jnp.cumsum(negative, axis=-1)  # negatives up to each row, of this user and those before
    before = upto - negative
    is_new_user = u[1:] != u[:-1]
    tie_start, tie_end = _run_ends((s[1:] != s[:-1]) | is_new_user)
    user_start, user_end = _run_ends(is_new_user)
    negatives = upto[..., user_end] - before[..., user_start]  # of the row's user
    twice_below = before[..., tie_start] + upto[..., tie_end] - 2 * before[..., user_start]
    share = 0.5 * twice_below / jnp.where(negatives > 0, negatives, 1)
    user = jnp.cumsum(jnp.append(False, is_new_user))
    zeros = jnp.zeros_like(w)
    # Not ``jax.ops.segment_sum``, whose segments are along the first axis: the bits are the same.
    area, positives = (zeros.at[..., user].add(x) for x in (positive * share, positive))
    has_both = (positives > 0) & (zeros.at[..., user].max(negatives) > 0)
    user_weight = zeros.at[..., user].max(w) * has_both
    user_aucs = area / jnp.where(positives > 0, positives, 1)
    return jnp.sum(user_weight * user_aucs, axis=-1) / jnp.sum(user_weight, axis=-1)


def log_loss(scores: Array, labels: AnyArray, weights: AnyArray | None = None) -> Array:
    """Computes the mean binary cross-entropy of logits, in nats."""
    return _mean(jax.nn.softplus(scores) - labels * scores, weights)


def rmse(scores: Array, labels: AnyArray, weights: AnyArray | None = None) -> Array:
    """Computes the root of the mean squared error of the probabilities.

    Example:
      >>> float(rmse(jnp.zeros(3), jnp.array([0, 1, 1])))
      0.5
    """
    return jnp.sqrt(_mean(jnp.square(jax.nn.sigmoid(scores) - labels), weights))


def mae(scores: Array, labels: AnyArray, weights: AnyArray | None = None) -> Array:
    """Computes the mean absolute error of the probabilities.

    Example:
      >>> float(mae(jnp.zeros(3), jnp.array([0, 1, 1])))
      0.5
    """
    return _mean(jnp.abs(jax.nn.sigmoid(scores) - labels), weights)


class Counts(NamedTuple):
    """Counts of predictions of 1 above a threshold, by weight."""

    hits: Array  # labels 1 above it
    predicted: Array  # all above it
    positives: Array  # labels 1
    total: Array


def count_predictions(
    scores: Array,
    labels: AnyArray,
    weights: AnyArray | None = None,
    *,
    threshold: Array | float = 0.0,
) -> Counts:
    """Counts what ``accuracy`` and ``f1`` need at a threshold on the logits."""
    w = _weights(scores, weights)
    above = scores > threshold
    parts = (above * labels, above, labels, jnp.ones_like(scores))
    return Counts(*(jnp.sum(w * part, axis=-1) for part in parts))


def accuracy(counts: Counts) -> Array:
    """Computes the share of examples on the right side of the threshold.

    Example:
      >>> counts = count_predictions(jnp.array([-1.0, 1, 2]), jnp.array([0, 0, 1]))
      >>> round(float(accuracy(counts)), 3)
      0.667
    """
    wrong = counts.predicted + counts.positives - 2 * counts.hits
    return (counts.total - wrong) / counts.total


def f1(counts: Counts) -> Array:
    """Computes F1 of predicting 1 above the threshold; 0 if nothing is predicted.

    Example:
      >>> counts = count_predictions(jnp.array([-1.0, 1, 2]), jnp.array([0, 0, 1]))
      >>> round(float(f1(counts)), 3)
      0.667
    """
    among = counts.predicted + counts.positives
    return 2 * counts.hits / jnp.where(among > 0, among, 1)


def best_threshold(
    metric: Callable[[Counts], Array],
    scores: Array,
    labels: AnyArray,
    weights: AnyArray | None = None,
) -> Array:
    """Finds the threshold on the logits at which ``accuracy`` or ``f1`` is largest.

    Tried are the cuts between neighbouring scores and the two outside them; ties go to the lowest.
    The weights are [n].

    Example:
      >>> float(best_threshold(f1, jnp.array([-1.0, 1, 3]), jnp.array([0, 0, 1])))
      2.0
    """
    order = jnp.argsort(scores)
    s, y, w = scores[order], labels[order], _weights(scores, weights)[order]
    cuts = jnp.concatenate([s[:1] - 1.0, (s[1:] + s[:-1]) / 2, s[-1:] + 1.0])
    below, positives_below = (jnp.append(0.0, jnp.cumsum(x)) for x in (w, w * y))
    total, positives = below[-1], positives_below[-1]
    counts = Counts(
        hits=positives - positives_below,
        predicted=total - below,
        positives=positives,
        total=total,
    )
    # No cut goes through a tie.
    is_cut = jnp.concatenate([jnp.array([True]), s[1:] != s[:-1], jnp.array([True])])
    return cuts[jnp.argmax(jnp.where(is_cut, metric(counts), -1.0))]


def count_ahead(scores: Array, first: Array, weights: AnyArray) -> Array:
    """Computes by how much scores [..., n] push back the positives of their groups.

    The rank of a positive is 1 plus the sum of this over the others of its group. A tie counts
    half: the rank is the middle one of all that share the score, so that a constant score is no
    better than chance. NaN for a score that is not finite.

    Args:
      scores: of other items.
      first: scores [..., n] of the positives of the same groups.
      weights: 0 for items that are not to be ranked.

    Example:
      >>> others = jnp.array([0.9, 0.3, 0.1])
      >>> float(1 + count_ahead(others, jnp.array(0.3), jnp.ones(3)).sum())
      2.5
    """
    above = (scores > first) + 0.5 * (scores == first)
    return jnp.where(jnp.isfinite(scores), weights * above, jnp.nan)


def ndcg(ranks: Array, weights: AnyArray | None = None, *, k: int = 10) -> Array:
    """Computes the mean normalised discounted gain at ``k`` of ranks [n], one relevant item each.

    A relevant item on rank r up to k gains 1 / log2(1 + r), the best possible being 1 (Järvelin and
    Kekäläinen, 2002, doi:10.1145/582415.582418).

    Example:
      >>> float(ndcg(jnp.array([1.0, 3.0, 11.0])))
      0.5
    """
    return _mean(jnp.where(ranks <= k, 1 / jnp.log2(1 + ranks), 0.0), weights)


def recall(ranks: Array, weights: AnyArray | None = None, *, k: int = 10) -> Array:
    """Computes the share of relevant items with a rank [n] up to ``k``."""
    return _mean((ranks <= k).astype(jnp.float32), weights)


def mrr(ranks: Array, weights: AnyArray | None = None, *, k: float = jnp.inf) -> Array:
    """Computes the mean reciprocal of ranks [n], 0 for those beyond ``k``.

    Example:
      >>> float(mrr(jnp.array([1.0, 2.0, 20.0, 20.0]), k=10))
      0.375
    """
    return _mean(jnp.where(ranks <= k, 1 / ranks, 0.0), weights)


def hit_rate(
    ranks: Array, users: AnyArray, weights: AnyArray | None = None, *, k: int = 10
) -> Array:
    """Computes the share of users with a relevant item on a rank [n] up to ``k``.

    It is the recall where each user has one relevant item. With weights, a user counts by the
    largest weight of their items.

    Example:
      >>> float(hit_rate(jnp.array([1.0, 30.0, 40.0]), jnp.array([5, 5, 2])))
      0.5
    """
    order = jnp.argsort(users)
    u, w = users[order], _weights(ranks, weights)[..., order]
    user = jnp.cumsum(jnp.append(False, u[1:] != u[:-1]))
    user_weight, hits = (
        jnp.zeros_like(w).at[..., user].max(x) for x in (w, w * (ranks[order] <= k))
    )
    return jnp.sum(hits, axis=-1) / jnp.sum(user_weight, axis=-1)


def _weights(values: Array, weights: AnyArray | None) -> AnyArray:
    return jnp.ones_like(values, jnp.float32) if weights is None else weights


def _mean(values: Array, weights: AnyArray | None) -> Array:
    """Computes the mean of values [n] by weights [..., n]."""
    weights = _weights(values, weights)
    return jnp.sum(weights * values, axis=-1) / jnp.sum(weights, axis=-1)


def _run_ends(changes: Array) -> tuple[Array, Array]:
    """Returns the first and last index [n] of the run that each is in; ``changes`` is [n - 1]."""
    index = jnp.arange(changes.shape[0] + 1)
    first = jax.lax.cummax(jnp.where(jnp.append(True, changes), index, 0))
    last = jnp.where(jnp.append(changes, True), index, index[-1])
    return first, jax.lax.cummin(last, reverse=True)
