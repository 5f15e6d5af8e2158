"""What a rung of a search for ranking losses tells, on curves that are known."""

import numpy as np
import pytest

from experiments.ranking_fidelity import MARKS, RUNGS, TRIALS, compare_rungs, compute_reward


def test_the_best_of_a_stage_go_on():
    curve = np.zeros((len(MARKS), TRIALS))
    curve[MARKS.index(1)] = np.arange(TRIALS) / 10  # the last two go on
    curve[MARKS.index(7)] = 1.0
    curve[MARKS.index(7), -2:] = 0.2, 0.75
    assert compute_reward(curve, (8, 2), (1, 7)) == 0.75
    assert compute_reward(curve, (8,), (7,)) == 1.0
    # A loss keeps the best that it had.
    curve[MARKS.index(7), -2:] = 0.1
    assert compute_reward(curve, (8, 2), (1, 7)) == pytest.approx(0.7)


def test_a_rung_that_sees_the_order_of_all_losses_is_perfect():
    worth = np.random.default_rng(0).permutation(40) / 40
    curves = worth[:, None, None] * np.linspace(0.5, 1, len(MARKS))[:, None] * np.ones(TRIALS)
    for row in compare_rungs(curves):
        assert row["correlation"] == row["correlation_of_better_half"] == pytest.approx(1)
        assert row["found_of_best_tenth"] == 1
    turned = 1 - curves
    turned[:, -1] = worth[:, None] + 1  # what is best in the end was worst at first
    for row in compare_rungs(turned):
        assert row["correlation"] == pytest.approx(-1)
        assert row["found_of_best_tenth"] == 0


def test_a_rung_costs_its_epochs():
    rows = {
        row["rung"]: row["epochs"]
        for row in compare_rungs(np.random.default_rng(0).random((20, 9, 8)))
    }
    assert set(rows) == set(RUNGS)
    assert rows["8 trials, 1 epoch; 4 to 3; 2 to 7"] == 8 * 1 + 4 * 2 + 2 * 4
