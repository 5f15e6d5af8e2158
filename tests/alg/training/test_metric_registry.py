"""Metrics by name: which there are, which way is better, and what a family can be judged by."""

from functools import cache, partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import sklearn.metrics

from autolossgen import PAIRWISE, POINTWISE, build_loss
from autolossgen.evaluation.contenders import Contender
from autolossgen.evaluation.statistics import FairTestResult, make_result_records
from autolossgen.training.evaluate import evaluate
from autolossgen.training.lanes import make_lanes
from autolossgen.training.metric_registry import (
    METRIC_NAMES,
    EvalTargets,
    get_metric,
    get_metric_for,
    metrics_to_report,
)
from autolossgen.training.tasks import RATING, make_task
from tests.helpers import toy_recommender

pytestmark = pytest.mark.slow

COUNT = 60
RNG = np.random.default_rng(5)
LABELS = np.float32(RNG.random(COUNT) < 0.4)
USERS = np.int32(RNG.integers(0, 6, COUNT))
JUDGED = EvalTargets(jnp.asarray(LABELS), jnp.asarray(USERS), jnp.ones(COUNT))
OF_LABELS = [name for name in METRIC_NAMES if not get_metric(name).of_ranks]
OF_RANKS = [name for name in METRIC_NAMES if get_metric(name).of_ranks]


def good_and_bad(metric):
    """Returns what is kept of scores that follow the labels, and of scores that turn them round."""
    if metric.of_ranks:
        return np.float32(RNG.integers(1, 5, COUNT)), np.float32(RNG.integers(20, 30, COUNT))
    right = np.float32(2 * LABELS - 1 + RNG.normal(0, 0.7, COUNT))
    return right, -right


@pytest.mark.parametrize("name", [*METRIC_NAMES, "ndcg@3", "recall@50", "mrr@1"])
def test_a_better_recommender_has_a_higher_reward(name):
    metric = get_metric(name)
    judge = jax.jit(lambda kept: (metric.reward(kept, JUDGED), metric.value(kept, JUDGED)))
    (good, bad), values = zip(*map(judge, good_and_bad(metric)), strict=True)
    assert 0 <= bad < good <= 1 or name == "recall@50"
    if name != "recall@50":
        assert (values[0] < values[1]) == metric.lower_is_better


def test_the_reward_of_accuracy_is_that_of_the_best_threshold():
    kept = good_and_bad(get_metric("accuracy"))[0] + 5  # so that nothing is cut well at 0
    brute = max(sklearn.metrics.accuracy_score(LABELS, kept > cut) for cut in [0, *kept])
    assert float(get_metric("accuracy").reward(kept, JUDGED)) == pytest.approx(brute)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("acu", "'acu' is no metric .did you mean 'auc'"),
        ("precision@10", "'precision@10' is no metric"),
        ("AUC", "did you mean 'auc'"),
        ("gauc", "did you mean 'user_auc'"),
        ("ndgc@5", "did you mean 'ndcg@5'"),
        ("NDCG@20", "did you mean 'ndcg@20'"),
        ("HR@5", "did you mean 'hit@5'"),
        ("ndcg", "ndcg counts the first ranks, as in 'ndcg@10', got 'ndcg'"),
        ("ndcg@0", "got 'ndcg@0'"),
        ("hit@ten", "got 'hit@ten'"),
        ("auc@10", "no metric"),
    ],
)
def test_unknown_metrics_are_named_with_what_was_meant(name, message):
    with pytest.raises(ValueError, match=message):
        get_metric(name)


@pytest.mark.parametrize("name", ["logloss", "rmse", "mae"])
def test_pairwise_losses_have_no_probabilities(name):
    with pytest.raises(ValueError, match=r"only order items; choose one of auc, user_auc, "):
        get_metric_for(name, PAIRWISE)
    assert get_metric_for(name, POINTWISE).name == name
    assert name not in {m.name for m in metrics_to_report(get_metric("auc"), PAIRWISE)}


@pytest.mark.parametrize("family", ["pointwise", "pairwise"])
@pytest.mark.parametrize("name", ["user_auc", "f1", "ndcg@7", "mrr"])
def test_any_other_metric_judges_either_family(family, name):
    task = make_task(family, 3, name)
    assert task.metric.name == name
    assert task.group == (1 if family == "pointwise" else 4)
    assert name in [metric.name for metric in metrics_to_report(task.metric, task.family)]


def test_what_is_reported_is_of_one_kind():
    assert [m.name for m in metrics_to_report(get_metric("f1"), POINTWISE)] == OF_LABELS
    assert [m.name for m in metrics_to_report(get_metric("ndcg@5"), POINTWISE)] == [
        "ndcg@5",
        *OF_RANKS,
    ]


@cache
def make_judged_lanes():
    """Returns lanes, their state, of which the second one diverged, and data."""
    data = toy_recommender.make_interactions(np.random.default_rng(0), 20, 15, 70)
    logit_grads = RATING.static_logit_grads([lambda z, y, reduce_fn: z])
    lanes = make_lanes(toy_recommender.make_recommender(20, 15), logit_grads)
    state = lanes.init(jax.random.split(jax.random.key(0), 3))
    return lanes, state._replace(scale=state.scale.at[1].set(jnp.nan)), data


@pytest.mark.parametrize("name", OF_LABELS)
def test_lanes_are_judged_by_the_metric_and_a_diverged_one_gets_nothing(name):
    lanes, state, data = make_judged_lanes()
    task = RATING._replace(metric=get_metric(name))
    found = np.asarray(jax.jit(partial(evaluate, lanes, task=task))(state, data))
    reward = jax.jit(task.metric.reward)
    user = EvalTargets(data.label, data.ids["user"], data.weight)
    for lane in (0, 2):
        tables = {field: table[..., lane] for field, table in state.tables.items()}
        rows_ = {field: tables[field][data.ids[field]] for field in tables}
        logits = toy_recommender.forward({"bias": state.dense["bias"][lane]}, rows_)
        np.testing.assert_allclose(found[lane], reward(logits, user), atol=1e-5)
    assert found[1] == 0


def outcome(name, found, valid, test):
    values = {"rmse": np.asarray(valid)}, {"rmse": np.asarray(test)}
    contender = Contender(name, "label", build_loss("label"), found)
    return FairTestResult(contender, 1.0, 0.0, 3, *values, np.asarray([np.mean(test)]))


def test_the_best_usual_loss_has_the_lowest_error():
    some = [
        outcome("a", False, [0.5, 0.6], [0.4, 0.5]),
        outcome("b", False, [0.4, 0.5], [0.5, 0.6]),
        outcome("c", False, [np.nan, np.nan], [np.nan, np.nan]),
        outcome("d", True, [0.3, 0.4], [0.3, 0.5]),
    ]
    table = make_result_records(some, model="m", dataset="d", metric=get_metric("rmse"))
    assert [row["vs_best_baseline"] is None for row in table] == [False, True, False, False]
    assert table[3]["vs_best_baseline"]["metric"] == "rmse"
    assert table[3]["vs_best_baseline"]["difference"] == pytest.approx(-0.15)
