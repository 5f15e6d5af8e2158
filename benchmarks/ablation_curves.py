"""The figures of ``ablations.py`` as a table in Markdown and as a plot::

    python benchmarks/ablation_curves.py FILE.json [--plot FILE.svg]

Differences are paired: test AUC of the loss that validation picks, less that of BCE trained with
the same random numbers. Intervals are Student's over seeds, of 95 %.
"""

import argparse
import json
from pathlib import Path
from typing import NamedTuple

import numpy as np
from matplotlib import colormaps
from matplotlib.figure import Figure
from scipy.stats import t

LOOKS = (25, 50, 100, 200, 400)  # trainings, at which ablations.py looks
MARKS = LOOKS[1:]  # of the table and the plot; at the first look, hardly a generation has trained
RIVALS = ("random", "random, paper filter")


class Point(NamedTuple):
    """A mark of a variant over the seeds that reached it."""

    mean: float
    half: float  # of the interval; NaN for a single seed
    seeds: int


def at_mark(search: dict, mark: int) -> dict | None:
    """Give what a search had when it passed a mark, before the next; None for no sound loss."""
    later = [other for other in LOOKS if other > mark]
    until = later[0] if later else np.inf
    return next((row for row in search["curve"] if mark <= row["trained"] < until), None)


def ahead(searches: list[dict], mark: int) -> Point:
    """Give how far a variant is ahead of BCE when it has spent ``mark`` trainings."""
    noted = [(at_mark(search, mark), search["bce"]) for search in searches]
    found = [row["test"] - bce["test"] for row, bce in noted if row]
    if not found:
        return Point(np.nan, np.nan, 0)
    half = np.nan
    if len(found) > 1:
        half = t.ppf(0.975, len(found) - 1) * np.std(found, ddof=1) / np.sqrt(len(found))
    return Point(float(np.mean(found)), float(half), len(found))


def to_reach(searches: list[dict], rivals: list[dict]) -> list[float]:
    """Give the share of the rival's trainings that reaches its highest validation AUC, by seed.

    It is that of the loss picked at a mark, trained from scratch: gains that a search sees are
    beside other recommenders in every search. Trainings are those of the first mark with such an
    AUC; infinite where there is none.
    """
    shares, by_seed = [], {search["seed"]: search for search in rivals}
    for mine in searches:
        theirs = by_seed.get(mine["seed"])
        if theirs and theirs["curve"]:
            goal = max(row["valid"] for row in theirs["curve"])
            spent = [_first(each, goal) for each in (mine, theirs)]
            shares.append(spent[0] / spent[1])
    return shares


def _first(search: dict, goal: float) -> float:
    noted = ((mark, at_mark(search, mark)) for mark in LOOKS)
    return next((mark for mark, row in noted if row and row["valid"] >= goal), np.inf)


def table(variants: dict[str, list[dict]]) -> str:
    """Give the table."""
    heads = ["variant", *(f"{mark} trainings" for mark in MARKS)]
    heads += [f"of the trainings of {rival}" for rival in RIVALS]
    lines = [f"| {' | '.join(heads)} |", f"|{'---|' * len(heads)}"]
    for name, searches in variants.items():
        cells = []
        for mark in MARKS:
            point = ahead(searches, mark)
            short = f" ({point.seeds} seeds)" if point.seeds < len(searches) else ""
            half = f" ± {point.half:.4f}" if point.seeds > 1 else ""
            cells.append(f"{point.mean:+.4f}{half}{short}" if point.seeds else "–")
        for rival in RIVALS:
            shares = to_reach(searches, variants.get(rival, []))
            share = np.median(shares) if shares and name != rival else np.nan
            cells.append("" if np.isnan(share) else f"{share:.2g}" if share < np.inf else "more")
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines)


def plot(variants: dict[str, list[dict]]) -> Figure:
    """Plot the curves."""
    figure = Figure(figsize=(7.5, 4.2), layout="constrained")
    axes = figure.subplots()
    palette = "tab10" if len(variants) <= 10 else "tab20"
    axes.set_prop_cycle(color=colormaps[palette].colors)
    for number, (name, searches) in enumerate(variants.items()):
        points = [ahead(searches, mark) for mark in MARKS]
        moved = np.array(MARKS) * 1.025 ** (number - len(variants) / 2)  # intervals side by side
        axes.errorbar(
            moved,
            [point.mean for point in points],
            [point.half for point in points],
            marker="o",
            markersize=4,
            linewidth=1.2,
            elinewidth=0.7,
            label=name,
        )
    axes.axhline(0, color="black", linewidth=0.8)
    axes.set_xscale("log")
    axes.set_xticks(MARKS, [str(mark) for mark in MARKS])
    axes.minorticks_off()
    axes.set_yscale("symlog", linthresh=0.02)  # losses worse by 0.1 beside gains of 0.005
    ticks = (-0.3, -0.1, -0.02, -0.01, 0.0, 0.01, 0.02)
    axes.set_yticks(ticks, [f"{tick:+g}" for tick in ticks])
    axes.set_ylim(-0.5, 0.03)
    axes.set_xlabel("trainings spent")
    axes.set_ylabel("test AUC, ahead of BCE")
    axes.grid(alpha=0.3)
    figure.legend(loc="outside right upper", fontsize="small")
    return figure


def main() -> None:
    """Print the table, draw the plot where asked."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("file", type=Path, help="JSON that ablations.py wrote")
    parser.add_argument("--plot", type=Path, help="draw the curves in this file")
    options = parser.parse_args()
    variants = json.loads(options.file.read_text())["variants"]
    print(table(variants))
    if options.plot:
        plot(variants).savefig(options.plot)


if __name__ == "__main__":
    main()
