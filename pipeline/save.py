"""The results of a run: written to its folder, and shown."""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console

from autolossgen import report
from autolossgen.files import write_atomically

from .environment import describe_environment
from .kept import forget
from .terminal.next_steps import describe_next_steps

NO_SEARCH = {"sampled": 0, "trained": 0, "seconds": 0.0, "funnel": {}}


def summarize_search(records: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Returns the ``search`` of ``results.json`` from the log records of all generations."""
    if not records:
        return NO_SEARCH
    funnel: Counter[str] = Counter()
    for record in records:
        funnel.update(record["funnel"])
    last = records[-1]
    return {
        "sampled": last["sampled_total"],
        "trained": last["trained_total"],
        "seconds": last["seconds"],
        "funnel": dict(funnel),
    }


def save_results(
    folder: Path,
    losses: list[dict[str, Any]],
    search: dict[str, Any],
    notes: Sequence[str],
    seconds: Mapping[str, float] | None = None,
) -> dict[str, Any]:
    """Writes ``results.csv``, ``matrix.csv`` of a transfer, ``results.json`` and the report.

    ``results.json`` is written last but for the report: a run that has it is finished. What was
    kept of unfinished phases is removed.

    Args:
      folder: of the run.
      losses: a record for each loss.
      search: the summary of the search.
      notes: on the data.
      seconds: that each phase took.

    Returns:
      What ``results.json`` holds.
    """
    results = {
        "losses": losses,
        "search": search,
        "seconds": dict(seconds or {}),
        "environment": describe_environment(notes),
    }
    write_atomically(folder / "results.csv", report.make_results_csv(results))
    if report.is_matrix(results):
        write_atomically(folder / "matrix.csv", report.make_matrix_csv(results))
    write_atomically(folder / "results.json", json.dumps(results, indent=2))
    from .finished.page import write_page  # matplotlib takes half a second, and is needed last

    write_page(folder)
    forget(folder)
    return results


def show_results(console: Console, folder: Path, results: dict[str, Any]) -> None:
    """Prints the table of losses, which files there are, and what to do next."""
    console.print()
    files = ["report.html", "results.json", "results.csv"]
    if report.is_matrix(results):
        console.print(report.make_matrix_table(results))
        files.append("matrix.csv")
    else:
        console.print(report.make_results_table(results))
        files += ["hall_of_fame.csv"] if (folder / "hall_of_fame.csv").exists() else []
    others = ("recommender", "run.log", "README.md")
    files += [name for name in others if (folder / name).exists()]
    console.print(f"\nFiles in {folder}: {', '.join(files)}", markup=False, soft_wrap=True)
    console.print("\n" + describe_next_steps(folder, results), markup=False, soft_wrap=True)
