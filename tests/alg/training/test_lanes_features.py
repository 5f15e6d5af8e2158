"""Lanes of recommenders with features, statistics and randomness."""

from functools import cache, partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.sharding import AxisType

from autolossgen.interfaces import Batch, Side
from autolossgen.training.lanes import make_batches, make_lanes
from autolossgen.training.loss_gradients import static_logit_grads
from autolossgen.training.optimizers import Hyper, sgd
from tests.helpers import toy_recommender

pytestmark = pytest.mark.slow

USERS, ITEMS, GENRES, HOURS, WIDTH, BATCH, LANES = 12, 9, 5, 4, 3, 16, 4
RNG = np.random.default_rng(0)
KEY = jax.random.key(3)
# Up to three genres of an item, none of some.
GENRE = np.int32([[0, 1, 2], [3, -1, -1], [-1, -1, -1], [-1, 4, 0], [2, 3, -1]] * 2)[:ITEMS]
AGE = RNG.normal(size=USERS).astype(np.float32)
SIDES = {"genre": Side("item", GENRE), "age": Side("user", AGE)}
TABLES = {"user": USERS, "item": ITEMS, "genre": GENRES, "hour": HOURS}
SETTINGS = [(0.3, 0.0, 0.0), (0.5, 1e-2, 0.0), (1.0, 0.0, 1e-3), (0.1, 1e-3, 3e-3)]


def forward(dense, rows, numbers):
    with_item = rows["item"] + rows["genre"] + rows["hour"]
    return jnp.sum(rows["user"] * with_item, -1) + dense["age"] * numbers["age"]


def mean_logit(dense, statistics, rows, features, *, train, weight, key):
    """Returns logits less their moving mean over real examples, which training moves."""
    logits = forward(dense, rows, features)
    if not train:
        assert weight is None
        assert key is None
        return logits - statistics["mean"], statistics
    mean = jnp.sum(weight * logits) / jnp.sum(weight)
    return logits, {"mean": 0.5 * statistics["mean"] + 0.5 * mean}


def uniform(dense, statistics, rows, features, *, train, weight, key):
    """Remember the last two numbers drawn."""
    drawn = jax.random.uniform(key) if train else 0.0
    last = jnp.stack([statistics["drawn"][1], drawn]) if train else statistics["drawn"]
    return forward(dense, rows, features), {"drawn": last}


def recommender(apply, statistics):
    def init(key):
        keys = jax.random.split(key, len(TABLES))
        rows = {
            name: 0.5 * jax.random.normal(k, (TABLES[name], WIDTH))
            for name, k in zip(TABLES, keys, strict=True)
        }
        return {"age": jnp.float32(0.2)}, statistics, rows

    tables = {name: (rows, WIDTH) for name, rows in TABLES.items()}
    return toy_recommender.Recommender(tables, SIDES, init, apply)


MODELS = {
    "moving": recommender(mean_logit, {"mean": jnp.float32(0)}),
    "drawing": recommender(uniform, {"drawn": jnp.zeros(2)}),
}


@cache
def prepare(name, *, clip=None, mesh=None):
    """Returns lanes with compiled functions, shared by all tests, and their initial state."""
    lanes = make_lanes(MODELS[name], LOGIT_GRADS, optimizer=sgd(clip=clip), mesh=mesh)
    start = jax.jit(lanes.init)(jax.random.split(jax.random.key(0), LANES))
    return lanes._replace(train=jax.jit(lanes.train), predict=jax.jit(lanes.predict)), start


def loss(logit, label, reduce_fn=None):
    return jax.nn.softplus(logit) - label * logit


LOGIT_GRADS = static_logit_grads([loss])


def hyper():
    return Hyper(*(jnp.float32(column) for column in zip(*SETTINGS, strict=True)))


def train(lanes, start, data, key=KEY):
    return lanes.train(start, jnp.ones(LANES), hyper(), data, key)


@pytest.fixture(scope="module")
def data():
    count = 6 * BATCH - 5  # the last batch is padded
    drawn = {"user": USERS, "item": ITEMS, "hour": HOURS}
    ids = {name: jnp.int32(RNG.integers(0, size, count)) for name, size in drawn.items()}
    return make_batches(Batch(ids, jnp.float32(RNG.random(count) < 0.5), jnp.ones(count)), BATCH)


def alone(state, k):
    """Returns one lane's parameters as a single recommender has them."""
    one = jax.tree.map(np.asarray, state)
    return {name: one.scale[k] * t[..., k] for name, t in one.tables.items()} | {
        "dense": {"age": one.dense["age"][k]}
    }


def full_rows(parameters, ids):
    """Look up rows by a table of shares [items, genres], which is zero for none."""
    share = np.zeros((ITEMS, GENRES))
    for item, genres in enumerate(GENRE):
        there = genres[genres >= 0]
        share[item, there] = 1 / max(len(there), 1)
    rows = {name: parameters[name][ids[name]] for name in ("user", "item", "hour")}
    genre = jnp.asarray(share)[ids["item"]] @ parameters["genre"]
    return rows | {"genre": genre}, {"age": jnp.asarray(AGE)[ids["user"]]}


@partial(jax.jit, static_argnums=(4,))
def dense_step(parameters, ids, label, setting, clip):
    rate, decay, l2 = setting

    def objective(parameters):
        logits = forward(parameters["dense"], *full_rows(parameters, ids))
        squares = sum(jnp.sum(x**2) for x in jax.tree.leaves(parameters))
        return jnp.mean(loss(logits, label)) + l2 * squares

    optimizer = optax.chain(optax.clip(clip), optax.add_decayed_weights(decay), optax.sgd(rate))
    gradient = jax.grad(objective)(parameters)
    updates, _ = optimizer.update(gradient, optimizer.init(parameters), parameters)
    return optax.apply_updates(parameters, updates)


def dense_sgd(parameters, data, setting, clip):
    """Trains in float64, every row in the gradient; returns parameters and the moving mean."""
    mean = 0.0
    with jax.enable_x64(True):
        parameters = jax.tree.map(lambda x: jnp.asarray(x, float), parameters)
        for ids, label, weight in toy_recommender.iterate_batches(data):
            real = np.asarray(weight) > 0
            ids = {name: np.asarray(x)[real] for name, x in ids.items()}
            logits = forward(parameters["dense"], *full_rows(parameters, ids))
            mean = 0.5 * mean + 0.5 * np.mean(logits)
            label = np.float64(np.asarray(label)[real])
            parameters = dense_step(parameters, ids, label, setting, clip)
        return jax.tree.map(np.asarray, parameters), mean


@pytest.mark.parametrize("clip", [None, 0.01])
def test_features_are_trained_as_by_dense_sgd(clip, data):
    lanes, start = prepare("moving", clip=clip)
    trained = train(lanes, start, data)
    for k, setting in enumerate(SETTINGS):
        expected, mean = dense_sgd(alone(start, k), data, setting, clip or np.inf)
        found = alone(trained, k)
        jax.tree.map(partial(np.testing.assert_allclose, rtol=1e-4, atol=1e-5), found, expected)
        np.testing.assert_allclose(trained.statistics["mean"][k], mean, rtol=1e-4, atol=1e-5)
        for name in TABLES:
            assert np.abs(found[name] - alone(start, k)[name]).max() > 1e-3


def test_scores_use_the_statistics_that_training_left(data):
    lanes, start = prepare("moving")
    trained = train(lanes, start, data)
    scores = lanes.predict(trained, data)
    ids = {name: np.asarray(x).ravel() for name, x in data.ids.items()}
    for k in range(LANES):
        one = alone(trained, k)
        logits = forward(one["dense"], *full_rows(one, ids)) - trained.statistics["mean"][k]
        np.testing.assert_allclose(scores[k], logits, rtol=1e-4, atol=1e-5)
    assert np.abs(trained.statistics["mean"]).min() > 1e-3


def test_an_item_without_categories_has_a_row_of_zeros(data):
    lanes, start = prepare("moving")
    one = jax.tree.map(lambda x: x[:1, :1], data)
    one = one._replace(ids=one.ids | {"item": jnp.int32([[2]])})
    other = start._replace(tables=start.tables | {"genre": 100 + start.tables["genre"]})
    np.testing.assert_array_equal(*(lanes.predict(state, one) for state in (start, other)))


def test_a_step_draws_the_same_in_all_lanes_and_steps_differ(data):
    lanes, start = prepare("drawing")
    drawn = np.asarray(train(lanes, start, data).statistics["drawn"])
    assert drawn.shape == (LANES, 2)
    np.testing.assert_array_equal(drawn, drawn[:1].repeat(LANES, axis=0))
    assert drawn[0, 0] != drawn[0, 1]
    again, other = (train(lanes, start, data, key) for key in (KEY, jax.random.key(4)))
    np.testing.assert_array_equal(again.statistics["drawn"], drawn)
    assert not np.isin(np.asarray(other.statistics["drawn"]), drawn).any()


def test_devices_make_no_difference(data):
    results = []
    for count in (1, 2):
        chosen = jax.devices()[:count]
        mesh = jax.make_mesh((count,), ("lanes",), axis_types=(AxisType.Auto,), devices=chosen)
        lanes, start = prepare("drawing", mesh=mesh)
        trained = train(lanes, start, data)
        assert len(trained.statistics["drawn"].sharding.device_set) == count
        results.append(jax.tree.map(np.asarray, (trained, lanes.predict(trained, data))))
    jax.tree.map(partial(np.testing.assert_allclose, rtol=1e-5, atol=1e-6), *results)


def test_spread_and_take_copy_the_statistics(data):
    lanes, start = prepare("moving")
    trained = train(lanes, start, data)
    copies = lanes.repeat(lanes.take(trained, jnp.array([2])), 3)
    expected = trained.statistics["mean"][2]
    np.testing.assert_array_equal(copies.statistics["mean"], [expected] * 3)


def test_a_recommender_that_draws_nothing_pays_for_no_keys(data):
    drawn = {}
    for name in MODELS:
        lanes, start = prepare(name)
        lowered = lanes.train.lower(start, jnp.ones(LANES), hyper(), data, KEY)
        drawn[name] = "threefry" in lowered.compile().as_text()
    assert drawn == {"moving": False, "drawing": True}
