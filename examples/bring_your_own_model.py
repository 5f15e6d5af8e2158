"""Any Flax module is a recommender here: train one of your own with a loss written as a formula.

    pip install ".[search]"
    python bring_your_own_model.py

To search losses for it, start ``run.py`` where Python finds this file, with
``--config.model.name=bring_your_own_model:Metric``.
"""

from functools import partial

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from autolossgen.lanes import Hyper, batches, make_lanes
from autolossgen.metrics import auc
from autolossgen.objectives import static_slopes
from autolossgen.types import Batch

from autolossgen import build_loss
from autolossgen.models import build

USERS, ITEMS, ROWS, EPOCHS, RATES = 200, 100, 20_000, 20, jnp.array([1.0, 3.0, 10.0, 30.0])


class Metric(nn.Module):
    """A user likes what is near: the logit falls with the distance of two vectors."""

    start: float = 1.0  # of the logit at distance 0

    @nn.compact
    def __call__(self, rows, features, *, train):
        """Give logits [B] of rows ``user`` and ``item``, [B, D] each."""
        near = self.param("near", nn.initializers.constant(self.start), ())
        return near - jnp.sum((rows["user"] - rows["item"]) ** 2, axis=-1)


def made_up_data(rng):
    """Give interactions of users and items with places in a plane, a tenth of them apart."""
    places = rng.normal(size=(USERS, 2)), rng.normal(size=(ITEMS, 2))
    ids = {"user": rng.integers(0, USERS, ROWS), "item": rng.integers(0, ITEMS, ROWS)}
    distance = np.linalg.norm(places[0][ids["user"]] - places[1][ids["item"]], axis=1)
    whole = Batch(ids, (distance < 1.5).astype(np.float32), np.ones(ROWS, np.float32))
    cut = ROWS * 9 // 10
    return [
        jax.tree.map(lambda x, p=p: jnp.asarray(x[p]), whole)
        for p in (slice(cut), slice(cut, ROWS))
    ]


def main():
    """Train at four learning rates side by side and print how well each lane ranks the rest."""
    data, rest = made_up_data(np.random.default_rng(0))
    model = build(name=Metric, width=8, init_scale=0.5, sizes={"user": USERS, "item": ITEMS})
    lanes = make_lanes(model, static_slopes([build_loss("softplus(logit) - label * logit")]))
    ones = jnp.ones_like(RATES)
    settings = Hyper(RATES, 0 * ones, 0 * ones)

    @partial(jax.jit, donate_argnums=0)
    def train(state, key):
        shuffle, drawn = jax.random.split(key)
        return lanes.train(state, ones, settings, batches(data, 128, shuffle), drawn)

    weights, *epochs = jax.random.split(jax.random.key(0), 1 + EPOCHS)
    state = lanes.init(jax.random.split(weights, RATES.size))
    for key in epochs:
        state = train(state, key)
    logits = lanes.predict(state, batches(rest, ROWS // 10))
    for rate, scores in zip(RATES, logits, strict=True):
        print(f"learning rate {rate:4.0f}: AUC {auc(scores, rest.label):.3f}")


if __name__ == "__main__":
    main()
