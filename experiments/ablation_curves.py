"""The figures of ``ablations.py`` as tables in Markdown and as a plot.

Usage::

    python experiments/ablation_curves.py FILE.json [--plot FILE.svg]

Differences are paired: test AUC of the loss that validation picks, minus that of BCE trained with
the same random numbers, or of another variant's pick with the same seed. Intervals are Student's
over seeds, 95 %. A search passes a mark with a whole generation, so with up to 31 trainings more.
"""

import argparse
import json
from collections.abc import Collection
from pathlib import Path
from typing import NamedTuple

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.container import ErrorbarContainer
from matplotlib.figure import Figure

from autolossgen.evaluation.statistics import compute_confidence_interval

LOOKS = (25, 50, 100, 200, 400)  # trainings, at which ablations.py looks
MARKS = LOOKS[1:]  # of the table and the plot; at the first look, hardly a generation has trained
RIVALS = ("random", "random, paper filter")
CHOICES = ("raw reward", "paper filter")  # that follow a method in a variant's name
TOLERANCE = 1e-5  # in AUC: one loss, trained on two kinds of processor
PANELS = {  # by what follows the method in a variant's name
    "": "graded filter",
    "raw reward": "graded filter, raw reward",
    "paper filter": "paper filter",
    "paper filter, raw reward": "paper filter, raw reward",
}

Variants = dict[str, list[dict]]  # the searches of each variant


class Point(NamedTuple):
    """Mean over the seeds that reached a mark, with its interval."""

    mean: float
    half_width: float  # of the interval; NaN for one or two seeds, of which it would say nothing
    num_seeds: int

    def format(self, total_seeds: int) -> str:
        """Returns it as text, with the number of seeds if not all of them reached the mark."""
        if not self.num_seeds:
            return "–"
        interval = "" if np.isnan(self.half_width) else f" ± {self.half_width:.4f}"
        share = f" ({self.num_seeds} of {total_seeds} seeds)"
        return f"{self.mean:+.4f}{interval}{share if self.num_seeds < total_seeds else ''}"


def estimate_mean(values: list[float]) -> Point:
    """Returns mean and interval of values, one a seed."""
    if not values:
        return Point(np.nan, np.nan, 0)
    low, high = (
        compute_confidence_interval(np.array(values)) if len(values) > 2 else (np.nan, np.nan)
    )
    return Point(float(np.mean(values)), (high - low) / 2, len(values))


def find_look(search: dict, mark: int) -> dict | None:
    """Returns what a search had when it passed a mark, before the next; None for no sound loss."""
    later_looks = [look for look in LOOKS if look > mark]
    end = later_looks[0] if later_looks else np.inf
    return next((row for row in search["curve"] if mark <= row["trained"] < end), None)


def compute_lead(searches: list[dict], mark: int) -> Point:
    """Returns how far a variant is ahead of BCE when it has spent ``mark`` trainings."""
    looks = [(find_look(search, mark), search["bce"]) for search in searches]
    return estimate_mean([look["test"] - bce["test"] for look, bce in looks if look])


def compare_variants(searches: list[dict], others: list[dict], mark: int) -> Point:
    """Returns how far a variant is ahead of another, seed by seed, at a mark."""
    other_looks = {search["seed"]: find_look(search, mark) for search in others}
    pairs = [(find_look(search, mark), other_looks.get(search["seed"])) for search in searches]
    return estimate_mean([look["test"] - other["test"] for look, other in pairs if look and other])


def count_trainings_to_reach(searches: list[dict], rivals: list[dict]) -> list[float]:
    """Returns the share of the rival's trainings that reaches its highest validation AUC, by seed.

    It is that of the loss picked at a mark, trained from scratch: gains that a search sees are
    relative to another base model in every search. Trainings are those spent at the first look with
    such an AUC, among looks that all seeds had; infinite if there is none.
    """
    shares, rival_by_seed = [], {search["seed"]: search for search in rivals}
    for search in searches:
        rival = rival_by_seed.get(search["seed"])
        if rival and rival["curve"]:
            goal = max(row["valid"] for row in rival["curve"])
            needed = _count_trainings(search, goal, searches)
            shares.append(needed / _count_trainings(rival, goal, rivals))
    return shares


def _count_trainings(search: dict, goal: float, all_seeds: list[dict]) -> float:
    looks = [look for look in LOOKS if all(look in other["looks"] for other in all_seeds)]
    rows = filter(None, (find_look(search, look) for look in looks))
    reached = (row["trained"] for row in rows if row["valid"] >= goal - TOLERANCE)
    return next(reached, np.inf)


def make_table(variants: Variants) -> str:
    """Returns the table of leads over BCE, a row for each variant."""
    header = ["variant", *(f"{mark} trainings" for mark in MARKS)]
    header += [f"of the trainings of {rival}" for rival in RIVALS]
    lines = [f"| {' | '.join(header)} |", f"|{'---|' * len(header)}"]
    for name, searches in variants.items():
        entries = [compute_lead(searches, mark).format(len(searches)) for mark in MARKS]
        for rival in RIVALS:
            shares = count_trainings_to_reach(searches, variants.get(rival, []))
            share = np.median(shares) if shares and name != rival else np.nan
            entries.append("" if np.isnan(share) else f"{share:.2g}" if share < np.inf else "more")
        lines.append(f"| {name} | {' | '.join(entries)} |")
    return "\n".join(lines)


def make_contrast_table(variants: Variants) -> str:
    """Returns the table of what each choice is worth, choice by choice."""
    header = ["variant", "less", *(f"{mark} trainings" for mark in MARKS)]
    lines = [f"| {' | '.join(header)} |", f"|{'---|' * len(header)}"]
    for name, other in list_pairs(variants):
        searches = variants[name]
        points = [compare_variants(searches, variants[other], mark) for mark in MARKS]
        entries = [point.format(len(searches)) for point in points]
        lines.append(f"| {name} | {other} | {' | '.join(entries)} |")
    return "\n".join(lines)


def list_pairs(variants: Collection[str]) -> list[tuple[str, str]]:
    """Returns pairs that differ in one choice: in the method, then in each of the others.

    Example:
      >>> list_pairs(["random", "reinforce, raw reward", "reinforce", "random, raw reward"])
      ... # doctest: +NORMALIZE_WHITESPACE
      [('reinforce, raw reward', 'random, raw reward'), ('reinforce', 'random'),
       ('reinforce, raw reward', 'reinforce'), ('random, raw reward', 'random')]
    """
    order = {}  # pair -> place of its choice in the table
    for name in variants:
        method, *choices = name.split(", ")
        if method != "random" and set(choices) <= set(CHOICES):
            order[name, ", ".join(("random", *choices))] = 0
        for choice in choices:
            other = ", ".join((method, *(part for part in choices if part != choice)))
            order[name, other] = 1 + [*CHOICES, choice].index(choice)  # an option comes last
    return sorted((pair for pair in order if pair[1] in variants), key=order.get)


def group_into_panels(variants: Variants) -> dict[str, Variants]:
    """Returns the curves of each panel, by title and label."""
    panels = {title: {} for title in PANELS.values()}
    for name, searches in variants.items():
        method, _, choices = name.partition(", ")
        if choices in PANELS:
            panels[PANELS[choices]][method] = searches
        else:  # an option, drawn with the method without it
            title = f"options of {method}"
            panels.setdefault(title, {method: variants.get(method, [])})[choices] = searches
    return panels


def plot_curves(variants: Variants) -> Figure:
    """Draws the curves: a panel for each reward scale, filter by filter, then one for options.

    A point is hollow if some seeds had no sound loss, or not so many trainings.
    """
    panels = group_into_panels(variants)
    num_rows = -(-len(panels) // 2)
    figure = Figure(figsize=(7.5, 0.8 + 2.6 * num_rows), layout="constrained")
    grid = figure.subplots(num_rows, 2, sharey="row", squeeze=False).ravel()
    labels = list(dict.fromkeys(label for curves in panels.values() for label in curves))
    lines = {}
    for axes, (title, curves) in zip(grid, panels.items(), strict=False):
        for index, (label, searches) in enumerate(curves.items()):
            shift = 1.04 ** (index - (len(curves) - 1) / 2)  # keeps intervals apart
            color = colormaps["tab10"](labels.index(label))
            lines[label] = _draw_curve(axes, searches, np.array(MARKS) * shift, color)
        _format_axes(axes, title)
    for axes in grid[len(panels) :]:
        axes.remove()
    figure.supxlabel("trainings spent", fontsize="medium")
    figure.supylabel("test AUC, ahead of BCE", fontsize="medium")
    figure.legend(lines.values(), lines, loc="outside right upper", fontsize="small")
    return figure


def _draw_curve(
    axes: Axes, searches: list[dict], x: np.ndarray, color: tuple[float, ...]
) -> ErrorbarContainer:
    mean, half_width, num_seeds = np.array([compute_lead(searches, mark) for mark in MARKS]).T
    style = {"color": color, "markersize": 4}
    line = axes.errorbar(x, mean, half_width, **style, marker="o", linewidth=1.2, elinewidth=0.7)
    few = num_seeds < len(searches)
    axes.plot(x[few], mean[few], "o", **style, markerfacecolor="white", zorder=3)
    return line


def _format_axes(axes: Axes, title: str) -> None:
    axes.set_title(title, fontsize="medium")
    axes.axhline(0, color="black", linewidth=0.8)
    axes.set_xscale("log")
    axes.set_xticks(MARKS, [str(mark) for mark in MARKS])
    axes.minorticks_off()
    axes.grid(alpha=0.3)
    if not title.startswith("paper filter"):
        axes.set_ylim(-0.01, 0.02)
        return
    # Losses worse by 0.1 and more, next to gains of 0.005.
    axes.set_yscale("symlog", linthresh=0.02, linscale=2)
    ticks = (-0.3, -0.1, -0.02, -0.01, 0.0, 0.01, 0.02)
    axes.set_yticks(ticks, [f"{tick:+g}" for tick in ticks])
    axes.set_ylim(-0.5, 0.03)


def main() -> None:
    """Prints the tables; draws the plot if asked."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("file", type=Path, help="JSON that ablations.py wrote")
    parser.add_argument("--plot", type=Path, help="draw the curves in this file")
    options = parser.parse_args()
    variants = json.loads(options.file.read_text())["variants"]
    print(make_table(variants), make_contrast_table(variants), sep="\n\n")
    if options.plot:
        plot_curves(variants).savefig(options.plot)


if __name__ == "__main__":
    main()
