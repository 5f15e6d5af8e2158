"""Plots of the fair test: the differences that decide, courses over epochs, and sensitivity."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from statistics import median
from typing import Any, NamedTuple

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter

from ..formatting import format_score, shorten, to_one_line
from ..results import ERROR_METRICS, Cell, LossResult, format_metric_name
from ..verdict import get_best_baseline, get_best_found, sort_by_validation
from .drawing import DASHES, Palette, make_figure, make_plot

_NAME_WIDTH = 26
_MOST_CONSTANTS = 3  # of one loss, whose sensitivity is drawn


class _Mark(NamedTuple):
    """What is drawn of a loss: the difference and, if it has them, its intervals."""

    name: str
    found: bool
    mean: float
    seeds: tuple[float, float] | None
    users: tuple[float, float] | None

    @property
    def ends(self) -> list[float]:
        return [self.mean, *(self.seeds or ()), *(self.users or ())]


@make_plot
def plot_differences(palette: Palette, cell: Cell) -> Figure | None:
    """Draws the paired difference of each loss to the best baseline, with both 95 % intervals.

    Losses far behind the others are at the edge with their value, because the axis shows the
    differences among the good ones.
    """
    marks = [_make_mark(loss) for loss in cell.losses if loss.comparison is not None]
    if not marks:
        return None
    figure, axes = make_figure(1.0 + 0.34 * len(marks))
    limits = _get_shown_range(marks, lower_is_better=cell.metric in ERROR_METRICS)
    axes.set_xlim(*limits)
    axes.axvline(0.0, color=palette.muted, linewidth=0.9, linestyle=DASHES)
    for row, mark in enumerate(marks):
        _draw_mark(palette, axes, row, mark, limits)
    axes.set_yticks(range(len(marks)), labels=[mark.name for mark in marks])
    axes.set_ylim(len(marks) - 0.4, -0.6)
    axes.tick_params(axis="y", length=0)
    axes.spines["left"].set_visible(False)
    axes.grid(axis="x")
    baseline = get_best_baseline(cell)
    name = shorten(to_one_line(baseline.name), _NAME_WIDTH) if baseline else "the best baseline"
    side = "left" if cell.metric in ERROR_METRICS else "right"
    axes.set_xlabel(
        f"test {format_metric_name(cell.metric)} minus that of {name}; better to the {side}"
    )
    return figure


def _make_mark(loss: LossResult) -> _Mark:
    assert loss.comparison is not None
    mean, _, low, high = loss.comparison.difference
    return _Mark(
        name=("◆ " if loss.found else "") + shorten(to_one_line(loss.name), _NAME_WIDTH),
        found=loss.found,
        mean=0.0 if mean is None else mean,
        seeds=None if low is None or high is None else (low, high),
        users=loss.comparison.user_interval,
    )


def _draw_mark(
    palette: Palette, axes: Axes, row: int, mark: _Mark, limits: tuple[float, float]
) -> None:
    color = palette.found if mark.found else palette.baseline
    low, high = limits
    if not low <= mark.mean <= high:
        is_low = mark.mean < low
        value = format_score(mark.mean, signed=True)
        axes.annotate(
            f"◂ {value}" if is_low else f"{value} ▸",
            (low if is_low else high, row),
            (4 if is_low else -4, 0),
            textcoords="offset points",
            va="center",
            ha="left" if is_low else "right",
        )
        return
    # Thick: over seeds. Thin, with ends: over users.
    if mark.users:
        axes.plot(mark.users, [row, row], color=color, linewidth=1.2, marker="|", markersize=9)
    if mark.seeds:
        axes.plot(mark.seeds, [row, row], color=color, linewidth=4, alpha=0.75)
    # Two shapes, because not everyone can tell the colours apart.
    axes.plot([mark.mean], [row], color=color, marker="D" if mark.found else "o", markersize=6)


def _get_shown_range(marks: Sequence[_Mark], *, lower_is_better: bool) -> tuple[float, float]:
    """Returns limits of the axis: those farthest behind must not flatten the others."""
    sign = -1.0 if lower_is_better else 1.0
    gains = [sign * mark.mean for mark in marks]
    best = max(*gains, 0.0)
    reach = max(4 * (best - median(gains)), 0.02)
    shown = [mark for mark, gain in zip(marks, gains, strict=True) if gain >= best - reach]
    ends = [0.0, *(end for mark in shown for end in mark.ends)]
    margin = 0.06 * (max(ends) - min(ends)) or 0.005
    return min(ends) - margin, max(ends) + margin


@make_plot
def plot_courses(
    palette: Palette, cell: Cell, promotion: Sequence[Mapping[str, Any]] = ()
) -> Figure | None:
    """Draws the validation metric over the epochs of promotion and test.

    Promotion has a line for each training of a loss, those of losses that were tested are in the
    colour of found ones. In the test a ring marks the epoch that was chosen.

    Args:
      palette: of the figure.
      cell: of losses with courses.
      promotion: rows of ``promotion.json``.
    """
    tested = {loss.name for loss in cell.losses if loss.found}
    promoted = [
        (row["name"], points) for row in promotion if (points := _to_points(row.get("course")))
    ]
    courses = [loss for loss in cell.losses if loss.course]
    if not promoted and not courses:
        return None
    figure, panels = make_figure(3.2, 1, bool(promoted) + bool(courses), squeeze=False)
    axes_left = list(panels[0])
    if promoted:
        axes = axes_left.pop(0)
        for name, points in sorted(promoted, key=lambda pair: pair[0] in tested):
            style = _style(palette, is_found=True) if name in tested else _faint(palette)
            _draw_line(axes, points, **style)
        _label_epochs(axes, "promotion", cell.metric)
    if courses:
        _draw_test_courses(palette, axes_left.pop(0), cell, courses)
    return figure


def _get_baseline(losses: Sequence[LossResult], cell: Cell) -> LossResult | None:
    """Returns the best baseline, or else that of the losses which is best on validation.

    The best baseline may be a recommender without a loss, which has neither epochs nor rates.
    """
    best = get_best_baseline(cell)
    if best in losses:
        return best
    known = [loss for loss in sort_by_validation(cell) if loss in losses]
    return next((loss for loss in known if not loss.found), None)


def _to_points(course: Any) -> list[tuple[float, float]]:
    """Returns epochs and values of a course as files have it, without those that are unknown."""
    if not isinstance(course, Mapping):
        return []
    pairs = zip(course.get("epochs") or (), course.get("valid") or (), strict=False)
    return [(epoch, value) for epoch, value in pairs if value is not None]


def _draw_test_courses(
    palette: Palette, axes: Axes, cell: Cell, courses: Sequence[LossResult]
) -> None:
    best_found, baseline = get_best_found(cell), _get_baseline(courses, cell)
    for loss in sorted(courses, key=lambda loss: loss is best_found):
        is_named = loss.found or loss is baseline
        style = _style(palette, is_found=loss.found) if is_named else _faint(palette)
        name = shorten(to_one_line(loss.name), 18)
        _draw_line(axes, loss.course, label=name if is_named else None, **style)
        chosen = [point for point in loss.course if point[0] == loss.epochs]
        if chosen:
            axes.plot(*zip(*chosen, strict=True), marker="o", markersize=8, mfc="none", **style)
    _label_epochs(axes, "test", cell.metric)
    if axes.get_legend_handles_labels()[0]:
        axes.legend(loc="lower right")


def _draw_line(axes: Axes, points: Iterable[tuple[float, float]], **style: Any) -> None:
    axes.plot(*zip(*points, strict=True), marker="o", markersize=2.5, **style)


def _style(palette: Palette, *, is_found: bool) -> dict[str, Any]:
    return {
        "color": palette.found if is_found else palette.baseline,
        "linestyle": "-" if is_found else DASHES,
        "linewidth": 1.6,
    }


def _faint(palette: Palette) -> dict[str, Any]:
    return {"color": palette.muted, "linewidth": 0.8, "alpha": 0.55}


def _label_epochs(axes: Axes, title: str, metric: str) -> None:
    axes.set_title(title, loc="left")
    axes.set_xlabel("epochs")
    axes.set_ylabel(_name_reward(metric))
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=6))
    axes.grid(axis="y")


def _name_reward(metric: str) -> str:
    """Returns what courses and trials show; of an error it is a reward, which is to be high."""
    name = format_metric_name(metric)
    return f"reward from {name}" if metric in ERROR_METRICS else f"validation {name}"


@make_plot
def plot_sensitivity(palette: Palette, cell: Cell) -> Figure | None:
    """Draws the validation metric over the learning rates and constants that were tried.

    Learning rates are multiples of the chosen one, so that losses whose gradients differ in size
    compare. Constants are those of the best found loss, or else of the best baseline.
    """
    losses = [loss for loss in cell.losses if _list_trials(loss, "learning_rate")]
    if not losses:
        return None
    shown = get_best_found(cell) or get_best_baseline(cell)
    constants = [] if shown is None else list(shown.constants)[:_MOST_CONSTANTS]
    constants = [name for name in constants if shown and _list_trials(shown, name)]
    columns = min(1 + len(constants), 2)
    rows = -(-(1 + len(constants)) // columns)
    figure, panels = make_figure(3.0 * rows, rows, columns, squeeze=False)
    axes_left = list(panels.flat)
    _draw_rates(palette, axes_left[0], cell, losses)
    for axes, name in zip(axes_left[1:], constants, strict=False):
        assert shown is not None
        _draw_constant(palette, axes, shown, name)
    for axes in axes_left[1 + len(constants) :]:
        axes.set_visible(False)
    return figure


def _list_trials(loss: LossResult, name: str) -> list[tuple[float, float]]:
    """Returns values of a setting that were tried and the best result of each, in order."""
    best: dict[float, float] = defaultdict(lambda: float("-inf"))
    for trial in loss.tuning:
        value, score = trial.get(name), trial.get("valid")
        if value is not None and score is not None:
            best[value] = max(best[value], score)
    return sorted(best.items())


def _draw_rates(palette: Palette, axes: Axes, cell: Cell, losses: Sequence[LossResult]) -> None:
    best_found, baseline = get_best_found(cell), _get_baseline(losses, cell)
    for loss in sorted(losses, key=lambda loss: loss is best_found):
        is_named = loss.found or loss is baseline
        style = _style(palette, is_found=loss.found) if is_named else _faint(palette)
        trials = _list_trials(loss, "learning_rate")
        chosen = loss.learning_rate or 1.0
        points = [(rate / chosen, score) for rate, score in trials]
        if loss.score:  # of rankings, whose settings are drawn: a line would join all that differs
            style["linestyle"] = ""
        name = shorten(to_one_line(loss.name), 18)
        axes.plot(
            *zip(*points, strict=True),
            marker="D" if loss.found else "o",
            markersize=4,
            label=name if is_named else None,
            **style,
        )
    _scale_by_log(axes)
    axes.axvline(1.0, color=palette.muted, linewidth=0.9, linestyle=DASHES)
    axes.set_xlabel("learning rate, as a multiple of the chosen one")
    axes.set_ylabel(_name_reward(cell.metric))
    axes.grid(axis="y")
    if axes.get_legend_handles_labels()[0]:
        axes.legend(loc="best")


def _scale_by_log(axes: Axes) -> None:
    """Spreads values by their logarithm; ticks are plain numbers, for no text is parsed as math."""
    axes.set_xscale("log")
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5), numticks=8))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.xaxis.set_minor_formatter(NullFormatter())


def _draw_constant(palette: Palette, axes: Axes, loss: LossResult, name: str) -> None:
    points = _list_trials(loss, name)
    color = palette.found if loss.found else palette.baseline
    axes.plot(*zip(*points, strict=True), color=color, marker="D", linestyle="", markersize=4)
    axes.axvline(loss.constants[name], color=palette.muted, linewidth=0.9, linestyle=DASHES)
    if min(value for value, _ in points) > 0:
        _scale_by_log(axes)
    axes.set_title(shorten(to_one_line(loss.name), _NAME_WIDTH), loc="left")
    axes.set_xlabel(f"constant {name}")
    axes.grid(axis="y")
