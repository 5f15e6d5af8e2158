"""The CSV tables of a run: ``results.csv`` and ``hall_of_fame.csv``."""

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from .results import Estimate, LossResult, parse_cells
from .verdict import decide_verdict

HALL_OF_FAME_COLUMNS = (
    *("rank", "formula", "complexity", "score", "reward", "gain", "generation"),
    *("check", "front", "twin", "promoted", "outcome", "tokens"),
)


def make_results_csv(results: Mapping[str, Any]) -> str:
    r"""Returns the text of ``results.csv``: a header, then one row a loss, ordered as the table.

    Metrics become columns: ``valid_auc``, ``test_auc_mean``, ``test_auc_std``, ``test_auc_low``,
    ``test_auc_high`` and so on, in full precision; unknown values stay empty.

    Args:
      results: content of ``results.json``.

    Raises:
      ReportError: if an entry of ``results`` is not of the documented form.

    Example:
      >>> entry = {"name": "bce", "formula": "f", "found": False, "valid": {"auc": 0.5}}
      >>> make_results_csv({"losses": [entry]}).splitlines()[0].split(",")[:3]
      ['name', 'found', 'formula']
    """
    losses = [loss for cell in parse_cells(results) for loss in cell.losses]
    valid_metrics = _unique(metric for loss in losses for metric in loss.valid)
    test_metrics = _unique(metric for loss in losses for metric in loss.test)
    rows = [_make_result_row(loss, valid_metrics, test_metrics) for loss in losses]
    return _make_csv(list(rows[0]) if rows else ["name"], rows)


def make_hall_of_fame_csv(rows: Iterable[Mapping[str, Any]]) -> str:
    r"""Returns the text of ``hall_of_fame.csv``: a header, then one row a loss.

    Args:
      rows: of the losses, each with all of ``HALL_OF_FAME_COLUMNS``.

    Example:
      >>> make_hall_of_fame_csv([])
      'rank,formula,complexity,score,reward,gain,generation,check,front,twin,promoted,outcome,tokens\n'
    """
    return _make_csv(HALL_OF_FAME_COLUMNS, rows)


def find_pareto_front(complexities: Sequence[int], rewards: Sequence[float]) -> list[bool]:
    """Returns which losses are on the Pareto front of a short length and a high reward.

    A loss is on it if every other one that is at most as long has a lower reward, and every one
    with at least its reward is longer; two that are equal in both share their place.

    Args:
      complexities: length of each loss.
      rewards: of the same losses, finite.

    Raises:
      ValueError: if there are not as many of one as of the other.

    Example:
      >>> find_pareto_front([3, 3, 5, 7, 9], [0.6, 0.5, 0.6, 0.8, 0.7])
      [True, False, False, True, False]
    """
    pairs = list(zip(complexities, rewards, strict=True))
    best_by_complexity, best_so_far = {}, float("-inf")
    for complexity, reward in sorted(pairs, key=lambda pair: (pair[0], -pair[1])):
        if reward > best_so_far:
            best_by_complexity[complexity] = best_so_far = reward
    return [best_by_complexity.get(complexity) == reward for complexity, reward in pairs]


def _make_csv(header: Sequence[str], rows: Iterable[Mapping[str, Any]]) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, header, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def _make_result_row(
    loss: LossResult, valid_metrics: Sequence[str], test_metrics: Sequence[str]
) -> dict[str, Any]:
    row: dict[str, Any] = {
        "name": loss.name,
        "found": "true" if loss.found else "false",
        "formula": loss.formula,
        "model": loss.model,
        "dataset": loss.dataset,
        "learning_rate": loss.learning_rate,
        "weight_decay": loss.weight_decay,
        "epochs": loss.epochs,
        "seeds": " ".join(str(seed) for seed in loss.seeds),
    }
    row |= {f"valid_{metric}": loss.valid.get(metric) for metric in valid_metrics}
    for metric in test_metrics:
        estimate = loss.test.get(metric, Estimate())
        row |= {f"test_{metric}_{part}": value for part, value in estimate._asdict().items()}
    comparison = loss.comparison
    difference = comparison.difference if comparison else Estimate()
    users_low, users_high = (comparison and comparison.user_interval) or (None, None)
    return row | {
        "vs_best_baseline_metric": comparison.metric if comparison else None,
        "vs_best_baseline_difference": difference.mean,
        "vs_best_baseline_low": difference.low,
        "vs_best_baseline_high": difference.high,
        "vs_best_baseline_users_low": users_low,
        "vs_best_baseline_users_high": users_high,
        "verdict": decide_verdict(comparison),
        "tokens": loss.tokens,
    }


def _unique(names: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(names))
