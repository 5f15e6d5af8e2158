"""A random permutation in a few passes over its numbers, where sorting random keys takes more.

A Feistel network (Luby and Rackoff, 1988, doi:10.1137/0217022) permutes the numbers of so many
bits, an even count. A number that leaves the range is sent through again until it is back (cycle
walking: Black and Rogaway, 2002, doi:10.1007/3-540-45760-7_9). ``data/stream.py`` does the same in
NumPy and 64 bits, for single places of orders that are too long to hold.
"""

import jax
import jax.numpy as jnp

from ..interfaces import Array

ROUNDS = 6


def random_permutation(key: Array, n: int) -> Array:
    """Returns the numbers 0 to n - 1 in an order that ``key`` decides, int32 [n].

    Example:
      >>> order = random_permutation(jax.random.key(0), 10)
      >>> sorted(order.tolist())
      [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]
    """
    half = max(1, -(-(n - 1).bit_length() // 2))  # bits
    mask = jnp.uint32(2**half - 1)
    secrets = jax.random.bits(key, (ROUNDS,))

    def permute(x: Array) -> Array:
        left, right = x >> half, x & mask
        for secret in secrets:
            left, right = right, left ^ (_mix(right ^ secret) & mask)
        return left << half | right

    def walk(x: Array) -> Array:
        return jnp.where(x < n, x, permute(x))

    order = permute(jnp.arange(n, dtype=jnp.uint32))
    order = jax.lax.while_loop(lambda x: jnp.any(x >= n), walk, order)
    return order.astype(jnp.int32)


def _mix(x: Array) -> Array:
    """Spreads every bit over all (the finalizer of MurmurHash3; Appleby, public domain)."""
    x = (x ^ x >> 16) * jnp.uint32(0x85EBCA6B)
    x = (x ^ x >> 13) * jnp.uint32(0xC2B2AE35)
    return x ^ x >> 16
