"""Matrix factorisation with biases (Koren, Bell and Volinsky, 2009, doi:10.1109/MC.2009.263)."""

import flax.linen as nn
import jax
import jax.numpy as jnp


class BiasedMF(nn.Module):
    """The product of a user's and an item's vector, plus their biases and a global one.

    A row holds a vector and, in its last place, a bias: one look-up brings both.

    Example:
      >>> rows = {"user": jnp.ones((2, 5)), "item": jnp.ones((2, 5))}
      >>> logits, _ = BiasedMF().init_with_output(jax.random.key(0), rows, {}, train=False)
      >>> logits.shape
      (2,)
    """

    reads = ("user", "item")
    learning_rates = (3.0, 10.0)

    @staticmethod
    def row_width(embedding_dim: int) -> int:
        """Returns how many numbers a row has: the vector's and a bias."""
        return embedding_dim + 1

    @nn.compact
    def __call__(
        self, rows: dict[str, jax.Array], features: dict[str, jax.Array], *, train: bool
    ) -> jax.Array:
        """Returns logits [B] of rows ``user`` [B, D + 1] and ``item`` [B, D + 1]."""
        del features, train  # the model reads no features, and scores as it trains
        bias = self.param("global_bias", nn.initializers.constant(0.1), ())
        user, item = rows["user"], rows["item"]
        # A select keeps the gradients elementwise; slices would be padded back, row by row.
        is_bias = jnp.arange(user.shape[-1]) == user.shape[-1] - 1
        return jnp.sum(jnp.where(is_bias, user + item, user * item), axis=-1) + bias
