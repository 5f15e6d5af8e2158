"""Cross-validation: how rows are dealt to folds, and which results it takes."""

from types import SimpleNamespace

import jax
import numpy as np
import pytest

from autolossgen.interfaces import Batch
from autolossgen.training.tasks import RATING
from experiments.cross_validation import assign_folds, make_contenders, make_folds, read_results


def test_folds_deal_the_rows_of_each_user():
    user = np.random.default_rng(0).integers(0, 40, 1001)
    fold = assign_folds(user, 5)
    table = np.zeros((40, 5), int)
    np.add.at(table, (user, fold), 1)
    assert np.ptp(table, axis=1).max() <= 1
    assert np.ptp(table.sum(0)) <= 1


def test_each_row_is_evaluated_once_and_trained_on_in_all_other_folds():
    rows = np.arange(53.0, dtype=np.float32)
    parts = [
        Batch({"user": part.astype(int) % 7}, part, np.ones_like(part))
        for part in (rows[:40], rows[40:])
    ]
    splits = SimpleNamespace(full_train=parts[0], valid=parts[1])
    setup = SimpleNamespace(splits=splits, replicated=jax.devices()[0])
    folds = list(make_folds(setup, 5))
    evaluated = np.concatenate([fold.valid.label for fold in folds])
    assert len(set(evaluated)) == len(evaluated) == 50  # three folds have a row more
    for fold in folds:
        assert len(fold.train.label) == 53 - 11
        assert not set(np.asarray(fold.train.label)) & set(np.asarray(fold.valid.label))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[", "expected the results.json of a search"),
        ("{}", "KeyError"),
        ('{"losses": []}', "has 0 settings"),
    ],
)
def test_what_is_no_result_of_a_search_is_not_cross_validated(tmp_path, text, message):
    file = tmp_path / "results.json"
    file.write_text(text)
    with pytest.raises(SystemExit, match=message):
        read_results(str(file))


def test_bounds_without_an_end_are_read_as_such():
    setup = SimpleNamespace(baselines=[], task=RATING)
    row = {"name": "found-1", "tokens": ["pred"], "found": True, "bounds": [None, 5.0]}
    (loss,) = make_contenders([row], setup)
    assert loss.loss.bounds == (-np.inf, 5.0)
