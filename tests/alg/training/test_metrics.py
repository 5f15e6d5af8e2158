"""Metrics against scikit-learn, rax and brute force."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import sklearn.metrics
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from autolossgen.training import metrics
from autolossgen.training.metrics import (
    accuracy,
    auc,
    best_threshold,
    count_ahead,
    count_predictions,
    f1,
    user_auc,
)

pytestmark = pytest.mark.slow

SCORES = np.float32([-2, -0.5, 0, 1, 3])
MOST = 32  # every drawn split is padded to this, so that all share one compilation
# Operation by operation, each would be compiled for itself.
compiled_auc = jax.jit(auc)
compiled_user_auc = jax.jit(user_auc)
log_loss, mae, rmse = map(jax.jit, (metrics.log_loss, metrics.mae, metrics.rmse))
hit_rate, mrr, ndcg, recall = (
    jax.jit(metric, static_argnames="k")
    for metric in (metrics.hit_rate, metrics.mrr, metrics.ndcg, metrics.recall)
)


@jax.jit
def accuracy_and_f1(scores, labels, weights, threshold):
    counts = count_predictions(scores, labels, weights, threshold=threshold)
    return {"accuracy": accuracy(counts), "f1": f1(counts)}


best_of = {metric: jax.jit(partial(best_threshold, metric)) for metric in (accuracy, f1)}


@st.composite
def splits(draw, low=2, both=True):
    """Scores with many ties, their labels and whole weights; both classes if asked for."""
    rows = st.tuples(st.integers(-3, 3), st.booleans(), st.integers(1, 3))
    drawn = draw(st.lists(rows, min_size=low, max_size=MOST))
    scores, labels, weights = (np.float32(column) for column in zip(*drawn, strict=True))
    if both:
        labels[:2] = 0, 1
    return scores, labels, weights


def padded(scores, labels, weights):
    """Fills up with rows of weight 0 that would change every metric if they counted."""
    room = MOST - len(scores)
    fill = np.resize(np.float32([9, -9]), room), np.resize(np.float32([0, 1]), room)
    return (
        np.append(scores, fill[0]),
        np.append(labels, fill[1]),
        np.append(weights, np.zeros(room, np.float32)),
    )


@given(splits())
def test_auc_is_scikit_learns_with_ties_weights_and_padding(split):
    scores, labels, weights = split
    expected = sklearn.metrics.roc_auc_score(labels, scores, sample_weight=weights)
    np.testing.assert_allclose(compiled_auc(*padded(*split)), expected, atol=2e-6)


@given(splits())
def test_auc_turns_with_the_scores(split):
    scores, labels, weights = padded(*split)
    np.testing.assert_allclose(
        compiled_auc(-scores, labels, weights) + compiled_auc(scores, labels, weights), 1, atol=4e-6
    )


def test_ties_count_half():
    assert float(auc(jnp.zeros(5), jnp.array([0.0, 1, 1, 0, 1]))) == 0.5
    assert float(auc(jnp.array([1.0, 1, 2]), jnp.array([0.0, 1, 1]))) == 0.75


@pytest.mark.parametrize("label", [0.0, 1.0])
def test_auc_of_one_class_is_nan(label):
    assert np.isnan(auc(jnp.arange(4.0), jnp.full(4, label)))
    weights = jnp.array([1.0, 1, 1, 0])  # the other class has weight 0 only
    assert np.isnan(auc(jnp.arange(4.0), jnp.full(4, label).at[3].set(1 - label), weights))


def test_auc_stays_exact_in_float32_on_a_million_rows():
    rng = np.random.default_rng(0)
    labels = (rng.random(1_000_000) < 0.3).astype(np.float32)
    scores = np.float32(rng.standard_normal(labels.size) + 0.5 * labels).round(3)
    expected = sklearn.metrics.roc_auc_score(labels, scores)
    np.testing.assert_allclose(compiled_auc(scores, labels), expected, atol=1e-5)


@given(splits(both=False))
def test_log_loss_is_scikit_learns(split):
    scores, labels, weights = split
    pred = 1 / (1 + np.exp(-np.float64(scores)))
    expected = sklearn.metrics.log_loss(labels, pred, labels=[0, 1], sample_weight=weights)
    np.testing.assert_allclose(log_loss(*padded(*split)), expected, rtol=1e-5)


@given(splits(both=False))
def test_errors_are_scikit_learns(split):
    scores, labels, weights = split
    pred = 1 / (1 + np.exp(-np.float64(scores)))
    for ours, theirs in ((rmse, "root_mean_squared_error"), (mae, "mean_absolute_error")):
        expected = getattr(sklearn.metrics, theirs)(labels, pred, sample_weight=weights)
        np.testing.assert_allclose(ours(*padded(*split)), expected, rtol=1e-5)


@given(splits(), st.integers(0, 2**32 - 1))
def test_the_auc_of_users_is_the_mean_of_scikit_learns(split, seed):
    """With users in any order, some of them with one class; drawn users count as often."""
    rng = np.random.default_rng(seed)
    scores, labels, _ = split
    users = rng.integers(0, 5, MOST).astype(np.int32) * 7
    times = rng.integers(0, 3, 5)
    theirs, owner = {}, users[: len(scores)]
    for user in np.unique(owner):
        rows = owner == user
        if len({*labels[rows].tolist()}) == 2:
            theirs[user] = sklearn.metrics.roc_auc_score(labels[rows], scores[rows])
    weights = np.float32(times[owner // 7])
    found = compiled_user_auc(
        *padded(scores, labels, weights)[:2], users, padded(*split[:2], weights)[2]
    )
    count_of = {user: times[user // 7] for user in theirs}
    if sum(count_of.values()):
        expected = np.average([*theirs.values()], weights=[*count_of.values()])
        np.testing.assert_allclose(found, expected, atol=2e-6)
    else:
        assert np.isnan(found)


def test_log_loss_of_a_sure_mistake_is_finite():
    assert float(log_loss(jnp.array([1000.0]), jnp.array([0.0]))) == 1000.0


@given(splits(), st.sampled_from([-10.0, -1.5, 0.0, 1.0, 2.5]))
def test_accuracy_and_f1_are_scikit_learns(split, threshold):
    scores, labels, weights = split
    predicted = scores > threshold
    found = accuracy_and_f1(*padded(*split), threshold)
    expected = sklearn.metrics.accuracy_score(labels, predicted, sample_weight=weights)
    np.testing.assert_allclose(found["accuracy"], expected, rtol=1e-6)
    expected = sklearn.metrics.f1_score(labels, predicted, zero_division=0, sample_weight=weights)
    np.testing.assert_allclose(found["f1"], expected, rtol=1e-6)


@pytest.mark.parametrize("metric", [accuracy, f1])
@pytest.mark.parametrize("seed", range(10))
def test_no_threshold_is_better_than_the_best(metric, seed):
    rng = np.random.default_rng(seed)
    scores = np.float32(rng.integers(-4, 5, MOST) / 2)  # with ties
    labels = np.float32(rng.random(MOST) < 0.3 + 0.05 * scores)
    weights = np.float32(rng.integers(0, 3, MOST))

    def at(cut):
        return float(accuracy_and_f1(scores, labels, weights, cut)[metric.__name__])

    best = at(best_of[metric](scores, labels, weights))
    brute = max(at(cut) for cut in np.arange(-5, 5, 0.25))
    np.testing.assert_allclose(best, brute, rtol=1e-6)


def test_of_equally_good_thresholds_the_lowest_is_given():
    scores = jnp.array([0.0, 1.0, 2.0, 3.0])
    # Cuts at -1 and at 2.5 get 3 of 4 right.
    assert float(best_threshold(accuracy, scores, jnp.array([1.0, 1.0, 0.0, 1.0]))) == -1.0


@st.composite
def rankings(draw):
    """Groups of scores with many ties, the first one relevant, and which of them are ranked."""
    scores = draw(arrays.arrays(np.float32, (5, 12), elements=st.sampled_from(SCORES)))
    ranked = draw(arrays.arrays(np.float32, (5, 12), elements=st.sampled_from([0.0, 1.0])))
    ranked[:, 0] = 1
    return scores, ranked


def naive_rank(scores, ranked):
    """Counts one by one: what is above, half of what is level."""
    rank = 1.0
    for score, counts in list(zip(scores, ranked, strict=True))[1:]:
        rank += counts * (1.0 if score > scores[0] else 0.5 if score == scores[0] else 0.0)
    return rank


def first_rank(scores, ranked=None):
    """Returns the ranks of the first of groups [..., G]."""
    weights = np.ones_like(scores) if ranked is None else ranked
    return _rank_first(scores, weights)


@jax.jit
def _rank_first(scores, weights):
    return 1 + count_ahead(scores[..., 1:], scores[..., :1], weights[..., 1:]).sum(-1)


@given(rankings())
def test_ranks_and_their_metrics_are_those_of_a_count_one_by_one(drawn):
    scores, ranked = drawn
    ranks = [naive_rank(*row) for row in zip(*drawn, strict=True)]
    np.testing.assert_allclose(first_rank(scores, ranked), ranks, rtol=1e-6)
    for k in (1, 3, 10):
        hits = [rank <= k for rank in ranks]
        gains = [1 / np.log2(1 + rank) if rank <= k else 0 for rank in ranks]
        reciprocals = [1 / rank if rank <= k else 0 for rank in ranks]
        found = jnp.asarray(ranks)
        np.testing.assert_allclose(ndcg(found, k=k), np.mean(gains), rtol=1e-5)
        np.testing.assert_allclose(recall(found, k=k), np.mean(hits), rtol=1e-5)
        np.testing.assert_allclose(mrr(found, k=k), np.mean(reciprocals), rtol=1e-5)


@pytest.mark.parametrize("k", [1, 5, 10])
def test_ndcg_is_scikit_learns_without_ties(k):
    rng = np.random.default_rng(k)
    scores = np.float32(rng.permuted(np.tile(np.arange(25), (40, 1)), axis=1))
    relevance = np.zeros_like(scores)
    relevance[:, 0] = 1
    expected = sklearn.metrics.ndcg_score(relevance, scores, k=k)
    np.testing.assert_allclose(ndcg(first_rank(scores), k=k), expected, rtol=1e-5)


@pytest.mark.parametrize("k", [1, 5, 10])
def test_rankings_are_raxs(k):
    """Without ties, which rax breaks by position; some items are not to be ranked."""
    rax = pytest.importorskip("rax")
    rng = np.random.default_rng(k)
    scores = np.float32(rng.permuted(np.tile(np.arange(25), (40, 1)), axis=1))
    ranked = rng.random(scores.shape) < 0.7
    ranked[:, 0] = True
    labels = np.zeros_like(scores)
    labels[:, 0] = 1
    ranks = first_rank(scores, np.float32(ranked))
    for ours, theirs in (
        (ndcg, rax.ndcg_metric),
        (recall, rax.recall_metric),
        (mrr, rax.mrr_metric),
    ):
        expected = theirs(scores, labels, where=ranked, topn=k)
        np.testing.assert_allclose(ours(ranks, k=k), expected, rtol=1e-5)
    np.testing.assert_allclose(mrr(ranks), rax.mrr_metric(scores, labels, where=ranked), rtol=1e-5)


def test_a_user_hits_by_the_best_of_their_items():
    rng = np.random.default_rng(3)
    ranks, users = np.float32(rng.integers(1, 30, 50)), rng.integers(0, 12, 50)
    times = rng.integers(0, 3, 12)
    hits = [min(ranks[users == user]) <= 5 for user in np.unique(users)]
    assert float(hit_rate(ranks, users, k=5)) == pytest.approx(np.mean(hits))
    expected = np.average(hits, weights=times[np.unique(users)])
    found = hit_rate(ranks, users, np.float32(times[users]), k=5)
    assert float(found) == pytest.approx(expected)


def test_weights_of_ranks_may_have_leading_axes():
    ranks, weights = jnp.array([1.0, 3.0]), jnp.array([[1.0, 0], [1, 1], [0, 2]])
    np.testing.assert_allclose(ndcg(ranks, weights), [1, 0.75, 0.5], rtol=1e-6)


def test_weights_of_users_may_have_leading_axes():
    scores, labels = np.float32([0, 1, 3, 2]), np.float32([0, 1, 0, 1])
    users = np.int32([4, 4, 9, 9])
    weights = np.float32([[1, 1, 1, 1], [2, 2, 0, 0], [0, 0, 1, 1]])
    np.testing.assert_allclose(user_auc(scores, labels, users, weights), [0.5, 1, 0])
    np.testing.assert_allclose(hit_rate(scores + 1, users, weights, k=2), [0.5, 1, 0])


def test_a_constant_score_is_no_better_than_chance():
    assert float(first_rank(jnp.zeros(101))) == 51


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_a_score_that_is_not_finite_gives_no_rank(bad):
    scores = np.float32([[0, 1, 2], [0, bad, 2]])
    np.testing.assert_array_equal(np.isnan(first_rank(scores)), [False, True])
