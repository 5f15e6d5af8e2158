"""Parity with the original implementation; a twin on generated programs needs no files."""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from autolossgen import OPERATORS, PAPER_BOUNDS, Program, build_loss, interpret
from autolossgen.language.operator_checks import use_float64
from tests.helpers import numpy_reference

pytestmark = pytest.mark.slow

GOLDEN = Path(__file__).parents[4] / "shared" / "golden" / "programs_dev.npz"
NAMES = [op.name for op in OPERATORS]
EVALUATORS = ["interpret", "build_loss"]


def values_and_slopes(programs, pred, label, evaluator):
    """Returns values and d value / d pred [n, P] of programs [n, I] under PAPER bounds."""
    with use_float64():
        pred, label = jnp.asarray(pred, jnp.float64), jnp.asarray(label, jnp.float64)
        one = jnp.ones_like(pred)
        if evaluator == "interpret":

            def run(program):
                return jax.jvp(
                    lambda p: interpret(program, p, label, bounds=PAPER_BOUNDS), (pred,), (one,)
                )

            return jax.tree.map(np.asarray, jax.jit(jax.vmap(run))(programs))
        rows = [Program(*(part[i] for part in programs[:3])) for i in range(len(programs.op))]
        losses = [build_loss(row, inputs="probabilities", bounds=PAPER_BOUNDS) for row in rows]
        with jax.disable_jit():  # many programs, each run once
            pairs = [
                jax.jvp(lambda p, loss=loss: loss(p, label, reduce_fn=None), (pred,), (one,))
                for loss in losses
            ]
        return tuple(np.stack([pair[i] for pair in pairs]) for i in range(2))


def assert_same(got, wanted):
    for value, expected in zip(got, wanted, strict=True):
        scale = np.maximum(np.abs(expected), 1e-12)
        assert np.max(np.abs(value - expected) / scale) < 1e-6


@pytest.mark.skipif(not GOLDEN.exists(), reason="no reference values next to this checkout")
@pytest.mark.parametrize("evaluator", EVALUATORS)
def test_programs_are_those_of_the_original(evaluator):
    golden = np.load(GOLDEN)
    programs = Program(golden["ops"], golden["lhs"], golden["rhs"])
    assert len(programs.op) > 100
    got = values_and_slopes(programs, golden["pred"], golden["label"], evaluator)
    assert_same(got, (golden["value"], golden["grad"]))


@pytest.mark.parametrize("evaluator", EVALUATORS)
def test_programs_are_those_of_numpy(evaluator):
    """Draws graphs as the original does: each node reads any earlier registers."""
    rng = np.random.default_rng(0)
    op = rng.integers(0, 9, (60, 10))
    registers = np.stack([[rng.permutation(3 + i)[:2] for i in range(10)] for _ in op])
    binary = np.isin(op, range(4))
    programs = Program(op, registers[..., 0], np.where(binary, registers[..., 1], -1))
    pred = rng.uniform(0.01, 0.99, 32)
    label = np.concatenate([np.zeros(12), np.ones(12), rng.uniform(size=8)])
    one = np.ones(32)
    pairs = ((pred, one), (label, 0 * one), (one, 0 * one))
    wanted = [
        numpy_reference.run(
            Program(*(part[i] for part in programs[:3]), np.zeros(10)),
            NAMES,
            pairs,
            bounds=PAPER_BOUNDS,
        )
        for i in range(len(op))
    ]
    values, slopes = map(np.stack, zip(*wanted, strict=True))
    assert np.any(slopes, axis=-1).sum() > 10, "some programs have a gradient"
    assert_same(values_and_slopes(programs, pred, label, evaluator), (values, slopes))
