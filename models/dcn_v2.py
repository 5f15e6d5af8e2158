"""Deep and cross network, version 2 (Wang et al., WWW 2021, arXiv:2008.13535)."""

import flax.linen as nn
import jax
import jax.numpy as jnp

from .layers import Perceptron, concatenate_inputs, make_logits


class DCNv2(nn.Module):
    """Cross layers over all rows and numbers, before a perceptron or in parallel with it.

    A cross layer turns x into x0 * (W x + b) + x, where x0 is the input of the first.

    Example:
      >>> rows = {"user": jnp.ones((2, 4)), "item": jnp.ones((2, 4))}
      >>> numbers = {"age": jnp.ones(2)}
      >>> logits, _ = DCNv2().init_with_output(jax.random.key(0), rows, numbers, train=False)
      >>> logits.shape
      (2,)
    """

    crosses: int = 2  # cross layers
    rank: int = 32  # W is U V of this rank; 0 for a full matrix
    hidden: tuple[int, ...] = (64, 64)
    dropout: float = 0.0
    parallel: bool = False  # perceptron and cross layers in parallel, not in sequence

    learning_rates = (1.0, 3.0)

    @nn.compact
    def __call__(
        self, rows: dict[str, jax.Array], features: dict[str, jax.Array], *, train: bool
    ) -> jax.Array:
        """Returns logits [B] of rows [B, D] and features [B].

        Raises:
          ValueError: for fewer than one cross layer, or a negative rank.
        """
        if self.crosses < 1 or self.rank < 0:
            raise ValueError(
                f"crosses is at least 1 and rank at least 0, got {self.crosses} and {self.rank}"
            )
        first = crossed = concatenate_inputs(rows, features)
        for _ in range(self.crosses):
            low = nn.Dense(self.rank, use_bias=False)(crossed) if self.rank else crossed
            crossed = first * nn.Dense(first.shape[-1])(low) + crossed
        deep = Perceptron(self.hidden, self.dropout)
        if not self.parallel:
            return make_logits(deep(crossed, train=train))
        return make_logits(jnp.concatenate([crossed, deep(first, train=train)], axis=-1))
