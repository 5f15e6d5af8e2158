"""LightGCN: embeddings that are smoothed over who liked what."""

import jax
import jax.numpy as jnp
import numpy as np

from autolossgen.interfaces import EmbeddingModel, ItemSets, Params

from .matrix_factorization import make_matrix_factorization


def make_lightgcn(
    train: ItemSets,
    num_items: int,
    *,
    layers: int = 2,
    embedding_dim: int = 64,
    init_scale: float = 0.1,
) -> EmbeddingModel:
    """Builds LightGCN (He et al., SIGIR 2020, arXiv:2002.02126).

    In each layer a user becomes the weighted sum of their items, and an item that of its users; a
    pair weighs 1 / sqrt(items of the user * users of the item). The embedding is the mean over all
    layers, the first included.

    The propagation is a sparse product with the whole table in every step, forward and backward:
    O(pairs * D * layers), whatever the batch is. It is a function of one lane's tables, so lanes
    are a ``vmap`` or a loop over it; they share the graph.

    Args:
      train: the graph; a final fit has its own, with the pairs of validation.
      num_items: rows of the items' table.
      layers: of propagation.
      embedding_dim: D.
      init_scale: standard deviation of initial weights.

    Example:
      >>> liked = ItemSets.of_pairs(np.array([0, 1, 1]), np.array([0, 0, 1]), num_users=2)
      >>> model = make_lightgcn(liked, num_items=2, layers=1, embedding_dim=1)
      >>> users, items = model.embed({"user": jnp.array([[2.0], [4.0]]), "item": jnp.zeros((2, 1))})
      >>> users.ravel().tolist(), [round(x, 2) for x in items.ravel().tolist()]
      ([1.0, 2.0], [1.71, 1.41])
    """
    users, items = jnp.asarray(train.users), jnp.asarray(train.items)
    num_users = train.counts.size
    item_counts = np.bincount(train.items, minlength=num_items)
    degree = train.counts[train.users] * item_counts[train.items]
    weight = jnp.asarray(1 / np.sqrt(degree), jnp.float32)[:, None]
    tables = make_matrix_factorization(
        num_users, num_items, embedding_dim=embedding_dim, init_scale=init_scale
    )

    def propagate(user: jax.Array, item: jax.Array) -> tuple[jax.Array, jax.Array]:
        new_user = jnp.zeros_like(user).at[users].add(weight * item[items], indices_are_sorted=True)
        return new_user, jnp.zeros_like(item).at[items].add(weight * user[users])

    def embed(params: Params) -> tuple[jax.Array, jax.Array]:
        user, item = tables.embed(params)
        total_user, total_item = user, item
        for _ in range(layers):
            user, item = propagate(user, item)
            total_user, total_item = total_user + user, total_item + item
        return total_user / (layers + 1), total_item / (layers + 1)

    return EmbeddingModel(init=tables.init, embed=embed)
