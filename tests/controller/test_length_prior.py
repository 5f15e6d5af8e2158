"""The length prior of a grammar, and what policies write under it."""

import jax
import numpy as np
import pytest

from autolossgen import controller, make_grammar, make_vocabulary
from autolossgen.configs import base

pytestmark = pytest.mark.slow

TINY = make_vocabulary(operators=("add", "neg"), operands=("pred", "label"))
LENGTH = 4


def written(tokens):
    """Returns the mean length of sequences, less their padding."""
    return float(np.mean(np.sum(np.asarray(tokens) > 0, axis=1)))


@pytest.mark.parametrize(
    ("name", "length"),
    [("random", 3), ("random", 9), ("random", 15), ("risk_seeking", 3), ("evolution", 3)],
)
def test_a_length_prior_says_how_long_losses_are(name, length):
    rules = make_grammar(make_vocabulary(), 15, length_prior=(float(length), 0.5))
    made = controller.POLICIES[name](rules, **base.get_config().policy.get(name, {}))

    @jax.jit
    def write(key):
        return made.sample(made.init(key), key, 400)

    assert written(write(jax.random.key(1))) == pytest.approx(length, abs=1)


def test_a_length_prior_weighs_the_tokens_as_written():
    rules = make_grammar(TINY, LENGTH, length_prior=(2.0, 0.5))
    pad, operand, unary, binary = (TINY.names.index(n) for n in ("PAD", "pred", "neg", "add"))
    tokens = [pad, operand, unary, binary]
    # After one operand: it alone, a loss of at least 3 tokens, of 2; a binary one cannot come.
    prior = jax.jit(rules.prior)
    np.testing.assert_allclose(np.asarray(prior(1, LENGTH - 1))[tokens[:3]], [-2, -2, 0])
    # After two: at least 5, 4 or 3.
    np.testing.assert_allclose(np.asarray(prior(2, LENGTH - 2))[tokens[1:]], [-18, -8, -2])


@pytest.mark.parametrize("prior", [(3.0, 0.0), (3.0, -1.0), (float("nan"), 1.0)])
def test_a_length_prior_without_meaning_is_refused(prior):
    with pytest.raises(ValueError, match="deviation above 0"):
        make_grammar(TINY, LENGTH, length_prior=prior)
