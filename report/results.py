"""The losses of a `results.json`, checked once, so that what shows them need not."""

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

ERROR_METRICS = ("logloss", "rmse", "mae")
"""Metrics of which a lower value is better; a test compares them with the metric registry."""


class ReportError(ValueError):
    """A run folder or its results cannot be reported; the message says what to do."""


class Estimate(NamedTuple):
    """A mean over seeds with its spread and 95 % interval; None stands for not known."""

    mean: float | None = None
    std: float | None = None
    low: float | None = None
    high: float | None = None

    @property
    def half_width(self) -> float | None:
        """Half the width of the 95 % interval, None without one."""
        if self.low is None or self.high is None:
            return None
        return (self.high - self.low) / 2


class Comparison(NamedTuple):
    """The paired difference of a loss to the best baseline, in units of the metric."""

    metric: str
    difference: Estimate  # its interval is over seeds
    users: tuple[float, float] | None = None  # 95 % interval over users


class LossResult(NamedTuple):
    """One loss in the fair test of one recommender on one data set."""

    name: str
    formula: str
    found: bool
    model: str
    dataset: str
    learning_rate: float | None
    weight_decay: float | None
    epochs: float | None
    seeds: tuple[int, ...]
    tokens: str
    valid: dict[str, float | None]
    test: dict[str, Estimate]
    comparison: Comparison | None
    metric: str = "auc"  # by which the cell chose and compares
    bounds: tuple[float, float] | None = None  # of a found loss, where they are known

    @property
    def valid_score(self) -> float | None:
        """Mean validation metric over the seeds."""
        return self.valid.get(self.metric)

    @property
    def test_score(self) -> Estimate:
        """Test metric over the seeds."""
        return self.test.get(self.metric, Estimate())


class Cell(NamedTuple):
    """The losses tested on one recommender and one data set: only these are comparable."""

    model: str
    dataset: str
    losses: tuple[LossResult, ...]

    @property
    def title(self) -> str:
        """What was trained on what."""
        return f"{self.model or 'recommender'} on {self.dataset or 'the data'}"

    @property
    def metric(self) -> str:
        """Key of the metric by which its losses were chosen and are compared."""
        return self.losses[0].metric


def parse_cells(results: Mapping[str, Any]) -> tuple[Cell, ...]:
    """Checked losses of a `results.json`, a `Cell` for each recommender and data set.

    Within a cell the losses go from the best test metric to the worst, those without one last.

    Raises:
        ReportError: when an entry is not of the documented form; names the entry.

    Example:
        >>> entry = {"name": "bce", "formula": "f", "found": False, "model": "MF", "dataset": "d"}
        >>> parse_cells({"losses": [entry]})[0].title
        'MF on d'
    """
    entries = results.get("losses") if isinstance(results, Mapping) else None
    if not isinstance(entries, list | tuple):
        raise ReportError("results: expected {'losses': [...]}, as results.json holds it")
    groups: dict[tuple[str, str], list[LossResult]] = {}
    for index, entry in enumerate(entries):
        loss = _loss_result(entry, f"losses[{index}]")
        groups.setdefault((loss.model, loss.dataset), []).append(loss)
    return tuple(Cell(*key, _in_order(losses)) for key, losses in groups.items())


def format_metric_name(metric: str) -> str:
    """How the key of a metric is written for people.

    Example:
        >>> format_metric_name("auc"), format_metric_name("ndcg@10"), format_metric_name("logloss")
        ('AUC', 'NDCG@10', 'logloss')
    """
    name, at, rank = metric.partition("@")
    return (name.upper() if name in ("auc", "ndcg", "mrr") else name) + at + rank


def finite_or_none(value: Any) -> float | None:
    """`value` where it is a finite number, otherwise None.

    Example:
        >>> finite_or_none(0.5), finite_or_none(None), finite_or_none(float("nan")), finite_or_none(True)
        (0.5, None, None, None)
    """
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return value if math.isfinite(value) else None


def _in_order(losses: Sequence[LossResult]) -> tuple[LossResult, ...]:
    """Losses with the metric that they are compared by, the best first."""
    compared = [loss.comparison.metric for loss in losses if loss.comparison]
    metric = compared[0] if compared else _first_known(losses)
    return tuple(sorted((loss._replace(metric=metric) for loss in losses), key=_descending))


def _first_known(losses: Sequence[LossResult]) -> str:
    """The metric of losses of which none was compared: AUC where there is one."""
    known = dict.fromkeys(name for loss in losses for name in (*loss.test, *loss.valid))
    return "auc" if "auc" in known or not known else next(iter(known))


def _descending(loss: LossResult) -> float:
    mean = loss.test_score.mean
    if mean is None:
        return math.inf
    return mean if loss.metric in ERROR_METRICS else -mean


def _loss_result(entry: Any, where: str) -> LossResult:
    _expect_mapping(entry, where)
    name = entry.get("name")
    if not isinstance(name, str) or not name:
        raise ReportError(f"results: {where}.name: expected a text, got {name!r}")
    valid = _mapping_or_empty(entry.get("valid"), f"{where}.valid")
    test = _mapping_or_empty(entry.get("test"), f"{where}.test")
    return LossResult(
        name=name,
        formula=str(entry.get("formula") or ""),
        found=entry.get("found") is True,
        model=str(entry.get("model") or ""),
        dataset=str(entry.get("dataset") or ""),
        learning_rate=finite_or_none(entry.get("learning_rate")),
        weight_decay=finite_or_none(entry.get("weight_decay")),
        epochs=finite_or_none(entry.get("epochs")),
        seeds=_seeds(entry.get("seeds"), f"{where}.seeds"),
        tokens=_tokens(entry.get("tokens")),
        valid={metric: finite_or_none(value) for metric, value in valid.items()},
        test={
            metric: _estimate(value, "mean", f"{where}.test.{metric}")
            for metric, value in test.items()
        },
        comparison=_comparison(entry.get("vs_best_baseline"), f"{where}.vs_best_baseline"),
        bounds=parse_bounds(entry.get("bounds"), f"{where}.bounds"),
    )


def _comparison(value: Any, where: str) -> Comparison | None:
    if value is None:
        return None
    difference = _estimate(value, "difference", where)
    if difference.mean is None:
        return None
    users = _estimate({"ci95": value.get("ci95_users")}, "difference", f"{where} (users)")
    over_users = None if users.low is None or users.high is None else (users.low, users.high)
    return Comparison(str(value.get("metric") or "auc"), difference, over_users)


def _estimate(value: Any, mean: str, where: str) -> Estimate:
    if value is None:
        return Estimate()
    _expect_mapping(value, where)
    interval = value.get("ci95")
    if interval is None:
        interval = (None, None)
    if not isinstance(interval, list | tuple) or len(interval) != 2:
        raise ReportError(f"results: {where}.ci95: expected [low, high], got {interval!r}")
    return Estimate(
        finite_or_none(value.get(mean)),
        finite_or_none(value.get("std")),
        finite_or_none(interval[0]),
        finite_or_none(interval[1]),
    )


def _seeds(value: Any, where: str) -> tuple[int, ...]:
    if value is None:
        return ()
    if not isinstance(value, list | tuple):
        raise ReportError(f"results: {where}: expected a list of seeds, got {value!r}")
    return tuple(value)


def parse_bounds(value: Any, where: str) -> tuple[float, float] | None:
    """What a loss is clipped to, of JSON, where a side without end is no number.

    Raises:
        ReportError: when it is neither two sides nor nothing.

    Example:
        >>> parse_bounds([1e-5, None], "bounds")
        (1e-05, inf)
    """
    if value is None:
        return None
    if not isinstance(value, list | tuple) or len(value) != 2:
        raise ReportError(f"results: {where}: expected [low, high], got {value!r}")
    low, high = map(finite_or_none, value)
    return -math.inf if low is None else low, math.inf if high is None else high


def _tokens(value: Any) -> str:
    if isinstance(value, list | tuple):
        return " ".join(str(token) for token in value)
    return "" if value is None else str(value)


def _mapping_or_empty(value: Any, where: str) -> Mapping[str, Any]:
    if value is None:
        return {}
    _expect_mapping(value, where)
    return value


def _expect_mapping(value: Any, where: str) -> None:
    if not isinstance(value, Mapping):
        raise ReportError(f"results: {where}: expected an object, got {type(value).__name__}")
