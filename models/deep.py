"""The deep recommender of the AutoLossGen paper (SIGIR 2022, doi:10.1145/3477495.3531941)."""

import flax.linen as nn
import jax

from .layers import Perceptron, concatenate_inputs, make_logits


class Deep(nn.Module):
    """A perceptron over the vectors of user and item, and over all features that are given.

    Hidden layers are linear, batch norm, ReLU and dropout; the last layer is linear. The paper's
    model reads user and item alone; this one also takes features.

    Example:
      >>> import jax.numpy as jnp
      >>> rows = {"user": jnp.ones((2, 4)), "item": jnp.ones((2, 4))}
      >>> logits, _ = Deep().init_with_output(jax.random.key(0), rows, {}, train=False)
      >>> logits.shape
      (2,)
    """

    hidden: tuple[int, ...] = (64, 16)
    dropout: float = 0.2

    learning_rates = (1.0, 3.0)

    @nn.compact
    def __call__(
        self,
        rows: dict[str, jax.Array],
        features: dict[str, jax.Array],
        *,
        train: bool,
        mask: jax.Array | None = None,
    ) -> jax.Array:
        """Returns logits [B] of rows [B, D] and features [B]; ``mask`` [B] is False for padding."""
        layers = Perceptron(self.hidden, self.dropout, batch_norm=True)
        return make_logits(layers(concatenate_inputs(rows, features), train=train, mask=mask))
