"""Whether a found loss is better than the baselines, as far as the intervals allow to say so."""

import math

from .formatting import format_score, to_one_line
from .results import ERROR_METRICS, Cell, Comparison, LossResult, format_metric_name

BETTER, NO_BETTER, WORSE = "better", "no better", "worse"
NO_INTERVAL = "no interval"
BEST_BASELINE = "best baseline"
INTERVAL_NOTE = (
    "Intervals are over seeds; a loss is better or worse only if the one over users excludes 0 too."
)


def decide_verdict(comparison: Comparison | None) -> str:
    """Returns better, no better or worse, by whether the 95 % intervals exclude 0.

    Both the interval over seeds and, if there is one, the interval over users have to: the first
    says what other seeds would give on these users, the second what other users would. For a metric
    like logloss a negative difference is the better one.

    Returns:
      One of the three words; "no interval" for a difference without one (a single seed), "" if
      nothing was compared.

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
    if comparison.user_interval is not None:
        low, high = min(low, comparison.user_interval[0]), max(high, comparison.user_interval[1])
    if comparison.metric in ERROR_METRICS:
        low, high = -high, -low
    if low > 0:
        return BETTER
    return WORSE if high < 0 else NO_BETTER


def get_best_found(cell: Cell) -> LossResult | None:
    """Returns the found loss that the verdict is on: the best one on validation.

    Picking it on test would flatter it. If no found loss has a validation metric, the order is that
    of the test metric.
    """
    return next((loss for loss in sort_by_validation(cell) if loss.found), None)


def sort_by_validation(cell: Cell) -> list[LossResult]:
    """Returns the losses from the best on validation to the worst, those without a metric last."""
    return sorted(cell.losses, key=_validation_key, reverse=True)


def get_best_baseline(cell: Cell) -> LossResult | None:
    """Returns the baseline that the others were compared with, None if the results do not say.

    It is the one without a difference to itself; if several have none, no name is better than a
    guess.
    """
    candidates = [loss for loss in cell.losses if not loss.found and _is_reference(loss)]
    return candidates[0] if len(candidates) == 1 else None


def get_winner(cell: Cell) -> LossResult | None:
    """Returns what to use: the best found loss if it is better, otherwise the best baseline.

    Without a baseline that is known to be the best, the order is that of validation.
    """
    found = get_best_found(cell)
    if found is not None and decide_verdict(found.comparison) == BETTER:
        return found
    return get_best_baseline(cell) or next(iter(sort_by_validation(cell)), None)


def get_best_loss(cell: Cell) -> LossResult | None:
    """Returns the loss to use: the winner, or the best by validation if that has no loss.

    Recommenders without a loss are EASE and the like.
    """
    winner = get_winner(cell)
    if winner is None or winner.formula:
        return winner
    return next((loss for loss in sort_by_validation(cell) if loss.formula), None)


def format_headline(cell: Cell) -> str:
    """Returns one sentence: is the best found loss better than the best baseline?"""
    found, baseline = get_best_found(cell), get_best_baseline(cell)
    if found is None:
        return "No found loss took part in the test, so there is nothing to compare."
    if all(loss.found for loss in cell.losses):
        return "No baseline took part in the test, so the found losses cannot be compared."
    chosen = "" if found.valid_score is None else " on validation"
    subject = f"The best found loss{chosen} ({to_one_line(found.name)})"
    reference = f"the {BEST_BASELINE}" + (f" ({to_one_line(baseline.name)})" if baseline else "")
    if found.comparison is None:
        return f"{subject} was not compared with {reference}."
    word = decide_verdict(found.comparison)
    metric = format_metric_name(found.comparison.metric)
    mean = format_score(found.comparison.difference.mean, signed=True)
    if word == NO_INTERVAL:
        return (
            f"{subject} differs from {reference} by {mean} test {metric}, without an interval: "
            "test with more seeds to see whether it is better."
        )
    interval = _format_seed_interval(found.comparison)
    text = f"{subject} is {word} than {reference}: test {metric} {mean}, 95 % interval {interval}"
    users = found.comparison.user_interval
    return text + (f" over seeds, {_format_pair(*users)} over users." if users else ".")


def format_difference(loss: LossResult) -> str:
    """Returns the difference to the best baseline with its 95 % interval, "" if there is none."""
    if loss.comparison is None:
        return ""
    text = format_score(loss.comparison.difference.mean, signed=True)
    if decide_verdict(loss.comparison) != NO_INTERVAL:
        text += " " + _format_seed_interval(loss.comparison)
    if loss.comparison.metric != loss.metric:
        text += f" {format_metric_name(loss.comparison.metric)}"
    return text


def format_user_interval(loss: LossResult) -> str:
    """Returns the 95 % interval of the difference over users, "" if there is none."""
    users = loss.comparison and loss.comparison.user_interval
    return f"users {_format_pair(*users)}" if users else ""


def format_verdict(cell: Cell, loss: LossResult) -> str:
    """Returns the word in the last column: a verdict, or "best baseline" for that loss itself."""
    return BEST_BASELINE if loss is get_best_baseline(cell) else decide_verdict(loss.comparison)


def _is_reference(loss: LossResult) -> bool:
    return loss.comparison is None or loss.comparison.difference[:1] == (0.0,)


def _validation_key(loss: LossResult) -> float:
    score = loss.valid_score
    if score is None:
        return -math.inf
    return -score if loss.metric in ERROR_METRICS else score


def _format_seed_interval(comparison: Comparison) -> str:
    return _format_pair(comparison.difference.low, comparison.difference.high)


def _format_pair(low: float | None, high: float | None) -> str:
    return f"[{format_score(low, signed=True)}, {format_score(high, signed=True)}]"
