"""The last paragraph of a run: which loss to use, how, and what else to do with the run."""

import json
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from autolossgen import report

SMOKE = "-smoke"
"""End of the name of a run that shows no more than that everything works."""


def describe_next_steps(folder: Path, results: Mapping[str, Any]) -> str:
    """Describes what to do after a run, a step a line.

    Args:
      folder: of the run.
      results: what ``results.json`` holds.

    Returns:
      The last line names the page of the run.
    """
    cells = report.parse_cells(results)
    lines = _describe_loss(folder, cells[0], results) if len(cells) == 1 else []
    winner = report.get_winner(cells[0]) if cells else None
    if winner is not None and (folder / "recommender").exists():
        lines.append(f"Recommend by {winner.name}: autolossgen recommend {folder} --user=ID")
    if _is_smoke(folder):
        lines.append("This was a smoke test, too short to find much: now leave its preset out.")
    return "\n".join(["Next", *lines, f"See the run as a page: {folder / 'report.html'}"])


def _describe_loss(folder: Path, cell: report.Cell, results: Mapping[str, Any]) -> list[str]:
    """Returns the lines that say which loss to use."""
    loss = report.get_best_loss(cell)
    if loss is None:
        return []
    entry = next(entry for entry in results["losses"] if entry["name"] == loss.name)
    values = {"learning rate": loss.learning_rate, **(entry.get("constants") or {})}
    known = [f"{name} {value:.3g}" for name, value in values.items() if value is not None]
    winner = report.get_winner(cell)
    if winner is not None and winner is not loss:
        why = (
            f"the best loss on validation; {winner.name}, without one, was better there, which "
            "decides"
        )
    else:
        why = "found, and better than all baselines" if loss.found else "a baseline: none is better"
    name = f"--loss={shlex.quote(loss.name)}"
    return [
        f"Use this loss: {loss.name} ({why}), at {', '.join(known)}",
        f"    {loss.formula}",
        f"Write it as code: autolossgen export {folder} {name} --to=python (or torch, latex, json)",
    ]


def _is_smoke(folder: Path) -> bool:
    path = folder / "config.json"
    return path.exists() and str(json.loads(path.read_text())["name"]).endswith(SMOKE)
