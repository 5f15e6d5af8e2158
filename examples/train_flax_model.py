"""Trains a small Flax recommender with a loss that is written as a formula.

    pip install . flax optax
    python train_flax_model.py

The data are synthetic: users and items have hidden tastes, and a user likes an item if they agree.
"""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax

from autolossgen import build_loss, named_loss

NUM_USERS, NUM_ITEMS, EMBEDDING_DIM = 300, 200, 16
NUM_STEPS, BATCH_SIZE = 600, 512


class MatrixFactorization(nn.Module):
    """Logit of a user and an item: the dot product of their embeddings, and the item's bias."""

    @nn.compact
    def __call__(self, user, item):
        """Returns the logits of pairs of user and item."""
        user_embedding = nn.Embed(NUM_USERS, EMBEDDING_DIM, name="user")(user)
        item_embedding = nn.Embed(NUM_ITEMS, EMBEDDING_DIM, name="item")(item)
        bias = nn.Embed(NUM_ITEMS, 1, embedding_init=nn.initializers.zeros, name="bias")(item)
        return jnp.sum(user_embedding * item_embedding, axis=-1) + bias[..., 0]


def make_data(rows, rng):
    """Returns (user, item, label) of training and test, which is the last tenth."""
    tastes = rng.normal(size=(NUM_USERS, 4)), rng.normal(size=(NUM_ITEMS, 4))
    user, item = rng.integers(0, NUM_USERS, rows), rng.integers(0, NUM_ITEMS, rows)
    agreement = np.sum(tastes[0][user] * tastes[1][item], axis=-1)
    label = (agreement + rng.normal(size=rows) > 0).astype(np.float32)
    cut = rows * 9 // 10
    return [(user[part], item[part], label[part]) for part in (slice(cut), slice(cut, None))]


def train(loss, data):
    """Returns the parameters after some steps of Adam on a loss of logits and labels."""
    model, optimizer = MatrixFactorization(), optax.adam(1e-2)
    params = model.init(jax.random.key(0), jnp.zeros(1, int), jnp.zeros(1, int))
    user, item, label = map(jnp.asarray, data)

    def step(carry, key):
        params, state = carry
        rows = jax.random.randint(key, (BATCH_SIZE,), 0, label.size)

        def batch_loss(params):
            return loss(model.apply(params, user[rows], item[rows]), label[rows])

        value, gradient = jax.value_and_grad(batch_loss)(params)
        updates, state = optimizer.update(gradient, state)
        return (optax.apply_updates(params, updates), state), value

    keys = jax.random.split(jax.random.key(1), NUM_STEPS)
    (params, _), values = jax.jit(lambda carry: jax.lax.scan(step, carry, keys))(
        (params, optimizer.init(params))
    )
    print(f"  loss {values[:20].mean():.4f} -> {values[-20:].mean():.4f}", end="")
    return params


def compute_auc(params, data):
    """Returns the share of pairs of a liked and a disliked item whose logits are in order."""
    user, item, label = data
    logit = np.asarray(MatrixFactorization().apply(params, user, item))
    rank = np.argsort(np.argsort(logit)) + 1
    liked = label == 1
    lowest_sum = liked.sum() * (liked.sum() + 1) / 2
    return (rank[liked].sum() - lowest_sum) / (liked.sum() * (~liked).sum())


def main():
    """Trains with two losses and prints how well each ranks interactions that it has not seen."""
    training, test = make_data(30_000, np.random.default_rng(0))
    losses = {
        "binary cross-entropy": named_loss("bce"),
        "a ratio, as a formula": build_loss(
            "max((label + s) / (pred + s), (pred + s) / (label + s))", s=0.3
        ),
    }
    for name, loss in losses.items():
        print(f"{name}:")
        params = train(loss, training)
        print(f", test AUC {compute_auc(params, test):.3f}")


if __name__ == "__main__":
    main()
