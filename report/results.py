"""The losses of a ``results.json``, checked once, so that the code that shows them need not."""

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

# Repeats what the metric registry knows, because this part only reads files: no training here.
ERROR_METRICS = ("logloss", "rmse", "mae")
"""Metrics for which a lower value is better; a test compares them with the metric registry."""


class ReportError(ValueError):
    """A run folder or its results that cannot be reported; the message says what to do."""


class Estimate(NamedTuple):
    """A mean over seeds with its spread and its 95 % interval; None for what is unknown."""

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
    difference: Estimate  # its interval is over seeds, unless it is joint
    user_interval: tuple[float, float] | None = None  # 95 % interval over users
    is_joint: bool = False  # whether its interval is over users and seeds, for all losses together


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
    metric: str = "auc"  # that chose the hyper-parameters and compares the losses
    bounds: tuple[float, float] | None = None  # of a found loss, if they are known
    by_label: Mapping[str, str] = {}  # "like" and "dislike" -> formula of a pointwise loss
    score: str = ""  # of a user and an item, in rankings
    constants: Mapping[str, float] = {}  # of the formula, as they were tuned
    course: tuple[tuple[float, float], ...] = ()  # epochs and validation metric in the test
    tuning: tuple[Mapping[str, float | None], ...] = ()  # settings that were tried, and "valid"
    edges: tuple[str, ...] = ()  # settings that lie at an edge of what was tried
    diverged: int = 0  # seeds of the test whose training diverged

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
        """The recommender and the data set."""
        return f"{self.model or 'recommender'} on {self.dataset or 'the data'}"

    @property
    def metric(self) -> str:
        """Key of the metric by which the losses were tuned and are compared."""
        return self.losses[0].metric


def parse_cells(results: Mapping[str, Any]) -> tuple[Cell, ...]:
    """Checks the losses of a ``results.json`` and groups them by recommender and data set.

    Within a cell the losses go from the best test metric to the worst, those without one last.

    Raises:
      ReportError: if an entry is not of the documented form; the message names the entry.

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
        loss = _parse_loss(entry, f"losses[{index}]")
        groups.setdefault((loss.model, loss.dataset), []).append(loss)
    return tuple(
        Cell(model=model, dataset=dataset, losses=_rank_losses(losses))
        for (model, dataset), losses in groups.items()
    )


def format_metric_name(metric: str) -> str:
    """Returns the key of a metric as it is written for people.

    Example:
      >>> [format_metric_name(metric) for metric in ("auc", "ndcg@10", "logloss")]
      ['AUC', 'NDCG@10', 'logloss']
    """
    name, at, cutoff = metric.partition("@")
    return (name.upper() if name in ("auc", "ndcg", "mrr") else name) + at + cutoff


def finite_or_none(value: Any) -> float | None:
    """Returns ``value`` if it is a finite number, otherwise None.

    Example:
      >>> [finite_or_none(value) for value in (0.5, None, float("nan"), True)]
      [0.5, None, None, None]
    """
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return value if math.isfinite(value) else None


def parse_bounds(value: Any, place: str) -> tuple[float, float] | None:
    """Returns the bounds of a loss from JSON, where an open side is null.

    Args:
      value: of the JSON file.
      place: where it was found there, for the message.

    Raises:
      ReportError: if it is neither null nor a pair.

    Example:
      >>> parse_bounds([1e-5, None], "bounds")
      (1e-05, inf)
    """
    if value is None:
        return None
    if not isinstance(value, list | tuple) or len(value) != 2:
        raise ReportError(f"results: {place}: expected [low, high], got {value!r}")
    low, high = map(finite_or_none, value)
    return -math.inf if low is None else low, math.inf if high is None else high


def _rank_losses(losses: Sequence[LossResult]) -> tuple[LossResult, ...]:
    """Returns losses with the metric that they are compared by, the best first."""
    compared = [loss.comparison.metric for loss in losses if loss.comparison]
    metric = compared[0] if compared else _first_known_metric(losses)
    return tuple(sorted((loss._replace(metric=metric) for loss in losses), key=_rank_key))


def _first_known_metric(losses: Sequence[LossResult]) -> str:
    """Returns the metric of losses that were not compared: AUC if they have it."""
    metrics = dict.fromkeys(name for loss in losses for name in (*loss.test, *loss.valid))
    return "auc" if "auc" in metrics or not metrics else next(iter(metrics))


def _rank_key(loss: LossResult) -> float:
    mean = loss.test_score.mean
    if mean is None:
        return math.inf
    return mean if loss.metric in ERROR_METRICS else -mean


def _parse_loss(entry: Any, place: str) -> LossResult:
    _expect_mapping(entry, place)
    name = entry.get("name")
    if not isinstance(name, str) or not name:
        raise ReportError(f"results: {place}.name: expected a text, got {name!r}")
    valid = _parse_mapping(entry.get("valid"), f"{place}.valid")
    test = _parse_mapping(entry.get("test"), f"{place}.test")
    return LossResult(
        name=name,
        formula=str(entry.get("formula") or ""),
        found=entry.get("found") is True,
        model=str(entry.get("model") or ""),
        dataset=str(entry.get("dataset") or ""),
        learning_rate=finite_or_none(entry.get("learning_rate")),
        weight_decay=finite_or_none(entry.get("weight_decay")),
        epochs=finite_or_none(entry.get("epochs")),
        seeds=_parse_list(entry.get("seeds"), f"{place}.seeds", int, "whole numbers"),
        tokens=_parse_tokens(entry.get("tokens")),
        valid={metric: finite_or_none(value) for metric, value in valid.items()},
        test={
            metric: _parse_estimate(value, "mean", f"{place}.test.{metric}")
            for metric, value in test.items()
        },
        comparison=_parse_comparison(entry.get("vs_best_baseline"), f"{place}.vs_best_baseline"),
        bounds=parse_bounds(entry.get("bounds"), f"{place}.bounds"),
        by_label=_parse_mapping(entry.get("by_label"), f"{place}.by_label"),
        score=str(entry.get("score") or ""),
        constants=_parse_numbers(entry.get("constants"), f"{place}.constants"),
        course=_parse_course(entry.get("course"), f"{place}.course"),
        tuning=tuple(
            {name: finite_or_none(value) for name, value in trial.items()}
            for trial in _parse_trials(entry.get("tuning"), f"{place}.tuning")
        ),
        edges=_parse_list(entry.get("edges"), f"{place}.edges", str, "texts"),
        diverged=int(finite_or_none(entry.get("diverged")) or 0),
    )


def _parse_numbers(value: Any, place: str) -> dict[str, float]:
    """Returns the entries of an object that are finite numbers."""
    items = _parse_mapping(value, place).items()
    return {name: number for name, x in items if (number := finite_or_none(x)) is not None}


def _parse_course(value: Any, place: str) -> tuple[tuple[float, float], ...]:
    """Returns epochs and values, without those that are unknown."""
    course = _parse_mapping(value, place)
    epochs, values = course.get("epochs") or (), course.get("valid") or ()
    if not isinstance(epochs, list | tuple) or not isinstance(values, list | tuple):
        raise ReportError(f"results: {place}: expected lists of epochs and of values")
    pairs = ((finite_or_none(x), finite_or_none(y)) for x, y in zip(epochs, values, strict=False))
    return tuple((x, y) for x, y in pairs if x is not None and y is not None)


def _parse_trials(value: Any, place: str) -> list[Mapping[str, Any]]:
    if value is None:
        return []
    if not isinstance(value, list | tuple):
        raise ReportError(f"results: {place}: expected a list of settings, got {value!r}")
    return [_parse_mapping(trial, f"{place}[{i}]") for i, trial in enumerate(value)]


def _parse_list(value: Any, place: str, kind: type, what: str) -> tuple[Any, ...]:
    """Returns a list of one kind, () if it is missing; ``what`` it holds is for people."""
    if value is None:
        return ()
    if not isinstance(value, list | tuple) or not all(isinstance(entry, kind) for entry in value):
        raise ReportError(f"results: {place}: expected a list of {what}, got {value!r}")
    return tuple(value)


def _parse_comparison(value: Any, place: str) -> Comparison | None:
    if value is None:
        return None
    difference = _parse_estimate(value, "difference", place)
    if difference.mean is None:
        return None
    users = _parse_estimate({"ci95": value.get("ci95_users")}, "difference", f"{place} (users)")
    if users.low is None or users.high is None:
        user_interval = None
    else:
        user_interval = users.low, users.high
    return Comparison(
        metric=str(value.get("metric") or "auc"),
        difference=difference,
        user_interval=user_interval,
        is_joint="p_holm" in value,
    )


def _parse_estimate(value: Any, mean_key: str, place: str) -> Estimate:
    if value is None:
        return Estimate()
    _expect_mapping(value, place)
    interval = value.get("ci95")
    if interval is None:
        interval = (None, None)
    if not isinstance(interval, list | tuple) or len(interval) != 2:
        raise ReportError(f"results: {place}.ci95: expected [low, high], got {interval!r}")
    return Estimate(
        mean=finite_or_none(value.get(mean_key)),
        std=finite_or_none(value.get("std")),
        low=finite_or_none(interval[0]),
        high=finite_or_none(interval[1]),
    )


def _parse_tokens(value: Any) -> str:
    if isinstance(value, list | tuple):
        return " ".join(str(token) for token in value)
    return "" if value is None else str(value)


def _parse_mapping(value: Any, place: str) -> Mapping[str, Any]:
    if value is None:
        return {}
    _expect_mapping(value, place)
    return value


def _expect_mapping(value: Any, place: str) -> None:
    if not isinstance(value, Mapping):
        raise ReportError(f"results: {place}: expected an object, got {type(value).__name__}")
