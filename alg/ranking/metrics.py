"""Metrics of top-k rankings, for users with several relevant items each.

A user's items are ranked by score, those that are masked left out. Of equal scores the relevant
item comes last, so that a constant score earns nothing. Every user with a relevant item counts the
same; means are over them.

Letters: ``T`` places for relevant items of a user, ``E`` users with relevant items.
"""

from collections.abc import Sequence
from typing import NamedTuple

import chex
import jax
import jax.numpy as jnp
import numpy as np

from ..interfaces import Array, ItemSets

USER_METRICS = ("ndcg", "recall", "precision", "hit", "mrr", "map")
"""Metrics that each user has a value of."""
LIST_METRICS = ("coverage", "gini")
"""Metrics of what is recommended to all users together."""


class Relevant(NamedTuple):
    """Items that are to be found, of E users."""

    users: Array  # int32 [E]
    items: Array  # int32 [E, T]; num_items where a user has fewer
    counts: Array  # int32 [E]


class TopK(NamedTuple):
    """The first k items of users' rankings."""

    items: Array  # int32 [..., k]; num_items where fewer are left to be ranked
    hit: Array  # bool [..., k], whether the item is relevant


def make_relevant(sets: ItemSets, num_items: int) -> Relevant:
    """Returns the relevant items of all users that have some.

    Example:
      >>> sets = ItemSets.of_pairs(np.array([0, 0, 2]), np.array([4, 1, 0]), num_users=3)
      >>> make_relevant(sets, num_items=5).items.tolist()
      [[1, 4], [0, 5]]
    """
    counts = sets.counts
    users = np.flatnonzero(counts)
    items = np.full((users.size, int(counts.max(initial=1))), num_items, np.int32)
    column = np.arange(sets.items.size) - np.repeat(sets.start[:-1], counts)
    row = np.searchsorted(users, sets.users)
    items[row, column] = sets.items
    return Relevant(
        users=jnp.asarray(users, jnp.int32),
        items=jnp.asarray(items),
        counts=jnp.asarray(counts[users], jnp.int32),
    )


def rank_top(scores: Array, relevant: Array, k: int) -> TopK:
    """Ranks the items of users, and returns the first k.

    Relevant items are taken out of the catalogue and put behind it: ``top_k`` prefers the earlier
    of equal scores.

    Args:
      scores: [..., num_items]; -inf for masked items. They are left out, and NaN with them.
      relevant: items [..., T]; num_items where there are fewer.
      k: places.

    Example:
      >>> top = rank_top(jnp.array([[3.0, 1.0, 3.0, 2.0]]), jnp.array([[2, 4]]), k=3)
      >>> top.items.tolist(), top.hit.tolist()
      ([[0, 2, 3]], [[False, True, False]])
    """
    chex.assert_equal_rank([scores, relevant])
    num_items = scores.shape[-1]
    scores = jnp.where(jnp.isnan(scores), -jnp.inf, scores)
    found = jnp.take_along_axis(
        scores, jnp.minimum(relevant, num_items - 1), axis=-1, mode="promise_in_bounds"
    )
    found = jnp.where(relevant < num_items, found, -jnp.inf)
    others = jnp.put_along_axis(
        jnp.pad(scores, [(0, 0)] * (scores.ndim - 1) + [(0, 1)]),
        relevant,
        -jnp.inf,
        axis=-1,
        inplace=False,
    )[..., :num_items]
    k = min(k, num_items)
    value, place = jax.lax.top_k(jnp.concatenate([others, found], axis=-1), k)
    is_relevant = place >= num_items
    column = jnp.where(is_relevant, place - num_items, 0)
    items = jnp.where(is_relevant, jnp.take_along_axis(relevant, column, axis=-1), place)
    is_ranked = value > -jnp.inf
    items = jnp.where(is_ranked, items, num_items)
    return TopK(items=items.astype(jnp.int32), hit=is_relevant & is_ranked)


def compute_user_metrics(hit: Array, count: Array, cutoffs: Sequence[int]) -> dict[str, Array]:
    """Computes the metrics of each user at several cutoffs.

    At a cutoff k, with h hits among the first k and n relevant items: the NDCG is the sum of
    1 / log2(1 + rank) over hits, divided by that of min(k, n) hits on the first ranks (Järvelin and
    Kekäläinen, 2002); the recall is h / n; the precision h / k; the hit rate whether h > 0; the MRR
    1 / rank of the first hit; the MAP the sum of the precisions at hits, divided by min(k, n).

    Args:
      hit: [..., E, k], of ``rank_top``, for the largest cutoff at least.
      count: relevant items [E].
      cutoffs: numbers of places that count.

    Returns:
      Name, such as ``ndcg@20``, -> [..., E].

    Example:
      >>> found = compute_user_metrics(jnp.array([[False, True]]), jnp.array([4]), (2,))
      >>> {name: round(float(value[0]), 3) for name, value in found.items()}["recall@2"]
      0.25
    """
    rank = jnp.arange(1, hit.shape[-1] + 1)
    discount = 1 / jnp.log2(1.0 + rank)
    ideal = jnp.append(0.0, jnp.cumsum(discount))
    hits = hit.astype(jnp.float32)
    precision_at_hit = hits * jnp.cumsum(hits, axis=-1) / rank
    metrics: dict[str, Array] = {}
    for k in cutoffs:
        first, best = hits[..., :k], jnp.minimum(count, min(k, hit.shape[-1]))
        found = first.sum(-1)
        metrics |= {
            f"ndcg@{k}": (first * discount[:k]).sum(-1) / ideal[best],
            f"recall@{k}": found / count,
            f"precision@{k}": found / k,
            f"hit@{k}": (found > 0).astype(jnp.float32),
            f"mrr@{k}": jnp.max(first / rank[:k], axis=-1),
            f"map@{k}": precision_at_hit[..., :k].sum(-1) / best,
        }
    return metrics


def compute_list_metrics(items: Array, cutoffs: Sequence[int], num_items: int) -> dict[str, Array]:
    """Computes how recommendations spread over the catalogue.

    The coverage is the share of items that are recommended to anybody. The Gini index is 0 if all
    items are recommended equally often, and nears 1 if everybody gets the same few. Both are 0 if
    nothing is recommended.

    Args:
      items: that are recommended, [E, k]; num_items for none.
      cutoffs: numbers of places that count.
      num_items: in the catalogue.

    Example:
      >>> spread = compute_list_metrics(jnp.array([[0, 1], [0, 2]]), (1, 2), num_items=4)
      >>> spread["coverage@1"].item(), spread["coverage@2"].item(), spread["gini@2"].item()
      (0.25, 0.75, 0.375)
    """
    counts = [jnp.zeros(num_items).at[items[:, :k].ravel()].add(1.0, mode="drop") for k in cutoffs]
    place = 2 * jnp.arange(1, num_items + 1) - num_items - 1
    metrics: dict[str, Array] = {}
    for k, often in zip(cutoffs, jnp.sort(jnp.stack(counts), axis=-1), strict=True):
        metrics[f"coverage@{k}"] = jnp.mean(often > 0)
        metrics[f"gini@{k}"] = jnp.sum(place * often) / (num_items * jnp.maximum(often.sum(), 1))
    return metrics


def read_cutoff(metric: str) -> int:
    """Returns the places that a metric counts, the number behind its name.

    Raises:
      ValueError: if there is none.

    Example:
      >>> read_cutoff("ndcg@20")
      20
    """
    number = metric.partition("@")[2]
    if not number.isdecimal() or int(number) < 1:
        raise ValueError(f"the metric is a name and a number of places, as in ndcg@20: {metric!r}")
    return int(number)


def check_metric(name: str, cutoffs: Sequence[int]) -> None:
    """Checks that a name is that of a user metric at one of the cutoffs.

    Raises:
      ValueError: with the names that there are.
    """
    names = [f"{metric}@{k}" for metric in USER_METRICS for k in cutoffs]
    if name not in names:
        raise ValueError(f"the metric is one of {', '.join(names)}, got {name!r}")
