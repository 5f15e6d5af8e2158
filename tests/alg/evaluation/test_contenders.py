"""Contenders of a fair test."""

import pytest

from autolossgen.evaluation.contenders import BASELINES, make_baselines
from autolossgen.training.tasks import make_task


@pytest.mark.parametrize("family", BASELINES)
def test_the_baselines_of_a_family_are_its_named_losses(family):
    task = make_task(family, negatives=4)
    baselines = make_baselines(task, baselines=None, smoothing=0.1)
    assert tuple(baseline.name for baseline in baselines) == BASELINES[family]
    assert {baseline.loss.family.name for baseline in baselines} == {family}
    assert not any(baseline.found for baseline in baselines)


def test_a_baseline_of_the_other_family_is_refused():
    with pytest.raises(ValueError, match="contenders are pointwise losses, got 'bpr'"):
        make_baselines(make_task("pointwise", negatives=4), baselines=("bpr",), smoothing=0.1)
