"""Chunks: the part of an epoch that is in memory together; all of it if it fits."""

from collections.abc import Iterator
from functools import partial

import jax

from ..interfaces import Array, Batch, Data, Positives, StreamedData
from .permutation import random_permutation

NUM_EPOCH_ORDERS = 2**20
"""Number of distinct orders of a stream; a key picks one."""


def iterate_chunks(data: Data, key: Array) -> Iterator[tuple[Array, Batch | Positives]]:
    """Yields the chunks of the epoch that ``key`` chooses, each with a key.

    All but the last chunk have one size, so that what takes them compiles for two.

    Example:
      >>> import numpy as np
      >>> draw = lambda place, count: np.arange(place, place + count) % 10
      >>> data = StreamedData(10, 4, draw)
      >>> [len(chunk) for _, chunk in iterate_chunks(data, jax.random.key(0))]
      [4, 4, 2]
    """
    if not isinstance(data, StreamedData):
        yield key, data
        return
    start = _epoch_start(data, key)
    for first in range(0, data.rows, data.chunk_rows):
        count = min(data.chunk_rows, data.rows - first)
        yield jax.random.fold_in(key, first // data.chunk_rows), data.draw(start + first, count)


def get_max_chunk_rows(data: Data) -> int:
    """Returns how many interactions, or positives, of an epoch are in memory together.

    Example:
      >>> get_max_chunk_rows(StreamedData(10, 4, lambda place, count: None))
      4
    """
    return min(data.chunk_rows, data.rows) if isinstance(data, StreamedData) else _rows(data)


def subsample(data: Data, key: Array, count: int) -> Batch | Positives:
    """Returns ``count`` interactions, or positives, that ``key`` chooses; all for 0 or too many.

    Example:
      >>> import jax.numpy as jnp
      >>> whole = Batch({"user": jnp.arange(9)}, jnp.ones(9), jnp.ones(9))
      >>> subsample(whole, jax.random.key(0), 4).ids["user"].shape
      (4,)
    """
    if isinstance(data, StreamedData):
        return data.draw(_epoch_start(data, key), compute_subsample_size(data, count))
    return data if compute_subsample_size(data, count) == _rows(data) else _chosen(data, key, count)


def compute_subsample_size(data: Data, count: int) -> int:
    """Returns how many interactions, or positives, ``subsample`` returns.

    Example:
      >>> compute_subsample_size(StreamedData(10, 4, lambda place, count: None), 0)
      10
    """
    return min(count or _rows(data), _rows(data))


def _rows(data: Data) -> int:
    return data.rows if isinstance(data, StreamedData) else data.ids["user"].shape[0]


def _epoch_start(data: StreamedData, key: Array) -> int:
    """Returns the place at which the epoch begins that ``key`` chooses."""
    return data.rows * int(jax.random.randint(key, (), 0, NUM_EPOCH_ORDERS))


@partial(jax.jit, static_argnums=2)
def _chosen(data: Batch | Positives, key: Array, count: int) -> Batch | Positives:
    index = random_permutation(key, data.ids["user"].shape[0])[:count]
    if isinstance(data, Positives):
        return data._replace(ids=jax.tree.map(lambda x: x[index], data.ids))
    return jax.tree.map(lambda x: x[index], data)
