"""The operator table, row by row, and a user's own rows."""

import importlib.util
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from autolossgen import (
    DEFAULT_BOUNDS,
    OPERATORS,
    PAPER_BOUNDS,
    Op,
    assemble,
    build_loss,
    interpret,
    make_vocabulary,
    parse,
    to_text,
)
from autolossgen.language.grammar import encode_tokens
from autolossgen.language.operator_checks import (
    call_python,
    call_torch,
    compute_derivatives,
    is_different,
    make_arguments,
    use_float64,
    validate_op,
)
from autolossgen.language.operators import NUMBER_OF, PAPER_OPERATORS, clip
from tests.helpers import numpy_reference

ROWS = [op for op in OPERATORS if op.arity > 0]
CALLS = [op for op in ROWS if op.precedence == 4 and op.name != "id"]
INFIX = [op for op in ROWS if op not in CALLS]
ids = [op.name for op in ROWS]
has_torch = importlib.util.find_spec("torch") is not None


def test_the_papers_operators_come_first_and_in_its_order():
    wanted = ("add", "mul", "max", "min", "neg", "id", "log", "square", "reciprocal")
    assert wanted == PAPER_OPERATORS
    assert [NUMBER_OF[name] for name in wanted] == list(range(9))


def test_names_are_unique():
    assert len(NUMBER_OF) == len(OPERATORS)


@pytest.mark.parametrize("op", ROWS, ids=ids)
def test_value_and_derivative_are_the_ones_worked_out_by_hand(op):
    inputs = make_arguments(op)
    for i in range(op.arity):
        pairs = [
            (np.asarray(x, np.float64), np.full(x.shape, float(i == j)))
            for j, x in enumerate(inputs)
        ]
        value, slope = numpy_reference.RULES[op.name](*(part for pair in pairs for part in pair))
        with use_float64():
            primals, tangents = zip(*pairs, strict=True)
            got, got_slope = jax.jit(partial(jax.jvp, op.function))(primals, tangents)
            assert got.dtype == jnp.float64
        np.testing.assert_allclose(got, value, rtol=1e-12, atol=1e-12)
        np.testing.assert_allclose(got_slope, slope, rtol=1e-9, atol=1e-12)


# Those of calls are checked with their rows, below.
@pytest.mark.parametrize("op", INFIX, ids=lambda op: op.name)
def test_value_and_derivative_are_finite_over_the_bounds(op):
    inputs = make_arguments(op)
    assert set(np.float32([*DEFAULT_BOUNDS, *PAPER_BOUNDS, 0])) <= set(
        np.asarray(inputs[0]).tolist()
    )
    assert np.isfinite(op.function(*inputs)).all()
    assert all(np.isfinite(slope).all() for slope in compute_derivatives(op, op.function))


# The forms of calls are compared with their rows, below.
@pytest.mark.parametrize("op", INFIX, ids=lambda op: op.name)
def test_the_python_form_is_the_function(op):
    with use_float64():
        inputs = make_arguments(op, np.float64)
        assert not is_different(call_python(op, *inputs), op.function(*inputs))
        forms = compute_derivatives(op, lambda *x: call_python(op, *x))
        assert not any(map(is_different, forms, compute_derivatives(op, op.function)))


@pytest.mark.skipif(not has_torch, reason="PyTorch is not installed")
@pytest.mark.parametrize("op", INFIX, ids=lambda op: op.name)
def test_the_torch_form_is_the_function(op):
    with use_float64():
        inputs = make_arguments(op, np.float64)
        value, *slopes = call_torch(op, *inputs)
        assert not is_different(value, op.function(*inputs))
        assert not any(map(is_different, slopes, compute_derivatives(op, op.function)[op.arity :]))


@pytest.mark.parametrize("op", ROWS, ids=ids)
def test_the_text_form_reads_back_as_the_operator(op):
    family = "pairwise" if op.aggregate else "pointwise"
    operands = ("pos", "neg") if op.aggregate else ("pred", "label")
    text = op.text.format(*operands)
    program = parse(text, family=family)
    assert OPERATORS[program.op[-1]].name == op.name
    assert (program.lhs[-1], program.rhs[-1]) == (0, 1 if op.arity == 2 else -1)
    if op.name != "id":  # a bare operand is its copy
        assert to_text(program, family=family) == text


@pytest.mark.parametrize("op", ROWS, ids=ids)
def test_the_latex_form_is_balanced_and_shows_every_argument(op):
    text = op.latex.format("AA", "BB")
    assert "AA" in text
    assert ("BB" in text) == (op.arity == 2)
    assert text.count("{") == text.count("}")
    assert text.count(r"\left") == text.count(r"\right")


@pytest.mark.parametrize("op", [op for op in ROWS if op.arity == 2], ids=lambda op: op.name)
def test_operators_are_marked_commutative_if_and_only_if_they_are(op):
    x, y = make_arguments(op)
    assert is_different(op.function(x, y), op.function(y, x)) != op.commutative


@pytest.mark.parametrize("op", CALLS, ids=lambda op: op.name)
def test_the_built_in_calls_pass_the_check_of_users_rows(op):
    assert validate_op(op) is op


def test_the_clip_passes_the_whole_gradient_on_a_bound():
    slopes = jax.jit(jax.vmap(jax.grad(lambda x: clip(x, -1.0, 1.0))))
    slope = slopes(np.float32([-2, -1, 0, 1, 2]))
    assert slope.tolist() == [0, 1, 1, 1, 0]


CUBE = Op(
    "cube",
    1,
    lambda x: x * x * x,
    text="cube({0})",
    latex="{0}^3",
    python="({0} * {0} * {0})",
    torch="({0} * {0} * {0})",
)


def test_a_users_operator_can_be_searched_parsed_built_and_interpreted():
    vocab = make_vocabulary(("sub",), extra=[CUBE])
    assert vocab.names[-2:] == ("sub", "cube")
    loss = build_loss("cube(label - pred)", inputs="probabilities", family=vocab.family)
    assert float(loss(jnp.array([0.5]), jnp.array([1.0]))) == 0.125
    named = build_loss(["label", "pred", "sub", "cube"], family=vocab.family)
    assert named is build_loss("cube(label - pred)", family=vocab.family)

    tokens = np.asarray(encode_tokens(["label", "pred", "sub", "cube"], vocab))
    program = jax.tree.map(np.asarray, jax.jit(partial(assemble, vocab=vocab))(tokens))
    assert to_text(program, family=vocab.family) == "cube(label - pred)"
    settings = {"operators": vocab.operators, "table": vocab.family.table}
    value = jax.jit(partial(interpret, **settings))(program, np.float32([0.5]), np.float32([1]))
    assert value.tolist() == [0.125]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"arity": 3}, "arity is 3, expected 1 or 2"),
        ({"arity": 2, "text": "cube({0}, {1})"}, "does not take its 2 argument"),
        ({"name": "cübe"}, "not a name in ASCII"),
        ({"name": "lambda"}, "keyword"),
        ({"text": "{0}^3"}, r"expected the call 'cube\(\{0\}\)'"),
        ({"python": "({1} * {0})"}, "does not take its 1 argument"),
        ({"python": "({0} * {0}"}, "Python form fails: SyntaxError"),
        ({"python": "({0} * {0})"}, "Python form and its function have different values"),
        ({"function": lambda x: x * x * x * x * x * x * x * x}, "value at .* is inf"),
        ({"function": jnp.log}, "value at .* is nan"),
        ({"function": lambda x: 1 / (x - 3)}, r"value at \(3\) is inf"),
        ({"function": lambda x: np.asarray(x) ** 3}, "check fails: TracerArrayConversionError"),
        ({"function": None}, "function fails on 1 array"),
        ({"size": lambda x: 1 / 0}, "check fails: ZeroDivisionError"),
        ({"latex": None}, "latex form None is not a template"),
        ({"arity": True}, "arity is True"),
        ({"function": lambda x: jnp.where(x == 0, 0.0, jnp.sqrt(jnp.abs(x)))}, "derivative at"),
        ({"function": lambda x: x.sum()}, r"returns float32\(\)"),
        ({"function": lambda x: x > 0}, "returns bool"),
        ({"function": lambda x, y: x}, "function fails on 1 array"),
        ({"function": lambda x: x - x.mean()}, "depends on other entries"),
        ({"commutative": True}, "marked commutative"),
        ({"aggregate": True}, "second argument, which entries count"),
    ],
)
def test_a_bad_row_is_refused_with_the_reason(change, reason):
    row = CUBE._replace(**change)
    with pytest.raises(ValueError, match=f"operator '{row.name}' is refused.*{reason}"):
        make_vocabulary(extra=[row])


@pytest.mark.parametrize("pole", [0.25, 0.3, -0.3, 1.0, -7.77, 1e-4])
def test_a_pole_at_a_short_number_is_refused(pole):
    row = CUBE._replace(function=lambda x: 1 / (x - pole), python=f"(1 / ({{0}} - {pole}))")
    with pytest.raises(ValueError, match=rf"its value at \({pole:g}\) is inf, expected finite"):
        validate_op(row)


@pytest.mark.parametrize("pole", [0.25, 0.3, -0.3, 1.0])
def test_a_pole_of_either_of_two_arguments_is_refused(pole):
    form = f"({{0}} / ({{1}} - {pole}))"
    ratio = Op("ratio", 2, lambda x, y: x / (y - pole), "ratio({0}, {1})", form, form, form)
    for row in (ratio, ratio._replace(function=lambda x, y: y / (x - pole))):
        with pytest.raises(ValueError, match=f"its value at .*{pole:g}.* expected finite"):
            validate_op(row)


@pytest.mark.skipif(not has_torch, reason="PyTorch is not installed")
def test_a_torch_form_that_disagrees_is_refused():
    with pytest.raises(ValueError, match="PyTorch form and its function have different values"):
        make_vocabulary(extra=[CUBE._replace(torch="({0} * {0})")])


def test_a_gradient_that_differs_between_forms_is_refused():
    frozen = CUBE._replace(python="(jax.lax.stop_gradient({0}) * {0} * {0})")
    with pytest.raises(ValueError, match="different derivatives"):
        make_vocabulary(extra=[frozen])


@pytest.mark.parametrize("name", ["log", "pred", "logit", "PAD"])
def test_a_taken_name_is_refused(name):
    with pytest.raises(ValueError, match="the name is taken"):
        make_vocabulary(extra=[CUBE._replace(name=name, text=f"{name}({{0}})")])


@pytest.mark.parametrize("extra", [["cube"], [None], [tuple(CUBE)], CUBE])
def test_what_is_no_row_is_refused(extra):
    with pytest.raises(ValueError, match="an extra operator is an Op, got"):
        make_vocabulary(extra=extra)


def test_an_operator_may_have_no_gradient_anywhere():
    step = Op(
        "step",
        1,
        lambda x: jnp.where(x > 0, 1.0, 0.0),
        text="step({0})",
        latex=r"\theta\left({0}\right)",
        python="jnp.where({0} > 0, 1.0, 0.0)",
        torch="torch.where({0} > 0, 1.0, 0.0)",
    )
    loss = build_loss("step(label - pred)", family=make_vocabulary(extra=[step]).family)
    assert float(loss(0.0, 1.0)) == 1


def test_an_aggregate_belongs_to_the_pairwise_family():
    top = Op(
        "top",
        1,
        lambda x, where=None: jnp.broadcast_to(
            jnp.max(x, -1, keepdims=True, initial=-1e6, where=where), x.shape
        ),
        text="top({0})",
        latex=r"\max_j {0}",
        python="jnp.broadcast_to(jnp.max({0}, -1, keepdims=True), {0}.shape)",
        torch="torch.amax({0}, -1, keepdim=True).expand_as({0})",
        aggregate=True,
    )
    with pytest.raises(ValueError, match="pointwise is elementwise"):
        make_vocabulary(extra=[top])
    vocab = make_vocabulary(extra=[top], family="pairwise")
    loss = build_loss("relu(1 - pos + top(neg))", family=vocab.family)
    pos, neg = jnp.array([2.0]), jnp.array([[0.5, 1.5, 9.0]])
    assert float(loss(pos, neg, where=jnp.array([[True, True, False]]))) == 1 - 2 + 1.5
