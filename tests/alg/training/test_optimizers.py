"""Optimizers of lanes agree with dense training by Optax, every row in the gradient."""

from functools import cache, partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.sharding import AxisType

from autolossgen.interfaces import Batch, Side
from autolossgen.search.checkpoints import open_checkpoints
from autolossgen.search.generation import SearchState
from autolossgen.training.lanes import make_batches, make_lanes
from autolossgen.training.loss_gradients import static_logit_grads
from autolossgen.training.optimizers import OPTIMIZERS, Hyper, adagrad, sgd
from autolossgen.training.trainer import make_trainer
from tests.helpers import toy_recommender

pytestmark = pytest.mark.slow

USERS, ITEMS, GENRES, WIDTH, BATCH, STEPS, LANES = 12, 9, 5, 3, 16, 50, 4
MET = 8  # the other users are in no batch
RNG = np.random.default_rng(0)
KEY = jax.random.key(3)
# Up to three genres of an item, none of some; genre 4 is of no item.
GENRE = np.int32([[0, 1, 2], [3, -1, -1], [-1, -1, -1], [-1, 3, 0], [2, 3, -1]] * 2)[:ITEMS]
SHARE = np.zeros((ITEMS, GENRES))
for of_item, genres in zip(SHARE, GENRE, strict=True):
    of_item[genres[genres >= 0]] = 1 / max(np.sum(genres >= 0), 1)
TABLES = {"user": USERS, "item": ITEMS, "genre": GENRES}
SETTINGS = [(0.2, 0.0, 0.0), (0.05, 1e-1, 0.0), (0.5, 0.0, 1e-2), (0.1, 1e-2, 2e-2)]
SIZES = (1.0, 3.0, 0.1, 1.0)  # that the lanes' losses are multiplied by
CASES = {
    "sgd": {},
    "sgd, clipped": {"clip": 0.05},
    "adagrad": {},
    "adagrad, clipped": {"clip": 0.05},
    "adagrad, not from 0": {"eps": 1e-4, "initial_accumulator": 1e-2},
}


def loss(logit, label, reduce_fn=None):
    return jax.nn.softplus(logit) - label * logit


def forward(dense, rows):
    both = jnp.sum(rows["user"] * (rows["item"] + rows["genre"]), -1)
    # Items matter even where weights and users have decayed to nothing.
    return both + rows["item"] @ (1 + dense["weights"]) + dense["bias"]


def init(key):
    keys = jax.random.split(key, len(TABLES))
    rows = {
        name: 0.5 * jax.random.normal(k, (TABLES[name], WIDTH))
        for name, k in zip(TABLES, keys, strict=True)
    }
    return {"bias": jnp.float32(0.2), "weights": jnp.arange(3.0)}, {}, rows


def apply(dense, statistics, rows, features, *, train, weight, key):
    return forward(dense, rows), statistics


RECOMMENDER = toy_recommender.Recommender(
    {name: (rows, WIDTH) for name, rows in TABLES.items()},
    {"genre": Side("item", GENRE)},
    init,
    apply,
)


@cache
def prepare(optimizer, mesh=None):
    lanes = make_lanes(RECOMMENDER, static_logit_grads([loss]), optimizer=optimizer, mesh=mesh)
    return lanes._replace(train=jax.jit(lanes.train)), jax.jit(lanes.init)(
        jax.random.split(jax.random.key(0), LANES)
    )


@cache
def of_case(case):
    return OPTIMIZERS[case.split(",")[0]](**CASES[case])


def train(lanes, start, data, sizes=SIZES, settings=SETTINGS):
    hyper = Hyper(*(jnp.float32(column) for column in zip(*settings, strict=True)))
    return lanes.train(start, jnp.float32(sizes), hyper, data, KEY)


@pytest.fixture(scope="module")
def data():
    """Batches in which ids come twice, the last one padded."""
    count = STEPS * BATCH - 5
    ids = {
        name: jnp.int32(RNG.integers(0, size, count))
        for name, size in {"user": MET, "item": ITEMS}.items()
    }
    return make_batches(Batch(ids, jnp.float32(RNG.random(count) < 0.5), jnp.ones(count)), BATCH)


class RowSums(NamedTuple):
    sums: optax.Updates  # [rows, 1] of tables, the shape of other parameters


def scale_by_row_rss(initial, eps):
    """Scale by the root of summed mean squares of rows; as Optax's ``scale_by_rss`` of others."""

    def mean_square(x):
        return jnp.mean(x**2, axis=1, keepdims=True) if x.ndim == 2 else x**2

    def start(parameters):
        return RowSums(jax.tree.map(lambda x: 0 * mean_square(x) + initial, parameters))

    def update(gradient, state, parameters=None):
        sums = jax.tree.map(lambda g, s: s + mean_square(g), gradient, state.sums)
        root = jax.tree.map(lambda s: jnp.sqrt(s + eps), sums)
        return jax.tree.map(jnp.divide, gradient, root), RowSums(sums)

    return optax.GradientTransformation(start, update)


def dense_chain(case, rate, decay, l2):
    """Returns the optimizer as ``training.optimizers`` describes it, in Optax."""
    options = CASES[case]
    clip = optax.clip(options.get("clip", np.inf))
    penalty = optax.add_decayed_weights(2 * l2)
    rest = optax.add_decayed_weights(decay), optax.scale_by_learning_rate(rate)
    if case.startswith("sgd"):
        return optax.chain(penalty, clip, *rest)
    scaling = scale_by_row_rss(options.get("initial_accumulator", 0), options.get("eps", 1e-20))
    return optax.chain(clip, scaling, penalty, *rest)


@partial(jax.jit, static_argnums=0)
def dense_training(case, parameters, data, setting, size):
    """Trains one recommender, each row in the gradient of each step."""
    optimizer = dense_chain(case, *setting)

    def objective(parameters, batch):
        dense, tables = parameters
        rows = {name: tables[name][batch.ids[name]] for name in ("user", "item")}
        rows["genre"] = jnp.asarray(SHARE)[batch.ids["item"]] @ tables["genre"]
        losses = loss(forward(dense, rows), batch.label)
        return size * jnp.mean(losses, where=batch.weight > 0)

    def step(carry, batch):
        parameters, state = carry
        updates, state = optimizer.update(jax.grad(objective)(parameters, batch), state, parameters)
        return (optax.apply_updates(parameters, updates), state), None

    return jax.lax.scan(step, (parameters, optimizer.init(parameters)), data)[0][0]


def in_float64(function, *arguments):
    """Call with float64 in place of float32; returns NumPy's."""
    with jax.enable_x64(True):
        wide = lambda x: x.astype(float) if x.dtype == jnp.float32 else x  # noqa: E731
        arguments = jax.tree.map(lambda x: wide(jnp.asarray(x)), arguments)
        return jax.tree.map(np.asarray, function(*arguments))


def alone(state, k):
    """Returns one lane's parameters as a single recommender has them."""
    one = jax.tree.map(np.asarray, state)
    tables = {name: one.scale[k] * table[..., k] for name, table in one.tables.items()}
    return jax.tree.map(lambda x: x[k], one.dense), tables


@pytest.mark.parametrize("case", CASES)
def test_a_lane_is_trained_as_by_dense_optax(case, data):
    lanes, start = prepare(of_case(case))
    trained = train(lanes, start, data)
    for k, (setting, size) in enumerate(zip(SETTINGS, SIZES, strict=True)):
        settings = tuple(np.float64(x) for x in setting)
        training = partial(dense_training, case)
        expected = in_float64(training, alone(start, k), data, settings, np.float64(size))
        close = partial(np.testing.assert_allclose, rtol=1e-4, atol=1e-5)
        jax.tree.map(close, alone(trained, k), expected)
        if "clip" in CASES[case] and size == max(SIZES):
            free = partial(dense_training, case.partition(",")[0])
            free = in_float64(free, alone(start, k), data, settings, np.float64(size))
            assert np.abs(free[1]["user"] - expected[1]["user"]).max() > 1e-2  # it was clipped
        for before, after in zip(
            jax.tree.leaves(alone(start, k)), jax.tree.leaves(expected), strict=True
        ):
            assert np.abs(before - after).max() > 5e-4


@pytest.mark.parametrize("case", CASES)
def test_rows_outside_the_batches_decay_and_nothing_else(case, data):
    lanes, start = prepare(of_case(case))
    trained = train(lanes, start, data)
    for k, (rate, decay, l2) in enumerate(SETTINGS):
        kept = np.float64(1 - rate * (decay + 2 * l2)) ** STEPS
        for name, first in {"user": MET, "genre": 4}.items():
            before, after = (alone(state, k)[1][name][first:] for state in (start, trained))
            np.testing.assert_allclose(after, before * kept, rtol=2e-5)
    initial = CASES[case].get("initial_accumulator", 0)
    for name, sums in trained.accumulators.items():
        unmet = sums[{"user": MET, "item": ITEMS, "genre": 4}[name] :]
        np.testing.assert_array_equal(unmet, np.float32(initial))
        assert np.all(sums[0] > initial)


STRONG = [(0.2, 0.5, 0.0), (0.5, 1.96, 0.0), (1.0, 1 - 1e-7, 0.0), (0.1, 1e-2, 0.0)]


@pytest.mark.parametrize("case", [case for case in CASES if "not from 0" not in case])
def test_strong_decay_stays_exact_in_an_epoch_of_many_steps(case, data):
    """Rows shrink by 1e-91 and more, so that no float32 could hold them next to a scale."""
    lanes, start = prepare(of_case(case))
    data = jax.tree.map(lambda x: jnp.tile(x, (40, 1)), data)
    trained = train(lanes, start, data, settings=STRONG)
    for k, (setting, size) in enumerate(zip(STRONG, SIZES, strict=True)):
        settings = tuple(np.float64(x) for x in setting)
        expected = in_float64(
            partial(dense_training, case), alone(start, k), data, settings, np.float64(size)
        )
        close = partial(np.testing.assert_allclose, rtol=1e-4, atol=1e-5)
        jax.tree.map(close, alone(trained, k), expected)
        assert np.abs(expected[1]["item"]).max() > 1e-3  # there is something to compare


def test_sgd_remembers_nothing_and_adagrad_a_number_for_each_row(data):
    nothing, sums = (
        train(*prepare(of_case(case)), data) for case in ("sgd, clipped", "adagrad, clipped")
    )
    assert jax.tree.leaves((nothing.accumulators, nothing.opt_state)) == []
    shapes = {name: (rows, LANES) for name, rows in TABLES.items()}
    assert {name: x.shape for name, x in sums.accumulators.items()} == shapes
    assert len(jax.tree.leaves(sums.opt_state)) == 2


def test_adagrad_does_not_see_what_a_loss_is_multiplied_by(data):
    same = [SETTINGS[1]] * LANES
    for case, alike in (("adagrad", True), ("sgd", False)):
        lanes, start = prepare(of_case(case))
        start = lanes.repeat(lanes.take(start, jnp.array([0])), LANES)
        trained = train(lanes, start, data, (1.0, 1e-3, 1e3, 0.3), same)
        assert lanes.scale_free == alike
        for k in range(1, LANES):
            first, other = (alone(trained, j)[1]["user"][:MET] for j in (0, k))
            assert np.allclose(first, other, rtol=1e-3, atol=1e-4) == alike


def test_devices_make_no_difference(data):
    mesh = jax.make_mesh((2,), ("lanes",), axis_types=(AxisType.Auto,), devices=jax.devices()[:2])
    results = []
    for over in (None, mesh):
        lanes, start = prepare(of_case("adagrad"), over)
        trained = train(lanes, start, data)
        results.append(jax.tree.map(np.asarray, trained))
    assert len(trained.accumulators["user"].sharding.device_set) == 2
    jax.tree.map(partial(np.testing.assert_allclose, rtol=1e-5, atol=1e-6), *results)


def test_training_goes_on_from_what_was_remembered(data):
    lanes, start = prepare(of_case("adagrad"))
    whole = train(lanes, start, data)
    halves = [jax.tree.map(lambda x, p=p: x[p], data) for p in (slice(25), slice(25, None))]
    middle = train(lanes, start, halves[0])
    # Copies of lanes bring along what was remembered of them.
    order = jnp.array([2, 0, 3, 1])
    back = lanes.take(lanes.take(middle, order), jnp.argsort(order))
    jax.tree.map(np.testing.assert_array_equal, back, middle)
    close = partial(np.testing.assert_allclose, rtol=1e-4, atol=1e-5)
    jax.tree.map(close, train(lanes, back, halves[1]), whole)
    spread = lanes.repeat(lanes.take(middle, jnp.array([1])), 3)
    np.testing.assert_array_equal(
        spread.accumulators["item"], middle.accumulators["item"][:, 1:2].repeat(3, axis=1)
    )


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_a_checkpoint_brings_back_all_of_it(name, data, tmp_path):
    lanes, start = prepare(of_case(name))
    trained = train(lanes, start, data)
    state = SearchState((), trained, jnp.int32(3), jnp.float32(0), (), (), (), jnp.int32(1))
    open_checkpoints(tmp_path, version="1").save(state)
    restored = open_checkpoints(tmp_path, version="1").restore(state._replace(base_model=start))
    jax.tree.map(np.testing.assert_array_equal, restored, state)


@pytest.mark.parametrize(("make", "same"), [(adagrad, True), (sgd, False)])
def test_learning_rates_are_multiplied_where_steps_are_not_scale_free(make, same, data):
    losses = [loss, lambda z, y, reduce_fn=None: 10 * loss(z, y)]
    trainer = make_trainer(
        partial(make_lanes, RECOMMENDER, optimizer=make()),
        static_logit_grads(losses),
        batch_size=BATCH,
    )
    flat = jax.tree.map(lambda x: x.reshape(-1), data)
    untrained = trainer.init(jax.random.split(jax.random.key(0), 2))
    factors = trainer.learning_rate_factors(jnp.ones(2), untrained, flat)
    np.testing.assert_array_equal(factors == 1, [same, same])


@pytest.mark.parametrize("make", OPTIMIZERS.values())
@pytest.mark.parametrize("clip", [0.0, -1.0, float("nan")])
def test_a_clip_that_cannot_be_is_refused(make, clip):
    with pytest.raises(ValueError, match="clip is positive or None"):
        make(clip=clip)


@pytest.mark.parametrize("options", [{"eps": 0.0}, {"initial_accumulator": -1.0}])
def test_what_adagrad_cannot_divide_by_is_refused(options):
    with pytest.raises(ValueError, match="needs eps above 0 and initial_accumulator of at least 0"):
        adagrad(**options)
