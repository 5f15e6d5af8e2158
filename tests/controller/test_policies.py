"""Policies on grammars so small that every sequence can be listed."""

import itertools
from functools import cache, partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from autolossgen import controller, make_grammar, make_vocabulary
from autolossgen.configs import base
from autolossgen.controller.reinforce import LSTMPolicy
from autolossgen.controller.rollout import roll_out
from autolossgen.language.grammar import encode_tokens

pytestmark = pytest.mark.slow

TINY = make_vocabulary(operators=("add", "neg"), operands=("pred", "label"))
LENGTH = 4
SPACES = {
    "tiny": (TINY, LENGTH),
    "unary only": (make_vocabulary(operators=("neg",), operands=("pred",)), 5),
    "binary only": (make_vocabulary(operators=("add",), operands=("pred", "label")), 7),
    "no operators": (make_vocabulary(operators=(), operands=("pred", "label")), 3),
    "one token": (TINY, 1),
    "default": (make_vocabulary(), 15),
}
PLAIN = {  # REINFORCE without any of its additions
    "hidden_dim": 6,
    "entropy_weight": 0.0,
    "moving_average_decay": 0.9,
    "normalize": False,
    "below_average": None,
    "explore": 0.0,
}
# A policy of each way to write: token by token at random or by an LSTM, and by edits. The policies
# with an LSTM differ only in how they learn.
WRITERS = ("random", "risk_seeking", "evolution")
# Adam with an eps so large that it steps along the gradient itself, at this rate.
RATE = 1e-3
AS_SGD = {"learning_rate": RATE * 1e8, "eps": 1e8, "b1": 0.0, "clip_norm": 1e9}


@cache
def policy(name="reinforce", space="tiny", **options):
    vocab, length = SPACES[space]
    section = dict(base.get_config().policy.get(name, {})) | options
    made = controller.POLICIES[name](make_grammar(vocab, length), **section)
    return made._replace(
        init=jax.jit(made.init),
        sample=jax.jit(made.sample, static_argnums=2),
        update=jax.jit(made.update),
    )


@cache
def begun(name, space):
    """Returns a policy of a space and its first state; one for all tests of what it writes."""
    options = {}
    if name == "risk_seeking":
        options = {"explore": 0.0} if space == "default" else {"hidden_dim": 6, "explore": 0.25}
    made = policy(name, space, **options)
    return made, made.init(jax.random.key(0))


@cache
def sequences():
    """Returns all sequences of the tiny grammar [M, L], by trying everything."""
    valid = []
    for tokens in itertools.product(range(len(TINY.names)), repeat=LENGTH):
        try:
            encode_tokens([TINY.names[token] for token in tokens], TINY)
        except ValueError:
            continue
        valid.append(tokens)
    return jnp.asarray(valid, jnp.int32)


@jax.jit
def replay(params, tokens):
    """Returns the log-probability [M] of sequences under an LSTM policy."""
    module = LSTMPolicy(
        len(TINY.names), PLAIN["hidden_dim"], 0.1, base.get_config().policy.reinforce.squash
    )
    carry = (jnp.zeros((len(tokens), PLAIN["hidden_dim"])),) * 2
    step = lambda c, t: module.apply(params, c, t)  # noqa: E731
    return roll_out(
        make_grammar(TINY, LENGTH), step, carry, len(tokens), lambda _, given: given, tokens.T
    ).log_prob


def draw(made, state, key, count):
    """Returns ``count`` samples, 500 at a time, so that no other number of them is compiled."""
    keys = jax.random.split(jax.random.key(key), count // 500)
    return np.concatenate([made.sample(state, key, 500) for key in keys])


def wide(state, factor=20.0):
    """Returns a policy with strong opinions: its first weights are next to nothing."""
    return state._replace(
        params=jax.tree.map(lambda x: np.float32(factor) * np.asarray(x), state.params)
    )


def vector(tree):
    return np.concatenate([np.ravel(leaf) for leaf in jax.tree.leaves(tree)])


@pytest.mark.parametrize(
    ("name", "space"),
    [
        *itertools.product(["random"], SPACES),
        *itertools.product(["evolution"], ["tiny", "one token", "default"]),
        *itertools.product(["risk_seeking"], ["tiny", "default"]),
    ],
)
def test_every_sampled_sequence_is_a_loss(name, space):
    made, state = begun(name, space)
    vocab, length = SPACES[space]
    tokens = np.asarray(made.sample(state, jax.random.key(1), 500))
    assert tokens.shape == (500, length)
    for row in tokens:
        encode_tokens([vocab.names[token] for token in row], vocab)  # raises if it is none


@pytest.mark.parametrize("name", WRITERS)
def test_every_loss_of_the_grammar_is_sampled(name):
    tokens = draw(*begun(name, "tiny"), 2, 4000)
    assert {*map(tuple, tokens.tolist())} == {*map(tuple, sequences().tolist())}


@pytest.mark.parametrize("name", WRITERS)
def test_the_key_decides_the_sample(name):
    made, state = begun(name, "tiny")
    one, again, other = (made.sample(state, jax.random.key(k), 500) for k in (1, 1, 2))
    np.testing.assert_array_equal(one, again)
    assert not np.array_equal(one, other)


def test_probabilities_of_all_losses_sum_to_one():
    for seed in range(3):
        params = wide(policy(**PLAIN).init(jax.random.key(seed))).params
        probability = np.exp(replay(params, sequences()))
        np.testing.assert_allclose(probability.sum(), 1, rtol=1e-5)
        assert probability.max() > 3 * probability.min() > 0


def test_samples_follow_the_probabilities():
    made = policy(**PLAIN)
    state, count = wide(made.init(jax.random.key(3))), 20_000
    tokens = draw(made, state, 4, count)
    expected = np.exp(replay(state.params, sequences()))
    for row, probability in zip(sequences(), expected, strict=True):
        share = np.mean((tokens == np.asarray(row)).all(1))
        assert abs(share - probability) < 5 * np.sqrt(probability / count) + 1e-4


def test_random_takes_each_allowed_token_equally_often():
    rules, count = make_grammar(TINY, LENGTH), 20_000
    allowed, advance = jax.jit(rules.allowed), jax.jit(rules.advance)
    tokens = draw(*begun("random", "tiny"), 5, count)
    for row in np.asarray(sequences()):
        probability, depth, previous = 1.0, 0, 0
        for slot, token in enumerate(row):
            probability /= np.sum(allowed(depth, LENGTH - slot, previous))
            depth, previous = int(advance(depth, token)), int(token)
        share = np.mean((tokens == row).all(1))
        assert abs(share - probability) < 5 * np.sqrt(probability / count)


def test_random_learns_nothing():
    made, state = begun("random", "tiny")
    state, log = made.update(state, sequences(), np.ones(len(sequences())), 1.0, 0.5)
    assert (state, log) == ((), {})


def test_logits_stay_within_the_squash():
    module = LSTMPolicy(size=5, hidden_dim=6, init_range=0.1, squash=1.5)
    carry, tokens = (jnp.zeros((5, 6)),) * 2, jnp.arange(5)

    @jax.jit
    def logits_at(key):
        params = module.init(key, carry, tokens)
        loud = jax.tree.map(lambda x: 1e4 * x, params)
        return [module.apply(each, carry, tokens)[1] for each in (params, loud)]

    quiet, loud = map(np.abs, logits_at(jax.random.key(0)))
    assert 1.4 < loud.max() <= 1.5
    assert np.all(quiet < 0.2)


def rewards(seed=0):
    return np.float32(np.random.default_rng(seed).uniform(0.5, 0.9, len(sequences())))


def ones():
    return np.ones(len(sequences()), np.float32)


def step(state, reward, weight, **options):
    """Returns the update's step in units of the gradient, and the next state."""
    made = policy(**PLAIN | AS_SGD | options)
    after, log = made.update(state, sequences(), reward, weight, 0.5)
    assert log["baseline"] == after.moving_average or np.isneginf(after.moving_average)
    return (vector(after.params) - vector(state.params)) / RATE, after


@cache
def first():
    return wide(policy(**PLAIN | AS_SGD).init(jax.random.key(6)), 5.0)


@cache
def expected_gradient():
    """Returns the gradient of the expected reward, and the probabilities of all sequences."""

    @jax.jit
    @partial(jax.grad, has_aux=True)
    def differentiate(params):
        probability = jnp.exp(replay(params, sequences()))
        return jnp.sum(probability * rewards()), probability

    gradient, probability = differentiate(first().params)
    return vector(gradient), probability


@pytest.mark.parametrize("average", [0.0, 0.7, 3.0])
def test_the_step_is_the_gradient_of_the_expected_reward(average):
    """Over all sequences, weighted by their probability, REINFORCE is exact for any average."""
    state, reward = first(), rewards()
    state = state._replace(moving_average=np.float32(average))
    gradient, probability = expected_gradient()
    ours, _ = step(state, reward, probability)
    np.testing.assert_allclose(ours, gradient, atol=2e-2 * np.abs(gradient).max())
    assert np.abs(gradient).max() > 1e-3


def test_the_step_agrees_with_finite_differences():
    state, reward = first(), rewards(1)
    state = state._replace(moving_average=np.float32(0.7))
    ours, _ = step(state, reward, ones())
    score = lambda params: np.mean((reward - 0.7) * np.asarray(replay(params, sequences())))  # noqa: E731
    leaves, tree = jax.tree.flatten(state.params)
    direction = [np.random.default_rng(2).standard_normal(x.shape) for x in leaves]
    ends = [
        float(
            score(
                jax.tree.unflatten(
                    tree, [np.float32(x + h * d) for x, d in zip(leaves, direction, strict=True)]
                )
            )
        )
        for h in (1e-2, -1e-2)
    ]
    expected = (ends[0] - ends[1]) / 2e-2
    assert ours @ vector(direction) == pytest.approx(expected, rel=3e-2)


def test_sequences_without_a_reward_change_nothing():
    state, reward = first()._replace(moving_average=np.float32(0.7)), rewards()
    weight, without = ones(), reward.copy()
    weight[::2], without[::2] = 0, 1e3
    for options in ({}, {"quantile": 0.8}, {"normalize": True}):
        with_them, one = step(state, reward, weight, **options)
        again, other = step(state, without, weight, **options)
        np.testing.assert_array_equal(with_them, again)
        assert one.moving_average == other.moving_average


@pytest.mark.parametrize("options", [{}, {"quantile": 0.8}, {"normalize": True}])
@pytest.mark.parametrize("average", [float("-inf"), 0.7])
def test_a_generation_without_any_reward_breaks_nothing(options, average):
    """So it is when all that a policy writes are twins of known losses."""
    state = first()._replace(moving_average=np.float32(average))
    moved, after = step(state, 0 * ones(), 0 * ones(), **options)
    np.testing.assert_array_equal(moved, 0)
    np.testing.assert_array_equal(after.moving_average, state.moving_average)


def few(*values):
    """Returns values [M] of all sequences: these first, then zeros."""
    return np.float32([*values, *[0] * (len(sequences()) - len(values))])


def test_the_moving_average_moves_by_its_formula():
    state = first()
    assert np.isneginf(state.moving_average)
    _, state = step(state, few(0.2, 0.4, 0.9), few(1.0, 1.0, 1.0))
    assert float(state.moving_average) == pytest.approx(0.5)  # begins at the first rewards' mean
    _, state = step(state, few(0.8, 0.6, 5.0), few(1.0, 1.0, 0.0))
    assert float(state.moving_average) == pytest.approx(0.81 * 0.5 + 0.19 * 0.7)


def test_rewards_below_the_average_are_filtered_as_in_the_paper():
    paper = {"below_average": -1.0}
    start = policy(**PLAIN | AS_SGD | paper).begin_round(first(), jnp.float32(0.7))
    assert float(start.moving_average) == pytest.approx(0.7)
    weight = few(1.0, 1.0, 1.0, 1.0)
    ours, after = step(start, few(0.75, 0.6, 0.69999, 0.9), weight, **paper)
    by_hand, _ = step(start, few(0.75, -1.0, 0.69999, 0.9), weight)
    np.testing.assert_allclose(ours, by_hand, atol=1e-4 * np.abs(by_hand).max())
    accepted = (0.75 + 0.69999 + 0.9) / 3
    assert float(after.moving_average) == pytest.approx(0.9**3 * 0.7 + (1 - 0.9**3) * accepted)


def test_without_the_papers_filter_rounds_leave_the_average_alone():
    state = first()._replace(moving_average=np.float32(0.4))
    assert (
        policy(**PLAIN | AS_SGD).begin_round(state, jnp.float32(0.9)).moving_average
        == state.moving_average
    )


def test_normalized_steps_do_not_depend_on_the_scale_of_rewards():
    reward, weight = rewards(), ones()
    one, other = (
        step(first()._replace(moving_average=b), r, weight, normalize=True)[0]
        for r, b in ((reward, np.float32(0.7)), (8 * reward, np.float32(5.6)))
    )
    np.testing.assert_allclose(one, other, atol=1e-3 * np.abs(one).max())


def test_only_rewards_above_the_quantile_teach():
    state, reward, weight = first(), rewards(), ones()
    level = float(np.quantile(reward, 0.8))
    ours, _ = step(state, reward, weight, quantile=0.8)
    lower = np.where(reward < level - 0.02, reward - np.float32(0.3), reward)
    assert float(np.quantile(lower, 0.8)) == pytest.approx(level)
    np.testing.assert_allclose(ours, step(state, lower, weight, quantile=0.8)[0], atol=1e-3)
    above = np.float32(reward >= level)
    by_hand = step(state._replace(moving_average=np.float32(level)), reward, above)[0]
    np.testing.assert_allclose(ours, by_hand, atol=1e-3 * np.abs(by_hand).max())


def test_the_entropy_bonus_keeps_a_policy_undecided():
    state = wide(policy(**PLAIN).init(jax.random.key(3)))

    def entropy(state):
        log_prob = np.asarray(replay(state.params, sequences()))
        return -np.sum(np.exp(log_prob) * log_prob)

    made = policy(**PLAIN | {"entropy_weight": 1.0, "learning_rate": 0.05})
    before = entropy(state)
    write = policy(**PLAIN).sample
    none, all_count = np.zeros(500, np.float32), np.ones(500, np.float32)
    for k in range(30):
        tokens = write(state, jax.random.key(k), 500)
        state, log = made.update(state, tokens, none, all_count, 0.5)
    assert entropy(state) > before + 0.2
    assert np.isfinite(log["entropy"])


def test_a_rewarded_token_is_learned():
    """A bandit: sequences with exactly two ``neg`` get about 1, the others about 0."""
    neg = TINY.names.index("neg")
    made = policy(
        **PLAIN | {"learning_rate": 0.02, "eps": 1e-8, "quantile": 0.8, "normalize": True}
    )
    state, write = made.init(jax.random.key(0)), policy(**PLAIN).sample
    wanted, noise = [], np.random.default_rng(0)
    for k in range(60):
        tokens = np.asarray(write(state, jax.random.key(k), 500))
        right = (tokens == neg).sum(1) == 2
        wanted.append(right.mean())
        # Equal rewards at the quantile would teach nothing, so the reward has some noise.
        reward = np.float32(right + 0.1 * noise.random(500))
        state, _ = made.update(state, tokens, reward, np.ones(500, np.float32), 0.5)
    assert np.mean(wanted[:3]) < 0.4
    assert np.mean(wanted[-5:]) > 0.9


def test_the_first_share_of_a_generation_explores():
    """However sure the policy is: with one weight this large it writes nearly the same always."""
    made, state = begun("risk_seeking", "tiny")
    sure = wide(state, 100)
    distinct = [len(np.unique(part, axis=0)) for part in np.split(draw(made, sure, 1, 500), [125])]
    assert distinct[1] < 0.7 * distinct[0]  # of three times as many


@pytest.mark.parametrize(
    "wrong",
    [
        {"moving_average_decay": 1.0},
        {"moving_average_decay": -0.1},
        {"hidden_dim": 0},
        {"squash": 0.0},
        {"learning_rate": 0.0},
        {"clip_norm": 0.0},
        {"init_range": 0.0},
        {"quantile": 1.0},
        {"quantile": 0.0},
        {"explore": 1.0},
        {"explore": -0.1},
    ],
)
def test_options_out_of_range_are_refused(wrong):
    with pytest.raises(ValueError, match=r"moving_average_decay|positive|quantile|explore"):
        policy(**wrong)


BCE = "pred 1 neg add log label pred reciprocal 1 neg add log mul add"


@pytest.fixture(scope="module")
def warmed():
    """The policy of the base config, its state before and after a warm start, and the loss."""
    vocab, length = SPACES["default"]
    tokens = encode_tokens(BCE.split(), vocab)
    initial_losses = np.zeros((1, length), np.int32)
    initial_losses[0, : len(tokens)] = tokens
    made, cold = begun("risk_seeking", "default")
    return made, cold, jax.jit(made.warm_start)(cold, initial_losses), initial_losses


def test_a_warm_start_raises_the_likelihood_of_the_initial_losses():
    initial_losses = sequences()[:3]
    states = [policy(**PLAIN).init(jax.random.key(0))]
    start = jax.jit(policy(**PLAIN, warm_steps=5).warm_start)
    for _ in range(2):
        states.append(start(states[-1], initial_losses))
    chances = [np.exp(replay(state.params, sequences()))[:3].sum() for state in states]
    assert chances[0] < chances[1] < chances[2]


def test_a_warm_start_leaves_exploration(warmed):
    made, *states, initial_losses = warmed
    distinct, near = [], []
    for state in states:
        tokens = draw(made, state, 1, 2000)
        distinct.append(len(np.unique(tokens, axis=0)))
        near.append(np.mean(np.sum(tokens != initial_losses, axis=1) <= 5))
    assert distinct[1] > 0.8 * distinct[0]  # as many losses
    assert near[1] > near[0] + 0.005  # some of them variations of the initial loss


def test_a_warm_start_leaves_the_optimizer_fresh(warmed):
    _, cold, warm, _ = warmed
    np.testing.assert_array_equal(vector(cold.opt_state), vector(warm.opt_state))
    assert np.isneginf(warm.moving_average)


@pytest.mark.parametrize("name", ["evolution", "random"])
def test_policies_without_a_likelihood_start_as_they_are(name):
    made, state = begun(name, "tiny")
    assert made.warm_start(state, sequences()[:2]) is state


def test_a_negative_number_of_warm_steps_is_refused():
    with pytest.raises(ValueError, match="warm_steps is at least 0"):
        policy.__wrapped__(warm_steps=-1)


@pytest.mark.parametrize("name", controller.POLICIES)
def test_a_state_keeps_its_types(name):
    """Weak types, too: with others, a search would compile its second generation again."""
    made, half = policy(name), jnp.float32(0.5)

    def begin(key):
        return made.begin_round(made.init(key), half)

    def go_on(state, key):
        tokens, reward = made.sample(state, key, 500), jnp.ones(500)
        return made.begin_round(made.update(state, tokens, reward, reward, half)[0], half)

    def types(tree):
        return jax.tree.map(lambda x: (x.shape, x.dtype, x.weak_type), tree)

    before = jax.eval_shape(begin, jax.random.key(0))
    after = jax.eval_shape(go_on, before, jax.random.key(1))
    assert types(after) == types(before)


def test_an_update_that_is_not_finite_is_skipped_and_counted():
    made = policy(**PLAIN)
    state = made.init(jax.random.key(0))
    reward = rewards()
    not_finite = np.where(np.arange(len(reward)) == 3, np.float32(np.nan), reward)
    spoilt, log = made.update(state, sequences(), not_finite, ones(), 0.5)
    assert log["skipped_updates"] == 1
    jax.tree.map(np.testing.assert_array_equal, spoilt.params, state.params)
    jax.tree.map(np.testing.assert_array_equal, spoilt.opt_state, state.opt_state)
    learned, log = made.update(state, sequences(), reward, ones(), 0.5)
    assert log["skipped_updates"] == 0
    assert not all(map(np.array_equal, *map(jax.tree.leaves, (learned.params, state.params))))
