"""Training of candidates against training in lanes, epoch by epoch."""

from functools import partial

import chex
import jax
import numpy as np
import pytest

from autolossgen.language.inputs import as_program
from autolossgen.language.operators import DEFAULT_BOUNDS
from autolossgen.search.candidates import make_candidate_trainer
from autolossgen.training.lanes import make_batches, make_lanes
from autolossgen.training.loss_gradients import pad_programs, stack_losses
from autolossgen.training.optimizers import Hyper
from autolossgen.training.random_keys import FURTHER_EPOCHS
from autolossgen.training.tasks import RATING
from tests.helpers import toy_recommender

pytestmark = pytest.mark.slow

USERS, ITEMS = 20, 15
MSE = as_program("square(label - pred)")
LOSSES = stack_losses([as_program(RATING.reference), MSE], [DEFAULT_BOUNDS] * 2)


def make_trainer(**options):
    return make_candidate_trainer(
        partial(make_lanes, toy_recommender.make_recommender(USERS, ITEMS, 1.0)),
        {*MSE.op.tolist()},
        task=RATING,
        length=7,
        bounds=DEFAULT_BOUNDS,
        num_lanes=2,
        batch_size=64,
        learning_rate=7.0,
        weight_decay=1e-3,
        reward_scale="raw",
        **options,
    )


def test_candidates_train_as_lanes_do_for_one_epoch_after_another():
    trainer, key = make_trainer(epochs=2), jax.random.key(1)
    rng = np.random.default_rng(3)
    data, reward_split = (
        toy_recommender.make_interactions(rng, USERS, ITEMS, count) for count in (800, 400)
    )
    base_model = jax.jit(trainer.lanes.init)(jax.random.split(jax.random.key(0), 1))
    # The first program gives way to the reference.
    programs = stack_losses([MSE, MSE], [DEFAULT_BOUNDS] * 2).program
    programs = pad_programs(programs, trainer.num_instructions)
    trained, rewards = jax.jit(trainer.train)(key, base_model, programs, 0.0, data, reward_split)

    @jax.jit
    def epoch(state, epoch_key):
        hyper = Hyper(*(np.full(2, x, np.float32) for x in (7.0, 1e-3, 0.0)))
        batches = make_batches(data, 64, epoch_key)
        state = trainer.lanes.train(state, LOSSES, hyper, batches, key)
        return state, trainer.evaluate(state, reward_split)

    expected = jax.jit(trainer.lanes.repeat, static_argnums=1)(base_model, 2)
    for epoch_key in (key, jax.random.fold_in(key, FURTHER_EPOCHS + 1)):
        expected, expected_rewards = epoch(expected, epoch_key)
    chex.assert_trees_all_close(trained, expected, atol=1e-5)
    chex.assert_trees_all_close(rewards, expected_rewards, atol=1e-5)
    assert abs(rewards[0] - rewards[1]) > 1e-3


def test_candidates_train_for_an_epoch_at_least():
    with pytest.raises(ValueError, match=r"at least 1 epoch \(generation.epochs\), got 0"):
        make_trainer(epochs=0)
