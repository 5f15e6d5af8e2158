"""Training on a source, piece by piece, is training on its interactions."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType

from autolossgen import named_loss
from autolossgen.interfaces import Positives, StreamedData
from autolossgen.search.search import Search, with_subsampling
from autolossgen.training.chunks import iterate_chunks, subsample
from autolossgen.training.lanes import make_lanes
from autolossgen.training.loss_gradients import static_logit_grads
from autolossgen.training.optimizers import Hyper, adagrad
from autolossgen.training.trainer import make_trainer
from tests.helpers import toy_recommender

pytestmark = pytest.mark.slow

USERS, ITEMS, ROWS, PIECE = 20, 15, 1000, 300
KEYS = [jax.random.key(k) for k in range(20)]
WHOLE = jax.tree.map(
    np.asarray, toy_recommender.make_interactions(np.random.default_rng(0), USERS, ITEMS, ROWS)
)
JUDGED = toy_recommender.make_interactions(np.random.default_rng(1), USERS, ITEMS, 200)


def recorded(order=None):
    """Returns a source of the interactions, and the list of what was drawn from it."""
    drawn = []

    def draw(place, count):
        drawn.append((place, count))
        rows = np.arange(place, place + count) % ROWS
        rows = rows if order is None else order[rows]
        return jax.tree.map(lambda x: x[rows], WHOLE)

    return StreamedData(ROWS, PIECE, draw), drawn


def test_what_fits_in_memory_is_one_piece():
    [(key, piece)] = iterate_chunks(WHOLE, KEYS[0])
    assert key is KEYS[0]
    assert piece is WHOLE


def test_the_pieces_of_an_epoch_are_its_rows_and_come_when_asked_for():
    source, drawn = recorded()
    begins = set()
    for key in KEYS:
        drawn.clear()
        of_epoch = iterate_chunks(source, key)
        first_key, first = next(of_epoch)
        assert len(drawn) == 1
        rest = list(of_epoch)
        assert [count for _, count in drawn] == [300, 300, 300, 100]
        places = [place for place, _ in drawn]
        assert np.diff(places).tolist() == [300, 300, 300]
        assert places[0] % ROWS == 0  # a whole epoch, none of its rows twice
        begins.add(places[0])
        assert first.label.shape == (300,)
        numbers = {jax.random.key_data(k).tobytes() for k in (first_key, *(k for k, _ in rest))}
        assert len(numbers) == 4
    assert len(begins) > len(KEYS) / 2


def test_some_are_so_many_and_the_key_decides_which():
    source, drawn = recorded()
    assert subsample(source, KEYS[0], 70).label.shape == (70,)
    assert (
        subsample(source, KEYS[0], 0).label.shape
        == subsample(source, KEYS[0], 5000).label.shape
        == (ROWS,)
    )
    assert len({place for place, _ in drawn}) == 1
    again = [subsample(WHOLE, key, 70) for key in (KEYS[0], KEYS[0], KEYS[1])]
    users = [np.asarray(x.ids["user"]).tolist() for x in again]
    assert users[0] == users[1] != users[2]
    assert subsample(WHOLE, KEYS[0], 0) is subsample(WHOLE, KEYS[0], ROWS) is WHOLE


def test_some_of_what_is_in_memory_are_different_ones():
    numbered = WHOLE._replace(label=np.arange(ROWS), weight=np.arange(ROWS))
    drawn = subsample(numbered, KEYS[0], 400)
    assert len(set(drawn.label.tolist())) == 400
    np.testing.assert_array_equal(drawn.label, drawn.weight)
    np.testing.assert_array_equal(drawn.ids["user"], WHOLE.ids["user"][drawn.label])
    rest = jnp.arange(3), jnp.arange(4), jnp.arange(5)
    few = subsample(Positives({"user": np.arange(9), "item": np.arange(9)}, *rest), KEYS[0], 5)
    assert few.ids["user"].shape == few.ids["item"].shape == (5,)
    jax.tree.map(np.testing.assert_array_equal, few[1:], rest)


def test_an_epoch_of_pieces_trains_as_its_pieces_do():
    devices = jax.devices()[:2]
    mesh = jax.make_mesh((2,), ("lanes",), axis_types=(AxisType.Auto,), devices=devices)
    make = partial(
        make_lanes, toy_recommender.make_recommender(USERS, ITEMS), optimizer=adagrad(), mesh=mesh
    )
    trainer = make_trainer(make, static_logit_grads([named_loss("bce")]), batch_size=32)
    source, _ = recorded(np.random.default_rng(0).permutation(ROWS))
    ones = jnp.ones(4)
    hyper = Hyper(jnp.array([0.01, 0.03, 0.1, 0.3]), 0.01 * ones, 0 * ones)
    keys = jax.random.split(KEYS[0], 4)
    begin = lambda: trainer.init(keys)  # noqa: E731
    by_source, metric = trainer.epoch(begin(), ones, hyper, KEYS[3], source, JUDGED)
    one_by_one = begin()
    for key, piece in iterate_chunks(source, KEYS[3]):
        one_by_one, other = trainer.epoch(one_by_one, ones, hyper, key, piece, JUDGED)
    jax.tree.map(np.testing.assert_array_equal, by_source, one_by_one)
    np.testing.assert_array_equal(metric, other)
    assert metric.max() > 0.6 > trainer.epoch(begin(), ones, hyper, KEYS[3], source, JUDGED)[1][0]
    np.testing.assert_array_equal(trainer.learning_rate_factors(ones, begin(), source), 1)


def test_a_search_draws_for_each_generation_and_move():
    step = lambda state, key, data, rewarded: (state, data)  # noqa: E731
    source, drawn = recorded()
    search = with_subsampling(Search(None, step, step), 80)
    for key in KEYS[:2]:
        for part in (search.run_generation, search.advance):
            assert part((), key, source, JUDGED)[1].label.shape == (80,)
    assert [count for _, count in drawn] == [80] * 4
    assert drawn[0] == drawn[1] != drawn[2]
    with pytest.raises(ValueError, match="at least 0"):
        with_subsampling(search, -1)
