"""Drawn negatives: how often each item comes, and what the correction for it is worth."""

from functools import cache, partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from autolossgen import PAIRWISE_LOSSES, named_loss
from autolossgen.ranking.negatives import (
    Negatives,
    check_negatives,
    compute_chances,
    draw_negatives,
)

COUNTS = np.array([40, 0, 1, 7, 20, 7, 1, 4, 0, 20])  # nobody likes two of the items
LIKED = np.maximum(COUNTS, 1)
POSITIVES = np.repeat(np.arange(COUNTS.size), LIKED).astype(np.int32)
MANY = 30_000


def expect_chances(power):
    weights = LIKED.astype(np.float64) ** power
    return weights / weights.sum()


@cache
def draw(kind, number, *, power, draws=1):
    """Returns items and log q of several draws, [draws, ...], in NumPy."""
    negatives, chances = Negatives(kind, number, power), compute_chances(COUNTS, power)
    positives = jnp.asarray(POSITIVES)

    @jax.jit
    def draw_all(keys):
        return jax.vmap(lambda key: draw_negatives(negatives, chances, positives, key))(keys)

    return jax.device_get(draw_all(jax.random.split(jax.random.key(1), draws)))


def check_frequencies(items, chances):
    """Checks draws by a chi-square test that one true hypothesis in 1,000 would fail."""
    often = np.bincount(items.ravel(), minlength=COUNTS.size)
    assert stats.chisquare(often, chances * items.size).pvalue > 1e-3
    # A wrong power would be found out.
    assert stats.chisquare(often, expect_chances(0.5) * items.size).pvalue < 1e-12


@pytest.mark.parametrize("power", [0.0, 1.0])
def test_items_come_as_often_as_their_popularity_says(power):
    items, log_q = draw("shared", MANY, power=power)
    check_frequencies(items, expect_chances(power))
    # Relative to an even draw.
    expected = np.log(expect_chances(power) * COUNTS.size)
    np.testing.assert_allclose(log_q, expected[items], atol=1e-5)


def test_each_positive_has_draws_of_its_own():
    items, log_q = draw("each", 300, power=1.0)
    assert items.shape == log_q.shape == (1, len(POSITIVES), 300)
    check_frequencies(items, expect_chances(1.0))
    assert len({row.tobytes() for row in items[0]}) == len(POSITIVES)


def test_in_batch_negatives_are_the_positives():
    items, log_q = draw("in_batch", 5, power=0.0)
    np.testing.assert_array_equal(items[0], POSITIVES)
    np.testing.assert_allclose(log_q[0], np.log(expect_chances(1.0) * COUNTS.size)[POSITIVES], 1e-5)


@pytest.mark.parametrize("number", [1, 3, 4])
def test_mixed_negatives_come_from_the_draw_and_from_the_batch(number):
    """An odd number has one more from the batch, and its chances know that."""
    items, log_q = draw("mixed", number, power=0.0, draws=MANY // number)
    drawn = number // 2
    chances = (drawn * expect_chances(0.0) + (number - drawn) * expect_chances(1.0)) / number
    check_frequencies(items, chances)
    np.testing.assert_allclose(log_q, np.log(chances * COUNTS.size)[items], atol=1e-5)


def softmax(logits):
    weights = np.exp(logits - logits.max())
    return weights / weights.sum()


@pytest.mark.parametrize("kind", ["shared", "mixed"])
def test_with_the_correction_the_gradient_is_that_of_the_whole_catalogue(kind):
    """The gradient of a softmax in an item's score is the item's share of the softmax."""
    power, number, draws = (1.0, MANY, 1) if kind == "shared" else (0.0, 4, MANY // 4)
    items, log_q = (x.ravel() for x in draw(kind, number, power=power, draws=draws))
    scores = np.random.default_rng(0).normal(size=COUNTS.size)
    errors = []
    for logits in (scores[items], scores[items] - log_q):
        share = np.bincount(items, softmax(logits), minlength=COUNTS.size)
        errors.append(np.abs(share - softmax(scores)).sum())
    without, corrected = errors
    assert corrected < 0.05
    assert without > 0.3


@pytest.mark.parametrize("name", PAIRWISE_LOSSES)
def test_a_negative_with_a_weight_counts_as_so_many(name):
    """So with 1 / q every loss is that of the whole catalogue, whatever it does to the scores."""
    loss, times = named_loss(name), np.array([1, 3, 2, 1])
    rng = np.random.default_rng(1)
    pos, neg = rng.normal(size=(2,)), rng.normal(size=(2, 4))
    where = np.array([[True] * 4, [True, True, False, True]])
    given = {"threshold": np.array([0.1, -0.2])} if loss.reads_threshold else {}

    def value_and_grad(neg, where, **weights):
        function = partial(loss, where=where, **given, **weights)
        return jax.jit(jax.value_and_grad(function))(pos, neg)

    repeated = (np.repeat(x, times, axis=1) for x in (neg, where))
    expected, plain = value_and_grad(*repeated), value_and_grad(neg, where)
    found = value_and_grad(neg, where, neg_weights=times.astype(np.float32))
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(one, other, rtol=2e-5)
    assert not np.allclose(plain[0], expected[0], rtol=1e-3)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"kind": "some"}, "negatives are one of all, shared, each, in_batch, mixed, got 'some'"),
        ({"number": 0}, "at least 1 negative is drawn, got 0"),
        ({"power": -1.0}, "power of popularity is from 0 to 2, got -1.0"),
        ({"power": 2.5}, "power of popularity is from 0 to 2, got 2.5"),
    ],
)
def test_settings_that_cannot_be_are_errors(wrong, message):
    with pytest.raises(ValueError, match=message):
        check_negatives(Negatives(**wrong))
