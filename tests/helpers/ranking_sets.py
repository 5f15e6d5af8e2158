"""Sets of items that users like, and models of which scores are what a test gives."""

import jax.numpy as jnp
import numpy as np

from autolossgen.interfaces import EmbeddingModel, ItemSets, RankingData


def sets_from(matrix):
    """Returns the sets of a bool matrix [num_users, num_items]."""
    users, items = np.nonzero(matrix)
    return ItemSets.of_pairs(users, items, num_users=len(matrix))


def make_score_table(num_items):
    """Returns a model whose parameter is the scores themselves, [num_users, num_items]."""
    return EmbeddingModel(init=None, embed=lambda scores: (scores, jnp.eye(num_items)))


def propagate_densely(liked, layers):
    """Returns the mean of the powers 0 to ``layers`` of D^-1/2 A D^-1/2, over users and items."""
    users, items = liked.shape
    adjacency = np.block(
        [[np.zeros((users, users)), liked], [liked.T, np.zeros((items, items))]]
    ).astype(np.float64)
    degree = np.maximum(adjacency.sum(1), 1)
    normalised = adjacency / np.sqrt(degree[:, None] * degree)
    powers = [np.linalg.matrix_power(normalised, power) for power in range(layers + 1)]
    return np.mean(powers, axis=0)


def make_two_groups(num_users=16, num_items=20, *, share=0.6, seed=0):
    """Returns data of two groups: users of a group like items of that group, and no others."""
    rng = np.random.default_rng(seed)
    same_group = np.arange(num_users)[:, None] % 2 == np.arange(num_items) % 2
    part = np.where(same_group, rng.random(same_group.shape), np.inf)  # each pair in one part
    train, valid = part < share, (part >= share) & (part < (1 + share) / 2)
    return RankingData(
        name="two groups",
        num_users=num_users,
        num_items=num_items,
        train=sets_from(train),
        valid=sets_from(valid),
        test=sets_from(same_group & ~train & ~valid),
    )
