"""Evolution on a toy reward and on populations made by hand."""

from functools import cache

import jax
import numpy as np
import pytest

from autolossgen import controller, make_grammar, make_vocabulary
from autolossgen.language.grammar import encode_tokens

pytestmark = pytest.mark.slow

VOCAB, LENGTH = make_vocabulary(), 12
OPTIONS = {
    "population": 32,
    "tournament": 4,
    "newcomers": 8,
    "mutation": 0.1,
    "crossover": 0.3,
    "explore": 0.0,
}


@cache
def policy(**options):
    made = controller.make_evolution(make_grammar(VOCAB, LENGTH), **OPTIONS | options)
    return made._replace(sample=jax.jit(made.sample, static_argnums=2), update=jax.jit(made.update))


COUNT = 64  # samples at a time, always: another number of them would compile again


UNEDITED = {"mutation": 0.0, "crossover": 0.0, "tournament": 6}


def fed(made, weight=None):
    """Returns a state after one generation, each loss of which was better than those before."""
    state = made.init(jax.random.key(0))
    tokens = draw_distinct(COUNT // 2)
    reward = np.arange(len(tokens), dtype=np.float32)
    weight = ones(len(tokens)) if weight is None else weight
    return made.update(state, tokens, reward, weight, 0.0)[0], tokens


def draw(made, state, key, batches):
    """Returns samples [batches * COUNT, L]."""
    keys = jax.random.split(jax.random.key(key), batches)
    return np.concatenate([made.sample(state, key, COUNT) for key in keys])


def draw_distinct(count):
    """Returns so many different losses."""
    tokens = np.asarray(policy().sample(policy().init(jax.random.key(0)), jax.random.key(0), COUNT))
    _, first = np.unique(tokens, axis=0, return_index=True)
    assert len(first) >= count
    return tokens[np.sort(first)][:count]


def ones(count):
    return np.ones(count, np.float32)


def rows(tokens):
    return [tuple(row) for row in np.asarray(tokens).tolist()]


def test_without_edits_children_are_their_parents():
    made = policy(**UNEDITED)
    state, _ = fed(made)
    children = rows(draw(made, state, 1, 3))
    assert set(children) <= set(rows(state.tokens[:8]))
    assert len(set(children)) > 3


def test_every_child_is_a_loss():
    made = policy(mutation=0.5, crossover=0.8, explore=0.5)
    state, _ = fed(made)
    for row in rows(draw(made, state, 2, 5)):
        encode_tokens([VOCAB.names[token] for token in row], VOCAB)  # raises if it is none


def test_a_child_is_mostly_its_parent():
    made, only = policy(), np.float32(np.arange(COUNT // 2) == 9)
    state, tokens = fed(made, weight=only)  # so that both parents are one
    children = draw(made, state, 3, 8)
    parent = np.asarray(tokens[9])
    unrelated = draw(made, made.init(jax.random.key(0)), 4, 8)
    assert np.mean((children == parent).all(1)) > 0.3
    assert np.mean((children == parent).all(1)) < 0.9
    assert np.mean(children == parent) > 2 * np.mean(unrelated == parent)


def test_the_tournament_prefers_the_better():
    made = policy(**UNEDITED)
    state, _ = fed(made)
    children = rows(draw(made, state, 5, 16))
    rank = {row: place for place, row in enumerate(rows(state.tokens[:8]))}
    counts = np.bincount([rank[child] for child in children], minlength=8)
    assert counts[0] == counts.max()
    assert counts[0] > 4 * counts[7]


def test_the_best_come_in_and_the_oldest_go():
    made = policy(population=6, newcomers=2, tournament=2)
    state = made.init(jax.random.key(0))
    tokens = draw_distinct(16).reshape(4, 4, LENGTH)
    for generation in range(4):
        reward = np.float32([0, 3, 1, 2]) + 3 - generation  # later ones are worse
        state, log = made.update(state, tokens[generation], reward, ones(4), 0.0)
        assert log["population"] == min(2 * (generation + 1), 6)
    np.testing.assert_array_equal(state.fitness, [3, 2, 4, 3, 5, 4])
    expected = [tokens[g, j] for g in (3, 2, 1) for j in (1, 3)]
    np.testing.assert_array_equal(state.tokens, expected)


def test_generations_are_compared_with_the_reference():
    """A good loss of a generation that began badly is worth more than a poor one of a good one."""
    made = policy(population=6, newcomers=2, tournament=2)
    state = made.init(jax.random.key(0))
    tokens = draw_distinct(4)
    rewards = np.float32([[0.6, 0.4], [0.7, -0.1]])  # the last one was not trained
    for generation, reference in enumerate((0.5, 0.8)):
        written = tokens[2 * generation :][:2]
        state, _ = made.update(state, written, rewards[generation], ones(2), reference)
    np.testing.assert_allclose(state.fitness[:4], [-0.1, -1.1, 0.1, -0.1], atol=1e-6)


def test_what_has_no_reward_or_is_there_already_stays_out():
    made = policy(population=6, newcomers=4, tournament=2)
    state = made.init(jax.random.key(0))
    tokens = draw_distinct(3)
    state, _ = made.update(state, tokens, np.float32([1, 5, 2]), np.float32([1, 0, 1]), 0.0)
    np.testing.assert_array_equal(state.fitness[:3], [2, 1, -np.inf])
    again = tokens[[0, 1, 1, 2]]
    state, _ = made.update(state, again, np.float32([9, 3, 4, 9]), ones(4), 0.0)
    np.testing.assert_array_equal(state.fitness[:4], [4, 2, 1, -np.inf])


def test_evolution_finds_what_random_search_does_not():
    """The reward is how many tokens are the wanted one, where one in eight is by chance."""
    made, wanted = policy(), VOCAB.names.index("square")
    state = made.init(jax.random.key(0))
    means = []
    for generation in range(30):
        tokens = made.sample(state, jax.random.key(generation), COUNT)
        reward = np.mean(np.asarray(tokens) == wanted, axis=1, dtype=np.float32)
        state, _ = made.update(state, tokens, reward, ones(COUNT), 0.0)
        means.append(float(reward.mean()))
    assert means[0] < 0.3
    assert np.mean(means[-5:]) > 0.6


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"newcomers": 33}, "newcomers"),
        ({"tournament": 0}, "tournament"),
        ({"mutation": 1.5}, "mutation"),
        ({"crossover": -0.1}, "crossover"),
        ({"explore": 2.0}, "explore"),
    ],
)
def test_options_out_of_range_are_refused(wrong, message):
    with pytest.raises(ValueError, match=message):
        policy(**wrong)
