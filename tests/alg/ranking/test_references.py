"""Recommenders without a loss: which settings are tried, and what happens to those that fail."""

import numpy as np
import pytest

from autolossgen.ranking.references import ReferenceFailed, run_reference
from autolossgen.ranking.settings import RankTestSettings
from tests.helpers.ranking_sets import make_two_groups

DATA = make_two_groups(share=0.2)  # so that every user has something to find
SETTINGS = RankTestSettings(metric="ndcg@20", cutoffs=(20,))
GRID = {"group": tuple(range(1, 11)), "noise": (0.0, 1.0, 2.0, 3.0)}


def make_fit(best, fails=lambda **_: False, measure=None):
    """Returns a fit that is the worse the further settings are from the best; and its calls."""
    calls = []

    def measure_away(**settings):
        return sum(abs(settings[name] - value) for name, value in best.items())

    def fit(liked, num_items, **settings):
        calls.append((liked.items.size, settings))
        if fails(**settings):
            raise MemoryError if settings["noise"] else ValueError("the group is too small")
        away = (measure or measure_away)(**settings)
        same = np.arange(DATA.num_users)[:, None] % 2 == np.arange(num_items) % 2
        same[: int(away)] = ~same[: int(away)]  # users who are taken for those of the other group
        return lambda users: same[users].astype(np.float32)

    return fit, calls


def run(best, fails=lambda **_: False, grid=GRID, measure=None):
    fit, calls = make_fit(best, fails, measure)
    said = []
    return run_reference("groups", fit, grid, DATA, SETTINGS, said.append), calls, said


@pytest.mark.parametrize(
    ("best", "edges"),
    [
        ({"group": 5, "noise": 2.0}, []),
        ({"group": 10, "noise": 0.0}, ["group at its highest"]),  # no noise is not an edge
        ({"group": 1, "noise": 3.0}, ["group at its lowest", "noise at its highest"]),
    ],
)
def test_the_best_settings_are_found_without_trying_all(best, edges):
    result, calls, said = run(best)
    assert (result.settings, result.edges, said) == (best, edges, [])
    assert len(calls) == result.num_trainings == len(result.tuning) + 1 < 28  # of 40
    fitted = [(size, *settings.values()) for size, settings in calls]
    assert len(set(fitted)) == len(fitted)  # the best one is not fitted twice
    assert calls[-1] == (DATA.train.items.size + DATA.valid.items.size, best)


def test_a_ridge_across_two_settings_is_climbed():
    def measure(group, noise):
        return 5 * abs(group - noise - 1) + abs(noise - 2)

    result, _, _ = run({"group": 3, "noise": 2.0}, measure=measure)
    assert result.settings == {"group": 3, "noise": 2.0}


def test_the_highest_hill_is_climbed_from_the_second_best_point():
    def measure(group, noise):
        of_lower_hill = 1 + 3 * (abs(group - 8) + abs(noise - 3))
        return min(of_lower_hill, 2.5 * (abs(group - 3) + abs(noise - 2)))

    result, _, _ = run({"group": 3, "noise": 2.0}, measure=measure)
    assert result.settings == {"group": 3, "noise": 2.0}


def test_settings_that_cannot_be_fitted_are_not_chosen():
    best = {"group": 5, "noise": 1.0}
    result, _, said = run(best, fails=lambda group, noise: group < 5)
    assert result.settings == best
    failed = [one for one in result.tuning if one["group"] < 5]
    assert failed
    assert all(np.isnan(one["valid"]) for one in failed)
    assert "groups with group 2, noise 1 cannot be fitted: not enough memory" in said


def test_what_cannot_be_fitted_at_all_says_why():
    grid = GRID | {"noise": (0.0,)}
    with pytest.raises(ReferenceFailed, match=r"groups with group \d+, .*: the group is too small"):
        run({"group": 5}, fails=lambda **_: True, grid=grid)


def test_what_cannot_be_fitted_again_says_why():
    fit, _ = make_fit({"group": 5})

    def fit_train_alone(liked, num_items, **settings):
        if liked.items.size > DATA.train.items.size:
            raise MemoryError
        return fit(liked, num_items, **settings)

    with pytest.raises(ReferenceFailed, match="train and validation: not enough memory"):
        run_reference("groups", fit_train_alone, {"group": (5,)}, DATA, SETTINGS)
