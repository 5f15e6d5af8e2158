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

from autolossgen import build_loss
from autolossgen.interfaces import Batch
from autolossgen.models import build
from autolossgen.training.lanes import make_batches, make_lanes
from autolossgen.training.loss_gradients import static_logit_grads
from autolossgen.training.metrics import auc
from autolossgen.training.optimizers import Hyper

USERS, ITEMS, ROWS, EPOCHS, RATES = 200, 100, 20_000, 20, jnp.array([1.0, 3.0, 10.0, 30.0])


class Metric(nn.Module):
    """A user likes items nearby: the logit falls with the distance between two vectors."""

    start: float = 1.0  # of the logit at distance 0

    @nn.compact
    def __call__(self, rows, features, *, train):
        """Returns logits [B] of rows ``user`` and ``item``, [B, D] each."""
        near = self.param("near", nn.initializers.constant(self.start), ())
        return near - jnp.sum((rows["user"] - rows["item"]) ** 2, axis=-1)


def make_data(rng):
    """Returns training and held-out interactions of users and items with places in a plane."""
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
    """Trains at four learning rates in parallel; prints how each lane ranks the held-out part."""
    data, held_out = make_data(np.random.default_rng(0))
    sizes = {"user": USERS, "item": ITEMS}
    model = build(name=Metric, embedding_dim=8, init_scale=0.5, sizes=sizes)
    lanes = make_lanes(model, static_logit_grads([build_loss("softplus(logit) - label * logit")]))
    ones = jnp.ones_like(RATES)
    settings = Hyper(RATES, 0 * ones, 0 * ones)

    @partial(jax.jit, donate_argnums=0)
    def train(state, key):
        shuffle, step_key = jax.random.split(key)
        return lanes.train(state, ones, settings, make_batches(data, 128, shuffle), step_key)

    weights, *epochs = jax.random.split(jax.random.key(0), 1 + EPOCHS)
    state = lanes.init(jax.random.split(weights, RATES.size))
    for key in epochs:
        state = train(state, key)
    logits = lanes.predict(state, make_batches(held_out, ROWS // 10))
    for rate, scores in zip(RATES, logits, strict=True):
        print(f"learning rate {rate:4.0f}: AUC {auc(scores, held_out.label):.3f}")


if __name__ == "__main__":
    main()
