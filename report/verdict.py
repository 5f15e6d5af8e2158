"""Whether a found loss is better than the baselines, said as the intervals allow."""

import math

from .formatting import format_score, to_one_line
from .results import ERROR_METRICS, Cell, Comparison, LossResult, format_metric_name

BETTER, NO_BETTER, WORSE = "better", "no better", "worse"
NO_INTERVAL = "no interval"
OVER_USERS = (
    "Intervals are over seeds; a loss is better or worse only if the one over users excludes 0 too."
)


def decide_verdict(comparison: Comparison | None) -> str:
    """One of better, no better, worse: by whether the 95 % intervals exclude 0.

    The interval over seeds and, where there is one, that over users have to: the first says what
    other seeds would give on these users, the second what other users would. "no interval" where
    there is a difference without one (a single seed), "" where nothing was compared. For a metric
    like logloss a negative difference is the better one.

    Example:
        >>> from .results import Estimate
        >>> decide_verdict(Comparison("auc", Estimate(0.003, None, 0.001, 0.005)))
        'better'
        >>> decide_verdict(Comparison("auc", Estimate(0.003, None, -0.001, 0.007)))
        'no better'
    """
    if comparison is None:
        return ""
    low, high = comparison.difference.low, comparison.difference.high
    if low is None or high is None:
        return NO_INTERVAL
    if comparison.users is not None:
        low, high = min(low, comparison.users[0]), max(high, comparison.users[1])
    if comparison.metric in ERROR_METRICS:
        low, high = -high, -low
    if low > 0:
        return BETTER
    return WORSE if high < 0 else NO_BETTER


def get_best_found(cell: Cell) -> LossResult | None:
    """The found loss to judge: the best on validation, because picking it on test would flatter it.

    Falls back on the order of the test metric where no found loss has one on validation.
    """
    return next((loss for loss in sort_by_validation(cell) if loss.found), None)


def sort_by_validation(cell: Cell) -> list[LossResult]:
    """The losses from the best on validation to the worst, those without a metric there last."""
    return sorted(cell.losses, key=_valid_or_lowest, reverse=True)


def get_best_baseline(cell: Cell) -> LossResult | None:
    """The baseline the others were compared with, None where the results do not tell.

    It is the one without a difference to itself; when several have none, no name is better than
    a guess.
    """
    baseline = [loss for loss in cell.losses if not loss.found]
    reference = [loss for loss in baseline if _is_reference(loss)]
    return reference[0] if len(reference) == 1 else None


def format_headline(cell: Cell) -> str:
    """One sentence: is the best found loss better, no better or worse than the best baseline."""
    found, baseline = get_best_found(cell), get_best_baseline(cell)
    if found is None:
        return "No found loss took part in the test, so there is nothing to compare."
    if all(loss.found for loss in cell.losses):
        return "No baseline took part in the test, so the found losses cannot be judged."
    word = decide_verdict(found.comparison)
    chosen = "" if found.valid_score is None else " on validation"
    subject = f"The best found loss{chosen} ({to_one_line(found.name)})"
    reference = "the best baseline" + (f" ({to_one_line(baseline.name)})" if baseline else "")
    if not word:
        return f"{subject} was not compared with {reference}."
    metric = format_metric_name(found.comparison.metric)
    mean = format_score(found.comparison.difference.mean, signed=True)
    if word == NO_INTERVAL:
        return (
            f"{subject} differs from {reference} by {mean} test {metric}, without an interval: "
            "test with more seeds to tell whether it is better."
        )
    interval = _interval_text(found.comparison)
    text = f"{subject} is {word} than {reference}: test {metric} {mean}, 95 % interval {interval}"
    users = found.comparison.users
    return text + (f" over seeds, {_pair_text(*users)} over users." if users else ".")


def format_difference(loss: LossResult) -> str:
    """The difference to the best baseline with its 95 % interval, "" where there is none."""
    if loss.comparison is None:
        return ""
    text = format_score(loss.comparison.difference.mean, signed=True)
    if decide_verdict(loss.comparison) != NO_INTERVAL:
        text += " " + _interval_text(loss.comparison)
    if loss.comparison.metric != loss.metric:
        text += f" {format_metric_name(loss.comparison.metric)}"
    return text


def format_user_interval(loss: LossResult) -> str:
    """The 95 % interval of the difference over users, "" where there is none."""
    users = loss.comparison and loss.comparison.users
    return f"users {_pair_text(*users)}" if users else ""


def format_verdict(cell: Cell, loss: LossResult) -> str:
    """The word in the last column: a verdict, or "best baseline" for the loss compared with."""
    if loss is get_best_baseline(cell):
        return "best baseline"
    return decide_verdict(loss.comparison)


def _is_reference(loss: LossResult) -> bool:
    return loss.comparison is None or loss.comparison.difference[:1] == (0.0,)


def _valid_or_lowest(loss: LossResult) -> float:
    score = loss.valid_score
    if score is None:
        return -math.inf
    return -score if loss.metric in ERROR_METRICS else score


def _interval_text(comparison: Comparison) -> str:
    return _pair_text(comparison.difference.low, comparison.difference.high)


def _pair_text(low: float | None, high: float | None) -> str:
    return f"[{format_score(low, signed=True)}, {format_score(high, signed=True)}]"
