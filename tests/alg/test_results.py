"""The cluster bootstrap over users against a plain one, drawn user by user."""

import numpy as np
from sklearn.metrics import roc_auc_score

from alg.results import RESAMPLES, resample_users
from alg.types import Batch


def interactions(users: int, each: int) -> Batch:
    rng = np.random.default_rng(1)
    user = np.repeat(np.arange(users), each).astype(np.int32)
    label = rng.integers(0, 2, users * each).astype(np.float32)
    return Batch({"user": user, "item": user}, label, np.ones_like(label))


def test_resampled_aucs_are_those_of_repeated_users():
    data = interactions(users=12, each=5)
    scores = np.random.default_rng(2).normal(size=(2, 60)).astype(np.float32)
    found = resample_users(scores, data)
    assert found.shape == (RESAMPLES,)
    drawn = np.random.default_rng(0).multinomial(12, np.full(12, 1 / 12), size=RESAMPLES)
    for replicate in (0, 1, RESAMPLES - 1):
        weight = drawn[replicate][data.ids["user"]]
        expected = [roc_auc_score(data.label, s, sample_weight=weight) for s in scores]
        np.testing.assert_allclose(found[replicate], np.mean(expected), atol=1e-5)


def test_a_loss_beside_itself_differs_for_no_draw_of_users():
    data = interactions(users=12, each=5)
    scores = np.random.default_rng(2).normal(size=(2, 60)).astype(np.float32)
    np.testing.assert_array_equal(resample_users(scores, data) - resample_users(scores, data), 0)
