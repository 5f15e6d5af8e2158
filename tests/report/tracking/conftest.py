"""Results of a run, for trackers."""

import pytest


@pytest.fixture
def make_results():
    """Returns a function that makes the results of a run with one found loss."""

    def make_loss(name, auc, difference=None):
        against = {"metric": "auc", "difference": difference, "ci95": [0.001, 0.02]}
        return {
            "name": name,
            "formula": f"{name.partition('-')[0]}(pred, label)",
            "found": difference is not None,
            "model": "biased_mf",
            "dataset": "d",
            "valid": {"auc": auc},
            "test": {"auc": {"mean": auc, "std": 0.1, "ci95": [auc - 0.1, auc + 0.1]}},
            "vs_best_baseline": against if difference else None,
        }

    return lambda: {"losses": [make_loss("bce", 0.8), make_loss("found-1", 0.81, 0.01)]}
