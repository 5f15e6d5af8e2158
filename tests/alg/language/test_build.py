"""What a JAX program does with a built loss: transformations, caching, shapes and refusals."""

import re
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import Mesh, NamedSharding
from jax.sharding import PartitionSpec as Spec

from autolossgen import (
    DEFAULT_BOUNDS,
    PAPER_BOUNDS,
    Op,
    build_loss,
    interpret,
    make_vocabulary,
    named_loss,
    parse,
)
from autolossgen.language.operator_checks import use_float64
from autolossgen.training.loss_gradients import pad_programs

FORMULA = "max((label + s) / (pred + s), (pred + s) / (label + s))"
SCORES, LABELS = np.float32([0.5, -1.0, 2.0, 0.0]), np.float32([1, 0, 1, 0])


def counting_family():
    """Returns a family whose operator ``traced`` counts how often it is called, that is traced."""
    calls = []

    def function(x):
        calls.append(x)
        return x * x

    row = Op("traced", 1, function, "traced({0})", "{0}^2", "({0} * {0})", "({0} * {0})")
    family = make_vocabulary(extra=[row]).family
    calls.clear()
    return family, calls


def test_a_loss_built_twice_is_the_same_function_and_is_traced_once():
    family, calls = counting_family()
    sources = [
        "traced(label - pred)",
        " traced( (label-pred) ) ",
        ["label", "pred", "sub", "traced"],
        parse("traced(label - pred)", family=family),
    ]
    losses = [build_loss(source, family=family) for source in sources]
    assert len({id(loss) for loss in losses}) == 1
    for loss in losses:
        loss(SCORES, LABELS)
    assert len(calls) == 1


def test_a_gradient_step_traces_once_however_often_the_loss_is_built():
    family, calls = counting_family()

    @jax.jit
    def step(scores):
        loss = build_loss("traced(label - pred)", family=family)
        return scores - jax.grad(loss)(scores, LABELS)

    scores = jnp.asarray(SCORES)
    for _ in range(5):
        scores = step(scores)
    assert len(calls) == 1
    jax.grad(build_loss("traced(label - pred)", family=family))(scores, LABELS)
    assert len(calls) == 1


def test_other_settings_are_other_functions():
    loss = build_loss(FORMULA, s=0.1)
    assert loss is build_loss(FORMULA, s=0.1)
    assert loss is not build_loss(FORMULA, s=0.2)
    assert loss is not build_loss(FORMULA, s=0.1, inputs="probabilities")
    assert loss is not build_loss(FORMULA, s=0.1, bounds=(-10, 10))
    assert loss is build_loss(FORMULA, s=0.1, bounds=(np.float64(-1e5), 100_000))
    assert named_loss("maxr", smoothing=0.1) is named_loss("maxr", smoothing=0.1)


def test_a_loss_says_what_it_is():
    loss = build_loss("square(label - pred)")
    assert loss.__name__ == "loss"
    assert "of logits: square(label - pred), intermediates clipped to (-1" in loss.__doc__
    assert named_loss("mse").__doc__.endswith("of logits: square(label - pred).")


def test_a_loss_whose_formula_is_too_long_to_write_is_built():
    program = parse("pred + pred")
    sums = program._replace(
        op=np.zeros(20, int), lhs=np.arange(2, 22), rhs=np.arange(2, 22), constant=()
    )
    loss = build_loss(sums, bounds=(-np.inf, np.inf))
    assert float(loss(0.0, 0.0)) == 2**20
    assert "loss of logits: of 20 instructions" in loss.__doc__


def test_probabilities_are_the_sigmoid_of_logits():
    of_logits = build_loss(FORMULA + " + logit", s=0.1)
    of_probabilities = build_loss(FORMULA + " + logit", s=0.1, inputs="probabilities")
    got = of_probabilities(jax.nn.sigmoid(SCORES), LABELS, reduce_fn=None)
    np.testing.assert_allclose(got, of_logits(SCORES, LABELS, reduce_fn=None), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_probabilities_of_0_and_1_have_finite_values_and_push_back(dtype):
    pred, label = np.array([0, 1, 0, 1], dtype), np.array([0, 1, 1, 0], dtype)
    formula = "softplus(logit) - label * logit"
    with use_float64():
        loss = build_loss(formula, inputs="probabilities")
        values = np.asarray(loss(pred, label, reduce_fn=None))
        slopes = np.asarray(jax.grad(partial(loss, reduce_fn=jnp.sum))(pred, label))
        interpreted = interpret(parse(formula), jnp.asarray(pred), label)
    largest = -np.log([2 * np.finfo(dtype).tiny, np.finfo(dtype).epsneg])
    np.testing.assert_allclose(values, [0, 0, *largest], rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(interpreted, values, rtol=1e-6)
    assert np.isfinite(slopes).all()
    assert slopes[0] == pytest.approx(1, rel=1e-4)  # that of -log(1 - p) at 0
    assert slopes[2] < -1e6
    assert slopes[3] > 1e6


def test_bounds_clip_every_result():
    loss = build_loss("-(label - pred)", inputs="probabilities", bounds=(1e-5, 0.5))
    got = loss(np.float32([0.2, 0.9, 0.4]), np.float32([1.0, 0.0, 0.6]), reduce_fn=None)
    np.testing.assert_allclose(got, [1e-5, 1e-5, 1e-5], rtol=1e-6)
    loss = build_loss("label - pred", inputs="probabilities", bounds=(1e-5, 0.5))
    got = loss(np.float32([0.2, 0.9, 0.4]), np.float32([1.0, 0.0, 0.6]), reduce_fn=None)
    np.testing.assert_allclose(got, [0.5, 1e-5, 0.2], rtol=1e-6)


def test_labels_and_masks_broadcast_to_the_scores():
    loss = build_loss("square(label - pred)", inputs="probabilities")
    assert float(loss(jnp.full((2, 3), 0.5), 1.0)) == 0.25
    assert float(loss(jnp.full((2, 3), 0.5), jnp.array([[1.0], [0.5]]))) == 0.125
    where = jnp.array([True, False, False])
    assert float(loss(jnp.array([[0.5, 9, 9], [0.0, 9, 9]]), 1.0, where=where)) == (0.25 + 1) / 2


@pytest.mark.parametrize("name", ["labels", "where", "weights"])
def test_scores_are_never_broadcast(name):
    loss = build_loss("square(label - pred)")
    arrays = {"labels": 1.0, name: jnp.ones(3)}
    with pytest.raises(ValueError, match=rf"{name} broadcast to the shape \(3, 1\).* got \(3,\)"):
        loss(jnp.zeros((3, 1)), **arrays)


@pytest.mark.parametrize("family", ["pointwise", "pairwise"])
@pytest.mark.parametrize("mask", [[True, False, True], np.array([1, 0, 2]), jnp.array([0.5, 0, 1])])
def test_masks_may_be_numbers_or_lists(family, mask):
    loss = build_loss("pred" if family == "pointwise" else "pos - neg", family=family)
    others = jnp.zeros(3) if family == "pointwise" else jnp.zeros((3, 2))
    wanted = loss(SCORES[:3], others, where=np.array([True, False, True]))
    assert loss(SCORES[:3], others, where=mask) == wanted


def test_a_row_without_values_is_0_beside_a_row_that_is_not_finite():
    loss = build_loss("logit", bounds=(-np.inf, np.inf))
    scores = jnp.array([[1.0, 2.0], [jnp.nan, 1.0], [5.0, jnp.inf]])
    where = jnp.array([[False, False], [True, True], [True, False]])
    got = loss(scores, 0.0, where=where, reduce_fn=lambda x, where: jnp.mean(x, -1, where=where))
    np.testing.assert_array_equal(got, [0, np.nan, 5])


@pytest.mark.parametrize("count", [0, 2])
def test_without_a_mask_a_reduction_need_not_take_one(count):
    loss = build_loss("logit")
    assert float(loss(jnp.full(count, 3.0), 0.0, reduce_fn=lambda x: x.sum())) == 3 * count


def test_whole_numbers_are_scores_too():
    loss = build_loss("square(label - logit)")
    value = loss(np.array([2, 0]), np.array([1, 1]))
    assert value.dtype == jnp.float32
    assert float(value) == 1


@pytest.mark.parametrize("dtype", [jnp.float16, jnp.bfloat16])
def test_half_precision_is_worked_out_in_single(dtype):
    loss = build_loss("log(square(exp(logit)))", bounds=(-np.inf, np.inf))
    assert float(loss(jnp.array([8.0], dtype), 0.0)) == 16  # the square is above 65,504
    ones = build_loss("logit")(jnp.full(2**12, 1 + 2**-7, dtype), 0.0)
    assert float(ones) == 1 + 2**-7  # a sum in half precision stops to grow


def test_a_value_that_is_not_finite_is_not_hidden_by_a_mask():
    loss = build_loss("square(label - logit)", bounds=(-np.inf, np.inf))
    assert np.isnan(loss(jnp.array([jnp.nan, 1.0]), 0.0, where=jnp.array([True, True])))


def test_pairwise_where_is_of_examples_or_of_negatives():
    loss = build_loss("sum_neg(neg) + pos", family="pairwise")
    pos, neg = jnp.array([1.0, 2.0]), jnp.array([[10.0, 20.0], [30.0, 40.0]])
    examples = jnp.array([False, True])
    assert float(loss(pos, neg, where=examples)) == 2 + 70
    negatives = jnp.array([[True, False], [False, False]])
    assert loss(pos, neg, where=negatives, reduce_fn=None).tolist() == [11, 0]
    assert float(loss(pos, neg, where=negatives)) == 11
    assert float(loss(pos, neg, where=jnp.array([[True], [False]]))) == 31


def test_a_pairwise_loss_without_aggregates_is_the_mean_over_negatives():
    loss = build_loss("pos * neg", family="pairwise")
    pos, neg = jnp.array([2.0]), jnp.array([[1.0, 2.0, 6.0]])
    assert loss(pos, neg, reduce_fn=None).tolist() == [2 * 3.0]
    where = jnp.array([[True, True, False]])
    assert loss(pos, neg, where=where, reduce_fn=None).tolist() == [2 * 1.5]


@pytest.mark.parametrize("shape", [(3,), (4, 2), (3, 4, 2), ()])
def test_pairwise_shapes_are_checked(shape):
    loss = build_loss("pos - neg", family="pairwise")
    with pytest.raises(ValueError, match=r"pos is \[..., B\] and neg \[..., B, num_negatives\]"):
        loss(jnp.zeros(3), jnp.zeros(shape))


@pytest.mark.parametrize("shape", [(2,), (3, 4), (1, 3, 2)])
def test_a_mask_of_pairs_is_checked(shape):
    loss = build_loss("pos - neg", family="pairwise")
    wanted = rf"examples \(3,\) or to their negatives \(3, 2\), got {re.escape(str(shape))}"
    with pytest.raises(ValueError, match=wanted):
        loss(jnp.zeros(3), jnp.zeros((3, 2)), where=jnp.ones(shape, bool))


@pytest.mark.parametrize("family", ["pointwise", "pairwise"])
def test_complex_scores_are_refused(family):
    loss = build_loss("1", family=family)
    with pytest.raises(ValueError, match="real scores and labels, got complex64 and float32"):
        loss(jnp.ones(3) + 1j, jnp.ones((3, 2)) if family == "pairwise" else jnp.ones(3))


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"inputs": "logit"}, "inputs is 'logits' or 'probabilities', got 'logit'"),
        ({"bounds": (1.0, -1.0)}, "low < high"),
        ({"bounds": (0.0, float("nan"))}, "low < high"),
        (
            {"family": "pairwise", "inputs": "probabilities"},
            "inputs of a pairwise loss are 'logits'",
        ),
        ({"bounds": 3}, "bounds are"),
    ],
)
def test_bad_settings_are_refused(settings, expected):
    with pytest.raises(ValueError, match=expected):
        build_loss("1", **settings)


def test_constants_are_for_formulas():
    with pytest.raises(ValueError, match=r"constants \['s'\] are for formulas"):
        build_loss(["pred"], s=1.0)


def sharded_mean(loss, mesh):
    """Returns the mean over the whole batch of a loss that each device works out for its share."""

    def share(scores, labels):
        return jax.lax.pmean(loss(scores, labels), "batch")

    return jax.shard_map(
        share, mesh=mesh, in_specs=(Spec("batch"), Spec("batch")), out_specs=Spec()
    )


@pytest.mark.parametrize("name", ["maxr", "sampled_softmax"])
def test_losses_under_shard_map(name):
    devices = jax.devices()
    mesh = Mesh(np.array(devices), ("batch",))
    loss = named_loss(name, smoothing=0.1)
    scores = np.tile(SCORES, len(devices))
    others = np.tile(
        LABELS if name == "maxr" else np.stack([LABELS, -LABELS], -1),
        (len(devices),) + (1,) * (name != "maxr"),
    )
    wanted, wanted_slope = jax.value_and_grad(loss)(scores, others)
    placed = [jax.device_put(x, NamedSharding(mesh, Spec("batch"))) for x in (scores, others)]
    mean = jax.jit(jax.value_and_grad(sharded_mean(loss, mesh)))
    value, slope = mean(*placed)
    np.testing.assert_allclose(value, wanted, rtol=1e-6)
    np.testing.assert_allclose(slope, wanted_slope, rtol=1e-5, atol=1e-7)


def test_losses_under_grad_of_vmap_of_jit_and_a_scan():
    loss = named_loss("sumr", smoothing=0.1)

    def descend(scores):
        def step(scores, _):
            return scores - 0.1 * jax.vmap(jax.grad(loss))(scores, LABELS), loss(scores, LABELS)

        return jax.lax.scan(step, scores, None, length=20)

    _, history = jax.jit(descend)(jnp.asarray(SCORES))
    assert history[-1] < history[0]


def test_second_derivatives():
    loss = partial(build_loss("square(label - logit)"), labels=1.0)
    assert float(jax.grad(jax.grad(loss))(0.5)) == 2


FORMULAS = [
    "softplus(logit) - label * logit",
    "square(logit) + square(square(label * 3))",
    "log(1 / (min(label, pred) + 0.1) + 0.1) * (min(label, pred) + label + pred)",
    "exp(logit) / square(logit)",
    "reciprocal(label) * log(pred) - sqrt(abs(logit)) * 1000",
    "-max(logit * 9.98, -label)",
    "max(logit * 11, label * 21000)",
]


@pytest.mark.parametrize("bounds", [DEFAULT_BOUNDS, PAPER_BOUNDS, (-3.0, 1e5)], ids=str)
def test_clips_that_are_left_out_would_not_act(bounds):
    logit = np.float32([-1e4, -1e4, 1e4, 1e4, 20, -20, 0, 0, 0.5, -1e4])
    label = np.float32([-5, 5, -5, 5, 0, 1, 1, 0, 0, -0.1])
    pred = jax.nn.sigmoid(logit)
    programs = [pad_programs(parse(formula), 12) for formula in FORMULAS]
    stacked = jax.tree.map(lambda *parts: jnp.stack(parts), *programs)
    run = jax.vmap(partial(interpret, pred=pred, label=label, logit=logit, bounds=bounds))
    for formula, wanted in zip(FORMULAS, jax.jit(run)(stacked), strict=True):
        with jax.disable_jit():
            got = build_loss(formula, bounds=bounds)(logit, label, reduce_fn=None)
        np.testing.assert_allclose(got, wanted, rtol=1e-5, err_msg=formula)


def test_cross_entropy_is_built_without_a_clip():
    def clips_of(formula, bounds):
        traced = jax.make_jaxpr(build_loss(formula, bounds=bounds))(SCORES, LABELS)
        return str(traced).count("custom_jvp_call[name=clip") + str(traced).count("name=clip")

    assert clips_of("softplus(logit) - label * logit", DEFAULT_BOUNDS) == 0
    assert clips_of("softplus(logit) - label * logit", PAPER_BOUNDS) > 0
    assert clips_of("softplus(logit) - label * square(logit)", DEFAULT_BOUNDS) > 0
