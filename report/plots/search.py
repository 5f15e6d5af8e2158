"""Plots of a search: rewards over trained candidates, and the front of gain over complexity."""

from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from ..formatting import shorten, to_one_line
from ..results import finite_or_none
from .drawing import DASHES, Palette, add_legend, make_figure, make_plot

Points = list[tuple[float, float, str]]  # complexity, gain and formula
_LABEL_WIDTH = 52


@make_plot
def plot_rewards(palette: Palette, generations: Sequence[Mapping[str, Any]]) -> Figure | None:
    """Draws the rewards over the number of candidates trained so far.

    Args:
      palette: of the figure.
      generations: rows of ``metrics.jsonl`` in the order of their generations.
    """
    rows = [row for row in generations if finite_or_none(row.get("trained_total")) is not None]
    trained = [row["trained_total"] for row in rows]
    figure, axes = make_figure(3.2)
    for name, style in _list_curves(palette).items():
        values = [finite_or_none(row.get(name)) for row in rows]
        if any(value is not None for value in values):
            gaps = [float("nan") if value is None else value for value in values]
            axes.plot(trained, gaps, markersize=3, **style)
    if not axes.lines:
        return None
    axes.grid(axis="y")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_xlabel("candidates trained")
    axes.set_ylabel("reward")
    add_legend(axes)
    return figure


def _list_curves(palette: Palette) -> dict[str, dict[str, Any]]:
    """Returns how the columns of the journal are drawn.

    Markers, because a generation alone between two without a value has no line to show it.
    """
    return {
        "best_reward": {
            "label": "best so far",
            "color": palette.found,
            "marker": "o",
            "linewidth": 2,
            "drawstyle": "steps-post",
        },
        "generation_mean": {
            "label": "generation mean",
            "color": palette.baseline,
            "marker": "o",
        },
        # A generation starts from the recommender that it shows: the step is before its point.
        "start_reward": {
            "label": "base model",
            "color": palette.muted,
            "linestyle": DASHES,
            "drawstyle": "steps-pre",
        },
    }


@make_plot
def plot_front(palette: Palette, rows: Sequence[Mapping[str, str]]) -> Figure | None:
    """Draws the gain of losses over their complexity, with the formulas of those on the front.

    Args:
      palette: of the figure.
      rows: of ``hall_of_fame.csv``; a line joins those whose column ``front`` is true.
    """
    front, others = _read_gains(rows)
    if not front and not others:
        return None
    figure, (axes, names) = make_figure(
        max(3.2, 0.32 * len(front) + 0.8), 1, 2, width_ratios=(1, 0.95)
    )
    if others:
        x, y, _ = zip(*others, strict=True)
        axes.plot(x, y, color=palette.baseline, marker="o", linestyle="", markersize=4, alpha=0.6)
    if front:
        x, y, _ = zip(*front, strict=True)
        # Between two lengths the shorter one is the best there is.
        axes.plot(x, y, color=palette.found, marker="D", drawstyle="steps-post")
    axes.xaxis.set_major_locator(MaxNLocator("auto", steps=[1, 2, 2.5, 5, 10], integer=True))
    axes.grid(axis="y")
    axes.set_xlabel("complexity")
    axes.set_ylabel("gain")
    _write_formulas(palette, axes, names, front)
    return figure


def _write_formulas(palette: Palette, axes: Axes, names: Axes, front: Points) -> None:
    """Writes the formulas of points next to the plot, the highest on top, joined to them."""
    names.set_axis_off()
    for place, (complexity, gain, formula) in enumerate(reversed(front)):
        height = 1 - (place + 0.5) / len(front)
        note = names.annotate(
            shorten(to_one_line(formula), _LABEL_WIDTH),
            xy=(complexity, gain),
            xycoords=axes.transData,
            xytext=(0.0, height),
            textcoords=names.transAxes,
            va="center",
            fontsize=8,
            annotation_clip=False,
            arrowprops={
                "arrowstyle": "-",
                "color": palette.muted,
                "linewidth": 0.5,
                "alpha": 0.7,
                "relpos": (0.0, 0.5),
            },
        )
        note.set_in_layout(False)  # or the plot would shrink to make room for long ones


def _read_gains(rows: Sequence[Mapping[str, str]]) -> tuple[Points, Points]:
    """Returns the losses on the front, in order, and the others."""
    front: Points = []
    others: Points = []
    for row in rows:
        complexity, gain = (_parse_number(row.get(name, "")) for name in ("complexity", "gain"))
        if complexity is not None and gain is not None:
            points = front if row.get("front") == "true" else others
            points.append((complexity, gain, row.get("formula", "")))
    return sorted(front), others


def _parse_number(text: str) -> float | None:
    try:
        return finite_or_none(float(text))
    except ValueError:
        return None
