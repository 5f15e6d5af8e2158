"""Formulas: precedence, names, numbers, hostile input, and text that reads back."""

import tracemalloc

import numpy as np
import pytest

from autolossgen import (
    DEFAULT_BOUNDS,
    Program,
    build_loss,
    complexity,
    make_vocabulary,
    parse,
    to_text,
)
from autolossgen.language.inputs import as_program
from autolossgen.language.operator_checks import use_float64
from autolossgen.language.parser import MAX_CHARACTERS, MAX_DEPTH

PRED, LABEL = 0.3, 0.8


def value_of(formula, family="pointwise", **constants):
    loss = build_loss(formula, inputs="probabilities", bounds=DEFAULT_BOUNDS, **constants)
    with use_float64():
        return float(loss(np.float64(PRED), np.float64(LABEL)))


@pytest.mark.parametrize(
    "formula",
    [
        "1 - pred - label",
        "1 - (pred - label)",
        "pred / label / 2",
        "pred / (label / 2)",
        "pred + label * 3",
        "(pred + label) * 3",
        "-pred * label",
        "-pred ** 2",
        "(-pred) ** 2",
        "2 * -pred",
        "pred - -label",
        "--pred",
        "+pred - +label",
        "- 2 ** 2 * pred",
        "pred ** 3 + label ** 5",
        "pred ** 0 + label ** 1",
        "(pred + label) ** 7",
        "2e-1 * pred + .5 * label + 3.",
        "1.5E+2 - pred",
        "max(pred, label) - min(pred, label)",
        "\tpred\n+\r\nlabel ",
    ],
)
def test_precedence_is_pythons(formula):
    expected = eval(
        formula.strip().replace("\n", " ").replace("\r", " "), {"pred": PRED, "label": LABEL}
    )
    assert value_of(formula) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize(
    ("call", "symbol"),
    [
        ("add(pred, label)", "pred + label"),
        ("sub(pred, label)", "pred - label"),
        ("mul(pred, label)", "pred * label"),
        ("div(pred, label)", "pred / label"),
        ("neg(pred)", "-pred"),
        ("square(pred)", "pred ** 2"),
    ],
)
def test_operators_have_a_symbol_and_a_name(call, symbol):
    assert all(np.array_equal(a, b) for a, b in zip(parse(call), parse(symbol), strict=True))


def test_constants_are_named_by_keyword():
    formula = "max((label + s) / (pred + s), (pred + s) / (label + s))"
    assert value_of(formula, s=0.1) == pytest.approx((0.8 + 0.1) / (0.3 + 0.1), rel=1e-12)
    assert value_of("pred ** n", n=3) == pytest.approx(0.3**3, rel=1e-12)


def test_an_expression_that_comes_again_is_worked_out_once():
    assert len(parse("(pred + label) * (pred + label)").op) == 2


def test_diff_is_the_difference_of_the_logits():
    program = parse("softplus(-diff)", family="pairwise")
    assert to_text(program, family="pairwise") == "softplus(-(pos - neg))"
    assert complexity(program, family="pairwise") == 3
    assert complexity(parse("softplus(-logit)")) == 3


@pytest.mark.parametrize(
    ("formula", "column", "expected"),
    [
        ("", 1, r"expected a number, a name or '\(', got the end"),
        ("pred +", 7, "got the end"),
        ("pred label", 6, "expected an operator or the end, got 'label'"),
        ("(pred", 6, r"expected '\)', got the end"),
        ("pred)", 5, r"expected an operator or the end, got '\)'"),
        ("max(pred)", 9, "expected ',' and argument 2 of 2 of max"),
        ("max(pred, label, 1)", 16, r"expected '\)', got ','"),
        ("log pred", 5, r"expected '\(', got 'pred'"),
        ("log()", 5, "expected a number"),
        ("pred ** 2.5", 9, "whole number from 0 to 64"),
        ("pred ** 65", 9, "whole number from 0 to 64"),
        ("pred ** label", 9, "whole number from 0 to 64"),
        ("pred ** 2 ** 2", 11, "brackets around a power of a power"),
        ("1e999", 1, "float32 holds"),
        ("divv(pred, label)", 1, r"'divv' is not known \(did you mean 'div'\?\)"),
        ("lable - pred", 1, r"did you mean 'label'"),
        ("pos - pred", 1, "'pos' is not known"),
        ("sum_neg(pred)", 1, "'sum_neg' is not known"),
        ("pred ^ 2", 6, r"did you mean '\*\*'"),
        ("pred = 2", 6, "got '=', EQUALS SIGN"),
        ("prеd - label", 3, "CYRILLIC SMALL LETTER IE"),
        ("pred × label", 6, r"MULTIPLICATION SIGN \(did you mean '\*'\?\)"),
        ("pred − label", 6, "MINUS SIGN"),
        ("pred\u00a0- label", 5, "NO-BREAK SPACE"),
        ("ｐred", 1, "FULLWIDTH LATIN SMALL LETTER P"),
        ("pred + ١", 8, "ARABIC-INDIC DIGIT ONE"),
        ("pred\0", 5, "U\\+0000"),
        ("__import__('os').system('true')", 1, "'__import__' is not known"),
        ("pred.__class__", 5, "FULL STOP"),
        ("lambda: pred", 1, "'lambda' is not known"),
        ("pred if label else 1", 6, "got 'if'"),
        ("f'{pred}'", 1, "'f' is not known"),
        ("1_000 * pred", 2, "got '_000'"),
        ("0x10 * pred", 2, "got 'x10'"),
        ("[pred]", 1, "LEFT SQUARE BRACKET"),
    ],
)
def test_bad_formulas_are_refused_with_the_column(formula, column, expected):
    with pytest.raises(ValueError, match=rf"column {column} of the formula .*{expected}"):
        parse(formula)


@pytest.mark.parametrize(
    ("constants", "expected"),
    [
        ({"s": float("nan")}, "constant 's' is a number that float32 holds, got nan"),
        ({"s": 1e300}, "constant 's' is a number that float32 holds"),
        ({"s": "much"}, "got 'much'"),
        ({"pred": 1.0}, "'pred' has the name of an operand or operator"),
        ({"log": 1.0}, "'log' has the name of an operand or operator"),
        ({"s": 1.0, "t": 2.0}, "does not use the constant 't'"),
    ],
)
def test_bad_constants_are_refused(constants, expected):
    with pytest.raises(ValueError, match=expected):
        parse("label - s", **constants)


def bomb(kind):
    return {
        "parentheses": "(" * 10_000_000,
        "balanced": "(" * 5_000_000 + "pred" + ")" * 5_000_000,
        "deep": "(" * 2_000 + "pred" + ")" * 2_000,
        "calls": "log(" * 2_000,
        "signs": "-" * 9_999 + "1",
        "long": "pred+" * 2_000_000 + "1",
        "digits": "1" * 10_000_000,
        "names": "a" * 10_000,
        "powers": "pred" + " ** 2" * 1_900,
        "nest": "max(1," * 1_600,
        "spaces": " " * 10_000_000 + "pred",
    }[kind]


@pytest.mark.parametrize(
    "kind",
    "parentheses balanced deep calls signs long digits names powers nest spaces".split(),
)
def test_hostile_formulas_end_with_a_position(kind):
    formula = bomb(kind)
    tracemalloc.start()
    with pytest.raises(ValueError, match=r"column \d+ of the formula") as caught:
        parse(formula)
    assert tracemalloc.get_traced_memory()[1] < 5_000_000
    tracemalloc.stop()
    assert len(str(caught.value)) < 1_000


def test_what_is_just_not_too_much_is_read():
    deep = "(" * (MAX_DEPTH - 1) + "pred" + ")" * (MAX_DEPTH - 1)
    assert to_text(parse(deep)) == "pred"
    wide = "+".join(["pred"] * (MAX_CHARACTERS // 5))
    assert complexity(parse(wide)) == 2 * (MAX_CHARACTERS // 5) - 1


def test_deep_formulas_are_read_from_deep_in_the_stack():
    def descend(levels):
        return descend(levels - 1) if levels else parse("log(" * 99 + "pred" + ")" * 99)

    assert len(descend(300).op) == 99


@pytest.mark.parametrize("source", [None, 3, 2.5, b"pred", object()])
def test_what_is_no_source_is_refused(source):
    with pytest.raises(ValueError, match=r"got|token"):
        build_loss(source)
    with pytest.raises(ValueError, match="a formula is text, got"):
        parse(source)


@pytest.mark.parametrize(
    "text",
    [
        "pred",
        "-0.5 * pred",
        "pred - (label - 1)",
        "pred / (label / 0.1)",
        "pred - -0.5",
        "-(pred + label)",
        "-pred * -label",
        "-(pred * label)",
        "id(pred) + label",
        "1e-06 + 123456.8 * label",
        "log(max(square(pred), -logit)) / exp(1 - label)",
        "(pred + label) * 1",
    ],
)
def test_text_reads_back(text):
    program = parse(text)
    assert to_text(program) == text
    again = parse(to_text(program))
    assert all(np.array_equal(a, b) for a, b in zip(program, again, strict=True))


def test_a_sign_before_a_constant_belongs_to_it_as_before_a_number():
    for formula in ("-s * pred", "label - -s", "-s ** 2 + pred", "pred + -(s)"):
        named, written = parse(formula, s=0.1), parse(formula.replace("s", "0.1"))
        assert to_text(named) == to_text(written)
        assert named.op.tolist() == written.op.tolist()


@pytest.mark.parametrize(("name", "meant"), [("pow(pred, 2)", r"\*\*"), ("ln(pred)", "log")])
def test_the_error_for_a_name_of_another_language_has_ours(name, meant):
    with pytest.raises(ValueError, match=f"is not known \\(did you mean '{meant}'"):
        parse(name)


@pytest.mark.parametrize("value", [10**400, -(10**400), "0.1", None, 1j])
def test_a_constant_that_is_no_number_is_refused(value):
    with pytest.raises(ValueError, match="constant 's' is a number that float32 holds"):
        parse("pred + s", s=value)


def test_numbers_read_back_exactly():
    rng = np.random.default_rng(0)
    numbers = rng.standard_normal(200) * 10.0 ** rng.integers(-30, 30, 200)
    for number in [*numbers, *numbers.astype(np.float32), 0.1, np.float32(0.1), 1 / 3]:
        value = parse(to_text(parse("pred + s", s=float(number)))).constant
        read = value[np.flatnonzero(value)][0]
        assert np.float32(read) == np.float32(number)
        if float(np.float32(number)) != number:
            assert read == number


def test_a_program_that_is_too_long_to_write_says_so():
    program = parse("pred + label")
    op, lhs, rhs = (np.array([0] * 40), np.arange(2, 42), np.arange(2, 42))
    doubling = program._replace(op=op, lhs=lhs, rhs=rhs, constant=())
    with pytest.raises(ValueError, match="more than 10000 tokens"):
        to_text(doubling)
    chain = program._replace(
        op=np.full(150, 6), lhs=np.arange(2, 152), rhs=np.full(150, -1), constant=()
    )
    with pytest.raises(ValueError, match="151 levels"):
        to_text(chain)


def test_registers_that_the_result_does_not_read_are_not_written():
    # Written out, the last of these sums would have 2**60 terms.
    sums, add, log = np.arange(2, 62), 0, 6
    dead = Program(np.append(np.full(60, add), log), np.append(sums, 0), np.append(sums, -1))
    assert to_text(dead) == "log(pred)"
    assert complexity(dead) == 2
    assert float(build_loss(dead)(0.0, 1.0)) == pytest.approx(np.log(0.5), rel=1e-5)


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"op": np.array([99, 7])}, "instruction 0: 99 is no operator"),
        ({"op": np.array([20, 7])}, "instruction 0: 20 is no operator of the pointwise family"),
        (
            {"lhs": np.array([4, 3])},
            r"instruction 0: sub reads registers \[4, 0\], only 0 to 2 exist",
        ),
        ({"rhs": np.array([0])}, "of one length"),
        ({"constant": np.array([0.0, np.inf])}, "instruction 1: float32 does not hold"),
    ],
)
def test_a_bad_program_is_refused_with_the_instruction(change, expected):
    with pytest.raises(ValueError, match=expected):
        as_program(parse("square(label - pred)")._replace(**change))


@pytest.mark.parametrize("function", [to_text, complexity])
def test_what_is_no_program_is_refused(function):
    with pytest.raises(ValueError, match="a loss is a formula, tokens or a program, got int"):
        function(3)


def test_families_have_their_own_operands():
    with pytest.raises(ValueError, match=r"'label' is not known"):
        parse("label - pos", family="pairwise")
    with pytest.raises(ValueError, match=r"'pairwize' is not a family \(did you mean 'pairwise'"):
        parse("pos", family="pairwize")
    with pytest.raises(ValueError, match=r"\['pairwise'\] is not a family"):
        parse("pos", family=["pairwise"])
    assert "diff" in make_vocabulary(family="pairwise").names
