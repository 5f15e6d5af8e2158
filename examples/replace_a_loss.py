"""Replaces the loss of an existing training script: two lines change.

    pip install . optax
    python replace_a_loss.py

The script is an ordinary logistic regression; the two lines are marked.
"""

import jax
import jax.numpy as jnp
import numpy as np
import optax

from autolossgen import build_loss  # new

loss_fn = build_loss(
    "log(1 / (min(label, pred) + 0.1) + 0.1) * (min(label, pred) + label + pred)"
)  # new


def predict(params, x):
    """Returns the logits of a batch."""
    return x @ params["w"] + params["b"]


def objective(params, x, y):
    """Returns the loss of a batch."""
    logits = predict(params, x)
    # before: return optax.sigmoid_binary_cross_entropy(logits, y).mean()
    return loss_fn(logits, y)


def main():
    """Trains on two clouds of points and prints the accuracy."""
    rng = np.random.default_rng(0)
    y = rng.integers(0, 2, 2_000).astype(np.float32)
    x = rng.normal(size=(2_000, 8)).astype(np.float32) + 0.6 * (2 * y[:, None] - 1)
    params = {"w": jnp.zeros(8), "b": jnp.zeros(())}
    optimizer = optax.sgd(0.1)
    state = optimizer.init(params)

    @jax.jit
    def step(params, state):
        value, gradient = jax.value_and_grad(objective)(params, x, y)
        updates, state = optimizer.update(gradient, state)
        return optax.apply_updates(params, updates), state, value

    for i in range(201):
        params, state, value = step(params, state)
        if i % 50 == 0:
            accuracy = np.mean((predict(params, x) > 0) == (y == 1))
            print(f"step {i:>3}  loss {value:.4f}  accuracy {accuracy:.3f}")


if __name__ == "__main__":
    main()
