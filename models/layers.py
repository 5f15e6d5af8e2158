"""Layers that several recommenders share."""

from collections.abc import Mapping

import flax.linen as nn
import jax
import jax.numpy as jnp


def concatenate_inputs(
    rows: Mapping[str, jax.Array], features: Mapping[str, jax.Array]
) -> jax.Array:
    """Concatenates rows [B, D] and then numbers [B], each in the order of their names.

    Example:
      >>> rows = {"user": jnp.array([[1.0, 2.0]]), "item": jnp.array([[3.0]])}
      >>> concatenate_inputs(rows, {"age": jnp.array([4.0])}).tolist()
      [[3.0, 1.0, 2.0, 4.0]]
    """
    numbers = [features[name][:, None] for name in sorted(features)]
    return jnp.concatenate([*(rows[name] for name in sorted(rows)), *numbers], axis=-1)


class Perceptron(nn.Module):
    """Hidden layers, each of them linear, batch norm (optional), ReLU and dropout.

    Batch norm takes mean and variance over the examples of ``mask`` [B] alone, so that padding
    does not count. Its moving averages decay by 0.9 at each step.
    """

    hidden: tuple[int, ...]
    dropout: float = 0.0  # share of the units that is dropped in training
    batch_norm: bool = False

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool, mask: jax.Array | None = None) -> jax.Array:
        """Returns the last hidden layer [B, hidden[-1]] of inputs [B, D].

        Raises:
          ValueError: if a width is not positive, or dropout is not in [0, 1).
        """
        if not all(width >= 1 for width in self.hidden):
            raise ValueError(f"hidden widths are at least 1, got {self.hidden}")
        if not 0 <= self.dropout < 1:
            raise ValueError(f"dropout is at least 0 and below 1, got {self.dropout}")
        column = None if mask is None else mask[:, None]
        for width in self.hidden:
            x = nn.Dense(width)(x)
            if self.batch_norm:
                x = nn.BatchNorm(use_running_average=not train, momentum=0.9)(x, mask=column)
            x = nn.Dropout(self.dropout, deterministic=not train)(nn.relu(x))
        return x


def make_logits(x: jax.Array) -> jax.Array:
    """Returns logits [B], a learned linear function of inputs [B, D]; call it inside a module."""
    return nn.Dense(1, name="logit")(x)[:, 0]
