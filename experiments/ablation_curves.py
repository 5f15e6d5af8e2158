"""The figures of ``ablations.py`` as tables in Markdown and as a plot::

    python benchmarks/ablation_curves.py FILE.json [--plot FILE.svg]

Differences are paired: test AUC of the loss that validation picks, less that of BCE trained with
the same random numbers, or of another variant's pick with the same seed. Intervals are Student's
over seeds, of 95 %. A mark is passed by a whole generation, so with up to 31 trainings more.
"""

import argparse
import json
import sys
from collections.abc import Collection
from pathlib import Path
from typing import NamedTuple

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from autolossgen.evaluation.statistics import confidence_interval

LOOKS = (25, 50, 100, 200, 400)  # trainings, at which ablations.py looks
MARKS = LOOKS[1:]  # of the table and the plot; at the first look, hardly a generation has trained
RIVALS = ("random", "random, paper filter")
CHOICES = ("raw reward", "paper filter")  # that stand beside a method
SAME = 1e-5  # in AUC: one loss, trained on two kinds of processor
PANELS = {  # by what follows the method in a variant's name
    "": "graded filter",
    "raw reward": "graded filter, raw reward",
    "paper filter": "paper filter",
    "paper filter, raw reward": "paper filter, raw reward",
}


class Point(NamedTuple):
    """A mark of a variant over the seeds that reached it."""

    mean: float
    half: float  # of the interval; NaN for one or two seeds, of which it would say nothing
    seeds: int

    def cell(self, seeds: int) -> str:
        """Give it as text, beside how many of ``seeds`` it is of."""
        if not self.seeds:
            return "–"
        short = f" ({self.seeds} of {seeds} seeds)" if self.seeds < seeds else ""
        half = "" if np.isnan(self.half) else f" ± {self.half:.4f}"
        return f"{self.mean:+.4f}{half}{short}"


def point(values: list[float]) -> Point:
    """Give mean and interval of values, one a seed."""
    if not values:
        return Point(np.nan, np.nan, 0)
    low, high = confidence_interval(np.array(values)) if len(values) > 2 else (np.nan, np.nan)
    return Point(float(np.mean(values)), (high - low) / 2, len(values))


def at_mark(search: dict, mark: int) -> dict | None:
    """Give what a search had when it passed a mark, before the next; None for no sound loss."""
    later = [other for other in LOOKS if other > mark]
    until = later[0] if later else np.inf
    return next((row for row in search["curve"] if mark <= row["trained"] < until), None)


def ahead(searches: list[dict], mark: int) -> Point:
    """Give how far a variant is ahead of BCE when it has spent ``mark`` trainings."""
    noted = [(at_mark(search, mark), search["bce"]) for search in searches]
    return point([row["test"] - bce["test"] for row, bce in noted if row])


def beyond(searches: list[dict], others: list[dict], mark: int) -> Point:
    """Give how far a variant is ahead of another, seed by seed, at a mark."""
    theirs = {search["seed"]: at_mark(search, mark) for search in others}
    noted = [(at_mark(search, mark), theirs.get(search["seed"])) for search in searches]
    return point([mine["test"] - other["test"] for mine, other in noted if mine and other])


def to_reach(searches: list[dict], rivals: list[dict]) -> list[float]:
    """Give the share of the rival's trainings that reaches its highest validation AUC, by seed.

    It is that of the loss picked at a mark, trained from scratch: gains that a search sees are
    beside other recommenders in every search. Trainings are those spent at the first look with such
    an AUC, of looks that all seeds had; infinite where there is none.
    """
    shares, by_seed = [], {search["seed"]: search for search in rivals}
    for mine in searches:
        theirs = by_seed.get(mine["seed"])
        if theirs and theirs["curve"]:
            goal = max(row["valid"] for row in theirs["curve"])
            shares.append(_first(mine, goal, searches) / _first(theirs, goal, rivals))
    return shares


def _first(search: dict, goal: float, seeds: list[dict]) -> float:
    looks = [look for look in LOOKS if all(look in each["looks"] for each in seeds)]
    noted = filter(None, (at_mark(search, look) for look in looks))
    return next((row["trained"] for row in noted if row["valid"] >= goal - SAME), np.inf)


def table(variants: dict[str, list[dict]]) -> str:
    """Give the table."""
    heads = ["variant", *(f"{mark} trainings" for mark in MARKS)]
    heads += [f"of the trainings of {rival}" for rival in RIVALS]
    lines = [f"| {' | '.join(heads)} |", f"|{'---|' * len(heads)}"]
    for name, searches in variants.items():
        cells = [ahead(searches, mark).cell(len(searches)) for mark in MARKS]
        for rival in RIVALS:
            shares = to_reach(searches, variants.get(rival, []))
            share = np.median(shares) if shares and name != rival else np.nan
            cells.append("" if np.isnan(share) else f"{share:.2g}" if share < np.inf else "more")
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines)


def contrasts(variants: dict[str, list[dict]]) -> str:
    """Give the table of what each choice is worth, choice by choice."""
    heads = ["variant", "less", *(f"{mark} trainings" for mark in MARKS)]
    lines = [f"| {' | '.join(heads)} |", f"|{'---|' * len(heads)}"]
    for name, other in pairs(variants):
        searches = variants[name]
        cells = [beyond(searches, variants[other], mark).cell(len(searches)) for mark in MARKS]
        lines.append(f"| {name} | {other} | {' | '.join(cells)} |")
    return "\n".join(lines)


def pairs(variants: Collection[str]) -> list[tuple[str, str]]:
    """Give the pairs that differ in one choice: in the method, then in each of what stands beside.

    >>> pairs(["random", "reinforce, raw reward", "reinforce", "random, raw reward"])
    ... # doctest: +NORMALIZE_WHITESPACE
    [('reinforce, raw reward', 'random, raw reward'), ('reinforce', 'random'),
     ('reinforce, raw reward', 'reinforce'), ('random, raw reward', 'random')]
    """
    choice = {}  # pair -> place of the choice in the table
    for name in variants:
        method, *rest = name.split(", ")
        if method != "random" and set(rest) <= set(CHOICES):
            choice[name, ", ".join(("random", *rest))] = 0
        for left in rest:
            other = ", ".join((method, *(part for part in rest if part != left)))
            choice[name, other] = 1 + [*CHOICES, left].index(left)  # an option comes last
    return sorted((pair for pair in choice if pair[1] in variants), key=choice.get)


def panels(variants: dict[str, list[dict]]) -> dict[str, dict[str, list[dict]]]:
    """Give the curves of each panel, by title and label."""
    shown = {title: {} for title in PANELS.values()}
    for name, searches in variants.items():
        method, _, rest = name.partition(", ")
        if rest in PANELS:
            shown[PANELS[rest]][method] = searches
        else:  # an option, to be seen beside the method without it
            beside = shown.setdefault(f"options of {method}", {method: variants.get(method, [])})
            beside[rest] = searches
    return shown


def plot(variants: dict[str, list[dict]]) -> Figure:
    """Plot the curves: a panel for each reward scale, filter by filter, then one for options.

    Where some seeds had no sound loss, or not so many trainings, a point is hollow.
    """
    shown = panels(variants)
    rows = -(-len(shown) // 2)
    figure = Figure(figsize=(7.5, 0.8 + 2.6 * rows), layout="constrained")
    grid = figure.subplots(rows, 2, sharey="row", squeeze=False).ravel()
    labels = list(dict.fromkeys(label for curves in shown.values() for label in curves))
    lines = {}
    for axes, (title, curves) in zip(grid, shown.items(), strict=False):
        for place, (label, searches) in enumerate(curves.items()):
            moved = np.array(MARKS) * 1.04 ** (place - (len(curves) - 1) / 2)  # intervals apart
            mean, half, seeds = np.array([ahead(searches, mark) for mark in MARKS]).T
            few = seeds < len(searches)
            look = {"color": colormaps["tab10"](labels.index(label)), "markersize": 4}
            lines[label] = axes.errorbar(
                moved, mean, half, **look, marker="o", linewidth=1.2, elinewidth=0.7
            )
            axes.plot(moved[few], mean[few], "o", **look, markerfacecolor="white", zorder=3)
        _dress(axes, title)
    for axes in grid[len(shown) :]:
        axes.remove()
    figure.supxlabel("trainings spent", fontsize="medium")
    figure.supylabel("test AUC, ahead of BCE", fontsize="medium")
    figure.legend(lines.values(), lines, loc="outside right upper", fontsize="small")
    return figure


def _dress(axes: Axes, title: str) -> None:
    axes.set_title(title, fontsize="medium")
    axes.axhline(0, color="black", linewidth=0.8)
    axes.set_xscale("log")
    axes.set_xticks(MARKS, [str(mark) for mark in MARKS])
    axes.minorticks_off()
    axes.grid(alpha=0.3)
    if not title.startswith("paper filter"):
        axes.set_ylim(-0.01, 0.02)
        return
    # Losses worse by 0.1 and more, beside gains of 0.005.
    axes.set_yscale("symlog", linthresh=0.02, linscale=2)
    ticks = (-0.3, -0.1, -0.02, -0.01, 0.0, 0.01, 0.02)
    axes.set_yticks(ticks, [f"{tick:+g}" for tick in ticks])
    axes.set_ylim(-0.5, 0.03)


def main() -> None:
    """Print the table, draw the plot where asked."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("file", type=Path, help="JSON that ablations.py wrote")
    parser.add_argument("--plot", type=Path, help="draw the curves in this file")
    options = parser.parse_args()
    variants = json.loads(options.file.read_text())["variants"]
    print(table(variants), contrasts(variants), sep="\n\n")
    if options.plot:
        plot(variants).savefig(options.plot)


if __name__ == "__main__":
    main()
