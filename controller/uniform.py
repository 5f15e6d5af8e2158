"""Random search: every token that the grammar allows is equally likely."""

import jax
import jax.numpy as jnp

from autolossgen.interfaces import Grammar, Policy, PolicyState

from .rollout import roll_out, sample_token


def make_uniform(grammar: Grammar) -> Policy:
    """Builds the policy that learns nothing, with which every other policy is compared."""

    def step(carry: tuple[()], previous: jax.Array) -> tuple[tuple[()], jax.Array]:
        return carry, jnp.zeros((previous.shape[0], grammar.size))

    def sample(state: PolicyState, key: jax.Array, count: int) -> jax.Array:
        keys = jax.random.split(key, grammar.length)
        return roll_out(grammar, step, (), count, sample_token, keys).tokens

    return Policy(
        init=lambda key: (),
        sample=sample,
        update=lambda state, tokens, reward, weight, reference: (state, {}),
        begin_round=lambda state, reward: state,
        warm_start=lambda state, tokens: state,
    )
