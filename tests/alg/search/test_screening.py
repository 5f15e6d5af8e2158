"""What filters say before any training, and what that is worth."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from autolossgen import UNBOUNDED, build_loss
from autolossgen.configs import base
from autolossgen.search.screening import (
    FILTERS,
    Verdict,
    are_twins,
    compute_directions,
    pointwise_probes,
)

pytestmark = pytest.mark.slow

CONFIG = base.get_config()
GRADED, PAPER = (FILTERS[name](**CONFIG.filter.get(name, {})) for name in ("graded", "paper"))
SCREENS = {"graded": jax.jit(GRADED.screen), "paper": jax.jit(PAPER.screen)}
PROBES = len(GRADED.probe.label)
PRINTS = {"graded": jax.jit(GRADED.fingerprint), "paper": jax.jit(PAPER.fingerprint)}
jitted_twins = jax.jit(are_twins, static_argnames="tolerance")
jitted_direction = jax.jit(lambda slopes: compute_directions(slopes).mean(-1))


def slopes_of(formula, probe=GRADED.probe):
    """Returns d loss / d logit [1, P] of a formula at the probes."""
    loss = build_loss(formula, bounds=UNBOUNDED)
    slopes = jax.jit(jax.grad(lambda z, label: loss(z, label, reduce_fn=jnp.sum)))
    return np.asarray(slopes(probe.logit, probe.label))[None]


def verdict(slopes, name="graded"):
    return Verdict(int(SCREENS[name](slopes).verdict[0]))


@pytest.mark.parametrize(
    ("formula", "expected"),
    [
        ("softplus(logit) - label * logit", Verdict.TRAINED),
        ("square(label - pred)", Verdict.TRAINED),
        ("1000 * square(label - pred)", Verdict.TRAINED),
        ("label * logit - softplus(logit)", Verdict.WRONG_DIRECTION),
        ("max(label, pred) * pred", Verdict.WRONG_DIRECTION),  # up for both labels
        ("square(pred)", Verdict.LABEL_BLIND),
        ("square(pred) + 10 * label", Verdict.LABEL_BLIND),
        ("10000 * square(pred) + 0.5 * label * pred", Verdict.LABEL_BLIND),  # as good as blind
        ("square(label)", Verdict.NO_GRADIENT),
        ("0.0001 * square(label - pred)", Verdict.NO_GRADIENT),
    ],
)
def test_each_verdict_names_what_is_wrong(formula, expected):
    assert verdict(slopes_of(formula)) == expected


@pytest.mark.parametrize("name", SCREENS)
@pytest.mark.parametrize("bad", [jnp.nan, jnp.inf, -jnp.inf])
def test_one_probe_that_is_not_finite_is_enough(name, bad):
    probe = {"graded": GRADED, "paper": PAPER}[name].probe
    slopes = slopes_of("square(label - pred)", probe)
    assert verdict(slopes, name) == Verdict.TRAINED
    slopes = slopes.copy()
    slopes[0, 3] = bad
    screening = SCREENS[name](slopes)
    assert screening.verdict[0] == Verdict.NOT_FINITE
    assert np.isfinite(screening.reward[0])


any_slopes = arrays.arrays(
    np.float32,
    (6, PROBES),
    elements=st.sampled_from(np.float32([-1e5, -1, -1e-3, -1e-9, 0, 1e-9, 1e-3, 1, 1e5, np.inf])),
)


@given(any_slopes)
def test_every_reject_is_worth_less_than_any_auc_and_more_the_further_it_came(slopes):
    screening = jax.tree.map(np.asarray, SCREENS["graded"](slopes))
    rejected = screening.verdict <= Verdict.WRONG_DIRECTION
    reward = np.where(rejected, screening.reward, 0.0)  # the worst AUC there is
    assert np.all(reward[rejected] < 0)
    came = np.where(rejected, screening.verdict, Verdict.TRAINED)
    for one, other in np.ndindex(6, 6):
        if came[one] < came[other]:
            assert reward[one] < reward[other]
        elif came[one] == came[other] == Verdict.WRONG_DIRECTION:
            points = np.asarray(jitted_direction(slopes))
            assert (reward[one] < reward[other]) == (points[one] < points[other])
    assert reward.min() >= -1


@given(any_slopes)
def test_scale_changes_neither_direction_nor_print(slopes):
    slopes = np.where(np.isfinite(slopes) & (np.abs(slopes) > 1e-6), slopes, 0)
    direction, of_scaled, of_opposite = map(jitted_direction, (slopes, 8 * slopes, -slopes))
    np.testing.assert_array_equal(direction, of_scaled)
    np.testing.assert_array_equal(direction, -of_opposite)
    prints, of_scaled = map(PRINTS["graded"], (slopes, 8 * slopes))
    np.testing.assert_allclose(prints, of_scaled, atol=1e-6)
    lengths = np.linalg.norm(prints, axis=1)
    np.testing.assert_allclose(lengths, (slopes != 0).any(1), atol=1e-5)


def test_direction_counts_probes_right_less_wrong():
    # Label 0 three times, then label 1: right, right, wrong, right, neither, wrong.
    slopes = [[1, 2, -1, -1, 0, 1], [1, 1, 1, -1, -1, -1], [1, 1e-7, -1e-7, -1, -1e-7, 1e-7]]
    directions = jitted_direction(np.float32(slopes))
    np.testing.assert_allclose(directions, [(3 - 2) / 6, 1, 1 / 3], rtol=1e-6)


@pytest.mark.parametrize(
    ("one", "other", "by_shape", "as_in_the_paper"),
    [
        ("square(label - pred)", "square(pred - label)", True, True),
        ("square(label - pred)", "square(label - pred) + 7 * label", True, True),
        ("square(label - pred)", "100 * square(label - pred)", True, False),
        ("square(label - pred)", "-square(label - pred)", False, False),
        ("square(label - pred)", "square(square(label - pred))", False, False),
        ("square(label - pred)", "softplus(logit) - label * logit", False, False),
    ],
)
def test_twins(one, other, by_shape, as_in_the_paper):
    cases = ("graded", GRADED, by_shape), ("paper", PAPER, as_in_the_paper)
    for name, filter_, expected in cases:
        prints = [PRINTS[name](slopes_of(f, filter_.probe)) for f in (one, other)]
        assert jitted_twins(*prints, tolerance=filter_.tolerance).tolist() == [[expected]]


@given(
    arrays.arrays(np.float32, (5, 3), elements=st.sampled_from(np.float32([0, 0.5, 1, np.nan]))),
    arrays.arrays(np.float32, (4, 3), elements=st.sampled_from(np.float32([0, 0.5, 1, np.nan]))),
)
def test_twins_differ_by_no_more_than_the_tolerance_anywhere(prints, others):
    close = jitted_twins(prints, others, tolerance=0.5)
    for i, j in np.ndindex(5, 4):
        distance = np.abs(prints[i] - others[j]).max()
        assert bool(close[i, j]) == (distance <= 0.5)  # NaN is never


def test_the_papers_probes_and_gradients_are_by_prediction():
    pred = 1 / (1 + np.exp(-PAPER.probe.logit))
    assert 0.1 <= pred.min() < 0.3
    assert 0.7 < pred.max() <= 0.9
    assert 0 <= PAPER.probe.label.min() < 0.2
    assert 0.8 < PAPER.probe.label.max() <= 1
    prints = PRINTS["paper"](slopes_of("square(label - pred)", PAPER.probe))
    np.testing.assert_allclose(prints[0], 2 * (pred - PAPER.probe.label), atol=1e-5)


def test_the_paper_stops_a_vanishing_gradient_only():
    slopes = {text: slopes_of(text, PAPER.probe) for text in ("square(pred)", "-square(pred)")}
    for one in slopes.values():
        assert verdict(one, "paper") == Verdict.TRAINED
    nothing = SCREENS["paper"](slopes_of("square(label)", PAPER.probe))
    assert (nothing.verdict[0], nothing.reward[0]) == (Verdict.NO_GRADIENT, -1)
    # By prediction the largest gradient of x * square(pred) is 2 x pred, at most 1.8 x.
    small, large = (slopes_of(f"{x} * square(pred)", PAPER.probe) for x in ("0.00005", "0.00008"))
    assert verdict(small, "paper") == Verdict.NO_GRADIENT
    assert verdict(large, "paper") == Verdict.TRAINED


def test_the_papers_probes_are_seeded():
    again, other = FILTERS["paper"](), FILTERS["paper"](seed=1)
    np.testing.assert_array_equal(PAPER.probe.logit, again.probe.logit)
    assert not np.array_equal(PAPER.probe.logit, other.probe.logit)


def test_only_the_paper_forgets():
    assert PAPER.forgets
    assert not GRADED.forgets


def test_the_grid_has_each_logit_with_either_label():
    probe = pointwise_probes(8)
    np.testing.assert_array_equal(probe.logit[:4], probe.logit[4:])
    np.testing.assert_array_equal(probe.label, [0, 0, 0, 0, 1, 1, 1, 1])
    np.testing.assert_array_equal(probe.logit[:4], -probe.logit[3::-1])


@pytest.mark.parametrize("wrong", [{"num_probes": 7}, {"num_probes": 2}, {"min_direction": 1.5}])
def test_options_out_of_range_are_refused(wrong):
    with pytest.raises(ValueError, match=r"got (7|2|1\.5)"):
        FILTERS["graded"](**dict(CONFIG.filter.graded) | wrong)


def test_the_papers_filter_takes_any_number_of_probes_but_none():
    """Its labels are any numbers from 0 to 1, so they do not come in halves."""
    odd = FILTERS["paper"](num_probes=5)
    verdicts = odd.screen(jnp.ones((2, 5)) * jnp.array([[1.0], [0.0]])).verdict
    assert verdicts.tolist() == [Verdict.TRAINED, Verdict.NO_GRADIENT]
    with pytest.raises(ValueError, match="at least 1 probe point, got 0"):
        FILTERS["paper"](num_probes=0)
