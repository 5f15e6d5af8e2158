"""Results of rankings as JSON: as a run keeps each, and as ``results.json`` has them."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from autolossgen.evaluation.statistics import make_course, make_tuning, summarize_seeds
from autolossgen.ranking.comparison import Difference, compare_to
from autolossgen.ranking.fair_test import RankResult
from autolossgen.ranking.tuning import Trials

REPORTED_MASK = "train+valid"
"""The recommender that a user would be served: refitted, with all masked that is known."""


def to_json(value: Any) -> Any:
    """Returns a result as JSON; arrays are lists of numbers."""
    if isinstance(value, RankResult | Trials):
        return {key: to_json(part) for key, part in value._asdict().items()}
    if isinstance(value, Mapping):
        return {key: to_json(part) for key, part in value.items()}
    return value.tolist() if isinstance(value, np.ndarray) else value


def from_json(record: dict[str, Any]) -> RankResult:
    """Returns the result that became JSON."""

    def to_arrays(values: Mapping[str, Any]) -> dict[str, np.ndarray]:
        return {name: np.asarray(value) for name, value in values.items()}

    record["valid"] = to_arrays(record["valid"])
    if record["trials"] is not None:
        names = tuple(record["trials"].pop("names"))
        record["trials"] = Trials(names=names, **to_arrays(record["trials"]))
    for part in ("test", "lists"):
        record[part] = {mask: to_arrays(values) for mask, values in record[part].items()}
    return RankResult(**record)


def make_records(
    results: list[RankResult], *, metric: str, model: str, dataset: str
) -> list[dict[str, Any]]:
    """Returns the ``losses`` of ``results.json``.

    Differences are from the baseline that is best on validation, over users and seeds, corrected
    for the number of losses that are compared with it; recommenders without one are apart.

    Args:
      results: of all that was tested.
      metric: that compares.
      model: name of the recommender.
      dataset: name of the data.
    """
    # References that cannot be fitted may leave found losses alone.
    baselines = [result for result in results if not result.found] or results
    best = max(baselines, key=lambda result: result.valid[metric].mean())
    # Not by name: those of two long formulas may be cut to the same.
    by_result: dict[int, Difference] = {}
    for has_loss in (True, False):  # what is corrected for is the number of losses
        others = [x for x in results if x is not best and bool(x.formula) == has_loss]
        values = [result.test[REPORTED_MASK][metric] for result in others]
        differences = compare_to(values, best.test[REPORTED_MASK][metric])
        by_result |= {id(x): found for x, found in zip(others, differences, strict=True)}
    of_all = {"model": model, "dataset": dataset}
    return [
        {**_make_record(result), **of_all, **_compare(metric, by_result.get(id(result)))}
        for result in results
    ]


def _make_record(result: RankResult) -> dict[str, Any]:
    """Returns what a record says of one result by itself."""
    settings = dict(result.settings)
    test, other_test = (
        {
            name: summarize_seeds(values)
            for name, values in (*result.lists[mask].items(), *_by_seed(result.test[mask]).items())
        }
        for mask in (REPORTED_MASK, "train")
    )
    return {
        "name": result.name,
        "formula": result.formula,
        "tokens": None,
        "found": result.found,
        "bounds": None,
        "learning_rate": settings.pop("learning_rate", None),
        "weight_decay": settings.pop("weight_decay", None),
        "constants": settings,
        "score": result.score,
        "edges": result.edges,
        "trainings": result.num_trainings,
        "training_epochs": result.num_epochs,
        "seconds": result.seconds,
        "seeds": list(range(len(next(iter(result.test["train"].values()))))),
        "epochs": result.epochs,
        "course": make_course(result.course),
        "tuning": make_tuning(result.tuning),
        "valid": {name: float(values.mean()) for name, values in result.valid.items()},
        "test": test,
        "test_masking_train": other_test,
        "diverged": result.diverged.get(REPORTED_MASK, 0),
        "diverged_masking_train": result.diverged.get("train", 0),
    }


def _compare(metric: str, difference: Difference | None) -> dict[str, Any]:
    """Returns the entry of a difference; the best baseline has none from itself."""
    if difference is None:
        return {"vs_best_baseline": None}
    found = {
        "metric": metric,
        "difference": difference.mean,
        "ci95": [difference.low, difference.high],
        "p_holm": difference.p,
    }
    return {"vs_best_baseline": found}


def _by_seed(values: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Returns the means over users, [S]."""
    return {name: value.mean(1) for name, value in values.items()}
