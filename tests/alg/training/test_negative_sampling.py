"""Drawn negatives against a naive walk over users and items."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from autolossgen.interfaces import Positives
from autolossgen.training.negative_sampling import sample_negatives

pytestmark = pytest.mark.slow

USERS, CATALOGUE = 7, np.int32([1, 2, 4, 5, 9, 10, 11, 30])


def likes(rng, most=7):
    """Draws what users like, and writes it down as ``Positives``; user 0 likes nothing."""
    known = [rng.permutation(CATALOGUE)[: rng.integers(1, most + 1)] for _ in range(1, USERS)]
    known = [np.sort(items) for items in ([], *known)]
    below = [[sum(c < i for c in CATALOGUE if c not in items) for i in items] for items in known]
    start = np.cumsum([0, *map(len, known)])
    user = np.repeat(np.arange(USERS), [len(items) for items in known])
    ids = {"user": user, "item": np.concatenate(known), "hour": 3 * user}
    ids = {field: jnp.asarray(x, jnp.int32) for field, x in ids.items()}
    arrays = (CATALOGUE, np.concatenate(below), start)
    return known, Positives(ids, *(jnp.asarray(x, jnp.int32) for x in arrays))


@pytest.mark.parametrize("seed", range(3))
def test_negatives_are_what_the_user_is_not_known_to_like(seed):
    known, positives = likes(np.random.default_rng(seed))
    groups = jax.jit(sample_negatives, static_argnames="count")(
        positives, jax.random.key(seed), count=300
    )
    assert groups.label.shape == (len(positives.ids["user"]), 301)
    np.testing.assert_array_equal(groups.ids["item"][:, 0], positives.ids["item"])
    for user, items in zip(positives.ids["user"], np.asarray(groups.ids["item"]), strict=True):
        # With so many drawn, each that may come has come.
        assert {*items[1:].tolist()} == {*CATALOGUE.tolist()} - {*known[int(user)].tolist()}
    for field in ("user", "hour"):
        expected = np.repeat(np.asarray(positives.ids[field])[:, None], 301, 1)
        np.testing.assert_array_equal(groups.ids[field], expected)
    assert np.all(groups.label[:, 0] == 1)
    assert np.all(groups.label[:, 1:] == 0)
    assert np.all(groups.weight == 1)


def test_negatives_are_drawn_evenly_and_independently():
    known, positives = likes(np.random.default_rng(5), most=3)
    first, second = (sample_negatives(positives, jax.random.key(k), count=20_000) for k in range(2))
    user = int(positives.ids["user"][0])
    _, count = np.unique(first.ids["item"][0, 1:], return_counts=True)
    share = 1 / (len(CATALOGUE) - len(known[user]))
    np.testing.assert_allclose(count / 20_000, share, atol=0.01)
    same = np.mean(np.asarray(first.ids["item"][0, 1:] == second.ids["item"][0, 1:]))
    np.testing.assert_allclose(same, share, atol=0.01)
