"""Whether a found loss is better than the usual ones, said as the intervals allow."""

import math

from .formats import one_line, score
from .results import LOWER_IS_BETTER, Comparison, LossResult, Setting, metric_name

BETTER, NO_BETTER, WORSE = "better", "no better", "worse"
NO_INTERVAL = "no interval"
OVER_USERS = (
    "Intervals are over seeds; a loss is better or worse only if the one over users excludes 0 too."
)


def verdict(comparison: Comparison | None) -> str:
    """One of better, no better, worse: by whether the 95 % intervals exclude 0.

    The interval over seeds and, where there is one, that over users have to: the first says what
    other seeds would give on these users, the second what other users would. "no interval" where
    there is a difference without one (a single seed), "" where nothing was compared. For a metric
    like logloss a negative difference is the better one.

    Example:
        >>> from .results import Estimate
        >>> verdict(Comparison("auc", Estimate(0.003, None, 0.001, 0.005)))
        'better'
        >>> verdict(Comparison("auc", Estimate(0.003, None, -0.001, 0.007)))
        'no better'
    """
    if comparison is None:
        return ""
    low, high = comparison.difference.low, comparison.difference.high
    if low is None or high is None:
        return NO_INTERVAL
    if comparison.users is not None:
        low, high = min(low, comparison.users[0]), max(high, comparison.users[1])
    if comparison.metric in LOWER_IS_BETTER:
        low, high = -high, -low
    if low > 0:
        return BETTER
    return WORSE if high < 0 else NO_BETTER


def best_found(setting: Setting) -> LossResult | None:
    """The found loss to judge: the best on validation, because picking it on test would flatter it.

    Falls back on the order of the test metric where no found loss has one on validation.
    """
    return next((loss for loss in by_validation(setting) if loss.found), None)


def by_validation(setting: Setting) -> list[LossResult]:
    """The losses from the best on validation to the worst, those without a metric there last."""
    return sorted(setting.losses, key=_valid_or_lowest, reverse=True)


def best_usual(setting: Setting) -> LossResult | None:
    """The usual loss the others were compared with, None where the results do not tell.

    It is the one without a difference to itself; when several have none, no name is better than
    a guess.
    """
    usual = [loss for loss in setting.losses if not loss.found]
    reference = [loss for loss in usual if _is_reference(loss)]
    return reference[0] if len(reference) == 1 else None


def headline(setting: Setting) -> str:
    """One sentence: is the best found loss better, no better or worse than the best usual one."""
    found, usual = best_found(setting), best_usual(setting)
    if found is None:
        return "No found loss took part in the test, so there is nothing to compare."
    if all(loss.found for loss in setting.losses):
        return "No usual loss took part in the test, so the found losses cannot be judged."
    word = verdict(found.comparison)
    chosen = "" if found.valid_score is None else " on validation"
    subject = f"The best found loss{chosen} ({one_line(found.name)})"
    reference = "the best usual one" + (f" ({one_line(usual.name)})" if usual else "")
    if not word:
        return f"{subject} was not compared with {reference}."
    metric = metric_name(found.comparison.metric)
    mean = score(found.comparison.difference.mean, signed=True)
    if word == NO_INTERVAL:
        return (
            f"{subject} differs from {reference} by {mean} test {metric}, without an interval: "
            "test with more seeds to tell whether it is better."
        )
    interval = _interval_text(found.comparison)
    text = f"{subject} is {word} than {reference}: test {metric} {mean}, 95 % interval {interval}"
    users = found.comparison.users
    return text + (f" over seeds, {_pair_text(*users)} over users." if users else ".")


def difference_text(loss: LossResult) -> str:
    """The difference to the best usual loss with its 95 % interval, "" where there is none."""
    if loss.comparison is None:
        return ""
    text = score(loss.comparison.difference.mean, signed=True)
    if verdict(loss.comparison) != NO_INTERVAL:
        text += " " + _interval_text(loss.comparison)
    if loss.comparison.metric != loss.metric:
        text += f" {metric_name(loss.comparison.metric)}"
    return text


def users_text(loss: LossResult) -> str:
    """The 95 % interval of the difference over users, "" where there is none."""
    users = loss.comparison and loss.comparison.users
    return f"users {_pair_text(*users)}" if users else ""


def verdict_text(setting: Setting, loss: LossResult) -> str:
    """The word in the last column: a verdict, or "best usual" for the loss compared with."""
    if loss is best_usual(setting):
        return "best usual"
    return verdict(loss.comparison)


def _is_reference(loss: LossResult) -> bool:
    return loss.comparison is None or loss.comparison.difference[:1] == (0.0,)


def _valid_or_lowest(loss: LossResult) -> float:
    score = loss.valid_score
    if score is None:
        return -math.inf
    return -score if loss.metric in LOWER_IS_BETTER else score


def _interval_text(comparison: Comparison) -> str:
    return _pair_text(comparison.difference.low, comparison.difference.high)


def _pair_text(low: float | None, high: float | None) -> str:
    return f"[{score(low, signed=True)}, {score(high, signed=True)}]"
