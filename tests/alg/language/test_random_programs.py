"""Random programs: tokens, assembly, text, parser, both evaluators and NumPy tell one story.

Each example of hypothesis is a batch of token sequences, so that hundreds of programs take one
compilation. Arrays of pointwise and pairwise losses have one shape, so that both families share
compiled operators. What is exported is compared with the same NumPy in test_export.py.
"""

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
    to_text,
)
from autolossgen.language import build
from autolossgen.language.build import evaluate, find_active_clips
from autolossgen.language.families import get_operators
from autolossgen.language.inputs import as_static
from autolossgen.language.interpreter import compute_pairwise_logit_grads
from autolossgen.language.operator_checks import use_float64
from tests.helpers import numpy_reference
from tests.helpers.exported import along

pytestmark = pytest.mark.slow

LENGTH, BATCH, EXAMPLES = 13, 40, 3  # 4 spaces: 480 programs
BUILT = 5  # of each space are built as for users
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
LOGIT = np.linspace(-4.1, 4.3, 12).reshape(4, 3)
LABEL = np.tile([0.0, 1.0, 0.3], (4, 1))
POS, NEG = LOGIT[:, 0], np.random.default_rng(3).normal(size=(4, 3))
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
    """Returns a compiled function: tokens and bounds -> programs, their values and slopes."""
    vocab, _ = SPACES[space]
    common = {"operators": vocab.operators}

    def pointwise(program, bounds):
        def value(logit):
            pred = jax.nn.sigmoid(logit)
            return interpret(
                program, pred, jnp.asarray(LABEL), logit=logit, bounds=bounds, **common
            )

        return jax.jvp(value, (jnp.asarray(LOGIT),), (jnp.ones(LOGIT.shape),))

    def pairwise(program, bounds):
        pos, neg = jnp.asarray(POS), jnp.asarray(NEG)
        wide = jnp.broadcast_to(pos[:, None], neg.shape)
        by_pos, by_neg = compute_pairwise_logit_grads(program, pos, neg, bounds=bounds, **common)
        slope = by_pos * DIRECTION[0] + jnp.sum(by_neg * DIRECTION[1], -1)
        return jnp.mean(interpret(program, wide, neg, bounds=bounds, **common), -1), slope

    def one(tokens, bounds):
        program = assemble(tokens, vocab)
        return program, (pairwise if vocab.family == PAIRWISE else pointwise)(program, bounds)

    return jax.jit(jax.vmap(one, in_axes=(0, None)))


def interpreted(space, data):
    """Returns each program that bytes are read as, with its value and slope."""
    vocab, bounds = SPACES[space]
    tokens = sequences(data, vocab)
    # The first two spaces differ in their bounds alone.
    results = interpreter("paper" if space == "signed" else space)(tokens, np.asarray(bounds))
    programs, values, slopes = jax.tree.map(np.asarray, (results[0], *results[1]))
    for i in range(len(tokens)):
        yield jax.tree.map(lambda part, i=i: part[i], programs), values[i], slopes[i]


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
            return run(registers, loads={"logit": logit})

        return jax.jvp(value, (jnp.asarray(LOGIT),), (jnp.ones(LOGIT.shape),))

    def value_of_pair(pos, neg):
        wide = jnp.broadcast_to(pos[:, None], neg.shape)
        registers = (wide, neg, jnp.ones(neg.shape))
        return jnp.mean(run(registers), -1)

    return jax.jvp(value_of_pair, (jnp.asarray(POS), jnp.asarray(NEG)), DIRECTION)


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
        with use_float64():
            for program, *found in interpreted(space, data):
                text = to_text(as_static(program, family), family=family)
                again = parse(text, family=family)
                assert to_text(again, family=family) == text
                built = map(np.asarray, unrolled(again, family, bounds))
                results = [("interpret", *found), ("build", *built)]
                shares.append(check(again, family, bounds, *results))
                seen.add(text)

    batch()
    assert len(shares) >= EXAMPLES * BATCH
    assert len(seen) > len(shares) / 2, "most programs are different"
    assert np.mean(shares) > 0.9, "rounding decides at few points"


EDGES = np.array([0.0, 1e-30, 1.0, 17.0, 90.0, 1e4, 1e30])
EDGES = np.concatenate([EDGES, -EDGES])
EDGE_LOGITS, EDGE_LABELS = (x.ravel() for x in np.meshgrid(EDGES, [0.0, 1.0, 0.5, 1e-30]))
EDGE_POS = np.repeat(EDGES, 4)
EDGE_NEG = np.random.default_rng(6).choice(EDGES, (EDGE_POS.size, 3))
INFINITE = np.where(np.abs(EDGE_NEG) == 1e30, np.copysign(np.inf, EDGE_NEG), EDGE_NEG)


def values_at_edges(vocab, dtype):
    """Returns a compiled function: tokens and bounds -> values, and gradients by all scores."""
    common = {"operators": vocab.operators}

    def pointwise(program, bounds):
        def value(logit):
            pred, label = jax.nn.sigmoid(logit), jnp.asarray(EDGE_LABELS, dtype)
            return interpret(program, pred, label, logit=logit, bounds=bounds, **common)

        logit = jnp.asarray(EDGE_LOGITS, dtype)
        values, slopes = jax.jvp(value, (logit,), (jnp.ones_like(logit),))
        return values, slopes[:, None]

    def pairwise(program, bounds):
        pos, neg = jnp.asarray(EDGE_POS, dtype), jnp.asarray(EDGE_NEG, dtype)
        wide = jnp.broadcast_to(pos[:, None], neg.shape)
        by_pos, by_neg = compute_pairwise_logit_grads(program, pos, neg, bounds=bounds, **common)
        values = jnp.mean(interpret(program, wide, neg, bounds=bounds, **common), -1)
        return values, jnp.concatenate([by_pos[:, None], by_neg], 1)

    def one(tokens, bounds):
        run = pairwise if vocab.family == PAIRWISE else pointwise
        return run(assemble(tokens, vocab), bounds)

    return jax.jit(jax.vmap(one, in_axes=(0, None)))


@pytest.mark.parametrize(
    "dtype", [jnp.bfloat16, jnp.float32, jnp.float64], ids=lambda d: d.__name__
)
@pytest.mark.parametrize("space", ["every operator", "pairwise"])
def test_a_gradient_is_a_number_where_the_value_is_finite(space, dtype):
    vocab, bounds = SPACES[space]
    rng = np.random.default_rng(7)
    data = [rng.integers(0, 256, LENGTH * BATCH, np.uint8).tobytes() for _ in range(8)]
    tokens = np.concatenate([sequences(part, vocab) for part in data])
    dtype = jnp.dtype(dtype)
    with use_float64():
        values, slopes = values_at_edges(vocab, dtype)(tokens, jnp.asarray(bounds, dtype))
    finite = np.isfinite(values)
    assert finite.mean() > 0.9
    assert not (np.isnan(slopes).any(-1) & finite).any()


@pytest.mark.parametrize("space", ["every operator", "pairwise"])
def test_built_losses_have_gradients_at_infinite_scores(space):
    vocab, bounds = SPACES[space]
    family, rng = vocab.family, np.random.default_rng(8)
    tokens = sequences(rng.integers(0, 256, LENGTH * BATCH, np.uint8).tobytes(), vocab)[:8]
    programs = [jax.tree.map(np.asarray, assemble(jnp.asarray(row), vocab)) for row in tokens]
    losses = [build_loss(program, bounds=bounds, family=family) for program in programs]
    scores = np.float32([-np.inf, np.inf, -np.inf, np.inf, 3, *EDGE_POS[5:]])
    others = np.float32(INFINITE if family == PAIRWISE else np.arange(len(scores)) % 2)

    @jax.jit
    def all_at_once(scores, others):
        gradient = partial(jax.grad, argnums=(0, 1) if family == PAIRWISE else 0)
        return [
            (
                loss(scores, others, reduce_fn=None),
                gradient(loss)(scores, others, reduce_fn=jnp.sum),
            )
            for loss in losses
        ]

    for values, slopes in all_at_once(scores, others):
        assert np.isfinite(values).all()
        assert not any(np.isnan(slope).any() for slope in jax.tree.leaves(slopes))


@pytest.mark.parametrize("space", SPACES)
def test_built_losses_are_what_is_interpreted(space):
    vocab, bounds = SPACES[space]
    family = vocab.family
    rng = np.random.default_rng(5)
    data = rng.integers(0, 256, LENGTH * BATCH, np.uint8).tobytes()
    points, direction = ((POS, NEG), DIRECTION) if family == PAIRWISE else ((LOGIT, LABEL), None)
    with use_float64():
        rows = list(interpreted(space, data))[:BUILT]
        losses = [build_loss(program, bounds=bounds, family=family) for program, *_ in rows]

        @jax.jit
        def all_at_once(*points):
            gradient = partial(jax.grad, argnums=(0, 1))
            return [(f(*points, reduce_fn=None), gradient(f)(*points)) for f in losses]

        for (program, *found), (value, by_both) in zip(rows, all_at_once(*points), strict=True):
            slope = along(*by_both, direction) * value.size
            results = [("built", value, slope), ("interpret", *found)]
            check(as_static(program, family), family, bounds, *results)
