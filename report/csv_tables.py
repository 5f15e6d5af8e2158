"""The results as flat rows for a spreadsheet or a data frame."""

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from .results import Estimate, LossResult, parse_cells
from .verdict import decide_verdict

HALL_COLUMNS = (
    *("rank", "formula", "complexity", "reward", "gain", "generation"),
    *("check", "sound", "front", "twin", "promoted", "tokens"),
)


def make_results_csv(results: Mapping[str, Any]) -> str:
    r"""CSV text of a `results.json`: a header, then one row a loss, in the order of the table.

    Metrics become columns: `valid_auc`, `test_auc_mean`, `test_auc_std`, `test_auc_low`,
    `test_auc_high` and so on, in full precision; what is not known stays empty.

    Raises:
        ReportError: when an entry of `results` is not of the documented form.

    Example:
        >>> entry = {"name": "bce", "formula": "f", "found": False, "valid": {"auc": 0.5}}
        >>> make_results_csv({"losses": [entry]}).splitlines()[0].split(",")[:3]
        ['name', 'found', 'formula']
    """
    losses = [loss for cell in parse_cells(results) for loss in cell.losses]
    valid_metrics = _in_order(metric for loss in losses for metric in loss.valid)
    test_metrics = _in_order(metric for loss in losses for metric in loss.test)
    rows = [_row(loss, valid_metrics, test_metrics) for loss in losses]
    return _csv(list(rows[0]) if rows else ["name"], rows)


def make_hall_of_fame_csv(rows: Iterable[Mapping[str, Any]]) -> str:
    r"""CSV text of a hall of fame: a header, then one row a loss, which must have all columns.

    Example:
        >>> make_hall_of_fame_csv([])
        'rank,formula,complexity,reward,gain,generation,check,sound,front,twin,promoted,tokens\n'
    """
    return _csv(HALL_COLUMNS, rows)


def find_pareto_front(complexities: Sequence[int], rewards: Sequence[float]) -> list[bool]:
    """Say which losses are on the Pareto front of a short length and a high reward.

    A loss is, if every other one that is at most as long has a lower reward, and every one with at
    least its reward is longer; two that are equal in both share their place.

    Args:
        complexities: length of each loss.
        rewards: of the same losses, finite.

    Raises:
        ValueError: when there are not as many of one as of the other.

    Example:
        >>> find_pareto_front([3, 3, 5, 7, 9], [0.6, 0.5, 0.6, 0.8, 0.7])
        [True, False, False, True, False]
    """
    best, top = {}, float("-inf")  # by complexity; of all that are as short
    pairs = list(zip(complexities, rewards, strict=True))
    for complexity, reward in sorted(pairs, key=lambda pair: (pair[0], -pair[1])):
        if reward > top:
            best[complexity] = top = reward
    return [best.get(complexity) == reward for complexity, reward in pairs]


def _csv(header: Sequence[str], rows: Iterable[Mapping[str, Any]]) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, header, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def _row(loss: LossResult, valid_metrics: list[str], test_metrics: list[str]) -> dict[str, Any]:
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
    difference = loss.comparison.difference if loss.comparison else Estimate()
    over_users = (loss.comparison and loss.comparison.users) or (None, None)
    row |= {
        "vs_best_baseline_metric": loss.comparison.metric if loss.comparison else None,
        "vs_best_baseline_difference": difference.mean,
        "vs_best_baseline_low": difference.low,
        "vs_best_baseline_high": difference.high,
        "vs_best_baseline_users_low": over_users[0],
        "vs_best_baseline_users_high": over_users[1],
        "verdict": decide_verdict(loss.comparison),
        "tokens": loss.tokens,
    }
    return row


def _in_order(names: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(names))
