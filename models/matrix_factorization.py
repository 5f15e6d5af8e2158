"""Matrix factorization: an embedding for each user and each item, and nothing else."""

import jax
import jax.numpy as jnp

from autolossgen.interfaces import EmbeddingModel, Params


def make_matrix_factorization(
    num_users: int, num_items: int, *, embedding_dim: int = 64, init_scale: float = 0.1
) -> EmbeddingModel:
    """Builds matrix factorization (Koren et al., Computer 42, 2009, doi:10.1109/MC.2009.263).

    Args:
      num_users: rows of the users' table.
      num_items: rows of the items' table.
      embedding_dim: D.
      init_scale: standard deviation of initial weights. A score of cosines does not depend on it
        but for how far a step turns a row; dot products begin at ``init_scale ** 2 * sqrt(D)``.

    Example:
      >>> model = make_matrix_factorization(3, 5, embedding_dim=2)
      >>> users, items = model.embed(model.init(jax.random.key(0)))
      >>> users.shape, items.shape
      ((3, 2), (5, 2))
    """

    def init(key: jax.Array) -> Params:
        user_key, item_key = jax.random.split(key)
        return {
            "user": init_scale * jax.random.normal(user_key, (num_users, embedding_dim)),
            "item": init_scale * jax.random.normal(item_key, (num_items, embedding_dim)),
        }

    def embed(params: Params) -> tuple[jax.Array, jax.Array]:
        return jnp.asarray(params["user"]), jnp.asarray(params["item"])

    return EmbeddingModel(init=init, embed=embed)
