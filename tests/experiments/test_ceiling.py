"""Losses that are given by powers of the prediction."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from autolossgen import named_loss
from experiments import ceiling


def test_gradients_of_powers_are_those_of_known_losses():
    logit, label = jnp.linspace(-4, 4, 9), jnp.array([0.0, 1.0] * 4 + [1.0])
    known = {"bce": (ceiling.BCE, 1.0), "mse": (ceiling.Powers(2.0, 1.0, 0.0, 1.0, 2.0), 2.0)}
    for name, (powers, scale) in known.items():
        expected = jax.grad(partial(named_loss(name), labels=label, reduce_fn=jnp.sum))(logit)
        np.testing.assert_allclose(
            scale * ceiling.compute_logit_grad(powers, logit, label),
            expected,
            atol=1e-5,
            err_msg=name,
        )
    halved = ceiling.BCE._replace(log_weight=np.log(0.5))
    ratio = ceiling.compute_logit_grad(halved, logit, label) / ceiling.compute_logit_grad(
        ceiling.BCE, logit, label
    )
    np.testing.assert_allclose(ratio, np.where(label > 0.5, 0.5, 1.0), rtol=1e-5)


def test_the_fair_test_sees_the_gradients_of_powers():
    logit, label = jnp.linspace(-4, 4, 9), jnp.array([0.0, 1.0] * 4 + [1.0])
    powers = ceiling.Powers(1.9, 3.2, -2.1, 0.1, 5.7)
    loss = ceiling.make_loss(powers)
    _, seen = jax.jvp(lambda z: loss(z, label, reduce_fn=None), (logit,), (jnp.ones(9),))
    np.testing.assert_allclose(seen, ceiling.compute_logit_grad(powers, logit, label), rtol=1e-6)
