"""What a loss is worth, and how well rewards predict it."""

import numpy as np
import pytest

from experiments.fidelity import correlate
from experiments.scratch_training import Curves

pytestmark = pytest.mark.slow


def test_the_test_metric_is_that_of_the_epoch_and_rate_that_validation_picks():
    valid = np.array([[[0.1, 0.2], [0.9, 0.3]], [[0.4, 0.3], [0.5, 0.6]]])  # [E, J, V]
    test = np.arange(8.0).reshape(2, 2, 2)
    assert Curves(valid, test).pick_best().tolist() == [4.0, 2.0]


def test_the_correlation_is_of_ranks_and_its_interval_over_losses():
    worth = np.linspace(0.5, 0.8, 64)
    same = correlate(np.exp(30 * worth), worth)
    assert [same[name] for name in ("correlation", "low", "high")] == pytest.approx([1, 1, 1])
    assert same["best_of_sixteenth"] == 0.8
    assert same["mean_of_sixteenth"] == pytest.approx(worth[-4:].mean())
    noise = correlate(np.random.default_rng(0).random(64), worth)
    assert noise["low"] < 0 < noise["high"]
    assert abs(noise["correlation"]) < 0.3
