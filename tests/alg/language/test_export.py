"""Exported source and LaTeX against the loss itself, in value and gradient."""

import importlib.util
import subprocess
import sys
from functools import cache, partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from autolossgen import (
    DEFAULT_BOUNDS,
    PAIRWISE,
    PAIRWISE_LOSSES,
    PAPER_BOUNDS,
    POINTWISE,
    POINTWISE_LOSSES,
    UNBOUNDED,
    Op,
    Program,
    build_loss,
    make_vocabulary,
    named_program,
    parse,
    to_latex,
    to_python,
    to_torch,
)
from autolossgen.language.inputs import as_program
from autolossgen.language.operator_checks import use_float64
from tests.alg.language.test_random_programs import (
    DIRECTION,
    LABEL,
    LENGTH,
    LOGIT,
    NAMES,
    NEG,
    POS,
    SPACES,
    close,
    numpy_reference,
    sequences,
)
from tests.helpers.exported import along, by_jax, by_torch, function_of

pytestmark = pytest.mark.slow

has_torch = importlib.util.find_spec("torch") is not None
needs_torch = pytest.mark.skipif(not has_torch, reason="PyTorch is not installed")


def random_programs(space, count):
    vocab, bounds = SPACES[space]
    rng = np.random.default_rng(11)
    tokens = sequences(rng.integers(0, 256, LENGTH * 40, np.uint8).tobytes(), vocab)[:count]
    names = [[vocab.names[token] for token in row] for row in tokens]
    return [(as_program(row, family=vocab.family), bounds, vocab.family) for row in names]


PROGRAMS = [
    *((named_program(name, smoothing=0.1), UNBOUNDED, POINTWISE) for name in POINTWISE_LOSSES),
    *((named_program(name), UNBOUNDED, PAIRWISE) for name in PAIRWISE_LOSSES),
    *(program for space in SPACES for program in random_programs(space, 6)),
]


def points(family):
    return (LOGIT, LABEL) if family.name == "pointwise" else (POS, NEG)


def wanted(program, bounds, family):
    """Returns value and slope by NumPy, and the points where rounding does not decide."""
    if family.name == "pointwise":
        run = lambda stretch: numpy_reference.pointwise(  # noqa: E731
            program, NAMES, LOGIT * stretch, LABEL, bounds=bounds
        )
    else:
        run = lambda stretch: numpy_reference.pairwise(  # noqa: E731
            program, NAMES, POS * stretch, NEG / stretch, DIRECTION, bounds=bounds
        )
    value, slope = run(1.0)
    moved = run(1 + 1e-13)
    return value, slope, close(moved[0], value) & close(moved[1], slope)


@cache
def by_python():
    """Returns the Python sources of all programs, and their results; they are compiled as one."""
    sources = [to_python(program, bounds=b, family=family) for program, b, family in PROGRAMS]
    functions = list(map(function_of, sources))

    @jax.jit
    def everything(of_families):
        return [
            by_jax(function, of_families[family.name])
            for function, (*_, family) in zip(functions, PROGRAMS, strict=True)
        ]

    with use_float64():
        results = everything({family.name: points(family) for family in (POINTWISE, PAIRWISE)})
    return list(zip(sources, jax.tree.map(np.asarray, results), strict=True))


def direction_of(family):
    return None if family == POINTWISE else DIRECTION


def check(source, found, program, bounds, family):
    value, slope = found
    value_wanted, slope_wanted, sharp = wanted(program, bounds, family)
    assert value.shape == value_wanted.shape
    assert close(value, value_wanted)[sharp].all(), source
    assert close(slope, slope_wanted)[sharp].all(), source


@pytest.mark.parametrize("index", range(len(PROGRAMS)))
def test_python_source_is_the_loss(index):
    source, (value, derivatives) = by_python()[index]
    slope = along(*derivatives, direction_of(PROGRAMS[index][-1]))
    check(source, (value, slope), *PROGRAMS[index])


@needs_torch
@pytest.mark.parametrize("index", range(len(PROGRAMS)))
def test_torch_source_is_the_loss(index):
    program, bounds, family = PROGRAMS[index]
    source = to_torch(program, bounds=bounds, family=family)
    check(source, by_torch(source, points(family), direction_of(family)), *PROGRAMS[index])


def test_python_source_stands_alone(tmp_path):
    formula = "max((label + s) / (pred + s), (pred + s) / (label + s))"
    path = tmp_path / "found.py"
    path.write_text(to_python(parse(formula, s=0.1), name="found"), encoding="utf-8")
    check = (
        "import found, sys; print(found.found(0.0, 1.0)); assert 'autolossgen' not in sys.modules"
    )
    done = subprocess.run(
        [sys.executable, "-c", check], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert float(done.stdout) == pytest.approx((1 + 0.1) / (0.5 + 0.1))
    assert "autolossgen" not in path.read_text(encoding="utf-8")


def body(source):
    return [line.strip() for line in source.split('"""')[2].strip().splitlines()]


def test_source_has_one_line_for_each_operand_read_and_each_result():
    assert body(to_python("square(label - logit)", bounds=UNBOUNDED)) == [
        "r4 = label - logit",
        "r5 = jnp.square(r4)",
        "return r5",
    ]
    lines = ["pred = torch.sigmoid(logit)", "r5 = 0.5 * torch.ones_like(logit)"]
    assert set(lines) < set(body(to_torch("pred * logit - 0.5 * label")))
    assert body(to_python("1")) == ["one = jnp.ones_like(logit)", "r3 = one", "return r3"]
    assert body(to_torch("neg", family="pairwise"))[:1] == ["r3 = neg"]


@pytest.mark.parametrize("export", [to_python, to_torch])
def test_a_clip_is_written_where_it_can_act(export):
    assert "clip" not in export("square(label - pred)")
    assert "clip" not in export("reciprocal(label - pred)", bounds=UNBOUNDED)
    source = export("square(reciprocal(label - pred))")
    assert "that may leave (-100000.0, 100000.0) are clipped" in " ".join(source.split())
    assert sum("= clip(" in line for line in body(source)) == 2
    paper = export("label - pred", bounds=PAPER_BOUNDS)
    assert body(paper)[-2].startswith("r3 = clip(label - pred)")
    assert "1e-05" in paper


def test_the_whole_gradient_passes_on_a_bound():
    for bounds in (DEFAULT_BOUNDS, (-1.0, 1.0)):
        formula = "label * logit * 1000"
        exported = function_of(to_python(formula, bounds=bounds))
        both = exported, build_loss(formula, bounds=bounds)
        label = np.float32(bounds[1] / 1000)
        slopes = jax.jit(lambda *at, fs=both: [jax.grad(f)(*at) for f in fs])(1.0, label)
        assert slopes[0] == slopes[1] > 0


@pytest.mark.parametrize("bounds", [(-np.inf, 0.5), (0.25, np.inf)])
def test_a_bound_may_be_infinite(bounds):
    label = np.float32([0, 0.7, 2])
    values = function_of(to_python("label - pred", bounds=bounds))(0.0, label)
    np.testing.assert_allclose(values, np.clip(label - 0.5, *bounds), rtol=1e-6)
    if has_torch:
        import torch

        exported = function_of(to_torch("label - pred", bounds=bounds))
        np.testing.assert_array_equal(exported(torch.zeros(3), torch.tensor(label)), values)


def test_bounds_are_checked():
    for bounds in ((3, 1), 3, (0, float("nan"))):
        with pytest.raises(ValueError, match="low < high"):
            to_python("pred", bounds=bounds)


@pytest.mark.parametrize("export", [to_python, to_torch, to_latex])
def test_constants_of_a_formula_are_given_by_keyword(export):
    assert export("label - s * pred", s=0.25) == export("label - 0.25 * pred")
    with pytest.raises(ValueError, match="'s' is not known"):
        export("label - s * pred")


def test_a_program_whose_formula_is_too_long_is_written():
    # Each product is of the two before it.
    program = Program(
        np.ones(22, int), np.array([0, *range(3, 24)]), np.array([1, 0, *range(3, 23)])
    )
    exported = function_of(to_python(program))
    assert exported.__doc__.startswith("Value of each logit of the loss of ")
    loss = build_loss(program)
    np.testing.assert_allclose(jax.jit(exported)(0.3, 1.0), loss(0.3, 1.0), rtol=1e-6)


def test_names_of_functions_are_checked():
    for name in ("two words", "lambda", "1st", "lösung", "x(): import os", "jnp", "jax", "torch"):
        with pytest.raises(ValueError, match="named like a variable"):
            to_python("pred", name=name)


HALVES = ["float16", "bfloat16"]
IN_HALF = [
    "label / pred",  # protected
    "log(pred) - reciprocal(logit)",  # clipped, to bounds that float16 does not hold
    "0.3 * label - sqrt(pred) * 2",
    "exp(logit) + 1000 * relu(-pred)",
    "max(tanh(logit), min(softplus(logit), 0.25))",
]
HALF_LOGITS, HALF_LABELS = [0.5, -0.25, 2.0, -1.0], [1.0, 0.0, 0.5, 1.0]


@pytest.mark.parametrize("dtype", HALVES)
def test_python_source_works_in_half_precision(dtype):
    exported = [function_of(to_python(formula)) for formula in IN_HALF]
    built = [partial(build_loss(formula), reduce_fn=None) for formula in IN_HALF]

    @jax.jit
    def everything(*points):
        return [[f(*points) for f in functions] for functions in (exported, built)]

    points = (np.asarray(x, dtype) for x in (HALF_LOGITS, HALF_LABELS))
    with np.errstate(over="ignore"):  # of the bounds, where they become constants
        results = everything(*points)
    for value, wanted in zip(*results, strict=True):
        assert value.dtype == dtype
        np.testing.assert_allclose(*map(np.float32, (value, wanted)), rtol=4e-2, atol=2e-2)


@needs_torch
@pytest.mark.parametrize("dtype", HALVES)
@pytest.mark.parametrize("formula", IN_HALF)
def test_torch_source_works_in_half_precision(formula, dtype):
    import torch

    points = (HALF_LOGITS, HALF_LABELS)
    logits, labels = (torch.tensor(x, dtype=getattr(torch, dtype)) for x in points)
    value = function_of(to_torch(formula))(logits.requires_grad_(), labels)
    assert value.dtype == logits.dtype
    (slope,) = torch.autograd.grad(value.sum(), logits)
    assert torch.isfinite(slope).all()
    half = (jnp.asarray(x, dtype) for x in (HALF_LOGITS, HALF_LABELS))
    wanted = np.float32(build_loss(formula)(*half, reduce_fn=None))
    np.testing.assert_allclose(value.detach().float().numpy(), wanted, rtol=4e-2, atol=2e-2)


@needs_torch
def test_torch_source_protects_a_quotient_by_the_exact_millionth():
    import torch

    exported = function_of(to_torch("pred / label", bounds=UNBOUNDED))
    logit, label = torch.zeros(2, dtype=torch.float64), torch.tensor([0.0, -0.0]).double()
    assert exported(logit, label).tolist() == [0.5 / 1e-6] * 2


def test_python_source_takes_integers():
    values = function_of(to_python("0.3 * logit - label"))(np.array([1, -2]), np.array([0, 1]))
    np.testing.assert_allclose(values, [0.3, -1.6], rtol=1e-6)


@pytest.mark.parametrize(
    ("formula", "latex"),
    [
        ("square(label - pred)", r"\left(y - \hat{y}\right)^{2}"),
        ("square(square(-pred))", r"\left(\hat{y}^{2}\right)^{2}"),
        ("log(pred) * 3 - 2 * log(pred)", r"\log\left(\hat{y}\right)"),
        ("(label + 0.1) / (pred + 0.1)", r"\frac{y + 0.1}{\hat{y} + 0.1}"),
        ("(label + 1) * reciprocal(pred)", r"\frac{y + 1}{\hat{y}}"),
        ("softplus(logit) - label * logit", r"\log\left(1 + e^{z}\right) - y \cdot z"),
        ("(label - 1) * (pred + logit)", r"\left(y - 1\right) \cdot \left(\hat{y} + z\right)"),
        ("-(label * log(pred))", r"-y \cdot \log\left(\hat{y}\right)"),
        ("1 - (label - log(-pred))", r"1 - y - \log\left(\hat{y}\right)"),
        ("pred * 0.000001", r"10^{-6} \cdot \hat{y}"),
        ("max(label, -pred)", r"\max\left(y, -\hat{y}\right)"),
        ("label / label", r"\frac{y}{y}"),  # 0 for label 0, so it is not 1
        ("pred / 0", r"\frac{\hat{y}}{0}"),
        ("-2.5e30 * pred - 1234 * label", r"-2.5 \cdot 10^{30} \cdot \hat{y} - 1234 \cdot y"),
    ],
)
def test_latex_is_the_simplified_formula(formula, latex):
    assert to_latex(formula) == latex


def test_latex_of_operands_of_pairwise_losses():
    assert to_latex("pos - neg - threshold", family="pairwise") == r"s^{+} - s^{-}_{j} - b_{u}"
    assert to_latex("sum_neg(neg) / num_negatives", family="pairwise").endswith("}{S}")


def test_arguments_of_a_users_template_are_bracketed_where_it_has_no_brackets():
    cube = Op("cube", 1, lambda x: x * x * x, "cube({0})", "{0}^3", *["({0} * {0} * {0})"] * 2)
    family = make_vocabulary(extra=[cube]).family
    assert to_latex("cube(pred)", family=family) == r"\hat{y}^3"
    assert to_latex("cube(label - pred)", family=family) == r"\left(y - \hat{y}\right)^3"
    assert to_latex("cube(label * pred) * logit", family=family) == (
        r"\left(y \cdot \hat{y}\right)^3 \cdot z"
    )
    bracketed = cube._replace(latex=r"\left({0}\right)^3")
    family = make_vocabulary(extra=[bracketed]).family
    assert to_latex("cube(label - pred)", family=family) == r"\left(y - \hat{y}\right)^3"


def test_every_named_loss_and_random_programs_have_latex():
    for program, bounds, family in PROGRAMS[::3]:
        latex = to_latex(program, bounds=bounds, family=family)
        assert latex.count("{") == latex.count("}")
        assert latex.count(r"\left") == latex.count(r"\right")
        assert not any(
            name in latex for name in ("sum_neg", "softplus", "label", "pred", "Derivative")
        )


def test_latex_of_a_program_that_is_too_long_to_write_is_refused():
    log, add = 6, 0
    op = np.array([log, *[add] * 40])  # each sum is of the two before it
    fibonacci = Program(op, np.array([0, *range(3, 43)]), np.array([-1, 0, *range(3, 42)]))
    with pytest.raises(ValueError, match="more than 10000 tokens"):
        to_latex(fibonacci)
