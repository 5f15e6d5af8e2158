"""Lanes train as single recommenders do, side by side and without touching one another."""

from functools import cache

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType

from autolossgen import DEFAULT_BOUNDS, build_loss
from autolossgen.language.inputs import as_program
from autolossgen.training.lanes import make_batches, make_lanes
from autolossgen.training.loss_gradients import stack_losses, static_logit_grads, traced_logit_grads
from autolossgen.training.optimizers import Hyper, sgd
from tests.helpers import toy_recommender
from tests.helpers.hlo import find_collectives

pytestmark = pytest.mark.slow

USERS, ITEMS, BATCH = 20, 15, 16  # a batch holds many ids twice
MET = 15  # the other users are in no batch
LANES = 8
KEY = jax.random.key(7)


def mse(z, y):
    return (y - jax.nn.sigmoid(z)) ** 2


def loud_mse(z, y):
    return 3e4 * mse(z, y)


def bce(z, y):
    return jax.nn.softplus(z) - y * z


# The same losses as a formula and as anyone would write them.
FORMULAS = {
    "square(label - pred)": mse,
    "softplus(logit) - label * logit": bce,
    "-(label * log(pred) + (1 - label) * log(1 - pred))": bce,
    "30000 * square(label - pred)": loud_mse,
}
PROGRAMS = [as_program(formula) for formula in FORMULAS] * 2
SETTINGS = [
    toy_recommender.LaneSetting(loss, rate, decay, l2)
    for loss, rate, decay, l2 in zip(
        [*FORMULAS.values()] * 2,
        (0.3, 0.05, 1.0, 1e-4, 3.0, 0.5, 0.5, 5e-5),
        (0.0, 1e-2, 1e-4, 1.0, 1e-3, 0.1, 0.0, 10.0),
        (0.0, 0.0, 1e-3, 0.0, 0.0, 1e-2, 0.0, 1e-2),
        strict=True,
    )
]
SLOPES = traced_logit_grads(sorted({int(op) for program in PROGRAMS for op in program.op}))
OBJECTIVE = stack_losses(PROGRAMS, [DEFAULT_BOUNDS] * LANES)


def hyper(settings):
    columns = zip(*((s.learning_rate, s.weight_decay, s.l2) for s in settings), strict=True)
    return Hyper(*(jnp.asarray(column, jnp.float32) for column in columns))


def lane(state, k):
    """Returns one lane's parameters, as a single recommender has them."""
    one = jax.tree.map(np.asarray, state)
    tables = {field: one.scale[k] * table[..., k] for field, table in one.tables.items()}
    return jax.tree.map(lambda x: x[k], one.dense), tables


@pytest.fixture(scope="module")
def data():
    """50 training batches, the last one padded."""
    drawn = toy_recommender.make_interactions(np.random.default_rng(1), MET, ITEMS, 50 * BATCH - 5)
    return make_batches(drawn, BATCH)


KNOWN = static_logit_grads([build_loss(formula) for formula in FORMULAS])


@cache
def prepare(clip=None, devices=1, logit_grads=SLOPES):
    """Returns lanes with compiled functions, shared by all tests, and their initial state."""
    mesh = None if devices == 1 else mesh_of(devices)
    lanes = make_lanes(
        toy_recommender.make_recommender(USERS, ITEMS),
        logit_grads,
        optimizer=sgd(clip=clip),
        mesh=mesh,
    )
    start = jax.jit(lanes.init)(jax.random.split(jax.random.key(0), LANES))
    return lanes._replace(train=jax.jit(lanes.train), predict=jax.jit(lanes.predict)), start


def mesh_of(devices):
    chosen = jax.devices()[:devices]
    return jax.make_mesh((devices,), ("lanes",), axis_types=(AxisType.Auto,), devices=chosen)


def assert_close(ours, theirs, **tolerance):
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, **tolerance), ours, theirs)


@pytest.mark.parametrize("clip", [None, 50.0])
def test_a_lane_is_a_single_training_by_dense_sgd(clip, data):
    lanes, start = prepare(clip)
    trained = lanes.train(start, OBJECTIVE, hyper(SETTINGS), data, KEY)
    for k, setting in enumerate(SETTINGS):
        expected = toy_recommender.train_dense_sgd(
            *lane(start, k), data, setting._replace(clip=clip or np.inf)
        )
        assert_close(lane(trained, k), expected, rtol=1e-4, atol=1e-5)
        assert np.abs(lane(start, k)[1]["user"] - expected[1]["user"]).max() > 5e-5
        if clip == 50 and setting.loss is loud_mse:
            free = toy_recommender.train_dense_sgd(*lane(start, k), data, setting)
            assert np.abs(free[1]["user"] - expected[1]["user"]).max() > 0.02  # it was clipped


def test_rows_outside_the_batches_decay_and_nothing_else(data):
    lanes, start = prepare()
    trained = lanes.train(start, OBJECTIVE, hyper(SETTINGS), data, KEY)
    for k, setting in enumerate(SETTINGS):
        decay = np.float64(1 - setting.learning_rate * (setting.weight_decay + 2 * setting.l2))
        before, after = (lane(state, k)[1]["user"] for state in (start, trained))
        np.testing.assert_allclose(after[MET:], before[MET:] * decay**50, rtol=2e-5)
        if decay == 1:
            np.testing.assert_array_equal(after[MET:], before[MET:])
        assert np.all(np.abs(after[:MET] / before[:MET] - decay**50).max(1) > 1e-6)


def test_padding_teaches_nothing(data):
    lanes, start = prepare()
    wrong = jax.tree.map(lambda x: x.at[-1, -5:].set(3), data._replace(weight=data.label))
    wrong = wrong._replace(weight=data.weight)
    assert_close(
        lanes.train(start, OBJECTIVE, hyper(SETTINGS), wrong, KEY),
        lanes.train(start, OBJECTIVE, hyper(SETTINGS), data, KEY),
        rtol=1e-6,
    )


def test_a_lane_ignores_what_its_neighbours_do(data):
    lanes, start = prepare()
    alone = lanes.train(start, OBJECTIVE, hyper(SETTINGS), data, KEY)
    others = hyper([SETTINGS[0], *([SETTINGS[3]] * 7)])
    programs = [PROGRAMS[0], *([PROGRAMS[3]] * 7)]
    with_others = lanes.train(
        start, stack_losses(programs, [DEFAULT_BOUNDS] * LANES), others, data, KEY
    )
    jax.tree.map(np.testing.assert_array_equal, lane(alone, 0), lane(with_others, 0))
    assert not np.array_equal(lane(alone, 1)[1]["user"], lane(with_others, 1)[1]["user"])


def test_a_lane_that_diverges_leaves_the_others_alone(data):
    lanes, start = prepare()
    good = hyper(SETTINGS)
    wild = good._replace(learning_rate=good.learning_rate.at[3].set(1e30))
    expected, trained = (lanes.train(start, OBJECTIVE, h, data, KEY) for h in (good, wild))
    assert not np.isfinite(lane(trained, 3)[1]["user"]).all()
    for k in {*range(LANES)} - {3}:
        jax.tree.map(np.testing.assert_array_equal, lane(trained, k), lane(expected, k))


def test_devices_make_no_difference(data):
    results = []
    for count in (1, 2):
        lanes, start = prepare(50.0, count)
        trained = lanes.train(start, OBJECTIVE, hyper(SETTINGS), data, KEY)
        scores = lanes.predict(trained, data)
        assert len(trained.tables["user"].sharding.device_set) == count
        results.append(jax.tree.map(np.asarray, (start, trained, scores)))
    assert_close(*results, rtol=1e-5, atol=1e-6)


def test_devices_do_not_talk(data):
    lanes, start = prepare(50.0, 2)
    program = lanes.train.lower(start, OBJECTIVE, hyper(SETTINGS), data, KEY).compile()
    assert "while" in program.as_text()
    assert find_collectives(program) == []


def test_new_candidates_do_not_compile_again(data):
    lanes, start = prepare()
    sizes = []
    for programs in (PROGRAMS, PROGRAMS[::-1], [PROGRAMS[1]] * LANES):
        slots = max(len(program.op) for program in PROGRAMS)
        lanes.train(
            start,
            stack_losses(programs, [DEFAULT_BOUNDS] * LANES, slots),
            hyper(SETTINGS),
            data,
            KEY,
        )
        sizes.append(lanes.train._cache_size())
    assert sizes[0] == sizes[-1] > 0


def test_losses_known_before_and_losses_as_data_train_alike(data):
    traced, start = prepare()
    static, _ = prepare(logit_grads=KNOWN)
    scale = jnp.linspace(0.5, 1.5, LANES)
    results = [
        lanes.train(start, of_lanes, hyper(SETTINGS), data, KEY)
        for lanes, of_lanes in ((traced, OBJECTIVE._replace(scale=scale)), (static, scale))
    ]
    assert_close(*results, rtol=1e-4, atol=1e-5)


def test_slopes_are_the_derivatives_of_each_lanes_loss():
    logits = jnp.linspace(-4, 4, LANES * 6).reshape(LANES, 6)
    label = jnp.array([0.0, 1, 0, 1, 1, 0])
    scale = jnp.arange(1.0, LANES + 1)
    expected = [
        k * jax.vmap(jax.grad(loss))(z, label)
        for k, loss, z in zip(scale, [*FORMULAS.values()] * 2, logits, strict=True)
    ]
    for logit_grads in (
        jax.jit(SLOPES)(OBJECTIVE._replace(scale=scale), logits, label),
        jax.jit(KNOWN)(scale, logits, label),
    ):
        np.testing.assert_allclose(logit_grads, jnp.stack(expected), rtol=1e-4, atol=1e-5)


def test_batches_hold_everything_once_and_pad_with_weight_zero():
    drawn = toy_recommender.make_interactions(np.random.default_rng(0), USERS, ITEMS, 37)
    for key in (None, jax.random.key(1), jax.random.key(2)):
        cut = make_batches(drawn, 16, key)
        assert cut.label.shape == (3, 16)
        real = np.asarray(cut.weight).ravel() == 1
        assert real.sum() == 37
        pairs = [np.stack([b.ids["user"], b.ids["item"], b.label], -1) for b in (cut, drawn)]
        ours, theirs = pairs[0].reshape(-1, 3)[real], pairs[1]
        assert sorted(ours.tolist()) == sorted(theirs.tolist())
        assert (ours.tolist() == theirs.tolist()) == (key is None)


def test_spread_and_take_give_exact_copies():
    lanes, start = prepare()
    one = lanes.take(start, jnp.array([5]))
    jax.tree.map(np.testing.assert_array_equal, lane(one, 0), lane(start, 5))
    copies = lanes.repeat(one, 4)
    for k in range(4):
        jax.tree.map(np.testing.assert_array_equal, lane(copies, k), lane(start, 5))


def test_predictions_are_the_recommenders(data):
    lanes, start = prepare()
    scores = lanes.predict(start, data)
    assert scores.shape == (LANES, data.label.size)
    dense, tables = lane(start, 4)
    rows = {field: tables[field][np.asarray(data.ids[field]).ravel()] for field in tables}
    np.testing.assert_allclose(
        scores[4], toy_recommender.forward(dense, rows), rtol=1e-5, atol=1e-6
    )
