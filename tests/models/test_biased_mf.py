"""BiasedMF against its formula, and what every recommender promises."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from autolossgen import models

pytestmark = pytest.mark.slow

SIZES, WIDTH = {"user": 30, "item": 20}, 5


def build(**options):
    defaults = {"name": "biased_mf", "embedding_dim": WIDTH, "init_scale": 0.1, "sizes": SIZES}
    return models.build(**defaults | options)


def start(model, seed=0):
    return start_of(model, jax.random.key(seed))


def start_of(model, key):
    dense, statistics, tables = model.init(key)
    assert statistics == {}
    return dense, tables


def score(model, dense, rows, *, train=False):
    logits, statistics = model.apply(dense, {}, rows, {}, train=train)
    assert statistics == {}
    return logits


def look_up(tables, users, items):
    return {"user": tables["user"][jnp.asarray(users)], "item": tables["item"][jnp.asarray(items)]}


def test_the_logit_is_product_and_biases():
    model = build(init_scale=1.0)
    dense, tables = start(model)
    users, items = [0, 3, 29, 3], [5, 5, 19, 0]
    logits = score(model, dense, look_up(tables, users, items), train=True)
    user, item = np.asarray(tables["user"])[users], np.asarray(tables["item"])[items]
    expected = (user[:, :-1] * item[:, :-1]).sum(1) + user[:, -1] + item[:, -1] + 0.1
    np.testing.assert_allclose(logits, expected, rtol=1e-5)


def test_gradients_are_those_of_the_formula():
    model = build(init_scale=1.0)
    dense, tables = start(model)
    rows = look_up(tables, [1, 2], [3, 4])
    gradient = jax.grad(lambda d, r: score(model, d, r, train=True)[0], argnums=(0, 1))(dense, rows)
    user, item = (np.asarray(rows[field])[0] for field in ("user", "item"))
    np.testing.assert_allclose(gradient[1]["user"][0], [*item[:-1], 1], rtol=1e-6)
    np.testing.assert_allclose(gradient[1]["item"][0], [*user[:-1], 1], rtol=1e-6)
    assert not gradient[1]["user"][1].any()  # of the other example
    assert jax.tree.leaves(gradient[0]) == [1.0]


def test_training_and_scoring_are_the_same():
    model = build()
    dense, tables = start(model)
    rows = look_up(tables, [0, 1], [2, 3])
    scores = [score(model, dense, rows, train=train) for train in (True, False)]
    np.testing.assert_array_equal(*scores)


def test_tables_say_the_shapes_of_what_init_gives():
    model = build()
    dense, tables = start(model)
    assert {field: table.shape for field, table in tables.items()} == dict(model.tables)
    assert model.tables == {"user": (30, WIDTH + 1), "item": (20, WIDTH + 1)}
    assert [float(x) for x in jax.tree.leaves(dense)] == [pytest.approx(0.1)]


@pytest.mark.parametrize("scale", [0.01, 1.0])
def test_rows_start_normal_with_the_scale_and_apart(scale):
    model = build(init_scale=scale, sizes={"user": 400, "item": 300}, embedding_dim=50)
    tables = start(model)[1]
    for table in tables.values():
        assert float(table.std()) == pytest.approx(scale, rel=0.02)
        assert abs(float(table.mean())) < 0.02 * scale
        assert 0.67 < float(jnp.mean(jnp.abs(table) < scale)) < 0.70
    assert not np.array_equal(tables["user"][:300], tables["item"])


def test_the_key_decides_the_start():
    model = build()
    one, again, other = (start(model, seed)[1]["user"] for seed in (0, 0, 1))
    np.testing.assert_array_equal(one, again)
    assert not np.array_equal(one, other)


def test_it_maps_over_lanes_on_the_last_axis():
    model = build()
    keys = jax.random.split(jax.random.key(0), 3)
    dense, _, tables = jax.vmap(model.init, out_axes=(0, 0, -1))(keys)
    rows = look_up(tables, [0, 1, 2, 3], [4, 5, 6, 7])
    logits = jax.vmap(lambda d, r: score(model, d, r), in_axes=(0, -1))(dense, rows)
    assert logits.shape == (3, 4)
    for k in range(3):
        alone, own = start_of(model, keys[k])
        expected = score(model, alone, look_up(own, [0, 1, 2, 3], [4, 5, 6, 7]))
        np.testing.assert_allclose(logits[k], expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"name": "biased_mg"}, "known: biased_mf"),
        ({"embedding_dim": 0}, "got 0 and 0.1"),
        ({"init_scale": 0.0}, "got 5 and 0.0"),
        ({"init_scale": float("nan")}, "got 5 and nan"),
    ],
)
def test_options_that_cannot_be_are_refused(wrong, message):
    with pytest.raises(ValueError, match=message):
        build(**wrong)
