"""What training a candidate costs by lanes, tokens, width, batch and catalogue.

Usage::

    python benchmarks/cost.py [--axes lanes ...] [--repeats 5] [--json FILE] [--plot FILE.svg]

Around the reference case, one size changes at a time. Each case trains from the base model's copy
for a few steps and for more; the slope between the two is the cost of a step, and the rest is the
cost of an epoch apart from its steps: the base model is copied into all lanes, and scales are
multiplied into the tables. Shuffling and evaluation are not in it. The table gives an epoch of the
reference case's 94,638 interactions.
"""

import argparse
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # for benchmarks itself

import jax
import jax.numpy as jnp
import numpy as np
from matplotlib.figure import Figure

from autolossgen.training.lanes import make_batches, make_lanes
from benchmarks import lane_cases as cases
from benchmarks.timing import count_cores, time_in_turns, use_all_cores, write_figures

PLAIN = cases.Case()
FEW_LANES = cases.Case(lanes=4)  # so that large catalogues fit
AXES = {
    "lanes": [PLAIN._replace(lanes=k) for k in (1, 4, 16, 64, 256)],
    "tokens": [PLAIN._replace(length=n) for n in (5, 10, 15, 20, 30)],
    "width": [PLAIN._replace(width=d) for d in (16, 32, 64, 128, 256)],
    "batch": [PLAIN._replace(batch=b) for b in (128, 512, 2048, 8192, 16384)],
    "lanes at batch 2,048": [PLAIN._replace(lanes=k, batch=2048) for k in (2, 4, 8, 16, 64)],
    "users and items": [
        FEW_LANES._replace(users=users, items=items)
        for users, items in ((10**3, 2 * 10**3), (10**4, 2 * 10**4), (10**5, 10**5), (10**6, 10**6))
    ],
}
SIZE: dict[str, Callable[[cases.Case], int]] = {
    "lanes": lambda case: case.lanes,
    "tokens": lambda case: case.length,
    "width": lambda case: case.width,
    "batch": lambda case: case.batch,
    "lanes at batch 2,048": lambda case: case.lanes,
    "users and items": lambda case: case.users + case.items,
}
TARGET_SECONDS = 0.2  # of the longer training, by a guess of 20 µs per lane, step and core


def make_epoch_way(case: cases.Case, steps: int) -> Callable[[], object]:
    """Makes a function that copies the base model into all lanes and trains for ``steps``."""
    model = cases.make_recommender(case)
    lanes = make_lanes(model, cases.make_logit_grads(), mesh=cases.make_mesh(case))
    base_model = cases.init_lanes(make_lanes(model, cases.make_logit_grads()), 1)
    batches = make_batches(cases.make_interactions(case, steps * case.batch, 0), case.batch)
    losses, hyper = cases.make_candidates(case), cases.make_hyper(case)

    @jax.jit
    def train(base_model, batches):
        return lanes.train(
            lanes.repeat(base_model, case.lanes), losses, hyper, batches, jax.random.key(0)
        )

    return lambda: jnp.sum(train(base_model, batches).scale)


def measure(case: cases.Case, repeats: int) -> dict[str, Any]:
    """Returns the cost of a step, of an epoch apart from its steps, and candidates per second."""
    guess = 20e-6 * case.lanes * case.batch / 128 * (case.width + 16) / 80 / count_cores()
    many = max(16, round(TARGET_SECONDS / guess))
    if case.users > PLAIN.users:  # a step costs little next to copies of large tables
        many = 5 * case.steps
    few = many // 8
    seconds = time_in_turns(
        {"few": make_epoch_way(case, few), "many": make_epoch_way(case, many)}, repeats
    )
    step = np.median(seconds["many"] - seconds["few"]) / (many - few)
    rest = max(0.0, np.median(seconds["few"]) - few * step)
    return {
        **case._asdict(),
        "microseconds_per_lane_and_step": 1e6 * step / case.lanes,
        "nanoseconds_per_lane_and_example": 1e9 * step / case.lanes / case.batch,
        "milliseconds_per_epoch_and_lane_beside_steps": 1e3 * rest / case.lanes,
        "candidates_per_second": case.lanes / (case.steps * step + rest),
    }


def make_table(axes: dict[str, list[dict]]) -> str:
    """Returns the figures as a table in Markdown."""
    lines = [
        "| varied | size | candidates/s | µs per lane and step | ns per lane and example "
        "| ms per lane and epoch apart from steps |",
        "|---|---:|---:|---:|---:|---:|",
    ]
    for axis, rows in axes.items():
        for row in rows:
            case = cases.Case(**{name: row[name] for name in cases.Case._fields})
            size = f"{SIZE[axis](case):,}"
            if axis == "users and items":
                size = f"{case.users:,} × {case.items:,}"
            numbers = [
                row["candidates_per_second"],
                row["microseconds_per_lane_and_step"],
                row["nanoseconds_per_lane_and_example"],
                row["milliseconds_per_epoch_and_lane_beside_steps"],
            ]
            shown = " | ".join(f"{number:.3g}" for number in numbers)
            lines.append(f"| {axis} | {size} | {shown} |")
    return "\n".join(lines)


def plot_costs(axes: dict[str, list[dict]]) -> Figure:
    """Draws candidates per second, and the time of a step, against each size."""
    figure = Figure(figsize=(3 * len(axes), 5.2), layout="constrained")
    panels = figure.subplots(2, len(axes), squeeze=False, sharex="col", sharey="row")
    kinds = {
        "candidates_per_second": "candidates/s",
        "nanoseconds_per_lane_and_example": "ns per lane and example",
    }
    for column, (axis, rows) in enumerate(axes.items()):
        sizes = [
            SIZE[axis](cases.Case(*(row[name] for name in cases.Case._fields))) for row in rows
        ]
        for panel, (kind, name) in zip(panels[:, column], kinds.items(), strict=True):
            panel.loglog(sizes, [row[kind] for row in rows], marker="o")
            panel.grid(alpha=0.3)
            panel.set_ylabel(name if column == 0 else "")
        panels[1, column].set_xlabel(axis)
        panels[1, column].set_xticks(sizes, [f"{size:,}" for size in sizes], rotation=45)
        panels[1, column].minorticks_off()
    for panel in panels[:, 0]:
        panel.set_ylim(bottom=0.5 * panel.get_ylim()[0], top=2 * panel.get_ylim()[1])
    return figure


def main() -> None:
    """Measures, prints a table; writes JSON and a plot if asked."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--axes", nargs="+", choices=AXES, default=list(AXES), metavar="AXIS")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    parser.add_argument("--plot", type=Path, help="draw them in this file")
    options = parser.parse_args()
    use_all_cores()
    axes = {}
    for axis in options.axes:
        axes[axis] = [measure(case, options.repeats) for case in AXES[axis]]
        print(f"{axis} measured", file=sys.stderr)
    print(make_table(axes))
    if options.json:
        write_figures(options.json, {"axes": axes})
    if options.plot:
        plot_costs(axes).savefig(options.plot)


if __name__ == "__main__":
    main()
