"""Every named loss against every property. A new loss is tested by being listed."""

from functools import lru_cache, partial
from math import atan, exp, log

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from autolossgen import (
    PAIRWISE_LOSSES,
    PAPER_LOSSES,
    POINTWISE_LOSSES,
    UNBOUNDED,
    build_loss,
    named_loss,
    named_program,
)
from autolossgen.language.operator_checks import use_float64

pytestmark = pytest.mark.slow

# A logit of log(3) is a probability of 3/4. Values for label 1 and label 0, smoothing 0.1.
AT_LOG_3 = {
    "bce": (log(4 / 3), log(4)),
    "mse": (0.25**2, 0.75**2),
    "hinge": (0.0, log(3)),
    "focal": (0.25**2 * log(4 / 3), 0.75**2 * log(4)),
    "maxr": ((1 + 0.1) / (0.75 + 0.1), (0.75 + 0.1) / 0.1),
    "sumr": ((1 + 0.75 + 0.1) / (0.1 + 0.75), (0.75 + 0.1) / 0.1),
    "logmin": (log(1 / (0.75 + 0.1) + 0.1) * (0.75 + 1 + 0.75), log(1 / 0.1 + 0.1) * 0.75),
    "smoothed_bce": (log(4) - 0.95 * log(3), log(4) - 0.05 * log(3)),
    "asymmetric": (log(4 / 3), -((0.75 - 0.05) ** 4) * log(1 - 0.75 + 0.05)),
    "poly1": (log(4 / 3) + 0.25, log(4) + 0.75),
    "generalized_ce": ((1 - 0.75**0.7) / 0.7, (1 - 0.25**0.7) / 0.7),
    "margin": (0.0, 1 + log(3)),
}

# A positive of log(3) and negatives of log(1) and log(2).
OF_3_AGAINST_1_AND_2 = {
    "bpr": (log(1 + 1 / 3) + log(1 + 2 / 3)) / 2,
    "hinge_rank": (0 + 1 - log(3 / 2)) / 2,
    "sampled_softmax": -log(3 / (3 + 1 + 2)),
    "ccl": 1 - log(3) + (0 + log(2)) / 2,
    "gbce": ((1 - 0.75 * 0.99) * log(4 / 3) + log(2) + log(3)) / 3,
    "bce_sum": log(4 / 3) + log(2) + log(3),
    "bce_mean": log(4 / 3) + (log(2) + log(3)) / 2,
    # Temperatures are 1 / 5, and the user's threshold is log(2).
    "softmax": log((1 / 3) ** 5 + (2 / 3) ** 5),
    "bsl": -5 * log(3) + log(1 + 2**5),
    "psl": 5 * log(1 - log(3 / 2)),  # relu stops at the negative that is far below
    "psl_tanh": log((1 - 0.8) ** 5 + (1 - 5 / 13) ** 5),
    "psl_atan": log((1 - atan(log(3))) ** 5 + (1 - atan(log(3 / 2))) ** 5),
    "sl_at_k": log((1 / 3) ** 5 + (2 / 3) ** 5) / (1 + exp(-log(3 / 2) / 2.5)),
    "talos": 5 * log(1 + 2 / 3) + log((1 / 3) ** 5 + (1 / 2) ** 5),
}
THRESHOLD = log(2)

WITH_OPTIONS = [
    ("focal", {"gamma": 0.0}, log(4 / 3), log(4)),
    ("focal", {"gamma": 1.5}, 0.25**1.5 * log(4 / 3), 0.75**1.5 * log(4)),
    ("focal", {"alpha": 0.2}, 0.2 * 0.25**2 * log(4 / 3), 0.8 * 0.75**2 * log(4)),
    ("focal", {"gamma": 3, "alpha": 0.2}, 0.2 * 0.25**3 * log(4 / 3), 0.8 * 0.75**3 * log(4)),
    ("smoothed_bce", {"amount": 0.0}, log(4 / 3), log(4)),
    ("asymmetric", {"gamma_pos": 1, "gamma_neg": 2}, 0.25 * log(4 / 3), -(0.7**2) * log(0.3)),
    ("asymmetric", {"margin": 0.0}, log(4 / 3), 0.75**4 * log(4)),
    ("poly1", {"epsilon": 2.0}, log(4 / 3) + 0.5, log(4) + 1.5),
    ("generalized_ce", {"q": 1.0}, 0.25, 0.75),
]
PAIRWISE_WITH_OPTIONS = [
    ("gbce", {"alpha": 0.5, "t": 1.0}, (0.5 * log(4 / 3) + log(2) + log(3)) / 3),
    ("ccl", {"weight": 2.0, "margin": -1.0}, 1 - log(3) + 2 * (1 + 1 + log(2)) / 2),
    ("sampled_softmax", {"temperature": 0.5}, -log(9 / (9 + 1 + 4))),
]

CASES = [*POINTWISE_LOSSES, *PAIRWISE_LOSSES]


def build(name):
    """Builds a loss; one that reads the users' thresholds gets one for all."""
    if name in POINTWISE_LOSSES:
        return named_loss(name, smoothing=0.1)
    loss = named_loss(name)
    return partial(loss, threshold=THRESHOLD) if loss.reads_threshold else loss


LOSSES = {name: build(name) for name in CASES}
every_loss = pytest.mark.parametrize("name", CASES)
# What masks and shapes do depends on the family and on the aggregates alone.
OF_EACH_FORM = ["bce", "maxr", "bpr", "sampled_softmax", "bce_sum", "bce_mean", "talos"]
loss_of_each_form = pytest.mark.parametrize("name", OF_EACH_FORM)

_rng = np.random.default_rng(7)
SCORES = _rng.normal(size=6).astype(np.float32)
LABELS = np.float32([0, 1, 1, 0, 0.25, 1])
NEGATIVES = _rng.normal(size=(6, 3)).astype(np.float32)
WHERE = np.array([True, False, True, True, False, True])
WEIGHTS = np.float32([0, 1, 2, 0.5, 1, 3])


def matrix(scores=SCORES, labels=LABELS, negatives=NEGATIVES, names=CASES):
    """Runs a property of (loss, scores, others) for every loss, in one compilation; once."""

    def decorate(function):
        def everything(scores, labels, negatives):
            return {
                name: function(
                    LOSSES[name], scores, labels if name in POINTWISE_LOSSES else negatives
                )
                for name in names
            }

        @lru_cache(maxsize=1)
        def run():
            return jax.tree.map(np.asarray, jax.jit(everything)(scores, labels, negatives))

        return lambda name: run()[name]

    return decorate


def slopes(loss, scores, others, **settings):
    return jax.grad(lambda x: loss(x, others, **settings))(scores)


@matrix()
def plain(loss, scores, others):
    return {
        "values": loss(scores, others, reduce_fn=None),
        "mean": loss(scores, others),
        "sum": loss(scores, others, reduce_fn=jnp.sum),
        "slopes": slopes(loss, scores, others),
        "weighted": loss(scores, others, weights=WEIGHTS),
    }


def test_every_loss_has_a_value_worked_out_by_hand():
    assert set(AT_LOG_3) == set(POINTWISE_LOSSES)
    assert set(OF_3_AGAINST_1_AND_2) == set(PAIRWISE_LOSSES)
    assert list(PAPER_LOSSES) == ["bce", "mse", "hinge", "focal", "maxr", "sumr", "logmin"]


@matrix(np.full(2, log(3), np.float32), np.float32([1, 0]), np.log(np.float32([[1, 2]] * 2)))
def at_log_3(loss, scores, others):
    return loss(scores, others, reduce_fn=None)


@every_loss
def test_the_value_is_the_one_worked_out_by_hand(name):
    expected = (AT_LOG_3 | OF_3_AGAINST_1_AND_2)[name]
    np.testing.assert_allclose(at_log_3(name), np.broadcast_to(expected, 2), rtol=2e-5, atol=1e-6)


def test_options_change_the_value_as_worked_out_by_hand():
    @jax.jit
    def everything(pos, labels, neg):
        pointwise = [named_loss(name, **more) for name, more, *_ in WITH_OPTIONS]
        pairwise = [named_loss(name, **more) for name, more, _ in PAIRWISE_WITH_OPTIONS]
        return (
            [loss(pos, labels, reduce_fn=None) for loss in pointwise],
            [loss(pos[:1], neg) for loss in pairwise],
        )

    pos, neg = np.full(2, log(3), np.float32), np.log(np.float32([[1, 2]]))
    pointwise, pairwise = everything(pos, np.float32([1, 0]), neg)
    for got, (name, options, *expected) in zip(
        [*pointwise, *pairwise], [*WITH_OPTIONS, *PAIRWISE_WITH_OPTIONS], strict=True
    ):
        np.testing.assert_allclose(
            np.ravel(got), expected, rtol=2e-5, atol=1e-6, err_msg=f"{name} {options}"
        )


@every_loss
def test_the_batch_loss_is_the_mean(name):
    got = plain(name)
    assert got["mean"].dtype == got["slopes"].dtype == np.float32
    assert got["mean"] == pytest.approx(got["values"].mean(), rel=1e-5)
    assert got["sum"] == pytest.approx(got["values"].sum(), rel=1e-5)


_wide = np.linspace(-30, 30, 60, dtype=np.float32)


@matrix(
    scores=np.append(_wide, np.float32([-1e4, 1e4, -1e4, 1e4, 0, -0.0])),
    labels=np.append(np.tile(np.float32([0, 1, 0.5]), 20), np.float32([0, 0, 1, 1, 0, 1])),
    negatives=np.float32(
        [
            *zip(_wide, -_wide, 0 * _wide, strict=True),
            *[[1e4, 1e4, 0]] * 3,
            *[[-1e4, 0, -1e4]] * 3,
        ]
    ),
)
def extreme(loss, scores, others):
    total, by_both = jax.value_and_grad(loss, argnums=(0, 1))(scores, others)
    return loss(scores, others, reduce_fn=None), total, *by_both


@every_loss
def test_values_and_gradients_are_finite_on_a_grid_and_at_extreme_logits(name):
    assert all(np.isfinite(part).all() for part in extreme(name))


@pytest.mark.parametrize("logit", [-1e4, -20.0, 0.0, 20.0, 1e4])
@pytest.mark.parametrize("label", [0.0, 1.0])
def test_cross_entropy_from_logits_is_exact(logit, label):
    with use_float64():
        loss = named_loss("bce")
        value, slope = jax.value_and_grad(loss)(np.float64(logit), np.float64(label))
        away = logit if label == 0 else -logit  # how far on the wrong side
        assert float(value) == pytest.approx(max(away, 0) + np.log1p(np.exp(-abs(away))), rel=1e-14)
        wanted = (1 / (1 + np.exp(-logit)) if logit > -700 else 0.0) - label
        assert float(slope) == pytest.approx(wanted, abs=1e-15)


@every_loss
def test_gradients_are_those_of_finite_differences(name):
    _, slopes, before, after = in_dtype(jnp.float64)[name]
    # Labels stay as they are.
    along = sum(np.sum(s * d) for s, d in zip(slopes, STEPS, strict=True) if s.shape == d.shape)
    assert along == pytest.approx(float(after - before) / (2 * STEP), rel=1e-6, abs=1e-8)


@matrix(names=OF_EACH_FORM)
def nothing(loss, scores, others):
    none = jnp.zeros(6, bool)
    settings = [
        {"where": False, "weights": jnp.full(6, jnp.nan)},
        {"where": none, "reduce_fn": jnp.sum},
    ]
    value_and_slopes = (
        jax.value_and_grad(lambda x, more=more: loss(x, others, **more))(scores)
        for more in settings
    )
    return list(value_and_slopes)


@loss_of_each_form
def test_nothing_to_count_gives_zero_and_no_gradient(name):
    for value, slope in nothing(name):
        assert value == 0
        assert slope.shape == (6,)
        assert not np.any(slope)


@matrix(SCORES[:0], LABELS[:0], NEGATIVES[:0], OF_EACH_FORM)
def empty(loss, scores, others):
    return loss(scores, others), loss(scores, others, reduce_fn=None), slopes(loss, scores, others)


@loss_of_each_form
def test_an_empty_batch_gives_zero(name):
    value, values, slope = empty(name)
    assert value == 0
    assert values.shape == slope.shape == (0,)


@matrix(
    np.where(WHERE, SCORES, np.nan),
    np.where(WHERE, LABELS, np.inf),
    np.where(WHERE[:, None], NEGATIVES, np.inf),
)
def poisoned(loss, scores, others):
    return {
        "values": loss(scores, others, where=WHERE, reduce_fn=None),
        "mean": loss(scores, others, where=WHERE),
        "sum": loss(scores, others, where=WHERE, reduce_fn=jnp.sum),
        "slopes": slopes(loss, scores, others, where=WHERE),
        "weighted": loss(scores, others, where=WHERE, weights=WEIGHTS),
    }


@every_loss
def test_masked_entries_do_not_matter(name):
    got, wanted = poisoned(name), plain(name)["values"][WHERE]
    assert got["mean"] == pytest.approx(wanted.mean(), rel=1e-5)
    assert got["sum"] == pytest.approx(wanted.sum(), rel=1e-5)
    assert not np.any(got["values"][~WHERE])
    assert not np.any(got["slopes"][~WHERE])
    np.testing.assert_allclose(
        got["slopes"][WHERE], plain(name)["slopes"][WHERE] * 6 / 4, rtol=1e-4, atol=1e-7
    )


@every_loss
def test_weights_scale_values_and_leave_the_denominator(name):
    values = plain(name)["values"] * WEIGHTS
    assert plain(name)["weighted"] == pytest.approx(values.sum() / 6, rel=1e-5)
    assert poisoned(name)["weighted"] == pytest.approx(values[WHERE].sum() / 4, rel=1e-5)


def rows_mean(values, where=None):
    return jnp.mean(values, axis=-1, where=where)


@matrix(names=OF_EACH_FORM)
def stacked(loss, scores, others):
    scores = jnp.stack([scores, 2 * scores])[:, None]
    others = jnp.stack([others, others])[:, None]
    where = jnp.array([[[True] * 6], [[False] * 6]])
    return {
        "values": loss(scores, others, reduce_fn=None),
        "rows": loss(scores, others, where=where, reduce_fn=rows_mean),
        "vmapped": jax.vmap(jax.value_and_grad(loss))(scores[:, 0], others[:, 0]),
    }


@loss_of_each_form
def test_leading_axes_are_more_of_the_same(name):
    got, wanted = stacked(name), plain(name)
    assert got["values"].shape == (2, 1, 6)
    np.testing.assert_allclose(got["values"][0, 0], wanted["values"], rtol=1e-5)
    np.testing.assert_allclose(got["rows"], [[wanted["mean"]], [0.0]], rtol=1e-5)
    values, slopes = got["vmapped"]
    np.testing.assert_allclose(values[0], wanted["mean"], rtol=1e-5)
    np.testing.assert_allclose(slopes[0], wanted["slopes"], rtol=1e-5, atol=1e-7)


STEPS, STEP = (_rng.normal(size=6), _rng.normal(size=(6, 3))), 1e-5


@lru_cache
def in_dtype(dtype):
    """Returns value and gradients of every loss on numbers that every dtype holds exactly.

    No loss has a kink there. In float64 there are its values a step away on either side, too.
    """
    steps = (-STEP, STEP) if dtype == jnp.float64 else ()
    with use_float64():
        scores = jnp.array([0.5, -0.25, 2.0, -1.125, 0.125, 1.5], dtype)
        labels, negatives = (
            jnp.asarray(LABELS, dtype),
            jnp.asarray(np.round(NEGATIVES * 4) / 4 + 1 / 16, dtype),
        )

        @jax.jit
        def everything(scores, labels, negatives):
            results = {}
            for name, loss in LOSSES.items():
                others = labels if name in POINTWISE_LOSSES else negatives
                by_others = 0 if name in POINTWISE_LOSSES else STEPS[1]
                ends = [loss(scores + step * STEPS[0], others + step * by_others) for step in steps]
                results[name] = *jax.value_and_grad(loss, (0, 1))(scores, others), *ends
            return results

        return jax.tree.map(np.asarray, everything(scores, labels, negatives))


@pytest.mark.parametrize(
    ("dtype", "tolerance"),
    [(jnp.float16, 2e-3), (jnp.bfloat16, 1e-2)],
    ids=["float16", "bfloat16"],
)
@every_loss
def test_the_answer_has_the_dtype_of_the_scores(name, dtype, tolerance):
    value, (slope, _) = in_dtype(dtype)[name]
    wanted, (wanted_slope, _), *_ = in_dtype(jnp.float64)[name]
    assert wanted.dtype == wanted_slope.dtype == jnp.float64
    assert value.dtype == slope.dtype == dtype
    assert float(value) == pytest.approx(float(wanted), rel=tolerance, abs=tolerance)
    np.testing.assert_allclose(np.float64(slope), wanted_slope, rtol=4 * tolerance, atol=tolerance)


_edges = np.array([0.0, 1e-30, 1.0, 17.0, 90.0, 1e4, 1e30, np.inf])
EDGES = np.concatenate([_edges, -_edges])
EDGES_BY_LABEL = np.meshgrid(EDGES, [0.0, 1.0, 0.5, 1e-30])
EDGE_POSITIVES = np.repeat(EDGES, 12)
EDGE_NEGATIVES = _rng.choice(EDGES, (EDGE_POSITIVES.size, 3))
EDGE_NEGATIVES[::3] = np.where(_rng.random(EDGE_NEGATIVES[::3].shape) < 0.6, -np.inf, 1.5)
EDGE_MASK = _rng.random(EDGE_NEGATIVES.shape) < 0.7  # of some none counts, of others all


@lru_cache
def at_edges(dtype):
    """Returns values and gradients of every loss at infinite, huge and tiny scores."""

    @jax.jit
    def everything(scores, labels, pos, neg):
        found = {}
        for name, loss in LOSSES.items():
            pointwise = name in POINTWISE_LOSSES
            points = (scores, labels) if pointwise else (pos, neg)
            for where in (None,) if pointwise else (None, EDGE_MASK):
                run = partial(loss, where=where, reduce_fn=None)
                values, pullback = jax.vjp(run, *points)
                by_both = pullback(jnp.ones_like(values))
                found.setdefault(name, []).append((values, by_both[:1] if pointwise else by_both))
        return found

    points = (*(part.ravel() for part in EDGES_BY_LABEL), EDGE_POSITIVES, EDGE_NEGATIVES)
    with use_float64(), np.errstate(over="ignore"):
        return jax.tree.map(np.asarray, everything(*(np.asarray(x).astype(dtype) for x in points)))


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
@every_loss
def test_a_gradient_is_a_number_where_the_value_is_finite(name, dtype):
    for values, slopes in at_edges(dtype)[name]:
        finite = np.isfinite(values)
        assert finite.mean() > 0.3
        for slope in slopes:
            wrong = np.isnan(slope).reshape(len(values), -1).any(1) & finite
            assert not wrong.any(), np.flatnonzero(wrong)


@every_loss
def test_the_program_is_the_loss(name):
    if name in POINTWISE_LOSSES:
        program, family = named_program(name, smoothing=0.1), "pointwise"
    else:
        program, family = named_program(name), "pairwise"
    built, loss = build_loss(program, bounds=UNBOUNDED, family=family), LOSSES[name]
    loss = getattr(loss, "func", loss)  # without its threshold
    assert (built.family, built.bounds) == (loss.family, loss.bounds)
    assert all(map(np.array_equal, built.program, loss.program))


def test_constants_of_a_call_are_those_of_another_loss():
    pos, neg = SCORES, NEGATIVES
    loss = named_loss("bsl")
    assert loss.constants == {"pos_temperature": 0.2, "neg_temperature": 0.2}
    for options in ({"neg_temperature": 0.5}, {"pos_temperature": 1.0, "neg_temperature": 0.3}):
        expected = named_loss("bsl", **options)(pos, neg, reduce_fn=None)
        got = loss(pos, neg, constants=options, reduce_fn=None)
        np.testing.assert_allclose(got, expected, rtol=1e-6)
    own = build_loss("relu(-m + neg) - m * pos", family="pairwise", m=1.0)  # 1 is no register here
    got, expected = own(pos, neg, constants={"m": 0.25}), (NEGATIVES - 0.25).clip(0).mean(-1)
    assert float(got) == pytest.approx((expected - 0.25 * SCORES).mean(), rel=1e-5)


def test_another_constant_compiles_nothing():
    @jax.jit
    @chex.assert_max_traces(n=1)
    def value(temperature):
        constants = {"temperature": temperature}
        return named_loss("softmax")(SCORES, NEGATIVES, constants=constants)

    values = [float(value(temperature)) for temperature in (0.1, 0.2, 0.4)]
    assert len(set(values)) == 3


def test_an_unknown_constant_and_a_missing_threshold_are_refused():
    with pytest.raises(ValueError, match=r"no constant 'temprature' \(did you mean 'temperature'"):
        named_loss("softmax")(SCORES, NEGATIVES, constants={"temprature": 0.1})
    with pytest.raises(ValueError, match="the loss reads the users' thresholds"):
        named_loss("talos")(SCORES, NEGATIVES)
    with pytest.raises(ValueError, match="threshold broadcast to the shape"):
        named_loss("talos")(SCORES, NEGATIVES, threshold=np.zeros((2, 3)))


def test_no_gradient_passes_through_a_threshold():
    slope = jax.grad(lambda b: named_loss("talos")(SCORES, NEGATIVES, threshold=b))(SCORES)
    assert not slope.any()


def test_a_mask_leaves_negatives_out_of_every_aggregate():
    """As if there had been fewer of them."""
    where = np.ones(NEGATIVES.shape, bool)
    where[:, 1] = False

    @jax.jit
    def everything(scores, negatives):
        return {
            name: (
                LOSSES[name](scores, negatives, where=where, reduce_fn=None),
                LOSSES[name](scores, negatives[:, [0, 2]], reduce_fn=None),
            )
            for name in PAIRWISE_LOSSES
        }

    for name, (got, expected) in everything(SCORES, NEGATIVES).items():
        np.testing.assert_allclose(got, expected, rtol=2e-5, atol=1e-6, err_msg=name)
