"""Every recommender against its formulas, as NumPy has them in float64."""

import itertools
from functools import cache

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from autolossgen import models
from autolossgen.interfaces import Side

pytestmark = pytest.mark.slow

WIDTH, USERS, ITEMS, GENRES, HOURS, BATCH = 4, 7, 6, 5, 3, 8
RNG = np.random.default_rng(0)
SIDES = {
    "genre": Side("item", RNG.integers(-1, GENRES, (ITEMS, 2)).astype(np.int32)),
    "year": Side("item", RNG.normal(size=ITEMS).astype(np.float32)),
    "age": Side("user", RNG.normal(size=USERS).astype(np.float32)),
}
PAIR = {"user": USERS, "item": ITEMS}
ALL = {**PAIR, "genre": GENRES, "hour": HOURS}
READ_PAIRS = {"biased_mf", "neumf"}


# The formulas, over parameters p, rows r and numbers x, all float64.


def dense(p, h):
    return h @ p["kernel"] + p["bias"]


def perceptron(p, h):
    for number in range(sum(name.startswith("Dense") for name in p)):
        h = np.maximum(dense(p[f"Dense_{number}"], h), 0)
    return h


def everything(r, x):
    return np.concatenate([r[name] for name in sorted(r)] + [x[n][:, None] for n in sorted(x)], 1)


def biased_mf(p, r, x):
    u, i = r["user"], r["item"]
    return (u[:, :-1] * i[:, :-1]).sum(1) + u[:, -1] + i[:, -1] + p["global_bias"]


def deep(p, r, x, mean, var):
    h = everything(r, x)
    for number, layer in enumerate(mean):
        h = dense(p["Perceptron_0"][f"Dense_{number}"], h)
        norm = p["Perceptron_0"][f"BatchNorm_{number}"]
        h = (h - layer) / np.sqrt(var[number] + 1e-5) * norm["scale"] + norm["bias"]
        h = np.maximum(h, 0)
    return dense(p["logit"], h)[:, 0]


def deep_scoring(p, r, x):
    return deep(p, r, x, MOVING["mean"], MOVING["var"])


def neumf(p, r, x):
    u, i = r["user"], r["item"]
    tower = perceptron(p["Perceptron_0"], np.concatenate([u[:, WIDTH:], i[:, WIDTH:]], 1))
    return dense(p["logit"], np.concatenate([u[:, :WIDTH] * i[:, :WIDTH], tower], 1))[:, 0]


def deepfm(p, r, x):
    fields = [r[name] for name in sorted(r)]
    fields += [np.outer(x[name], p[f"number_{name}"]) for name in sorted(x)]
    vectors = [field[:, :-1] for field in fields]
    pairs = sum((v * w).sum(1) for v, w in itertools.combinations(vectors, 2))
    tower = perceptron(p["Perceptron_0"], np.concatenate(vectors, 1))
    return sum(field[:, -1] for field in fields) + pairs + dense(p["logit"], tower)[:, 0]


def crossed(p, x0):
    h = x0
    for number in range(2):
        h = x0 * dense(p[f"Dense_{number}"], h) + h
    return h


def dcn_v2(p, r, x):
    return dense(p["logit"], perceptron(p["Perceptron_0"], crossed(p, everything(r, x))))[:, 0]


def dcn_v2_parallel(p, r, x):
    x0 = everything(r, x)
    both = np.concatenate([crossed(p, x0), perceptron(p["Perceptron_0"], x0)], 1)
    return dense(p["logit"], both)[:, 0]


def dcn_v2_of_rank(p, r, x):
    x0 = h = everything(r, x)
    for number in range(2):
        low = h @ p[f"Dense_{2 * number}"]["kernel"]
        h = x0 * dense(p[f"Dense_{2 * number + 1}"], low) + h
    return dense(p["logit"], perceptron(p["Perceptron_0"], h))[:, 0]


def two_tower(p, r, x):
    of_item = {"item", "genre", "year"}
    vectors = []
    for tower, names in (("item", of_item), ("user", {*r, *x} - of_item)):
        mine = [{n: v for n, v in given.items() if n in names} for given in (r, x)]
        vectors.append(dense(p[f"{tower}_vector"], perceptron(p[tower], everything(*mine))))
    return (vectors[0] * vectors[1]).sum(1)


HIDDEN = {"hidden": (6, 5)}
CASES = {
    "biased_mf": ("biased_mf", biased_mf, {}),
    "deep": ("deep", deep_scoring, HIDDEN),
    "neumf": ("neumf", neumf, HIDDEN),
    "deepfm": ("deepfm", deepfm, HIDDEN),
    "dcn_v2": ("dcn_v2", dcn_v2, {**HIDDEN, "rank": 0}),
    "dcn_v2 parallel": ("dcn_v2", dcn_v2_parallel, {**HIDDEN, "rank": 0, "parallel": True}),
    "dcn_v2 of rank 2": ("dcn_v2", dcn_v2_of_rank, {**HIDDEN, "rank": 2}),
    "two_tower": ("two_tower", two_tower, {**HIDDEN, "out": 3}),
}
MOVING = {
    kind: [RNG.uniform(0.5, 1.5, width) for width in HIDDEN["hidden"]] for kind in ("mean", "var")
}


def test_every_model_has_a_case():
    assert {name for name, _, _ in CASES.values()} == {*models.MODELS}


def build(name, options=None, **changes):
    features = {} if name in READ_PAIRS else {"sides": SIDES}
    sizes = PAIR if name in READ_PAIRS else ALL
    defaults = {"name": name, "embedding_dim": WIDTH, "init_scale": 0.7, "sizes": sizes}
    model = models.build(**defaults | features | {"options": options} | changes)
    return model._replace(
        init=jax.jit(model.init), apply=jax.jit(model.apply, static_argnames="train")
    )


@cache
def of_case(case):
    """Returns the model of a case, its compiled functions shared by all tests."""
    name, _, options = CASES[case]
    return build(name, options)


def given(model, count=BATCH, seed=1):
    """Returns parameters, statistics, and drawn rows and numbers of a model."""
    params, statistics, _ = jax.tree.map(np.asarray, model.init(jax.random.key(seed)))
    rng = np.random.default_rng(seed)
    # Biases start at zero; anywhere else says more.
    params = jax.tree.map(lambda x: x + np.float32(0.3 * rng.normal(size=x.shape)), params)
    rows = {n: jnp.float32(rng.normal(size=(count, t.width))) for n, t in model.tables.items()}
    numbers = [name for name in model.sides if name not in model.tables]
    return params, statistics, rows, {n: jnp.float32(rng.normal(size=count)) for n in numbers}


def with_moving(statistics):
    """Puts the moving averages of these tests in place of the first ones."""
    if not statistics:
        return {}
    layers = {
        f"BatchNorm_{i}": {kind: jnp.float32(MOVING[kind][i]) for kind in ("mean", "var")}
        for i in range(2)
    }
    return {"Perceptron_0": layers}


def wide(tree):
    return jax.tree.map(lambda x: np.asarray(x, np.float64), tree)


@pytest.mark.parametrize("case", CASES)
def test_scores_are_those_of_the_formula(case):
    model, formula = of_case(case), CASES[case][1]
    params, statistics, rows, numbers = given(model)
    statistics = with_moving(statistics)
    logits, same = model.apply(params, statistics, rows, numbers, train=False)
    assert logits.shape == (BATCH,)
    np.testing.assert_allclose(
        logits, formula(*wide((params, rows, numbers))), rtol=2e-4, atol=2e-5
    )
    jax.tree.map(np.testing.assert_array_equal, same, statistics)
    assert np.ptp(logits) > 0.1


@pytest.mark.parametrize("case", CASES)
def test_gradients_are_those_of_the_formula(case):
    """Along a few random directions, against differences in float64."""
    model, formula = of_case(case), CASES[case][1]
    params, statistics, rows, numbers = given(model)
    statistics = with_moving(statistics)

    def scores(params, rows):
        return model.apply(params, statistics, rows, numbers, train=False)[0]

    rng = np.random.default_rng(2)
    draw = lambda x: jnp.float32(rng.normal(size=x.shape))  # noqa: E731
    derivative = jax.jit(lambda direction: jax.jvp(scores, (params, rows), direction)[1])
    for _ in range(3):
        direction = jax.tree.map(draw, (params, rows))
        there, back = (
            formula(
                *jax.tree.map(lambda x, d, s=s: x + s * d, *wide(((params, rows), direction))),
                wide(numbers),
            )
            for s in (1e-6, -1e-6)
        )
        expected = (there - back) / 2e-6
        np.testing.assert_allclose(derivative(direction), expected, rtol=2e-3, atol=2e-3)


def test_batch_norm_is_of_the_examples_that_are_real():
    model = build("deep", {**HIDDEN, "dropout": 0.0})
    params, statistics, rows, numbers = given(model)
    statistics = with_moving(statistics)
    weight = jnp.float32([1, 1, 0, 1, 1, 1, 0, 1])
    logits, moved = model.apply(
        params, statistics, rows, numbers, train=True, weight=weight, key=jax.random.key(0)
    )
    real = np.asarray(weight) > 0
    p, r, x = wide((params, *jax.tree.map(lambda x: x[real], (rows, numbers))))
    mean, var, h = [], [], everything(r, x)
    for i in range(2):
        h = dense(p["Perceptron_0"][f"Dense_{i}"], h)
        mean.append(h.mean(0))
        var.append(h.var(0))
        norm = p["Perceptron_0"][f"BatchNorm_{i}"]
        h = np.maximum((h - mean[i]) / np.sqrt(var[i] + 1e-5) * norm["scale"] + norm["bias"], 0)
        for kind, now in (("mean", mean[i]), ("var", var[i])):
            found = moved["Perceptron_0"][f"BatchNorm_{i}"][kind]
            expected = 0.9 * MOVING[kind][i] + 0.1 * now
            np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-4)
    np.testing.assert_allclose(logits[real], deep(p, r, x, mean, var), rtol=1e-3, atol=1e-3)


def test_dropout_leaves_out_its_share_in_training_alone():
    model = build("deepfm", {"hidden": (2000,), "dropout": 0.2})
    params, statistics, rows, numbers = given(model, 1)
    ones = jax.tree.map(jnp.zeros_like, params)
    ones["Perceptron_0"]["Dense_0"]["bias"] += 1.0
    ones["logit"]["kernel"] += 1 / 2000
    silent = {name: 0 * row for name, row in rows.items()}

    def kept(key):
        given_ = (ones, statistics, silent, numbers)
        return float(model.apply(*given_, train=True, weight=jnp.ones(1), key=key)[0][0]) * 0.8

    shares = [kept(jax.random.key(seed)) for seed in range(5)]
    assert all(abs(share - 0.8) < 5 * 0.4 / 2000**0.5 for share in shares)
    assert len(set(shares)) > 1
    assert kept(jax.random.key(0)) == shares[0]
    scored = model.apply(ones, statistics, silent, numbers, train=False)[0]
    np.testing.assert_allclose(scored, 1, rtol=1e-5)


@pytest.mark.parametrize("case", CASES)
def test_examples_are_scored_one_by_one(case):
    model = of_case(case)
    params, statistics, rows, numbers = given(model)
    order = np.random.default_rng(3).permutation(BATCH)
    shuffled = jax.tree.map(lambda x: x[order], (rows, numbers))
    logits = model.apply(params, statistics, rows, numbers, train=False)[0]
    found = model.apply(params, statistics, *shuffled, train=False)[0]
    np.testing.assert_allclose(found, logits[order], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", models.MODELS)
def test_every_model_starts_by_its_key_and_in_the_shapes_it_says(name):
    model = of_case(name)
    starts = [model.init(jax.random.key(seed)) for seed in (0, 0, 1)]
    jax.tree.map(np.testing.assert_array_equal, *starts[:2])
    assert not np.array_equal(starts[0][2]["user"], starts[2][2]["user"])
    assert {field: table.shape for field, table in starts[0][2].items()} == dict(model.tables)
    assert {*model.tables} == ({*PAIR} if name in READ_PAIRS else {*ALL})


def test_users_and_items_meet_only_in_the_product_of_two_towers():
    model = build("two_tower", {"out": 2})
    params, statistics, _, _ = given(model)
    rng = np.random.default_rng(4)
    user, item = (index.ravel() for index in np.indices((USERS, ITEMS)))
    of = {"user": user, "age": user, "hour": user, "item": item, "genre": item, "year": item}
    rows = {n: jnp.float32(rng.normal(size=(9, t.width)))[of[n]] for n, t in model.tables.items()}
    numbers = {name: jnp.asarray(SIDES[name].values)[of[name]] for name in ("age", "year")}
    logits = model.apply(params, statistics, rows, numbers, train=False)[0]
    singular = np.linalg.svd(np.asarray(logits).reshape(USERS, ITEMS), compute_uv=False)
    assert singular[1] > 1e-2
    assert singular[2] < 1e-4 * singular[0]
