"""Simplification and the canonical key."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from autolossgen import (
    DEFAULT_BOUNDS,
    PAIRWISE_LOSSES,
    PAPER_BOUNDS,
    PAPER_LOSSES,
    UNBOUNDED,
    build_loss,
    canonical_key,
    make_vocabulary,
    named_program,
    parse,
    simplify,
    to_text,
)
from autolossgen.configs.base import get_config
from autolossgen.language import simplify as canonical
from autolossgen.language.equivalence import TOLERANCE, are_equivalent, is_close
from autolossgen.language.inputs import as_program
from autolossgen.search.screening import are_twins, make_graded_filter
from autolossgen.training.loss_gradients import stack_losses, traced_logit_grads
from tests.alg.language.test_random_programs import (
    BATCH,
    LENGTH,
    SPACES,
    compiled,
    compiled_clip,
    sequences,
)

pytestmark = pytest.mark.slow

__all__ = ["compiled_clip"]  # a fixture

SHORTER = [
    ("-(-label)", "label"),
    ("id(id(label)) + id(pred)", "label + pred"),
    ("label + -pred", "label - pred"),
    ("-pred + label", "label - pred"),
    ("label - -pred", "label + pred"),
    ("-(label - pred)", "pred - label"),
    ("(label + 0) * 1 / 1 - 0", "label"),
    ("0 - pred", "-pred"),
    ("1 * 1 + 1", "2"),
    ("log(0.5) * 2", "-1.3862903611239"),
    ("label * 0 + pred", "pred"),
    ("label * -1", "-label"),
    ("-pred * -label", "pred * label"),
    ("-(pred * label)", "-pred * label"),
    ("-pred / label", "-(pred / label)"),
    ("pred * pred", "square(pred)"),
    ("pred + pred", "2 * pred"),
    ("pred - pred + label", "label"),
    ("max(pred, pred) + min(label, label)", "pred + label"),
    ("square(-pred)", "square(pred)"),
    ("square(abs(log(pred)))", "square(log(pred))"),
    ("abs(-pred)", "abs(pred)"),
    ("abs(square(logit))", "square(logit)"),
    ("relu(softplus(logit))", "softplus(logit)"),
    ("sigmoid(logit) - label", "pred - label"),
    ("(pred + label) * (label + pred)", "square(pred + label)"),
    # Sums with each term once, products with one number.
    ("2 * (3 * pred) + pred - label * 0.5 + label", "7 * pred + 0.5 * label"),
    ("1 - (label - (pred + 2))", "pred + 3 - label"),
    ("-(2 * pred) - 1", "-1 - 2 * pred"),
    ("-pred - 1", "-1 - pred"),
    ("pred * -2 * label * 3", "-6 * pred * label"),
    ("0.5 * (pred + label) * 2", "pred + label"),
    ("log(pred) * 3 - 2 * log(pred)", "log(pred)"),
    ("2 * pred / 4", "0.5 * pred"),
    ("pred / 2", "pred / 2"),
    ("2 * pred / label", "2 * (pred / label)"),
    ("log(-pred) + reciprocal(-square(label))", "-log(pred) - reciprocal(square(label))"),
    ("label * relu(1 - logit) + (1 - label) * logit",) * 2,
]

OF_BINARY_LABELS = [
    ("pred * log(square(label) + 1)", "0.69315 * pred * label"),
    ("log(label + 1) * -3.7243 * pred", "-2.5815 * label * pred"),
    ("max(label, 1) * pred + min(1, label) * log(pred)", "pred + label * log(pred)"),
    ("square(label + label) - pred", "4 * label - pred"),
    ("reciprocal(label + 1) * pred", "reciprocal(label + 1) * pred"),  # no shorter: 1 - 0.5 * label
    ("pred * exp(label * 0)", "pred"),
    ("max(label, 0.5) * pred", "max(label, 0.5) * pred"),
    ("softplus(logit) - label * logit",) * 2,
]


@pytest.mark.parametrize(("formula", "shorter"), OF_BINARY_LABELS)
def test_what_depends_on_the_label_alone_is_folded_for_labels_0_and_1(formula, shorter):
    assert to_text(simplify(formula, binary_labels=True)) == shorter
    assert to_text(simplify(shorter, binary_labels=True)) == shorter
    soft = np.array([0.25, 0.75])
    same = to_text(simplify(formula))
    values = [build_loss(text, inputs="probabilities")(soft, soft) for text in (formula, same)]
    np.testing.assert_allclose(*values, rtol=1e-5)


def test_algebra_that_a_clip_makes_wrong_is_left_out():
    bounded = "0.01 * (1000 * logit)"
    assert to_text(simplify(bounded)) == "10 * logit"
    assert to_text(simplify(bounded, bounds=(-100.0, 100.0))) == bounded


@pytest.mark.parametrize(("formula", "shorter"), SHORTER)
def test_simplification(formula, shorter):
    assert to_text(simplify(parse(formula))) == shorter


@pytest.mark.parametrize(
    "formula",
    ["label / label", "reciprocal(label) * label", "log(exp(logit))", "max(logit, 0)"],
)
def test_what_is_not_the_same_everywhere_stays(formula):
    program = parse(formula)
    assert to_text(simplify(program)) == to_text(program) == formula


def test_what_the_papers_clip_makes_different_stays():
    twice = parse("-(-pred)")
    assert to_text(simplify(twice)) == "pred"
    assert to_text(simplify(twice, bounds=PAPER_BOUNDS)) == "--pred"
    assert not are_equivalent(twice, parse("pred"), bounds=PAPER_BOUNDS)
    inner = parse("log(id(label))")  # the clip of 0 is 0.00001
    assert to_text(simplify(inner)) == "log(label)"
    assert to_text(simplify(inner, bounds=PAPER_BOUNDS)) == "log(id(label))"


def test_dead_registers_and_copies_go():
    program = as_program(
        parse("log(pred)")._replace(
            op=np.array([6, 7, 5, 5]),
            lhs=np.array([0, 1, 3, 5]),
            rhs=np.full(4, -1),
            constant=np.zeros(4),
        )
    )
    assert simplify(program).op.tolist() == [6]


def test_equality_is_proved_before_a_simplification_is_returned(monkeypatch):
    program = parse("-(-label)")
    wrong = parse("pred")
    monkeypatch.setattr(canonical, "_rewrite_by", lambda *_: wrong)
    assert to_text(simplify(program)) == "--label"


def test_the_proof_sees_a_difference_in_value_or_in_gradient_alone():
    pred = parse("id(pred)")
    assert are_equivalent(pred, parse("pred * 1"))
    assert not are_equivalent(pred, parse("pred + 0.00001"))
    assert not are_equivalent(pred, parse("pred + 0.0001 * label"))
    assert not are_equivalent(parse("max(logit, 0)"), parse("max(-logit, 0)"))
    steps = parse("square(label - pred) + 0.000001 * (1 / (logit / 1000000))")
    assert not are_equivalent(steps, parse("square(label - pred)"))
    assert TOLERANCE == 1e-6
    assert is_close(np.array([1e6]), np.array([1e6 + 0.5]))
    assert not is_close(np.array([1e6]), np.array([1e6 + 2]))
    assert not is_close(np.array([np.nan]), np.array([np.nan]))


# Half of what it writes is a case of some rule.
RULES = make_vocabulary(
    ("neg", "id", "add", "sub", "mul", "div", "max", "square", "abs", "relu"),
    ("pred", "label", "0", "1", "-1", "logit"),
)


@pytest.mark.parametrize("space", [*SPACES, "rules"])
def test_simplified_random_programs_are_the_same_loss(space):
    vocab, bounds = {**SPACES, "rules": (RULES, DEFAULT_BOUNDS)}[space]
    family = vocab.family
    lengths = []

    @settings(max_examples=1, deadline=None, phases=[Phase.generate])
    @given(st.binary(min_size=LENGTH * BATCH, max_size=LENGTH * BATCH).filter(any))
    def batch(data):
        for tokens in sequences(data, vocab)[:: 1 if space == "rules" else 4]:
            names = [vocab.names[token] for token in tokens]
            program = as_program(names, family=family)
            # Not through simplify, which would hide a wrong rule by returning the original.
            shorter = canonical.rewrite(program, bounds=bounds, family=family)
            same = are_equivalent(program, shorter, bounds=bounds, family=compiled(family))
            assert same, to_text(program, family=family)
            once = to_text(simplify(program, bounds=bounds, family=family), family=family)
            again = simplify(once, bounds=bounds, family=family)
            assert to_text(again, family=family) == once
            lengths.append((len(program.op), len(shorter.op)))
            keys = {canonical_key(p, bounds=bounds, family=family) for p in (program, shorter)}
            assert len(keys) == 1

    batch()
    before, after = np.mean(lengths, axis=0)
    assert after < before


ONE_FUNCTION = [
    ("commuted", "pred * label + log(pred)", "log(pred) + label * pred"),
    ("commuted below", "max(pred + label, log(pred))", "max(log(pred), label + pred)"),
    ("identity", "square(label - pred)", "id(square(id(label) - pred))"),
    ("constants", "pred * 0.5", "pred * (1 / 2)"),
    ("constants in float32", "pred * 0.1", f"pred * {np.float32(0.1)!s}"),
    ("double negation", "log(pred)", "--log(--pred)"),
    ("a squared difference", "square(label - pred)", "square(pred - label)"),
    ("a difference's size", "abs(log(pred) - label) + 1", "1 + abs(label - log(pred))"),
    ("a negated sum", "label - pred", "label + -pred"),
    ("neutral elements", "log(pred)", "1 * log(pred + 0)"),
]


@pytest.mark.parametrize(
    ("one", "other"), [pair[1:] for pair in ONE_FUNCTION], ids=[p[0] for p in ONE_FUNCTION]
)
def test_one_function_has_one_key(one, other):
    assert canonical_key(parse(one)) == canonical_key(parse(other))


def test_a_dead_register_does_not_change_the_key():
    program = parse("log(pred)")
    dead = program._replace(
        op=np.array([7, 6]), lhs=np.array([1, 0]), rhs=np.array([-1, -1]), constant=()
    )
    assert canonical_key(dead) == canonical_key(program)


def test_other_functions_have_other_keys():
    formulas = [
        "pred - label",
        "label - pred",
        "pred / label",
        "label / pred",
        "pred",
        "label",
        "1",
    ]
    formulas += ["square(pred - label)", "abs(pred - label)", "square(pred + label)"]
    formulas += ["log(pred)", "0.1 * pred", "0.2 * pred", "square(pred)", "logit", "pred + label"]
    keys = {canonical_key(parse(formula)) for formula in formulas}
    assert len(keys) == len(formulas)
    named = {canonical_key(named_program(name), bounds=UNBOUNDED) for name in PAPER_LOSSES}
    assert len(named) == len(PAPER_LOSSES)
    pairs = {
        canonical_key(named_program(name), bounds=UNBOUNDED, family="pairwise")
        for name in PAIRWISE_LOSSES
    }
    assert len(pairs) == len(PAIRWISE_LOSSES)


def test_the_key_is_of_the_loss_under_its_bounds():
    program = parse("pred - label")
    assert canonical_key(program, bounds=PAPER_BOUNDS) != canonical_key(
        program, bounds=DEFAULT_BOUNDS
    )
    assert canonical_key(parse("--pred")) == canonical_key(parse("pred"))
    squares = [parse("square(pred - label)"), parse("square(label - pred)")]
    assert len({canonical_key(square, bounds=PAPER_BOUNDS) for square in squares}) == 2
    assert canonical_key(parse("--pred"), bounds=PAPER_BOUNDS) != canonical_key(
        parse("pred"), bounds=PAPER_BOUNDS
    )


RULES_OF_64 = make_graded_filter(
    num_probes=64, min_gradient=1e-4, min_direction=0.5, tolerance=1e-4
)


def prints(*formulas, rules=RULES_OF_64):
    """Returns the fingerprints [n, P] of formulas, as a search compares them."""
    programs = [as_program(formula) for formula in formulas]
    operators = sorted({op for program in programs for op in program.op.tolist()})

    @jax.jit
    def compute(losses):
        logits = jnp.broadcast_to(rules.probe.logit, (len(formulas), rules.probe.logit.size))
        slopes = traced_logit_grads(operators)(losses, logits, rules.probe.label)
        return rules.fingerprint(slopes)

    return np.asarray(compute(stack_losses(programs, [DEFAULT_BOUNDS] * len(programs))))


jitted_twins = jax.jit(are_twins, static_argnames="tolerance")


def test_the_fingerprint_decides_where_the_key_cannot():
    # Equal functions that only rounding tells apart, and a scaled one.
    found = prints(
        "(pred + label) + log(pred)",
        "pred + (label + log(pred))",
        "2 * (pred + label + log(pred))",
        "square(label - pred)",
        "softplus(logit) - label * logit",
        "pred * label",
    )
    keys = {
        canonical_key(parse(f)) for f in ("pred + label + log(pred)", "pred + (label + log(pred))")
    }
    assert len(keys) == 2
    expected = np.eye(6, dtype=bool)
    expected[:3, :3] = True
    for tolerance in (1e-4, 1e-6):
        np.testing.assert_array_equal(jitted_twins(found, found, tolerance=tolerance), expected)


def test_what_counts_as_one_loss_at_the_default_tolerance():
    rules = make_graded_filter(**get_config().filter.graded)
    assert rules.tolerance == 1e-2
    smoothed = "softplus(logit) - (label * (1 - {0}) + {0} / 2) * logit"
    formulas = ["softplus(logit) - label * logit", *map(smoothed.format, (0.02, 0.05, 0.1))]
    found = prints(*formulas, "square(label - pred)", rules=rules)
    distances = np.abs(found[1:] - found[0]).max(-1)
    assert (np.diff(distances) > 0).all()
    assert distances[1] < rules.tolerance < distances[2]
    of_bce = np.asarray(jitted_twins(found[:1], found, tolerance=rules.tolerance))[0]
    assert of_bce.tolist() == [True, True, True, False, False]
