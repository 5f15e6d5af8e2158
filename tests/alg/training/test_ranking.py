"""Pairwise losses in lanes, trainers and the fair test, against dense training of one at a time."""

from functools import cache, partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType

from autolossgen import DEFAULT_BOUNDS, PAIRWISE, UNBOUNDED, build_loss, named_loss
from autolossgen.evaluation.contenders import Contender
from autolossgen.evaluation.fair_test import make_fair_test
from autolossgen.evaluation.statistics import Splits, make_result_records, measure, resample_users
from autolossgen.interfaces import Batch, Positives
from autolossgen.language.inputs import as_program
from autolossgen.training.evaluate import evaluate
from autolossgen.training.lanes import make_batches, make_lanes
from autolossgen.training.loss_gradients import stack_losses
from autolossgen.training.optimizers import Hyper
from autolossgen.training.tasks import make_ranking_task, make_task
from autolossgen.training.trainer import make_trainer
from tests.helpers import toy_recommender

pytestmark = pytest.mark.slow

USERS, ITEMS, SIZE, LANES = 20, 15, 8, 4
TASK = make_ranking_task(3)
FORMULAS = (
    "softplus(-diff)",
    "softplus(logsumexp_neg(-diff))",
    "square(1 - pos) + sum_neg(relu(neg))",
    "0.5 * mean_neg(exp(neg)) - pos * sigmoid(neg)",
)
RATES, DECAYS = np.float32([0.5, 0.1, 0.05, 0.2]), np.float32([0, 1e-3, 1e-2, 0])


def groups(rng, count, size, masked=0.0):
    """Draws groups; users like what ``toy_recommender.make_interactions`` makes them like."""
    user = rng.integers(0, USERS, count)
    taste, kind = np.cos(1.0 + np.arange(USERS)), np.sin(3.0 * np.arange(ITEMS))
    drawn = rng.integers(0, ITEMS, (count, 4 * size))
    by_taste = np.argsort(-taste[user][:, None] * kind[drawn], axis=1)
    first, rest = np.take_along_axis(drawn, by_taste, 1)[:, :1], drawn[:, : size - 1]
    item = np.concatenate([first, rest], axis=1)
    weight = (rng.random(item.shape) >= masked).astype(np.float32)
    weight[:, 0] = 1
    ids = {"user": np.repeat(user[:, None], size, 1), "item": item}
    ids = {field: jnp.asarray(x, jnp.int32) for field, x in ids.items()}
    label = jnp.zeros(item.shape).at[:, 0].set(1)
    return Batch(ids, label, jnp.asarray(weight))


def liked(rng, count):
    """Draws positives of users, who are known to like nothing else."""
    first = groups(rng, count, 1)
    user, item = (np.asarray(first.ids[field][:, 0]) for field in ("user", "item"))
    pairs = np.unique(np.stack([user, item], 1), axis=0)
    start = np.searchsorted(pairs[:, 0], np.arange(USERS + 1))
    below = pairs[:, 1] - (np.arange(len(pairs)) - start[pairs[:, 0]])
    arrays = ({"user": user, "item": item}, np.arange(ITEMS), below, start)
    return Positives(*jax.tree.map(lambda x: jnp.asarray(x, jnp.int32), arrays))


def lanes_of(logit_grads, devices=1):
    chosen = jax.devices()[:devices]
    mesh = jax.make_mesh((devices,), ("lanes",), axis_types=(AxisType.Auto,), devices=chosen)
    return make_lanes(toy_recommender.make_recommender(USERS, ITEMS), logit_grads, mesh=mesh)


def traced():
    programs = [as_program(formula, family=PAIRWISE) for formula in FORMULAS]
    operators = sorted({int(op) for program in programs for op in program.op})
    return TASK.traced_logit_grads(operators), stack_losses(programs, [DEFAULT_BOUNDS] * LANES)


@cache
def gradient_of(formula):
    """Returns the gradient of the mean over positives, by all parameters."""
    loss = build_loss(formula, family=PAIRWISE)

    def value(parameters, user, item):
        rows = {"user": parameters[1]["user"][user], "item": parameters[1]["item"][item]}
        scores = toy_recommender.forward(parameters[0], rows)
        return loss(scores[:, 0], scores[:, 1:])

    return jax.jit(jax.grad(value))


def dense(tables, bias, data, formula, rate, decay):
    """Trains by SGD on the mean over positives, everything in the gradient."""
    parameters, ids = (bias, tables), jax.tree.map(np.asarray, data.ids)
    for first in range(0, data.label.shape[0], SIZE):
        batch = [ids[field][first : first + SIZE] for field in ("user", "item")]
        gradient = jax.tree.map(np.asarray, gradient_of(formula)(parameters, *batch))
        parameters = jax.tree.map(
            lambda p, g: np.float32((1 - rate * decay) * p - rate * g), parameters, gradient
        )
    return parameters


def lane(state, k):
    one = jax.tree.map(np.asarray, state)
    tables = {field: one.scale[k] * table[..., k] for field, table in one.tables.items()}
    return jax.tree.map(lambda x: x[k], one.dense), tables


# Lanes take turns within a device, so each has all static losses when there is one.
@pytest.mark.parametrize(("kind", "devices"), [("traced", 1), ("traced", 2), ("static", 1)])
def test_a_lane_is_a_single_training_on_groups(kind, devices):
    data = groups(np.random.default_rng(0), 4 * SIZE + 3, TASK.group)  # the last batch is padded
    if kind == "traced":
        logit_grads, of_lanes = traced()
    else:
        logit_grads = TASK.static_logit_grads([build_loss(f, family=PAIRWISE) for f in FORMULAS])
        of_lanes = jnp.ones(LANES)
    lanes = lanes_of(logit_grads, devices)
    start = jax.jit(lanes.init)(jax.random.split(jax.random.key(3), LANES))
    hyper = Hyper(jnp.asarray(RATES), jnp.asarray(DECAYS), jnp.zeros(LANES))
    trained = jax.jit(lanes.train)(
        start, of_lanes, hyper, make_batches(data, SIZE), jax.random.key(0)
    )
    for k, formula in enumerate(FORMULAS):
        bias, tables = lane(start, k)
        expected = dense(tables, bias, data, formula, RATES[k], DECAYS[k])
        found = lane(trained, k)
        jax.tree.map(partial(np.testing.assert_allclose, rtol=2e-4, atol=2e-5), found, expected)
        assert np.abs(found[1]["user"] - tables["user"]).max() > 1e-3


def test_groups_stay_together_when_shuffled():
    data = groups(np.random.default_rng(1), 11, 3)
    cut = make_batches(data, 4, jax.random.key(0))
    assert cut.label.shape == (3, 12)
    items = np.asarray(cut.ids["item"]).reshape(-1, 3)
    real = np.asarray(cut.weight).reshape(-1, 3).all(1)
    assert real.sum() == 11
    assert sorted(map(tuple, items[real])) == sorted(map(tuple, np.asarray(data.ids["item"])))
    assert np.all(np.asarray(cut.label).reshape(-1, 3) == [1, 0, 0])
    assert np.all(np.asarray(cut.weight).reshape(-1, 3)[~real] == 0)


def test_judging_is_ranking_group_by_group():
    data = groups(np.random.default_rng(2), 37, 9, masked=0.4)
    lanes = lanes_of(traced()[0])
    state = jax.jit(lanes.init)(jax.random.split(jax.random.key(1), LANES))
    found = evaluate(lanes, state, data, TASK)
    for k in range(LANES):
        bias, tables = lane(state, k)
        rows_ = {field: tables[field][np.asarray(data.ids[field])] for field in tables}
        scores = np.asarray(toy_recommender.forward(bias, rows_))
        gains = []
        for s, w in zip(scores, np.asarray(data.weight), strict=True):
            others = s[1:][w[1:] > 0]
            rank = 1 + np.sum(others > s[0]) + 0.5 * np.sum(others == s[0])
            gains.append(1 / np.log2(1 + rank) if rank <= 10 else 0)
        np.testing.assert_allclose(found[k], np.mean(gains), rtol=1e-5)


def ranks_in_float64(bias, tables, data):
    """Returns the ranks [n] of the first of groups, of scores in double precision."""
    tables, ids = jax.tree.map(np.float64, tables), jax.tree.map(np.asarray, data.ids)
    user, item = (tables[field][ids[field]] for field in ("user", "item"))
    scores = np.sum(user * item[..., :-1], -1) + item[..., -1] + np.float64(bias["bias"])
    first, others = scores[:, :1], scores[:, 1:]
    above = np.where(others > first, 1, np.where(others == first, 0.5, 0))
    return 1 + np.sum(above * np.asarray(data.weight)[:, 1:], 1)


@cache
def trainer_over(devices):
    make = partial(lanes_of, devices=devices)
    return make_trainer(make, traced()[0], batch_size=SIZE, task=TASK)


@pytest.mark.parametrize(("devices", "count"), [(1, 1), (1, 64), (1, 150), (2, 150)])
@pytest.mark.parametrize("whole", [False, True], ids=["sampled", "all items"])
def test_ranks_are_those_of_a_count_in_float64(devices, count, whole):
    """Ties, of items with the same row, count half; groups fill a block, several or none."""
    data = groups(np.random.default_rng(count), count, ITEMS + 1, masked=0.3)
    if whole:
        data.ids["item"] = data.ids["item"].at[:, 1:].set(jnp.arange(ITEMS))
    trainer = trainer_over(devices)
    state = trainer.init(jax.random.split(jax.random.key(1), LANES))
    item = state.tables["item"]
    state.tables["item"] = item.at[ITEMS // 2 :].set(item[: ITEMS - ITEMS // 2])
    found = np.asarray(trainer.predict(state, data))
    assert np.any(found % 1 == 0.5)
    for k in range(LANES):
        np.testing.assert_array_equal(found[k], ranks_in_float64(*lane(state, k), data))


def test_a_lane_that_diverged_is_worth_nothing():
    data = groups(np.random.default_rng(2), 10, 4)
    lanes = lanes_of(traced()[0])
    state = jax.jit(lanes.init)(jax.random.split(jax.random.key(1), LANES))
    broken = state._replace(scale=state.scale.at[2].set(jnp.nan))
    found = np.asarray(evaluate(lanes, broken, data, TASK))
    assert found[2] == 0
    assert np.all(np.delete(found, 2) > 0)


def test_learning_rates_are_for_a_gradient_as_large_as_bprs():
    data = liked(np.random.default_rng(4), 100)
    losses = [
        named_loss("bpr"),
        build_loss("3 * softplus(-diff)", bounds=UNBOUNDED, family=PAIRWISE),
    ]
    make = partial(make_lanes, toy_recommender.make_recommender(USERS, ITEMS, 0.01))
    trainer = make_trainer(make, TASK.static_logit_grads(losses), batch_size=SIZE, task=TASK)
    state = trainer.init(jax.random.split(jax.random.key(0), 2))
    np.testing.assert_allclose(
        trainer.learning_rate_factors(jnp.ones(2), state, data), [1, 1 / 3], rtol=1e-2
    )


BAD = Contender("bad", "softplus(diff)", build_loss("softplus(diff)", family=PAIRWISE), False)
BPR = Contender("bpr", "softplus(-diff)", named_loss("bpr"), False)
SOFTMAX = Contender("softmax", "", named_loss("sampled_softmax"), True, ("diff",))


@cache
def compared(devices=1):
    chosen = jax.devices()[:devices]
    mesh = jax.make_mesh((devices,), ("lanes",), axis_types=(AxisType.Auto,), devices=chosen)
    rng = np.random.default_rng(7)
    splits = Splits(liked(rng, 400), *(groups(rng, n, 12, 0.1) for n in (60, 70)))
    test = make_fair_test(
        partial(make_lanes, toy_recommender.make_recommender(USERS, ITEMS, 0.5), mesh=mesh),
        learning_rates=(0.5, 3.0),
        weight_decays=(1e-4,),
        l2=0.0,
        tuning_seeds=1,
        seeds=2,
        epochs=3,
        patience=3,
        batch_size=SIZE,
        scale="gradient",
        task=TASK,
    )
    contenders = (BAD, BPR, SOFTMAX)
    return splits, test.run(contenders, test.tune(contenders, splits), splits)


def test_the_fair_test_ranks():
    _, outcomes = compared()
    bad, bpr, softmax = (outcome.test["ndcg@10"].mean() for outcome in outcomes)
    assert bpr > bad + 0.1
    assert softmax > bad + 0.1
    for outcome in outcomes:
        assert set(outcome.test) == {"ndcg@10", "recall@10", "hit@10", "mrr@10", "mrr"}
        assert np.all(outcome.test["mrr@10"] <= outcome.test["ndcg@10"])
        assert np.all(outcome.test["ndcg@10"] <= outcome.test["recall@10"])


def test_every_device_draws_the_negatives_of_its_seed():
    """Seed by seed, the rankings are those of one device."""
    for one, two in zip(compared()[1], compared(devices=2)[1], strict=True):
        np.testing.assert_allclose(one.test["mrr"], two.test["mrr"], atol=2e-3)


def test_rows_compare_by_the_metric_of_the_task():
    _, outcomes = compared()
    table = make_result_records(outcomes, model="m", dataset="d", metric=TASK.metric)
    assert [row["vs_best_baseline"] is None for row in table] == [False, True, False]
    against = table[2]["vs_best_baseline"]
    assert against["metric"] == "ndcg@10"
    paired = outcomes[2].test["ndcg@10"] - outcomes[1].test["ndcg@10"]
    assert against["difference"] == pytest.approx(paired.mean())


def test_users_are_drawn_whole():
    splits, _ = compared()
    rng = np.random.default_rng(0)
    ranks = rng.integers(1, 13, (2, 70)).astype(np.float32)
    users = np.asarray(splits.test.ids["user"][:, 0])
    _, user = np.unique(users, return_inverse=True)
    count = user.max() + 1
    drawn = np.random.default_rng(0).multinomial(count, np.full(count, 1 / count), size=500)
    gains = np.where(ranks <= 10, 1 / np.log2(1 + ranks), 0)
    expected = [np.average(gains, axis=1, weights=w[user]).mean() for w in drawn]
    (found,) = resample_users(ranks[:, None], ranks[:, None], splits, TASK)
    np.testing.assert_allclose(found, expected, rtol=1e-4)


def test_measures_are_of_ranks():
    splits, _ = compared()
    ranks = np.full((1, 60), 3, np.float32), np.full((1, 70), 11, np.float32)
    valid, test = measure(*ranks, splits, TASK)
    third = pytest.approx(1 / 3)
    assert valid == {"ndcg@10": 0.5, "recall@10": 1, "hit@10": 1, "mrr@10": third, "mrr": third}
    late = pytest.approx(1 / 11)
    assert test == {"ndcg@10": 0, "recall@10": 0, "hit@10": 0, "mrr@10": 0, "mrr": late}


def test_the_reference_of_a_task_is_its_familys():
    as_program(TASK.reference, family=TASK.family)
    assert make_task("pointwise", 4).group == 1
    assert make_task("pairwise", 4).group == 5


@pytest.mark.parametrize(
    ("family", "negatives", "message"),
    [
        ("pairwize", 4, "did you mean 'pairwise'"),
        ("pairwise", 0, "at least 1 negative, got 0"),
    ],
)
def test_tasks_that_cannot_be_are_refused(family, negatives, message):
    with pytest.raises(ValueError, match=message):
        make_task(family, negatives)
