"""The best losses of a search, and the memory of all that was trained."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from ..interfaces import Array
from .screening import twins


class HallOfFame(NamedTuple):
    """The H best distinct losses, best first; an empty row has gain -inf."""

    tokens: Array  # int32 [H, L]
    prints: Array  # float32 [H, P], fingerprints
    gain: Array  # float32 [H], reward less that of the reference loss beside it
    reward: Array  # float32 [H]
    generation: Array  # int32 [H]


class SeenLosses(NamedTuple):
    """Fingerprints of the last R trained losses, oldest overwritten first."""

    prints: Array  # float32 [R, P], NaN where empty: a twin of nothing
    gain: Array  # float32 [R]
    written: Array  # int32 [], how many were ever written


def init_hall(rows: int, length: int, probes: int) -> HallOfFame:
    """Give a hall of fame of ``rows`` empty rows for sequences of ``length`` tokens."""
    return HallOfFame(
        jnp.zeros((rows, length), jnp.int32),
        jnp.full((rows, probes), jnp.nan, jnp.float32),
        jnp.full(rows, -jnp.inf, jnp.float32),
        jnp.full(rows, jnp.nan, jnp.float32),
        jnp.zeros(rows, jnp.int32),
    )


def admit(hall: HallOfFame, new: HallOfFame, *, tolerance: float) -> HallOfFame:
    """Merge new losses into the hall; a twin of a row that is there stays out."""
    known = twins(new.prints, hall.prints, tolerance=tolerance).any(1)
    gain = jnp.where(known | jnp.isnan(new.gain), -jnp.inf, new.gain)
    both = jax.tree.map(lambda a, b: jnp.concatenate([a, b]), hall, new._replace(gain=gain))
    best = jnp.argsort(-both.gain)[: hall.gain.shape[0]]
    return jax.tree.map(lambda x: x[best], both)


def init_seen_losses(rows: int, probes: int) -> SeenLosses:
    """Give a memory for ``rows`` fingerprints."""
    return SeenLosses(jnp.full((rows, probes), jnp.nan, jnp.float32), jnp.zeros(rows), jnp.int32(0))


def remember(memory: SeenLosses, prints: Array, gain: Array, trained: Array) -> SeenLosses:
    """Write the fingerprints [K, P] and gains [K] of the lanes that were trained (bool [K])."""
    rows = memory.gain.shape[0]
    position = (memory.written + jnp.cumsum(trained) - 1) % rows
    position = jnp.where(trained, position, rows)  # out of range is dropped
    return SeenLosses(
        memory.prints.at[position].set(prints, mode="drop"),
        memory.gain.at[position].set(gain, mode="drop"),
        memory.written + trained.sum(dtype=jnp.int32),
    )
