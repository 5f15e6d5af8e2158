"""The free form of a ranking loss has published losses for points."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from autolossgen import named_loss
from experiments.ranking_ceiling import KNOTS, SL_AT_K, FreeForm, make_free_space

POS, THRESHOLD = jnp.array([0.3, -0.2]), jnp.array([0.1, 0.2])
NEG = jnp.array([[0.2, -0.5, 0.6], [0.0, 0.1, -0.3]])
WHERE = jnp.array([[True, True, False], [True, True, True]])


def compute(pos, *, gradient=50.0, **slopes):
    curves = {name: jnp.zeros(1 + len(knots)) for name, knots in KNOTS.items()}
    for name, slope in slopes.items():
        curves[name] = curves[name].at[0].set(slope)
    constants = curves | {"gradient": jnp.asarray(gradient)}
    return FreeForm()(
        pos, NEG, where=WHERE, constants=constants, threshold=THRESHOLD, reduce_fn=None
    )


def test_a_line_over_differences_is_softmax():
    expected = named_loss("softmax")(
        POS, NEG, where=WHERE, constants={"temperature": 0.2}, reduce_fn=None
    )
    np.testing.assert_allclose(compute(POS, difference=5.0), expected, rtol=1e-5)


@pytest.mark.parametrize(("gradient", "flows"), [(50.0, 1.0), (-50.0, 0.0)])
def test_a_share_of_the_gradient_flows_through_the_weight(gradient, flows):
    def total(pos, slope):
        return compute(pos, gradient=gradient, difference=5.0, log_weight=slope).sum()

    weight = jnp.exp(0.4 * (POS - THRESHOLD))
    plain = jax.grad(total)(POS, 0.0)
    through = 0.4 * weight * compute(POS, difference=5.0)
    found = jax.grad(total)(POS, 0.4)
    np.testing.assert_allclose(found, weight * plain + flows * through, rtol=1e-5)


def test_the_search_begins_at_sl_at_k():
    space = make_free_space()
    lanes = space.to_lanes(space.start[None])
    assert {name: float(lanes.constants[name].ravel()[0]) for name in SL_AT_K} == pytest.approx(
        SL_AT_K
    )
    assert len(space.start) == len(space.scale) == 27
