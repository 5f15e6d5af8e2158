"""Two towers (Yi et al., RecSys 2019, doi:10.1145/3298689.3346996)."""

from collections.abc import Mapping

import flax.linen as nn
import jax
import jax.numpy as jnp

from .layers import Perceptron, concatenate_inputs


class TwoTower(nn.Module):
    """The dot product of two perceptrons: one of the item, one of the user.

    The item's tower reads the item and its features. The user's tower reads everything else: the
    user, its features and those of the interaction. So items can be indexed before any user comes.
    The paper normalises both vectors and samples its softmax; here losses of any kind train the
    product.

    Example:
      >>> rows = {"user": jnp.ones((2, 4)), "item": jnp.ones((2, 4))}
      >>> numbers = {"age": jnp.ones(2)}
      >>> logits, _ = TwoTower().init_with_output(jax.random.key(0), rows, numbers, train=False)
      >>> logits.shape
      (2,)
    """

    hidden: tuple[int, ...] = (64,)
    out: int = 32  # width of the two vectors
    of_item: tuple[str, ...] = ("item",)  # rows and features that are the item's

    learning_rates = (0.3, 1.0)

    @nn.compact
    def __call__(
        self, rows: dict[str, jax.Array], features: dict[str, jax.Array], *, train: bool
    ) -> jax.Array:
        """Returns logits [B] of rows [B, D] and features [B]."""

        def tower(name: str, is_item: bool) -> jax.Array:
            def select(inputs: Mapping[str, jax.Array]) -> dict[str, jax.Array]:
                return {key: x for key, x in inputs.items() if (key in self.of_item) == is_item}

            inputs = concatenate_inputs(select(rows), select(features))
            hidden = Perceptron(self.hidden, name=name)(inputs, train=train)
            return nn.Dense(self.out, name=f"{name}_vector")(hidden)

        return jnp.sum(tower("user", False) * tower("item", True), axis=-1)
