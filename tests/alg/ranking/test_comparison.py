"""Comparisons over users and seeds against SciPy, an example by hand, and a simulation."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from autolossgen.ranking.comparison import compare_to, correct_by_holm


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def test_one_seed_is_a_paired_test_over_users(rng):
    other = rng.random((1, 400))
    values = other + rng.normal([[[0.003]], [[0.01]], [[-0.02]]], 0.1, (3, 1, 400))
    found = compare_to(values, other)
    paired = [stats.ttest_rel(v[0], other[0]) for v in values]
    level = 1 - 0.05 / 3  # all three intervals hold together with 95 %
    for value, difference, test in zip(values, found, paired, strict=True):
        interval = test.confidence_interval(level)
        mean = (value[0] - other[0]).mean()
        assert difference[:3] == pytest.approx((mean, interval.low, interval.high))
    expected = correct_by_holm([test.pvalue for test in paired])
    np.testing.assert_allclose([d.p for d in found], expected)


@pytest.mark.parametrize("seeds", [2, 5])
def test_intervals_hold_as_often_as_they_say(rng, seeds):
    """Few seeds that vary more than the mean over users does."""
    held = []
    for _ in range(2000):
        user, seed = rng.normal(0, 0.1, (1, 200)), rng.normal(0, 0.01, (seeds, 1))
        (difference,) = compare_to((user + seed)[None], np.zeros((1, 200)))
        held.append(difference.low < 0 < difference.high)
    assert 0.92 < np.mean(held) <= 1


def test_one_user_says_nothing():
    (difference,) = compare_to(np.ones((1, 3, 1)), np.zeros((3, 1)))
    assert difference == (1, -np.inf, np.inf, 1)


def test_seeds_add_their_own_error(rng):
    """Users vary by 0.3 and seeds by 0.1: the variance is the sum of both, each over its number."""
    user, seed = rng.normal(0, 0.3, 50), rng.normal(0, 0.1, 4)
    values = user + seed[:, None] + 0.2
    (difference,) = compare_to(values[None], np.zeros((1, 50)))
    parts = np.array([stats.sem(user) ** 2, stats.sem(seed) ** 2])
    error, freedom = parts.sum() ** 0.5, parts.sum() ** 2 / (parts**2 / [49, 3]).sum()
    assert difference.mean == pytest.approx(values.mean())
    width = 2 * stats.t.ppf(0.975, freedom) * error
    assert difference.high - difference.low == pytest.approx(width)
    assert difference.p == pytest.approx(2 * stats.t.sf(values.mean() / error, freedom))


def test_what_is_compared_with_itself_is_no_different(rng):
    values = rng.random((3, 20))
    assert compare_to(values[None], values)[0] == (0, 0, 0, 1)
    assert compare_to(values[None] + 1, values)[0] == pytest.approx((1, 1, 1, 0))


def test_a_pair_is_compared_and_not_two_means(rng):
    """Users differ by far more than losses do."""
    other = rng.normal(0, 10, (3, 100))
    (difference,) = compare_to((other + rng.normal(0.05, 0.01, other.shape))[None], other)
    assert 0.04 < difference.low < difference.mean < difference.high < 0.06
    assert difference.p < 1e-9


def test_holm_by_hand():
    """Sorted: 0.005 * 4, 0.01 * 3, 0.03 * 2, 0.04 * 1, none below the one before it."""
    found = correct_by_holm([0.01, 0.04, 0.03, 0.005])
    np.testing.assert_allclose(found, [0.03, 0.06, 0.06, 0.02])
    np.testing.assert_allclose(correct_by_holm([0.9, 0.8]), [1, 1])
    np.testing.assert_allclose(correct_by_holm([0.2]), [0.2])


@given(st.lists(st.floats(0, 1), min_size=1, max_size=6), st.floats(0.001, 0.5))
def test_holm_rejects_what_its_steps_reject(p_values, level):
    """The rule of 1979: from the smallest up, until one is over level / (those left)."""
    rejected = set()
    for step, i in enumerate(np.argsort(p_values, kind="stable")):
        if p_values[i] * (len(p_values) - step) > level:
            break
        rejected.add(i)
    assert {*np.flatnonzero(correct_by_holm(p_values) <= level)} == rejected


def test_intervals_hold_all_true_differences_as_often_as_they_say(rng):
    """Both users and seeds are drawn anew; with ten seeds, the normal quantile is a bit short."""
    truth, repeats, inside = np.array([0.0, 0.1, -0.3]), 800, 0
    for _ in range(repeats):
        user = rng.normal(0, 0.5, (3, 1, 60))
        seed = rng.normal(0, 0.2, (3, 10, 1))
        noise = rng.normal(0, 0.3, (3, 10, 60))
        found = compare_to(truth[:, None, None] + user + seed + noise, np.zeros((1, 60)))
        inside += all(d.low < t < d.high for d, t in zip(found, truth, strict=True))
    assert 0.91 < inside / repeats < 0.975
