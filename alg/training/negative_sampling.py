"""Negative sampling: items for each positive, drawn again for every epoch, on the device."""

import jax
import jax.numpy as jnp

from ..interfaces import AnyArray, Array, Batch, Positives


def sample_negatives(data: Positives, key: Array, *, count: int) -> Batch:
    """Samples negatives for every positive: groups [n, G], the positive first.

    Negatives are drawn evenly and with replacement from the items that the user is not known to
    like. The other fields of a group are those of its positive.

    Args:
      data: positives [n].
      key: of the draw.
      count: negatives of each positive, G - 1.

    Example:
      >>> ids = {"user": jnp.array([0, 1]), "item": jnp.array([5, 7])}
      >>> likes = Positives(ids, jnp.array([5, 6, 7]), jnp.array([0, 2]), jnp.array([0, 1, 2]))
      >>> groups = sample_negatives(likes, jax.random.key(0), count=100)
      >>> # User 0 likes item 5, and user 1 item 7.
      >>> [sorted({*items[1:].tolist()}) for items in groups.ids["item"]]
      [[6, 7], [5, 6]]
    """
    user = data.ids["user"]
    begin, end = data.start[user], data.start[user + 1]
    free = data.catalogue.shape[0] - (end - begin)
    rank = jax.random.randint(key, (*user.shape, count), 0, free[:, None])
    known = _known_below(data, begin[:, None], end[:, None], rank)
    drawn = data.catalogue[rank + known]
    item = jnp.concatenate([data.ids["item"][:, None], drawn], axis=1)
    ids = {
        field: item if field == "item" else jnp.broadcast_to(x[:, None], item.shape)
        for field, x in data.ids.items()
    }
    label = jnp.zeros(item.shape).at[:, 0].set(1)
    return Batch(ids, label, jnp.ones(item.shape))


def _known_below(data: Positives, begin: AnyArray, end: AnyArray, rank: Array) -> Array:
    """Returns how many of a user's known items lie below the ``rank``-th unknown one.

    Those are the known items with at most ``rank`` unknown ones below, found by bisection. (On the
    host, ``data/implicit.py`` finds them by one search in all users' items at once, with keys of
    user and rank that would leave int32 here.)
    """
    low, high = jnp.broadcast_arrays(begin, end, rank)[:2]

    def halve(_: Array, ends: tuple[Array, Array]) -> tuple[Array, Array]:
        low, high = ends
        middle = (low + high) // 2
        at_most = data.unknown_below[middle] <= rank
        narrowed = jnp.where(at_most, middle + 1, low), jnp.where(at_most, high, middle)
        return jax.tree.map(lambda new, old: jnp.where(low < high, new, old), narrowed, ends)

    steps = int(data.unknown_below.shape[0]).bit_length()
    low, _ = jax.lax.fori_loop(0, steps, halve, (low, high))
    return low - begin
