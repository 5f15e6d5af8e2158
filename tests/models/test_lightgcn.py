"""LightGCN against powers of the normalised adjacency matrix in float64."""

import jax
import numpy as np
import pytest

from autolossgen.models.lightgcn import make_lightgcn
from tests.helpers.ranking_sets import propagate_densely, sets_from

USERS, ITEMS, WIDTH = 7, 9, 4
SIZES = {"user": USERS, "item": ITEMS}


@pytest.fixture
def liked():
    """Returns who likes what; a user likes nothing, and nobody likes one of the items."""
    matrix = np.random.default_rng(0).random((USERS, ITEMS)) < 0.4
    matrix[3], matrix[:, 5] = False, False
    return matrix


@pytest.mark.parametrize("layers", [0, 1, 3])
def test_embeddings_and_gradients_are_those_of_dense_powers(liked, layers):
    """The matrix is symmetric: gradients go back the way that embeddings came, layer by layer."""
    model = make_lightgcn(sets_from(liked), ITEMS, layers=layers, embedding_dim=WIDTH)
    rng = np.random.default_rng(1)
    tables, weights = (
        {name: rng.normal(size=(size, WIDTH)).astype(np.float32) for name, size in SIZES.items()}
        for _ in range(2)
    )

    @jax.jit
    def embed_and_go_back(params, users, items):
        embeddings, go_back = jax.vjp(model.embed, params)
        return embeddings, go_back((users, items))[0]

    embeddings, gradient = embed_and_go_back(tables, weights["user"], weights["item"])
    dense = propagate_densely(liked, layers)
    for found, given in ((np.concatenate(embeddings), tables), (join(gradient), weights)):
        np.testing.assert_allclose(found, dense @ join(given), atol=2e-6)


def join(tables):
    return np.concatenate([tables["user"], tables["item"]])


def test_tables_start_normal_with_the_scale():
    liked = np.eye(400, 300, dtype=bool)
    model = make_lightgcn(sets_from(liked), 300, embedding_dim=32, init_scale=0.5)
    params = jax.device_get(model.init(jax.random.key(0)))
    assert {name: table.shape for name, table in params.items()} == {
        "user": (400, 32),
        "item": (300, 32),
    }
    for table in params.values():
        assert table.std() == pytest.approx(0.5, rel=0.03)
        assert abs(table.mean()) < 0.02
    assert np.abs(np.corrcoef(params["user"][:300, 0], params["item"][:, 0])[0, 1]) < 0.2
