"""Random programs: tokens, assembly, text, parser, both evaluators and NumPy tell one story.

Each example of hypothesis is a batch of token sequences, so that 2,000 programs take one
compilation for each search space.
"""

import importlib.util
from functools import lru_cache, partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from autolossgen import (
    DEFAULT_BOUNDS,
    OPERATORS,
    PAIRWISE,
    PAPER_BOUNDS,
    POINTWISE,
    assemble,
    build_loss,
    interpret,
    make_vocabulary,
    parse,
    to_python,
    to_text,
    to_torch,
)
from autolossgen.language import build
from autolossgen.language.build import evaluate, find_active_clips
from autolossgen.language.families import get_operators
from autolossgen.language.inputs import as_static
from autolossgen.language.interpreter import compute_pairwise_logit_grads
from autolossgen.language.operator_checks import use_float64
from tests.helpers import numpy_reference
from tests.helpers.exported import by_jax, by_torch

pytestmark = pytest.mark.slow

has_torch = importlib.util.find_spec("torch") is not None

LENGTH, BATCH, EXAMPLES = 13, 40, 6  # 4 spaces: 960 programs
EXPORTED = 10  # one in so many is exported: 96
NAMES = [op.name for op in OPERATORS]
SPACES = {
    "paper": (make_vocabulary(), PAPER_BOUNDS),
    "signed": (make_vocabulary(), DEFAULT_BOUNDS),
    "every operator": (
        make_vocabulary(
            tuple(get_operators(POINTWISE)), ("pred", "label", "1", "logit", "0.5", "-3")
        ),
        DEFAULT_BOUNDS,
    ),
    "pairwise": (
        make_vocabulary(
            tuple(get_operators(PAIRWISE)), ("pos", "neg", "diff", "1", "0.5"), family=PAIRWISE
        ),
        DEFAULT_BOUNDS,
    ),
}
LOGIT = np.linspace(-4.1, 4.3, 12)
LABEL = np.tile([0.0, 1.0, 0.3], 4)
POS, NEG = LOGIT[:5], np.random.default_rng(3).normal(size=(5, 3))
DIRECTION = tuple(np.random.default_rng(4).normal(size=x.shape) for x in (POS, NEG))


def sequences(data, vocab):
    """Reads bytes as token sequences [BATCH, LENGTH] that follow the grammar."""
    choices = np.frombuffer(data, np.uint8).reshape(BATCH, LENGTH)
    tokens = np.zeros((BATCH, LENGTH), np.int32)
    for row, chosen in zip(tokens, choices, strict=True):
        depth, ended = 0, False
        for slot, choice in enumerate(chosen):
            left = LENGTH - slot
            fits = (vocab.arity >= 0) & (vocab.arity <= depth) & (depth - vocab.arity + 1 <= left)
            allowed = [0] if ended else [*([0] if depth == 1 else []), *np.flatnonzero(fits)]
            row[slot] = allowed[choice % len(allowed)]
            ended = row[slot] == 0
            depth += 0 if ended else 1 - vocab.arity[row[slot]]
    return tokens


@lru_cache
def interpreter(space):
    """Returns a compiled function: tokens -> programs, their values and slopes."""
    vocab, bounds = SPACES[space]
    common = {"bounds": bounds, "operators": vocab.operators}

    def pointwise(program):
        def value(logit):
            pred = jax.nn.sigmoid(logit)
            return interpret(program, pred, jnp.asarray(LABEL), logit=logit, **common)

        return jax.jvp(value, (jnp.asarray(LOGIT),), (jnp.ones(LOGIT.shape),))

    def pairwise(program):
        pos, neg = jnp.asarray(POS), jnp.asarray(NEG)
        wide = jnp.broadcast_to(pos[:, None], neg.shape)
        by_pos, by_neg = compute_pairwise_logit_grads(program, pos, neg, **common)
        along = by_pos * DIRECTION[0] + jnp.sum(by_neg * DIRECTION[1], -1)
        return jnp.mean(interpret(program, wide, neg, **common), -1), along

    def one(tokens):
        program = assemble(tokens, vocab)
        return program, (pairwise if vocab.family == PAIRWISE else pointwise)(program)

    return jax.jit(jax.vmap(one))


@lru_cache
def compiled(family):
    """Compiles each operator of a family by itself, as one program at a time is slow."""
    return family._replace(
        table=tuple(op._replace(function=jax.jit(op.function)) for op in family.table)
    )


@pytest.fixture(autouse=True, scope="module")
def compiled_clip():
    """Compiles the clip by itself too."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(build, "clip", jax.jit(build.clip))
        yield


def unrolled(program, family, bounds):
    """Returns value and slope of a static program as ``build_loss`` evaluates it."""
    clipped = find_active_clips(program, bounds, family)
    run = partial(evaluate, program, bounds=bounds, family=compiled(family), clipped=clipped)
    if not family.is_pairwise:

        def value(logit):
            registers = (jax.nn.sigmoid(logit), jnp.asarray(LABEL), jnp.ones(LOGIT.shape))
            return run(registers, logit=logit)

        return jax.jvp(value, (jnp.asarray(LOGIT),), (jnp.ones(LOGIT.shape),))

    def value_of_pair(pos, neg):
        wide = jnp.broadcast_to(pos[:, None], neg.shape)
        registers = (wide, neg, jnp.ones(neg.shape))
        return jnp.mean(run(registers), -1)

    return jax.jvp(value_of_pair, (jnp.asarray(POS), jnp.asarray(NEG)), DIRECTION)


def exports(program, family, bounds):
    """Returns name, value and slope of a program's exports, PyTorch's where it is installed."""
    points, direction = ((POS, NEG), DIRECTION) if family.is_pairwise else ((LOGIT, LABEL), None)
    settings = {"bounds": bounds, "family": compiled(family)}
    yield "to_python", *by_jax(to_python(program, **settings), points, direction)
    if has_torch:
        yield "to_torch", *by_torch(to_torch(program, **settings), points, direction)


def reference(program, family, bounds, stretch=1.0):
    if family == POINTWISE:
        return numpy_reference.pointwise(program, NAMES, LOGIT * stretch, LABEL, bounds=bounds)
    points = POS * stretch, NEG / stretch
    return numpy_reference.pairwise(program, NAMES, *points, DIRECTION, bounds=bounds)


def close(x, y):
    return np.abs(x - y) <= 1e-6 * np.maximum(1, np.maximum(np.abs(x), np.abs(y)))


def check(program, family, bounds, *results):
    """Checks results against NumPy's where rounding does not decide; returns the share."""
    value, slope = reference(program, family, bounds)
    sharp = np.ones(value.shape, bool)
    for stretch in (1 + 1e-13, 1 - 3e-13):
        moved = reference(program, family, bounds, stretch)
        sharp &= close(moved[0], value) & close(moved[1], slope)
    text = to_text(program, family=family)
    for name, got, got_slope in results:
        assert np.isfinite(got).all(), (name, text)
        assert np.isfinite(got_slope).all(), (name, text)
        assert close(got, value)[sharp].all(), (name, text, got, value)
        assert close(got_slope, slope)[sharp].all(), (name, text, got_slope, slope)
    return sharp.mean()


@pytest.mark.parametrize("space", SPACES)
def test_tokens_text_and_both_evaluators_agree(space):
    vocab, bounds = SPACES[space]
    family = vocab.family
    seen, shares = set(), []

    # A failure names one program of the batch, so there is nothing to shrink.
    @settings(max_examples=EXAMPLES, deadline=None, phases=[Phase.generate])
    @given(st.binary(min_size=LENGTH * BATCH, max_size=LENGTH * BATCH))
    def batch(data):
        tokens = sequences(data, vocab)
        with use_float64():
            programs, (values, slopes) = jax.tree.map(np.asarray, interpreter(space)(tokens))
            for i in range(BATCH):
                program = as_static(jax.tree.map(lambda part, i=i: part[i], programs), family)
                text = to_text(program, family=family)
                again = parse(text, family=family)
                assert to_text(again, family=family) == text
                built = map(np.asarray, unrolled(again, family, bounds))
                results = [("interpret", values[i], slopes[i]), ("build", *built)]
                if i % EXPORTED == 0:
                    results += exports(program, family, bounds)
                shares.append(check(program, family, bounds, *results))
                seen.add(text)

    batch()
    assert len(shares) >= EXAMPLES * BATCH
    assert len(seen) > len(shares) / 2, "most programs are different"
    assert np.mean(shares) > 0.9, "rounding decides at few points"


@pytest.mark.parametrize("space", SPACES)
def test_built_losses_are_what_is_interpreted(space):
    vocab, bounds = SPACES[space]
    rng = np.random.default_rng(5)
    tokens = sequences(rng.integers(0, 256, LENGTH * BATCH, np.uint8).tobytes(), vocab)[:5]
    with use_float64():
        programs, (values, slopes) = jax.tree.map(np.asarray, interpreter(space)(tokens))
        for i in range(len(tokens)):
            program = jax.tree.map(lambda part, i=i: part[i], programs)
            loss = build_loss(program, bounds=bounds, family=vocab.family)
            points = (LOGIT, LABEL) if vocab.family == POINTWISE else (POS, NEG)
            value = loss(*points, reduce_fn=None)
            by_first, by_second = jax.grad(loss, argnums=(0, 1))(*points)
            if vocab.family == POINTWISE:
                slope = by_first * LOGIT.size
            else:
                along = by_first * DIRECTION[0] + jnp.sum(by_second * DIRECTION[1], -1)
                slope = along * POS.size
            static = as_static(program, vocab.family)
            check(static, vocab.family, bounds, ("built", value, slope))
            check(static, vocab.family, bounds, ("interpret", values[i], slopes[i]))
