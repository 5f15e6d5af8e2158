"""Neural matrix factorisation (He et al., WWW 2017, arXiv:1708.05031)."""

import flax.linen as nn
import jax
import jax.numpy as jnp

from .layers import Perceptron, make_logits


class NeuMF(nn.Module):
    """A linear function of a product of vectors and of a perceptron over other vectors.

    A row holds two vectors: one for the product, one for the perceptron.

    Example:
      >>> rows = {"user": jnp.ones((2, 8)), "item": jnp.ones((2, 8))}
      >>> logits, _ = NeuMF().init_with_output(jax.random.key(0), rows, {}, train=False)
      >>> logits.shape
      (2,)
    """

    hidden: tuple[int, ...] = (64, 32, 16)

    reads = ("user", "item")
    learning_rates = (0.3, 1.0)

    @staticmethod
    def row_width(embedding_dim: int) -> int:
        """Returns how many numbers a row has: those of two vectors."""
        return 2 * embedding_dim

    @nn.compact
    def __call__(
        self, rows: dict[str, jax.Array], features: dict[str, jax.Array], *, train: bool
    ) -> jax.Array:
        """Returns logits [B] of rows ``user`` [B, 2 D] and ``item`` [B, 2 D]."""
        del features  # the model reads none
        user, item = (jnp.split(rows[name], 2, axis=-1) for name in self.reads)
        deep = Perceptron(self.hidden)(jnp.concatenate([user[1], item[1]], -1), train=train)
        return make_logits(jnp.concatenate([user[0] * item[0], deep], axis=-1))
