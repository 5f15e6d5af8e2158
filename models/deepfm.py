"""DeepFM (Guo et al., IJCAI 2017, arXiv:1703.04247)."""

import flax.linen as nn
import jax
import jax.numpy as jnp

from .layers import Perceptron, logit


class DeepFM(nn.Module):
    """A factorisation machine plus a perceptron, over the same vectors of all fields.

    A row holds a vector and, in its last place, a weight. A number has a vector and a weight of its
    own, which it scales.

    >>> rows = {"user": jnp.ones((2, 5)), "item": jnp.ones((2, 5))}
    >>> numbers = {"age": jnp.ones(2)}
    >>> logits, _ = DeepFM().init_with_output(jax.random.key(0), rows, numbers, train=False)
    >>> logits.shape
    (2,)
    """

    hidden: tuple[int, ...] = (64, 64)
    dropout: float = 0.0

    @staticmethod
    def row_width(width: int) -> int:
        """Give the numbers of a row whose vector has ``width``."""
        return width + 1

    learning_rates = (0.3, 1.0, 3.0)

    @nn.compact
    def __call__(
        self, rows: dict[str, jax.Array], features: dict[str, jax.Array], *, train: bool
    ) -> jax.Array:
        """Give logits [B] of rows [B, D + 1] and features [B]."""
        fields = [rows[name] for name in sorted(rows)]
        for name in sorted(features):
            own = self.param(f"number_{name}", nn.initializers.normal(0.01), (fields[0].shape[-1],))
            fields.append(features[name][:, None] * own)
        stacked = jnp.stack(fields, axis=1)  # [B, fields, D + 1]
        vectors, weights = stacked[..., :-1], stacked[..., -1]
        # Each product of two different vectors, without forming it.
        pairs = jnp.sum(vectors, axis=1) ** 2 - jnp.sum(vectors**2, axis=1)
        machine = jnp.sum(weights, axis=-1) + 0.5 * jnp.sum(pairs, axis=-1)
        flat = vectors.reshape(vectors.shape[0], -1)
        # The last layer's bias is that of the whole.
        return machine + logit(Perceptron(self.hidden, self.dropout)(flat, train=train))
