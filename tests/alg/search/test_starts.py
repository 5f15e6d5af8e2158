"""Candidates trained from several recommenders at once: fresh, half trained and trained."""

from functools import cache, partial
from itertools import pairwise
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from autolossgen.configs import base
from autolossgen.language.grammar import encode_tokens
from autolossgen.language.inputs import as_program
from autolossgen.language.operators import DEFAULT_BOUNDS
from autolossgen.language.programs import assemble
from autolossgen.search.candidates import make_candidate_trainer
from autolossgen.search.checkpoints import open_checkpoints
from autolossgen.search.screening import FILTERS
from autolossgen.search.search import make_search
from autolossgen.search.space import make_space
from autolossgen.training.lanes import make_batches, make_lanes
from autolossgen.training.loss_gradients import pad_programs, stack_losses
from autolossgen.training.optimizers import Hyper
from autolossgen.training.tasks import RATING
from tests.helpers import toy_recommender as toys

USERS, ITEMS, LENGTH = 20, 15, 7
SPACE = make_space(
    operators=("add", "neg", "square"),
    operands=("pred", "label", "1"),
    length=LENGTH,
    bounds=(-1e5, 1e5),
)
MSE = "pred label neg add square"
WRITTEN = (MSE, f"{MSE} square", f"{MSE} square square")
SHARED = {"reference": None, "batch_size": 64, "learning_rate": 7.0, "weight_decay": 1e-3}


def tokens(*losses):
    rows = np.zeros((len(losses), LENGTH), np.int32)
    for row, loss in zip(rows, losses, strict=True):
        numbers = encode_tokens(loss.split(), SPACE.vocabulary)
        row[: len(numbers)] = numbers
    return jnp.asarray(rows)


@cache
def data():
    rng = np.random.default_rng(3)
    return [toys.make_interactions(rng, USERS, ITEMS, count) for count in (800, 400)]


def stored(lanes):
    """Give the rows of users, [rows, D, K]."""
    return np.asarray(lanes.scale * lanes.tables["user"])


def trials(width, reward_scale, **options):
    return make_candidate_trainer(
        partial(make_lanes, toys.make_recommender(USERS, ITEMS, 1.0)),
        set(SPACE.vocabulary.operators),
        task=RATING,
        length=LENGTH,
        bounds=SPACE.bounds,
        width=width,
        reward_scale=reward_scale,
        **SHARED,
        **options,
    )


def programs(made, *losses):
    assembled = jax.vmap(partial(assemble, vocab=SPACE.vocabulary))(tokens(*losses))
    return pad_programs(assembled, made.slots)


def test_trials_from_several_starts_are_those_from_each():
    together, alone = trials(6, "gradient"), trials(3, "gradient")
    losses = programs(together, MSE, *WRITTEN[:2])
    starts = together.lanes.init(jax.random.split(jax.random.key(0), 2))
    # Trained on apart, so that each start has gradients of its own size.
    starts = starts._replace(scale=jnp.asarray([1.0, 0.3]))
    key = jax.random.key(1)
    run = jax.jit(alone.run)
    trained, rewards = jax.jit(together.run)(key, starts, losses, 0.0, *data())
    assert rewards.shape == (2, 3)
    for number in range(2):
        start = together.lanes.take(starts, jnp.asarray([number]))
        mine, of_it = run(key, start, losses, 0.0, *data())
        np.testing.assert_allclose(rewards[number], of_it[0], atol=1e-5)
        theirs = together.lanes.take(trained, 3 * number + jnp.arange(3))
        jax.tree.map(partial(np.testing.assert_allclose, atol=1e-5), theirs, mine)
    assert np.abs(rewards[0] - rewards[1]).max() > 1e-3


def test_a_trial_of_several_epochs_goes_on_where_a_shorter_one_ends():
    one, three = trials(2, "raw"), trials(2, "raw", epochs=3)
    start, key = one.lanes.init(jax.random.split(jax.random.key(0), 1)), jax.random.key(1)
    losses = programs(one, MSE, MSE)
    ours = stack_losses(
        [as_program(RATING.reference), as_program("square(pred + -label)")], [DEFAULT_BOUNDS] * 2
    )
    expected, _ = jax.jit(one.run)(key, start, losses, 0.0, *data())
    after_one = stored(expected)
    numbers = {"learning_rate": 7.0, "weight_decay": 1e-3, "l2": 0.0}
    hyper = Hyper(**{name: jnp.full(2, number) for name, number in numbers.items()})
    for epoch in (1, 2):
        cut = make_batches(data()[0], 64, jax.random.fold_in(key, 2**30 + epoch))
        expected = one.lanes.train(expected, ours, hyper, cut, key)
    trained, _ = jax.jit(three.run)(key, start, losses, 0.0, *data())
    np.testing.assert_allclose(stored(trained), stored(expected), atol=1e-5)
    assert np.abs(stored(trained) - after_one).max() > 1e-2


def test_a_trial_trains_for_an_epoch_at_least():
    with pytest.raises(ValueError, match=r"at least 1 epoch \(generation.epochs\), got 0"):
        trials(2, "raw", epochs=0)


class FakePolicy(NamedTuple):
    """A policy that writes the same losses always, and notes what they earn."""

    init = staticmethod(lambda key: jnp.zeros(len(WRITTEN)))
    sample = staticmethod(lambda state, key, count: tokens(*WRITTEN))
    update = staticmethod(lambda state, tokens, reward, weight, reference: (reward, {}))
    begin_round = staticmethod(lambda state, standing: state)


def make(**options):
    sizes = {"samples": len(WRITTEN), "width": 12, "hall": 6, "memory": 16}
    options = {"starts": 3, "l2": 0.0, "reward_scale": "gradient", "restart": "never", **options}
    lanes = partial(make_lanes, toys.make_recommender(USERS, ITEMS, 1.0))
    filter_ = FILTERS["graded"](**base.get_config().filter.graded)
    return make_search(FakePolicy(), lanes, SPACE, filter_, **{**SHARED, **sizes, **options})


@cache
def searched():
    """Give the states of four rounds, the first of them untrained, and the first report."""
    search = make()
    state = search.init(jax.random.key(5), data()[1])
    states, reports = [state], []
    for round_ in range(4):
        state, report = search.generation(states[-1], jax.random.key(2 * round_), *data())
        # It forgets what it has trained, and would move on whatever came of it.
        moves = state._replace(standing=jnp.zeros(()), memory=states[0].memory)
        states.append(search.advance(moves, jax.random.key(2 * round_ + 1), *data())[0])
        reports.append((state, report))
    return states, reports


def users(state, start):
    return stored(state.recommenders)[..., start]


def moved(start):
    states, _ = searched()
    return [
        not np.array_equal(users(one, start), users(two, start)) for one, two in pairwise(states)
    ]


def test_a_reward_is_the_mean_over_the_starts():
    state, report = searched()[1][0]
    assert report.rewards.shape == (4,)
    assert report.trained.tolist() == [False, True, True, True]
    np.testing.assert_allclose(state.policy, report.rewards[1:], atol=1e-6)
    first = searched()[0][0]
    batch_key = jax.random.split(jax.random.key(0))[1]
    made = trials(12, "gradient")
    losses = programs(made, MSE, *WRITTEN)
    _, rewards = jax.jit(made.run)(batch_key, first.recommenders, losses, 0.0, *data())
    np.testing.assert_allclose(report.rewards, rewards.mean(0), atol=1e-5)
    assert np.std(rewards, axis=0).max() > 1e-3


def test_the_first_moves_on_and_the_half_trained_every_second_time():
    assert moved(0) == [True] * 4
    assert moved(2) == [False, True, False, True]
    assert [int(state.moves) for state in searched()[0]] == [0, 1, 2, 3, 4]


def test_fresh_weights_are_drawn_for_every_round():
    states, _ = searched()
    drawn = [users(state, 1) for state in states]
    assert len({each.tobytes() for each in drawn}) == len(states)
    untrained = np.std(users(states[0], 0))
    for each in drawn:
        np.testing.assert_allclose(np.std(each), untrained, rtol=0.1)


def test_what_the_reference_hurts_begins_anew_with_all_its_starts():
    search = make(restart="stalled")
    state, _ = searched()[1][-1]
    finished = state._replace(standing=jnp.float32(2.0))
    again, _ = search.advance(finished, jax.random.key(9), *data())
    assert int(again.moves) == 0
    assert abs(float(again.standing) - 0.5) < 0.2
    untrained = np.std(users(searched()[0][0], 0))
    for start in range(3):
        np.testing.assert_allclose(np.std(users(again, start)), untrained, rtol=0.1)


def test_starts_are_saved_and_restored(tmp_path):
    states, _ = searched()
    saved = open_checkpoints(tmp_path)
    saved.save(states[2])
    restored = saved.restore(states[0])
    for one, two in zip(jax.tree.leaves(restored), jax.tree.leaves(states[2]), strict=True):
        np.testing.assert_array_equal(one, two)


@pytest.mark.parametrize("wrong", [{"starts": 0}, {"starts": 4}, {"width": 11}, {"width": 3}])
def test_starts_that_do_not_fit_the_lanes_are_refused(wrong):
    with pytest.raises(ValueError, match=r"generation\.starts"):
        make(**wrong)
