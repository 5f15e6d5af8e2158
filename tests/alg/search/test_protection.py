"""Losses that a protection makes are no sound losses: which ones, and what that is worth."""

from functools import cache

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from autolossgen import DEFAULT_BOUNDS, PAIRWISE, POINTWISE, UNBOUNDED, named_program
from autolossgen.controller import POLICIES
from autolossgen.language.build import build_from_program
from autolossgen.language.families import FAMILIES, is_in_family
from autolossgen.language.inputs import as_program
from autolossgen.language.named_losses import PAIRWISE_LOSSES, POINTWISE_LOSSES
from autolossgen.language.operator_checks import use_float64
from autolossgen.language.operators import NUMBER_OF, OPERATORS, remove_protection
from autolossgen.language.programs import assemble
from autolossgen.search.initial_losses import write_initial_losses
from autolossgen.search.screening import (
    Verdict,
    is_protected,
    make_graded_filter,
    reject_protected,
)
from autolossgen.search.space import make_space
from autolossgen.training.loss_gradients import LossBatch, stack_losses
from autolossgen.training.tasks import RATING, make_ranking_task

pytestmark = pytest.mark.slow

RANKING = make_ranking_task(3)
TASKS = {"pointwise": RATING, "pairwise": RANKING}


def rules_of(task):
    return make_graded_filter(tolerance=1e-2, group=task.group)


# Few losses are filled up to so many of so many instructions, and share a compiled program.
WIDTH, SLOTS = 24, 48


@cache
def make_screen(family, operators):
    """Returns a compiled function: losses, a probe -> verdicts [J] and logit gradients [J, P]."""
    task, rules = TASKS[family], rules_of(TASKS[family])

    @jax.jit
    def run(losses, logit, label):
        logits = jnp.broadcast_to(logit, (losses.scale.shape[0], logit.size))
        slopes = task.traced_logit_grads(operators)(losses, logits, label)
        exact = task.traced_exact_losses(operators)(losses.program, logits, label)
        protected = is_protected(slopes, *exact, tolerance=rules.protection)
        return reject_protected(rules.screen(slopes), protected).verdict, slopes

    return run


@cache
def every_operator(family):
    """Returns the numbers of all operators and loads of a family but that of given thresholds."""
    loads = {"number"} | ({"logit"} if family == POINTWISE.name else set())
    known = {op.name for op in OPERATORS if is_in_family(FAMILIES[family], op)} | loads
    return tuple(number for number, op in enumerate(OPERATORS) if op.name in known)


def screen(family, losses, operators=None):
    """Returns verdicts [J] of losses, and their logit gradients [J, P], as a search does."""
    count = losses.scale.shape[0]
    losses = jax.tree.map(lambda x: np.resize(x, (max(count, WIDTH), *x.shape[1:])), losses)
    probe = [np.asarray(part, losses.scale.dtype) for part in rules_of(TASKS[family]).probe]
    verdicts, slopes = make_screen(family, operators or every_operator(family))(losses, *probe)
    return [Verdict(int(verdict)) for verdict in verdicts[:count]], np.asarray(slopes[:count])


def verdicts_of(formulas, family="pointwise", bounds=DEFAULT_BOUNDS):
    programs = [as_program(formula, family=family) for formula in formulas]
    return screen(family, stack_losses(programs, [bounds] * len(programs), SLOTS))[0]


SOUND = [
    "square(label - pred)",
    "-(label * log(pred) + (1 - label) * log(1 - pred))",
    "log(1 + exp(logit)) - label * logit",
    "square(log((label + 0.1) / (pred + 0.1)))",
    "sqrt(label) * log(reciprocal(pred)) - sqrt(1 - label) * log(1 - pred)",  # a root may be 0
    "square(reciprocal(log(square(-label + pred)) + square(reciprocal(-label + pred))))",
]
PROTECTED = {
    "a logarithm of 0": "square(label - pred) * (2 + log(label))",
    "a logarithm of the logarithm of 1": "square(label - pred) * (20 + log(log(1 + label * 0)))",
    "only in what has no gradient": "square(label - pred) + log(log(label))",
    "a reciprocal of 0": "square(label - pred) + pred * reciprocal(label) * 0.0001",
    "a quotient by 0": "square(label - pred) * (label / label + 1)",
    "a root that is all eps": "1000 * sqrt(square((label - pred) * 0.001))",
    "an exponential that overflows": "square(label - pred) * exp(exp(5)) * 0.0001",
    "the upper bound": "square(label - pred) * ((1 + pred) * 1000000)",
}


def test_what_is_sound_and_what_a_protection_makes():
    verdicts = verdicts_of([*SOUND, *PROTECTED.values()])
    assert verdicts[: len(SOUND)] == [Verdict.TRAINED] * len(SOUND)
    assert dict(zip(PROTECTED, verdicts[len(SOUND) :], strict=True)) == dict.fromkeys(
        PROTECTED, Verdict.PROTECTED
    )


def test_bounds_that_change_a_loss_make_it_unsound():
    formulas = ["square(label - pred)", "softplus(logit) - label * logit"]
    assert verdicts_of(formulas, bounds=(-5.0, 10.0)) == [Verdict.TRAINED] * 2
    assert verdicts_of(formulas[:1], bounds=(-0.8, 10.0)) == [Verdict.PROTECTED]


def test_pairwise_losses_are_looked_at_too():
    verdicts = verdicts_of(
        [
            "softplus(-diff)",
            "softplus(-diff) + sum_neg(softplus(neg)) * 0.1",
            "softplus(-diff) * (20 + log(log(1)))",
            "softplus(-diff) + mean_neg(log(neg - neg))",
            "-log(sigmoid(diff * 3))",
        ],
        "pairwise",
    )
    assert verdicts == [Verdict.TRAINED] * 2 + [Verdict.PROTECTED] * 3


@pytest.mark.parametrize("op", [op for op in OPERATORS if op.exact], ids=lambda op: op.name)
def test_an_operator_is_exact_but_where_it_is_protected(op):
    points = np.float32([-7, -1.5, -0.25, 0.125, 1, 60])
    arguments = [x.ravel() for x in np.meshgrid(*[points] * op.arity)]
    results = []
    for function in (op.function, op.exact):
        tangents = tuple(np.ones_like(x) for x in arguments)
        results.append(jax.jvp(function, tuple(map(jnp.asarray, arguments)), tangents))
    for protected, exact in zip(*results, strict=True):
        np.testing.assert_allclose(protected, exact, rtol=2e-5, atol=1e-4)


@pytest.mark.parametrize("family", TASKS)
def test_all_named_losses_are_sound(family):
    losses = {"pointwise": POINTWISE_LOSSES, "pairwise": PAIRWISE_LOSSES}[family]
    programs = {name: named_program(name, smoothing=0.1) for name in losses}
    traced = [p for p in programs.values() if NUMBER_OF["threshold"] not in p.op]
    verdicts, _ = screen(family, stack_losses(traced, [UNBOUNDED] * len(traced), SLOTS))
    assert Verdict.PROTECTED not in verdicts


@pytest.mark.parametrize("name", ["sl_at_k", "talos"])
def test_losses_that_read_thresholds_are_sound(name):
    exact = PAIRWISE._replace(table=remove_protection(PAIRWISE.table))
    as_trained, as_written = (
        build_from_program(named_program(name), family, UNBOUNDED) for family in (PAIRWISE, exact)
    )
    logits = np.reshape(rules_of(RANKING).probe.logit, (-1, RANKING.group))
    slopes, wanted = (
        jax.grad(lambda x, loss=loss: loss(x[:, 0], x[:, 1:], threshold=jnp.full(len(x), 0.5)))(
            jnp.asarray(logits)
        )
        for loss in (as_trained, as_written)
    )
    np.testing.assert_allclose(slopes, wanted, rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize(
    ("family", "length", "names"),
    [
        ("pointwise", 22, ("bce", "mse", "maxr", "sumr", "logmin")),
        ("pairwise", 15, ("bpr", "hinge_rank", "sampled_softmax")),
    ],
)
def test_initial_losses_are_sound_in_the_words_of_a_space(family, length, names):
    operands = ("pred", "label", "logit", "1", "0.1") if family == "pointwise" else None
    space = make_space(length=length, bounds=DEFAULT_BOUNDS, family=family, operands=operands)
    rows = write_initial_losses(names, space.vocabulary, length=length, bounds=space.bounds)
    programs = [
        as_program([space.vocabulary.names[token] for token in row if token], family=family)
        for row in rows
    ]
    verdicts, _ = screen(family, stack_losses(programs, [space.bounds] * len(programs), SLOTS))
    assert Verdict.PROTECTED not in verdicts


SPACES = {
    "default": make_space(length=15, bounds=DEFAULT_BOUNDS),
    "thorough": make_space(
        operators=tuple("add sub mul max min neg log square sqrt reciprocal".split()),
        operands=("pred", "label", "1", "0.1"),
        length=20,
        bounds=DEFAULT_BOUNDS,
    ),
    "pairwise": make_space(length=15, bounds=DEFAULT_BOUNDS, family="pairwise"),
}


@cache
def random_losses(name, count=6_000):
    """Returns random losses of a space; a few in a hundred point the right way."""
    space = SPACES[name]
    policy = POLICIES["random"](space.grammar)
    tokens = policy.sample(policy.init(jax.random.key(0)), jax.random.key(1), count)
    programs = jax.jit(jax.vmap(lambda row: assemble(row, space.vocabulary)))(tokens)
    ones, (low, high) = jnp.ones(count), space.bounds
    return LossBatch(program=programs, low=low * ones, high=high * ones, scale=ones)


@pytest.mark.parametrize("name", SPACES)
def test_sound_random_losses_are_the_same_in_float32_and_float64(name):
    family = "pairwise" if name == "pairwise" else "pointwise"
    operators = SPACES[name].vocabulary.operators
    losses = random_losses(name)
    verdicts, slopes = screen(family, losses, operators)
    # Losses that reach the last check, sound or not.
    reached = np.flatnonzero([verdict >= Verdict.PROTECTED for verdict in verdicts])[:100]
    assert {Verdict.TRAINED, Verdict.PROTECTED} <= {verdicts[j] for j in reached}
    of_32, slopes = np.array(verdicts)[reached], slopes[reached]
    losses = jax.tree.map(lambda part: part[reached], losses)
    with use_float64():
        wide = jax.tree.map(lambda x: x.astype(float) if x.dtype == np.float32 else x, losses)
        of_64, exact = screen(family, wide, operators)
    scale = np.abs(exact).max(1, keepdims=True)
    sound = of_32 == Verdict.TRAINED
    assert (np.array(of_64)[sound] == Verdict.TRAINED).all()
    assert np.abs((slopes - exact) / scale)[sound].max() < 1e-3
