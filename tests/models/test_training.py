"""Every recommender learns in lanes, from generated interactions."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from autolossgen import models, named_loss
from autolossgen.interfaces import Batch, Side
from autolossgen.training.lanes import make_lanes
from autolossgen.training.loss_gradients import static_logit_grads
from autolossgen.training.optimizers import Hyper

pytestmark = pytest.mark.slow

USERS, ITEMS, GENRES, HOURS, NEW, LANES = 60, 50, 6, 4, 10, 2
RNG = np.random.default_rng(0)
AGE = RNG.normal(size=USERS).astype(np.float32)
GENRE = np.stack([RNG.permutation(GENRES)[:2] for _ in range(ITEMS)]).astype(np.int32)
GENRE[RNG.random(ITEMS) < 0.5, 1] = -1
SIDES = {"age": Side("user", AGE), "genre": Side("item", GENRE)}
PAIR = {"user": USERS, "item": ITEMS}
ALL = {**PAIR, "genre": GENRES, "hour": HOURS}
# Learning rate, epochs and options, of one small hidden layer.
SETTINGS = {
    "biased_mf": (5.0, 10, {}),
    "deep": (0.3, 10, {"hidden": (16,)}),
    "neumf": (0.5, 20, {"hidden": (16,)}),
    "deepfm": (0.3, 10, {"hidden": (16,)}),
    "dcn_v2": (0.3, 10, {"hidden": (16,)}),
    "two_tower": (0.3, 10, {"hidden": (16,)}),
}


def interactions(count, items):
    """Draws interactions that are liked by how age and the first genre agree, and by the hour."""
    drawn = {"user": RNG.integers(0, USERS, count), "item": RNG.choice(items, count)}
    drawn["hour"] = RNG.integers(0, HOURS, count)
    agree = AGE[drawn["user"]] * np.where(GENRE[drawn["item"], 0] % 2, 1, -1)
    liked = RNG.random(count) < 1 / (1 + np.exp(-6 * agree - (drawn["hour"] - 1.5)))
    ids = {field: values.astype(np.int32) for field, values in drawn.items()}
    return Batch(ids, np.float32(liked), np.ones(count, np.float32))


def cut(data, order, size):
    """Returns batches [N, size] of interactions in an order, the last ones left out."""
    order = order[: order.size // size * size].reshape(-1, size)
    return jax.tree.map(lambda x: np.asarray(x)[order], data)


OLD_ITEMS, NEW_ITEMS = np.arange(ITEMS - NEW), np.arange(ITEMS - NEW, ITEMS)
TRAIN, SEEN, UNSEEN = (
    interactions(*a) for a in ((3000, OLD_ITEMS), (1000, OLD_ITEMS), (1000, NEW_ITEMS))
)


@pytest.mark.parametrize("name", models.MODELS)
def test_a_model_learns_in_lanes(name):
    """From features what users and items that never met, and items never seen, are worth."""
    alone = name in ("biased_mf", "neumf")
    features = {"sizes": PAIR} if alone else {"sizes": ALL, "sides": SIDES}
    rate, epochs, options = SETTINGS[name]
    model = models.build(name=name, embedding_dim=8, init_scale=0.1, options=options, **features)
    lanes = make_lanes(model, static_logit_grads([named_loss("bce")]))
    # A lane that does not learn stays behind one that does.
    hyper = Hyper(jnp.float32([rate, 1e-6]), *jnp.zeros((2, LANES)))
    rng = np.random.default_rng(1)
    orders = np.concatenate([rng.permutation(3000)[:2944] for _ in range(epochs)])
    train = cut(TRAIN, orders, 64)
    both = jax.tree.map(lambda *x: np.stack(x), SEEN, UNSEEN)

    @jax.jit
    def run(key, train, both):
        start = lanes.init(jnp.repeat(key[None], LANES))
        end = lanes.train(start, jnp.ones(LANES), hyper, train, key)
        return end, lanes.predict(end, both)

    end, logits = jax.tree.map(np.asarray, run(jax.random.key(1), train, both))
    seen, unseen = (
        [roc_auc_score(split.label, scores) for scores in logits[:, part]]
        for split, part in ((SEEN, slice(1000)), (UNSEEN, slice(1000, None)))
    )
    assert seen[0] > 0.8 > 0.65 > seen[1]
    assert alone or unseen[0] > 0.8 > 0.7 > unseen[1]
    assert all(np.isfinite(x).all() for x in jax.tree.leaves(end))
