"""Plots of a run as SVG text, with the colours and the font of the page that they are put in."""

import io
import re
from collections.abc import Mapping, Sequence
from statistics import median
from typing import Any, NamedTuple

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from .formatting import format_score, shorten, to_one_line
from .results import Cell, finite_or_none, format_metric_name
from .verdict import get_best_baseline

# Matplotlib draws with these stand-ins; the SVG then names the page's variables instead, so that
# one picture suits a light and a dark page.
_TEXT, _MUTED, _LINE, _FOUND, _BASELINE = "#010101", "#020202", "#030303", "#040404", "#050505"
_VARIABLES = {
    _TEXT: "var(--text)",
    _MUTED: "var(--muted)",
    _LINE: "var(--line)",
    _FOUND: "var(--found)",
    _BASELINE: "var(--baseline)",
}
_STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",
    "text.parse_math": False,  # a "$" in a formula is a character
    "font.size": 10,
    "text.color": _TEXT,
    "axes.edgecolor": _LINE,
    "axes.labelcolor": _MUTED,
    "xtick.color": _LINE,
    "ytick.color": _LINE,
    "xtick.labelcolor": _MUTED,
    "ytick.labelcolor": _TEXT,
    "grid.color": _LINE,
    "grid.linewidth": 0.6,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "axes.formatter.useoffset": False,
    "legend.frameon": False,
    "legend.labelcolor": _TEXT,
}
_DASHES = (0, (4, 3))
# Markers, because a generation alone between two without a value has no line to show it.
_CURVES: dict[str, dict[str, Any]] = {
    "best_reward": {
        "label": "best so far",
        "color": _FOUND,
        "marker": "o",
        "linewidth": 2,
        "drawstyle": "steps-post",
    },
    "generation_mean": {"label": "generation mean", "color": _BASELINE, "marker": "o"},
    # A generation starts from the recommender that it shows: the step is before its point.
    "start_reward": {
        "label": "base model",
        "color": _MUTED,
        "linestyle": _DASHES,
        "drawstyle": "steps-pre",
    },
}
_INCHES = 7.6  # wide


class _Mark(NamedTuple):
    """What is drawn of a loss: its mean and, if it has one, its interval."""

    name: str
    found: bool
    mean: float
    low: float | None
    high: float | None


def plot_test_scores(cell: Cell, key: str) -> str | None:
    """Draws the test metric of each loss with its 95 % interval.

    Losses far below the others are at the left edge with their value, because the axis shows
    the differences among the good ones.

    Args:
      cell: losses of one recommender and data set.
      key: letters that make the identifiers in this SVG differ from those of other plots.

    Returns:
      The SVG, or None if no test metric is known.
    """
    marks = [
        _Mark(name=loss.name, found=loss.found, mean=test.mean, low=test.low, high=test.high)
        for loss in cell.losses
        if (test := loss.test_score).mean is not None
    ]
    if not marks:
        return None
    with matplotlib.rc_context(_STYLE):
        figure = Figure(figsize=(_INCHES, 0.7 + 0.3 * len(marks)), layout="constrained")
        axes = figure.subplots()
        low, high = _get_shown_range(marks)
        axes.set_xlim(low, high)
        baseline = get_best_baseline(cell)
        if baseline is not None and baseline.test_score.mean is not None:
            axes.axvline(baseline.test_score.mean, color=_MUTED, linewidth=0.9, linestyle=_DASHES)
        for row, mark in enumerate(marks):
            _draw_interval(axes, row, mark, low)
        labels = [shorten(to_one_line(mark.name), 28) for mark in marks]
        axes.set_yticks(range(len(marks)), labels=labels)
        axes.set_ylim(len(marks) - 0.4, -0.6)
        axes.tick_params(axis="y", length=0)
        axes.spines["left"].set_visible(False)
        axes.grid(axis="x")
        metric = format_metric_name(cell.metric)
        axes.set_xlabel(f"test {metric}, mean over seeds and 95 % interval")
        return _to_svg(figure, key)


def plot_rewards(generations: Sequence[Mapping[str, Any]], key: str) -> str | None:
    """Draws the rewards over the number of candidates trained so far.

    Args:
      generations: rows of ``metrics.jsonl`` in the order of their generations.
      key: letters that make the identifiers in this SVG differ from those of other plots.

    Returns:
      The SVG, or None if no reward is known.
    """
    rows = [row for row in generations if finite_or_none(row.get("trained_total")) is not None]
    trained = [row["trained_total"] for row in rows]
    with matplotlib.rc_context(_STYLE):
        figure = Figure(figsize=(_INCHES, 3.2), layout="constrained")
        axes = figure.subplots()
        for name, style in _CURVES.items():
            values = [finite_or_none(row.get(name)) for row in rows]
            if any(value is not None for value in values):
                gaps = [float("nan") if value is None else value for value in values]
                axes.plot(trained, gaps, markersize=3, **style)
        if not axes.lines:
            return None
        axes.grid(axis="y")
        axes.set_xlabel("candidates trained")
        axes.set_ylabel("reward")
        axes.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=3)
        return _to_svg(figure, key)


def plot_pareto_front(rows: Sequence[Mapping[str, str]], key: str) -> str | None:
    """Draws the gain of losses over their complexity.

    Args:
      rows: of ``hall_of_fame.csv``; a line joins those whose column ``front`` is true.
      key: letters that make the identifiers in this SVG differ from those of other plots.

    Returns:
      The SVG, or None if no gain is known.
    """
    front, others = _read_gains(rows)
    if not front and not others:
        return None
    with matplotlib.rc_context(_STYLE):
        figure = Figure(figsize=(_INCHES, 3.2), layout="constrained")
        axes = figure.subplots()
        if others:
            axes.plot(*zip(*others, strict=True), color=_BASELINE, marker="o", linestyle="", ms=4)
        if front:
            # Between two lengths the shorter one is the best there is.
            axes.plot(*zip(*front, strict=True), color=_FOUND, marker="D", drawstyle="steps-post")
        axes.xaxis.set_major_locator(MaxNLocator("auto", steps=[1, 2, 2.5, 5, 10], integer=True))
        axes.grid(axis="y")
        axes.set_xlabel("complexity")
        axes.set_ylabel("gain")
        return _to_svg(figure, key)


Points = list[tuple[float, float]]


def _read_gains(rows: Sequence[Mapping[str, str]]) -> tuple[Points, Points]:
    """Returns complexity and gain of the losses on the front, in order, and of the others."""
    front: Points = []
    others: Points = []
    for row in rows:
        complexity, gain = (_parse_number(row.get(name, "")) for name in ("complexity", "gain"))
        if complexity is not None and gain is not None:
            points = front if row.get("front") == "true" else others
            points.append((complexity, gain))
    return sorted(front), others


def _parse_number(text: str) -> float | None:
    try:
        return finite_or_none(float(text))
    except ValueError:
        return None


def _draw_interval(axes: Axes, row: int, mark: _Mark, low: float) -> None:
    color = _FOUND if mark.found else _BASELINE
    if mark.mean < low:
        label = f"◂ {format_score(mark.mean)}"
        axes.annotate(label, (low, row), (4, 0), textcoords="offset points", va="center")
        return
    if mark.low is not None and mark.high is not None:
        axes.plot([mark.low, mark.high], [row, row], color=color, linewidth=2)
    # Two shapes, because not everyone can tell the colours apart.
    axes.plot([mark.mean], [row], color=color, marker="D" if mark.found else "o", markersize=6)


def _get_shown_range(marks: Sequence[_Mark]) -> tuple[float, float]:
    """Returns limits of the axis: those farthest below must not flatten the others."""
    means = [mark.mean for mark in marks]
    top = max(means)
    reach = max(4 * (top - median(means)), 0.02)
    shown = [mark for mark in marks if mark.mean >= top - reach]
    low = min(min(mark.mean, mark.mean if mark.low is None else mark.low) for mark in shown)
    high = max(max(mark.mean, mark.mean if mark.high is None else mark.high) for mark in shown)
    margin = 0.06 * (high - low) or 0.005
    return low - margin, high + margin


def _to_svg(figure: Figure, key: str) -> str:
    """Returns a figure as an SVG element to put into HTML."""
    text = io.StringIO()
    # The salt and the missing date make the same run give the same page.
    with matplotlib.rc_context({"svg.hashsalt": key}):
        figure.savefig(text, format="svg", transparent=True, metadata={"Date": None})
    svg = text.getvalue()
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>|<style .*?</style>|<!--.*?-->", "", svg, flags=re.S)
    svg = re.sub(r"font: ([\d.]+px) [^;\"]*", r"font-size: \1", svg)
    svg = re.sub(r'(\bid="|href="#|url\(#)', rf"\g<1>{key}-", svg)
    svg = re.sub(
        r'width="[\d.]+pt" height="[\d.]+pt" |height="[\d.]+pt" width="[\d.]+pt" ', "", svg
    )
    for stand_in, variable in _VARIABLES.items():
        svg = svg.replace(stand_in, variable)
    return svg
