"""The cluster bootstrap over users against a plain one, drawn user by user."""

import numpy as np
from sklearn.metrics import accuracy_score, roc_auc_score

from autolossgen.evaluation.statistics import NUM_RESAMPLES, Splits, resample_users
from autolossgen.interfaces import Batch
from autolossgen.training.metric_registry import get_metric
from autolossgen.training.tasks import RATING


def interactions(users: int, each: int) -> Batch:
    rng = np.random.default_rng(1)
    user = np.repeat(np.arange(users), each).astype(np.int32)
    label = rng.integers(0, 2, users * each).astype(np.float32)
    return Batch({"user": user, "item": user}, label, np.ones_like(label))


def splits(data: Batch) -> Splits:
    return Splits(data, data, data)


def test_resampled_aucs_are_those_of_repeated_users():
    data = interactions(users=12, each=5)
    scores = np.random.default_rng(2).normal(size=(2, 60)).astype(np.float32)
    (found,) = resample_users(scores[:, None], scores[:, None], splits(data))
    assert found.shape == (NUM_RESAMPLES,)
    drawn = np.random.default_rng(0).multinomial(12, np.full(12, 1 / 12), size=NUM_RESAMPLES)
    for replicate in (0, 1, NUM_RESAMPLES - 1):
        weight = drawn[replicate][data.ids["user"]]
        expected = [roc_auc_score(data.label, s, sample_weight=weight) for s in scores]
        np.testing.assert_allclose(found[replicate], np.mean(expected), atol=1e-5)


def test_a_loss_beside_itself_differs_for_no_draw_of_users():
    data = interactions(users=12, each=5)
    scores = np.random.default_rng(2).normal(size=(2, 60)).astype(np.float32)
    twice = np.stack([scores, scores], axis=1)
    one, other = resample_users(twice, twice, splits(data))
    assert one.std() > 0
    np.testing.assert_array_equal(one - other, 0)


def test_resampled_accuracies_are_at_the_threshold_of_validation():
    data = interactions(users=12, each=5)
    valid = np.linspace(-1, 1, 60).astype(np.float32)[None]
    label = (valid[0] > 0.3).astype(np.float32)  # so the threshold is near 0.3
    judged = Splits(data, data._replace(label=label), data)
    test = np.random.default_rng(2).normal(size=(1, 60)).astype(np.float32)
    task = RATING._replace(metric=get_metric("accuracy"))
    (found,) = resample_users(valid[:, None], test[:, None], judged, task)
    cut = (valid[0][label > 0].min() + valid[0][label < 1].max()) / 2
    drawn = np.random.default_rng(0).multinomial(12, np.full(12, 1 / 12), size=NUM_RESAMPLES)
    weight = drawn[7][data.ids["user"]]
    expected = accuracy_score(data.label, test[0] > cut, sample_weight=weight)
    np.testing.assert_allclose(found[7], expected, rtol=1e-5)
