"""What is kept of a network scores as its lanes do, with features of users, items and rows."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from autolossgen import data, models, named_loss
from autolossgen.interfaces import Batch
from autolossgen.pipeline.finished.network import score_by_network, to_arrays
from autolossgen.training.lanes import make_lanes
from autolossgen.training.tasks import RATING


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    """A data set with a list of categories, a number, and a field of each row."""
    rng = np.random.default_rng(0)
    lines = ["user,item,rating,genres,age,shop"]
    for user in range(8):
        for item in rng.permutation(6):
            genres = "|".join(f"g{g}" for g in range(3) if (item >> g) & 1)
            lines.append(f"u{user},i{item},{rng.integers(2)},{genres},{20 + user},s{user % 2}")
    path = tmp_path_factory.mktemp("data") / "d.csv"
    path.write_text("\n".join(lines) + "\n")
    features = ("item.genres:list", "user.age:number", "row.shop")
    return data.build(name="csv", path=str(path), features=features, reward_split="valid")


def test_scores_are_those_of_the_first_lane(dataset):
    section = {"name": "deep", "embedding_dim": 4, "init_scale": 0.5, "options": None}
    recommender = models.build(**section, sizes=dataset.sizes, sides=dataset.sides)
    lanes = make_lanes(recommender, RATING.static_logit_grads([named_loss("bce")]))
    state = lanes.init(jax.random.split(jax.random.key(0), 3))
    state = state._replace(scale=jnp.array([0.5, 1.0, 2.0]))  # as within an epoch
    about = {
        "model": section,
        "sizes": dataset.sizes,
        "side_fields": {name: side.field for name, side in dataset.sides.items()},
        "context": {"shop": 1},
    }
    weights = to_arrays(state, dataset.sides)
    assert all(array.dtype.kind in "fi" for array in weights.values())  # nothing to pickle
    items = np.arange(6)
    for user, scores in zip(
        (2, 5), score_by_network(about, weights)(np.array([2, 5])), strict=True
    ):
        ids = {"user": np.full(6, user), "item": items, "shop": np.ones(6, int)}
        batch = Batch(ids, np.ones(6), np.ones(6))
        expected = lanes.predict(state, jax.tree.map(lambda x: jnp.asarray(x)[None], batch))[0]
        np.testing.assert_allclose(scores, expected, rtol=1e-5)
    assert scores.std() > 0
