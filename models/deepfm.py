"""DeepFM (Guo et al., IJCAI 2017, arXiv:1703.04247)."""

import flax.linen as nn
import jax
import jax.numpy as jnp

from .layers import Perceptron, make_logits


class DeepFM(nn.Module):
    """A factorisation machine plus a perceptron, over the same vectors of all fields.

    A row holds a vector and, in its last place, a weight. A number has a vector and a weight of its
    own, which it scales.

    Example:
      >>> rows = {"user": jnp.ones((2, 5)), "item": jnp.ones((2, 5))}
      >>> numbers = {"age": jnp.ones(2)}
      >>> logits, _ = DeepFM().init_with_output(jax.random.key(0), rows, numbers, train=False)
      >>> logits.shape
      (2,)
    """

    hidden: tuple[int, ...] = (64, 64)
    dropout: float = 0.0

    learning_rates = (0.3, 1.0, 3.0)

    @staticmethod
    def row_width(embedding_dim: int) -> int:
        """Returns how many numbers a row has: the vector's and a weight."""
        return embedding_dim + 1

    @nn.compact
    def __call__(
        self, rows: dict[str, jax.Array], features: dict[str, jax.Array], *, train: bool
    ) -> jax.Array:
        """Returns logits [B] of rows [B, D + 1] and features [B]."""
        fields = [rows[name] for name in sorted(rows)]
        for name in sorted(features):
            row = self.param(f"number_{name}", nn.initializers.normal(0.01), (fields[0].shape[-1],))
            fields.append(features[name][:, None] * row)
        stacked = jnp.stack(fields, axis=1)  # [B, fields, D + 1]
        vectors, weights = stacked[..., :-1], stacked[..., -1]
        # Twice the sum of the products of all pairs of vectors, in time linear in the fields.
        pairs = jnp.sum(vectors, axis=1) ** 2 - jnp.sum(vectors**2, axis=1)
        factorisation = jnp.sum(weights, axis=-1) + 0.5 * jnp.sum(pairs, axis=-1)
        flat = vectors.reshape(vectors.shape[0], -1)
        # The bias of the last layer is the bias of the whole model.
        return factorisation + make_logits(Perceptron(self.hidden, self.dropout)(flat, train=train))
