"""What can be done with finished runs from the command line: recommend, export, compare."""

import argparse
import json
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NoReturn

from rich.console import Console
from rich.table import Table

from autolossgen import report, to_latex, to_python, to_torch
from autolossgen.configs.command_line import UsageError

from .recommender import RecommendError
from .run import PLOT_KINDS, Run, RunLoss, load_run


class _Parser(argparse.ArgumentParser):
    """A parser whose errors are one line."""

    def error(self, message: str) -> NoReturn:
        raise UsageError(f"{message}; {self.prog} --help says what it takes")


def recommend_items(program: str, words: Sequence[str], console: Console) -> None:
    """Prints the best items of users.

    Args:
      program: what the command is called, with its first word.
      words: after it.
      console: to print on.
    """
    parser = _Parser(prog=program, description="Recommends items, by the run's recommender.")
    parser.add_argument("run", type=Path, help="folder of a finished run")
    parser.add_argument("--user", action="append", required=True, help="an id as in the data")
    parser.add_argument("--k", type=int, default=10, help="items of a user; 10 if left out")
    given = parser.parse_args(words)
    found = load_run(given.run).recommend(given.user, given.k)
    lines = ["\t".join(found.columns)]
    lines += ["\t".join([*map(str, names), f"{score:.4f}"]) for *names, score in found.iter_rows()]
    print(*lines, sep="\n", file=console.file)  # the console would write spaces for tabs


def export_loss(program: str, words: Sequence[str], console: Console) -> None:
    """Prints the best loss of a run, or another one, as code; see ``recommend_items``."""
    parser = _Parser(prog=program, description="Writes the loss to use as code.")
    parser.add_argument("run", type=Path, help="folder of a finished run")
    parser.add_argument("--to", choices=EXPORTS, default="python", help="python if left out")
    parser.add_argument("--loss", help="name of another tested loss")
    given = parser.parse_args(words)
    run = load_run(given.run)
    loss = run.best if given.loss is None else run.get_loss(given.loss)
    console.print(EXPORTS[given.to](loss).rstrip(), markup=False, soft_wrap=True)


def compare_runs(program: str, words: Sequence[str], console: Console) -> None:
    """Prints the best losses of runs next to each other; see ``recommend_items``."""
    parser = _Parser(prog=program, description="Shows the best losses of runs in one table.")
    parser.add_argument("runs", type=Path, nargs="+", metavar="run", help="finished runs")
    runs = [load_run(folder) for folder in parser.parse_args(words).runs]
    bests = [run.best for run in runs]
    table = Table(box=None, pad_edge=False)
    for column in ("run", "data", "model", "loss"):
        table.add_column(column, overflow="fold")
    for column in ("metric", "valid", "test"):
        table.add_column(column, no_wrap=True)
    for run, best in zip(runs, bests, strict=True):
        (cell,) = run.files.cells
        scores = ["-" if x is None else f"{x:.4f}" for x in (best.valid, best.test)]
        table.add_row(str(run.folder), cell.dataset, cell.model, best.name, best.metric, *scores)
    console.print(table)
    for best in {best.name: best for best in bests}.values():
        console.print(f"{best.name}: {best.formula}", markup=False, soft_wrap=True)
    if hint := _find_difference(runs):
        console.print(f"\n{hint}", markup=False, soft_wrap=True)


def write_report(program: str, words: Sequence[str], console: Console) -> None:
    """Writes the page of a run again, and its plots as files; see ``recommend_items``."""
    parser = _Parser(prog=program, description="Writes the page of a run again.")
    parser.add_argument("run", type=Path, help="folder of a finished run")
    parser.add_argument("--plots", type=Path, metavar="FOLDER", help="for its plots, as files")
    kinds = ", ".join(PLOT_KINDS)
    parser.add_argument(
        "--kinds", nargs="+", choices=(*PLOT_KINDS, "pdf"), help=f"of files; {kinds} if left out"
    )
    given = parser.parse_args(words)
    from .page import write_page  # matplotlib takes half a second, and few need it

    paths = [write_page(given.run)]
    if given.plots is not None:
        paths += load_run(given.run).save_plots(given.plots, kinds=given.kinds or PLOT_KINDS)
    for path in paths:
        console.print(str(path), markup=False, soft_wrap=True)


def _find_difference(runs: Sequence[Run]) -> str:
    """Returns why figures of runs do not compare, or ""."""
    metrics = {run.best.metric for run in runs}
    sections = [(run.files.config or {}).get("data") for run in runs]
    if len(metrics) > 1:
        return f"These do not compare: the metrics are {', '.join(sorted(metrics))}."
    if any(section != sections[0] for section in sections):
        return "These do not compare: the data, or how they are split, differ."
    return ""


def _to_json(loss: RunLoss) -> str:
    values = loss._asdict()
    function = values.pop("loss")
    bounds = [bound if math.isfinite(bound) else None for bound in function.bounds]
    values |= {"family": function.family.name, "bounds": bounds}
    return json.dumps(values, indent=2)


EXPORTS: dict[str, Callable[[RunLoss], str]] = {
    "python": lambda tested: to_python(tested.loss),
    "torch": lambda tested: to_torch(tested.loss),
    "latex": lambda tested: to_latex(tested.loss),
    "json": _to_json,
}
"""What a loss is written as."""

COMMANDS: dict[str, Callable[[str, Sequence[str], Console], None]] = {
    "recommend": recommend_items,
    "export": export_loss,
    "compare": compare_runs,
    "report": write_report,
}
"""First word of the command line -> what it does."""

ERRORS = (RecommendError, report.ReportError)
"""What these raise for runs, losses and users that are not there."""
