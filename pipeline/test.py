"""The test phase: found losses and baselines, retrained from scratch in the fair test."""

from typing import Any

from autolossgen.evaluation.contenders import Contender
from autolossgen.evaluation.kept import NOTHING, Kept, keep_within
from autolossgen.evaluation.statistics import Splits, make_result_records

from .setup import Setup


def compare_losses(
    setup: Setup, losses: list[Contender], kept: Kept = NOTHING
) -> list[dict[str, Any]]:
    """Trains losses from scratch next to the baselines.

    Args:
      setup: of the run.
      losses: to compare with the baselines.
      kept: of the run.

    Returns:
      The ``losses`` of ``results.json``, a record for each loss.
    """
    contenders = [*setup.baselines, *losses]
    splits = Splits(train=setup.splits.full_train, valid=setup.splits.valid, test=setup.splits.test)
    identities = [(one.name, one.formula, one.tokens, one.loss.bounds) for one in contenders]
    kept = keep_within(kept, "test", identities)
    with setup.progress:
        tuned = setup.fair_test.tune(contenders, splits, kept)
        results = setup.fair_test.run(contenders, tuned, splits, kept)
    return make_result_records(
        results,
        model=setup.config.model.name,
        dataset=setup.dataset.name,
        metric=setup.task.metric,
    )
