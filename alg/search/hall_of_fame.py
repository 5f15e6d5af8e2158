"""The hall of fame, which holds the best losses of a search, and the losses seen before."""

from typing import NamedTuple

import chex
import jax
import jax.numpy as jnp

from ..interfaces import Array
from .screening import are_twins


class HallOfFame(NamedTuple):
    """The H best distinct losses, best first: by ``compute_scores``.

    An empty row has gain -inf, and an infinite fingerprint, so that no comparison matches it.
    """

    tokens: Array  # int32 [H, L]
    fingerprints: Array  # float32 [H, P]
    gain: Array  # float32 [H], reward minus that of the reference loss in the same generation
    reward: Array  # float32 [H]
    generation: Array  # int32 [H]


class SeenLosses(NamedTuple):
    """Fingerprints and gains of the last R losses that were trained; the oldest is overwritten."""

    fingerprints: Array  # float32 [R, P], infinite in empty slots: no comparison matches
    gain: Array  # float32 [R]
    num_written: Array  # int32 [], how many losses were ever written


def init_hall(rows: int, length: int, num_probes: int) -> HallOfFame:
    """Builds a hall of fame of empty rows.

    Args:
      rows: of the hall, H.
      length: tokens of a loss, L.
      num_probes: numbers of a fingerprint, P.
    """
    return HallOfFame(
        tokens=jnp.zeros((rows, length), jnp.int32),
        fingerprints=jnp.full((rows, num_probes), jnp.inf, jnp.float32),
        gain=jnp.full(rows, -jnp.inf, jnp.float32),
        reward=jnp.full(rows, -jnp.inf, jnp.float32),
        generation=jnp.zeros(rows, jnp.int32),
    )


def compute_scores(hall: HallOfFame, parsimony: float) -> Array:
    """Computes the number [H] that a hall of fame is ordered by: what a loss gains, less its price.

    Args:
      hall: the hall of fame [H].
      parsimony: price of a token, in units of the reward.
    """
    return hall.gain - parsimony * count_tokens(hall.tokens)


def count_tokens(tokens: Array) -> Array:
    """Counts the tokens of sequences [..., L], without padding."""
    return (tokens != 0).sum(-1)


def admit(
    hall: HallOfFame, new: HallOfFame, *, tolerance: float, parsimony: float = 0.0
) -> HallOfFame:
    """Merges new losses into a hall of fame; a twin of a loss in the hall stays out.

    Args:
      hall: the hall of fame [H].
      new: losses to admit, no two of them twins; those with gain -inf or NaN stay out.
      tolerance: largest difference between the fingerprints of twins.
      parsimony: see ``compute_scores``.

    Returns:
      The H best of both, best first.
    """
    chex.assert_equal_shape_suffix([hall.fingerprints, new.fingerprints], 1)
    chex.assert_equal_shape_suffix([hall.tokens, new.tokens], 1)
    in_hall = are_twins(new.fingerprints, hall.fingerprints, tolerance=tolerance).any(1)
    gain = jnp.where(in_hall | jnp.isnan(new.gain), -jnp.inf, new.gain)
    both = jax.tree.map(lambda a, b: jnp.concatenate([a, b]), hall, new._replace(gain=gain))
    best = jnp.argsort(-compute_scores(both, parsimony))[: hall.gain.shape[0]]
    return jax.tree.map(lambda x: x[best], both)


def keep_shortest(
    hall: HallOfFame,
    tokens: Array,
    fingerprints: Array,
    valid: Array,
    *,
    tolerance: float,
    parsimony: float,
) -> HallOfFame:
    """Writes the losses of a hall of fame in the shortest form that a policy wrote for them.

    A loss keeps its fingerprint, so that one twin after the other does not lead away from it.

    Args:
      hall: the hall of fame [H].
      tokens: that a policy wrote [M, L].
      fingerprints: of these [M, P].
      valid: bool [M], which of them passed screening.
      tolerance: largest difference between the fingerprints of twins.
      parsimony: see ``compute_scores``.

    Returns:
      The same losses, best first.
    """
    chex.assert_equal_shape_prefix([tokens, fingerprints, valid], 1)
    is_twin = are_twins(hall.fingerprints, fingerprints, tolerance=tolerance) & valid
    length = jnp.where(is_twin, count_tokens(tokens), tokens.shape[1] + 1)  # [H, M]
    is_shorter = length.min(1) < count_tokens(hall.tokens)
    shortest = tokens[jnp.argmin(length, axis=1)]
    hall = hall._replace(tokens=jnp.where(is_shorter[:, None], shortest, hall.tokens))
    order = jnp.argsort(-compute_scores(hall, parsimony))
    return jax.tree.map(lambda x: x[order], hall)


def init_seen_losses(rows: int, num_probes: int) -> SeenLosses:
    """Builds room for ``rows`` losses, R, with fingerprints of ``num_probes`` numbers, P."""
    return SeenLosses(
        fingerprints=jnp.full((rows, num_probes), jnp.inf, jnp.float32),
        gain=jnp.zeros(rows),
        num_written=jnp.int32(0),
    )


def remember(seen: SeenLosses, fingerprints: Array, gain: Array, trained: Array) -> SeenLosses:
    """Writes the losses that were trained into the losses seen.

    Args:
      seen: the losses seen before [R].
      fingerprints: of the losses in all lanes [K, P].
      gain: of the losses in all lanes [K].
      trained: bool [K], lanes whose loss is written.
    """
    chex.assert_equal_shape([gain, trained])
    rows = seen.gain.shape[0]
    slot = (seen.num_written + jnp.cumsum(trained) - 1) % rows
    slot = jnp.where(trained, slot, rows)  # out of range, so that it is dropped
    return SeenLosses(
        fingerprints=seen.fingerprints.at[slot].set(fingerprints, mode="drop"),
        gain=seen.gain.at[slot].set(gain, mode="drop"),
        num_written=seen.num_written + trained.sum(dtype=jnp.int32),
    )
