"""The states of policies, as a search that is compiled once needs them."""

import jax
import jax.numpy as jnp
import pytest

from autolossgen import controller, make_grammar, make_vocabulary
from autolossgen.configs import base

GRAMMAR = make_grammar(make_vocabulary(operators=("add", "neg"), operands=("pred", "label")), 4)


@pytest.mark.parametrize("name", controller.POLICIES)
def test_a_state_keeps_its_types(name):
    """Weak types, too: with others, a search would compile its second generation anew."""
    made = controller.POLICIES[name](GRAMMAR, **base.get_config().policy.get(name, {}))
    state = made.begin_round(made.init(jax.random.key(0)), jnp.float32(0.5))
    tokens, ones = made.sample(state, jax.random.key(1), 64), jnp.ones(64)
    after, _ = made.update(state, tokens, ones, ones, jnp.float32(0.5))
    after = made.begin_round(after, jnp.float32(0.5))
    assert jax.tree.map(jax.typeof, after) == jax.tree.map(jax.typeof, state)
