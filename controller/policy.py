"""Policies: they write token sequences and learn from the rewards."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, Protocol

import jax


class Grammar(Protocol):
    """Which tokens may come next; every sequence written under it is a loss."""

    length: int  # L
    size: int  # V
    allowed: Callable[[jax.Array, jax.Array, jax.Array], jax.Array]
    advance: Callable[[jax.Array, jax.Array], jax.Array]
    prior: Callable[[jax.Array, jax.Array], jax.Array]


class Policy(NamedTuple):
    """A policy as pure functions over its state.

    ``sample(state, key, M)`` gives tokens [M, L]. ``update(state, tokens, reward, weight,
    reference)`` takes the reward [M] of every sequence, from 0 to 1 if it was trained and below 0
    if it was not; a weight [M], 0 where there is no reward; and the reward of the reference loss
    that was trained beside them, from the same recommender on the same batches. It gives the next
    state and numbers to log. ``begin_round(state, reward)`` is told the recommender's reward.
    ``warm_start(state, seeds)`` follows ``init`` where there are seeds [N, L]: losses to begin
    with, which are also written for the policy in the first generation.
    """

    init: Callable[[jax.Array], Any]
    sample: Callable[[Any, jax.Array, int], jax.Array]
    update: Callable[..., tuple[Any, Mapping[str, jax.Array]]]
    begin_round: Callable[[Any, jax.Array], Any]
    warm_start: Callable[[Any, jax.Array], Any]
