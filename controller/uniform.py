"""Random search: every token that the grammar allows is equally likely."""

import jax
import jax.numpy as jnp

from .policy import Grammar, Policy
from .rollout import draw, rollout


def make_uniform(grammar: Grammar) -> Policy:
    """Make the policy that learns nothing, the baseline of every comparison."""

    def step(carry, previous):
        return carry, jnp.zeros((previous.shape[0], grammar.size))

    def sample(state, key, count):
        keys = jax.random.split(key, grammar.length)
        return rollout(grammar, step, (), count, draw, keys).tokens

    return Policy(
        init=lambda key: (),
        sample=sample,
        update=lambda state, tokens, reward, weight, reference: (state, {}),
        begin_round=lambda state, reward: state,
        warm_start=lambda state, seeds: state,
    )
