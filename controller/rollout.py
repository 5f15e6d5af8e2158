"""Writes sequences token by token under a grammar."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from autolossgen.interfaces import Grammar


class Rollout(NamedTuple):
    """Sequences, with their log-probability and the policy's entropy."""

    tokens: jax.Array  # int32 [M, L]
    log_prob: jax.Array  # [M]
    entropy: jax.Array  # [M], summed over tokens, in nats


def roll_out(
    grammar: Grammar,
    step: Callable[[Any, jax.Array], tuple[Any, jax.Array]],
    carry: Any,
    count: int,
    pick: Callable[[jax.Array, Any], jax.Array],
    inputs: Any,
) -> Rollout:
    """Rolls a policy out over ``count`` sequences at once.

    Args:
      grammar: masks the logits, so that every sequence is a loss, and adds its prior.
      step: (carry, previous tokens [M]) -> (carry, logits [M, V]).
      carry: the first carry of ``step``.
      count: the number of sequences, M.
      pick: (masked logits [M, V], one of ``inputs``) -> tokens [M]: samples or replays.
      inputs: what ``pick`` receives at each token, with a leading axis of L.
    """
    allowed = jax.vmap(grammar.allowed, in_axes=(0, None, 0))
    prior, advance = jax.vmap(grammar.prior, in_axes=(0, None)), jax.vmap(grammar.advance)

    def write_token(state, pick_input):
        carry, depth, previous, remaining = state
        carry, logits = step(carry, previous)
        logits = logits + prior(depth, remaining)
        logits = jnp.where(allowed(depth, remaining, previous), logits, -jnp.inf)
        tokens = pick(logits, pick_input)
        log_probs = jax.nn.log_softmax(logits)
        log_prob = jnp.take_along_axis(log_probs, tokens[:, None], axis=1)[:, 0]
        finite = jnp.where(jnp.isfinite(log_probs), log_probs, 0.0)
        entropy = -jnp.sum(jnp.exp(log_probs) * finite, axis=1)
        return (carry, advance(depth, tokens), tokens, remaining - 1), (tokens, log_prob, entropy)

    zeros = jnp.zeros(count, jnp.int32)
    start = (carry, zeros, zeros, jnp.int32(grammar.length))
    _, (tokens, log_prob, entropy) = jax.lax.scan(write_token, start, inputs)
    return Rollout(tokens=tokens.T, log_prob=log_prob.sum(0), entropy=entropy.sum(0))


def sample_token(logits: jax.Array, key: jax.Array) -> jax.Array:
    """Samples tokens [M] from logits [M, V]."""
    return jax.random.categorical(key, logits).astype(jnp.int32)
