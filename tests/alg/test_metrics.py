"""Metrics against scikit-learn and brute force."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import sklearn.metrics
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from alg.metrics import (
    accuracy,
    auc,
    best_threshold,
    f1,
    first_rank,
    log_loss,
    mrr,
    ndcg,
    recall,
)

SCORES = np.float32([-2, -0.5, 0, 1, 3])
MOST = 32  # every drawn split is padded to this, so that all share one compilation
compiled_auc = jax.jit(auc)
best_of = {
    metric: jax.jit(lambda s, y, m=metric: best_threshold(m, s, y)) for metric in (accuracy, f1)
}


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
    """Fill up with rows of weight 0 that would change every metric if they counted."""
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


def test_log_loss_of_a_sure_mistake_is_finite():
    assert float(log_loss(jnp.array([1000.0]), jnp.array([0.0]))) == 1000.0


@given(splits(), st.sampled_from([-10.0, -1.5, 0.0, 1.0, 2.5]))
def test_accuracy_and_f1_are_scikit_learns(split, threshold):
    scores, labels, _ = split
    predicted = scores > threshold
    expected = sklearn.metrics.accuracy_score(labels, predicted)
    np.testing.assert_allclose(accuracy(scores, labels, threshold), expected, rtol=1e-6)
    expected = sklearn.metrics.f1_score(labels, predicted, zero_division=0)
    np.testing.assert_allclose(f1(scores, labels, threshold), expected, rtol=1e-6)


@pytest.mark.parametrize("metric", [accuracy, f1])
@pytest.mark.parametrize("seed", range(10))
def test_no_threshold_is_better_than_the_best(metric, seed):
    rng = np.random.default_rng(seed)
    scores = np.float32(rng.integers(-4, 5, MOST) / 2)  # with ties
    labels = np.float32(rng.random(MOST) < 0.3 + 0.05 * scores)
    best = metric(scores, labels, best_of[metric](scores, labels))
    brute = max(float(metric(scores, labels, cut)) for cut in np.arange(-5, 5, 0.25))
    np.testing.assert_allclose(best, brute, rtol=1e-6)


def test_of_equally_good_thresholds_the_lowest_is_given():
    scores = jnp.array([0.0, 1.0, 2.0, 3.0])
    # Cuts at -1 and at 2.5 get 3 of 4 right.
    assert float(best_threshold(accuracy, scores, jnp.array([1.0, 1.0, 0.0, 1.0]))) == -1.0


@st.composite
def rankings(draw):
    """Groups of scores with many ties, the first one relevant, and which of them are ranked."""
    columns = draw(st.integers(2, 12))
    scores = draw(arrays.arrays(np.float32, (5, columns), elements=st.sampled_from(SCORES)))
    ranked = draw(arrays.arrays(np.float32, (5, columns), elements=st.sampled_from([0.0, 1.0])))
    ranked[:, 0] = 1
    return scores, ranked


def naive_rank(scores, ranked):
    """Count one by one: what is above, half of what is level."""
    rank = 1.0
    for score, counts in list(zip(scores, ranked, strict=True))[1:]:
        rank += counts * (1.0 if score > scores[0] else 0.5 if score == scores[0] else 0.0)
    return rank


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


def test_weights_of_ranks_may_have_leading_axes():
    ranks, weights = jnp.array([1.0, 3.0]), jnp.array([[1.0, 0], [1, 1], [0, 2]])
    np.testing.assert_allclose(ndcg(ranks, weights), [1, 0.75, 0.5], rtol=1e-6)


def test_a_constant_score_is_no_better_than_chance():
    assert float(first_rank(jnp.zeros(101))) == 51


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_a_score_that_is_not_finite_gives_no_rank(bad):
    scores = np.float32([[0, 1, 2], [0, bad, 2]])
    np.testing.assert_array_equal(np.isnan(first_rank(scores)), [False, True])
