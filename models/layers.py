"""What several recommenders are made of."""

from collections.abc import Mapping

import flax.linen as nn
import jax
import jax.numpy as jnp


def joined(rows: Mapping[str, jax.Array], features: Mapping[str, jax.Array]) -> jax.Array:
    """Put rows [B, D] and then numbers [B] side by side, each in the order of their names.

    >>> rows = {"user": jnp.array([[1.0, 2.0]]), "item": jnp.array([[3.0]])}
    >>> joined(rows, {"age": jnp.array([4.0])}).tolist()
    [[3.0, 1.0, 2.0, 4.0]]
    """
    numbers = [features[name][:, None] for name in sorted(features)]
    return jnp.concatenate([*(rows[name] for name in sorted(rows)), *numbers], axis=-1)


class Perceptron(nn.Module):
    """Hidden layers: linear, batch norm if wanted, ReLU and dropout, each.

    Batch norm takes mean and variance over the examples of ``mask`` [B] alone, so that padding
    does not count; its moving averages keep nine tenths at each step.
    """

    hidden: tuple[int, ...]
    dropout: float = 0.0  # share that is left out in training
    batch_norm: bool = False

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool, mask: jax.Array | None = None) -> jax.Array:
        """Give the last layer [B, hidden[-1]] of inputs [B, D].

        Raises:
          ValueError: for widths that are not positive, or a dropout that is no share.
        """
        if not all(width >= 1 for width in self.hidden):
            raise ValueError(f"hidden widths are at least 1, got {self.hidden}")
        if not 0 <= self.dropout < 1:
            raise ValueError(f"dropout is at least 0 and below 1, got {self.dropout}")
        real = None if mask is None else mask[:, None]
        for width in self.hidden:
            x = nn.Dense(width)(x)
            if self.batch_norm:
                x = nn.BatchNorm(use_running_average=not train, momentum=0.9)(x, mask=real)
            x = nn.Dropout(self.dropout, deterministic=not train)(nn.relu(x))
        return x


def logit(x: jax.Array) -> jax.Array:
    """Give logits [B] as a learned linear function of inputs [B, D]; within a module only."""
    return nn.Dense(1, name="logit")(x)[:, 0]
