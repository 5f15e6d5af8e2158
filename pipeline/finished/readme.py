"""The README of a run's folder: what won, what the files are, and how to use them."""

from pathlib import Path
from typing import Any

from autolossgen import report
from autolossgen.files import write_atomically

from .recommender import FOLDER

FILES = {
    "report.html": "the run as a page, to begin with",
    "results.csv, results.json": "every loss that was tested",
    "hall_of_fame.csv": "the best losses of the search",
    "metrics.jsonl": "a line for each generation of the search",
    "tested/": "results of losses and recommenders, one file each",
    "run.log": "what the console said",
    "promotion.json": "how the best of the search did when they trained for longer",
    "config.json": "all settings",
    "command.txt": "the command of the run",
    "data.json": "a fingerprint of the data, without which the run does not go on",
    "recommender/": "the recommender, trained on all data: recommender.json says what it is, "
    "weights.npz has its arrays (numpy.load reads them, without pickle), users.parquet and "
    "items.parquet your ids and their rows, seen.parquet who has met what",
    "trackers.json": "what trackers call the run",
    "run.lock": "held by the run while it lives",
    "checkpoints/": "of the search, which goes on from there with other limits",
}


def write_readme(folder: Path, losses: list[dict[str, Any]]) -> None:
    """Writes ``README.md`` into the folder of a run.

    Args:
      folder: of the run, with all else but the results.
      losses: the records of the results.
    """
    (cell,) = report.parse_cells({"losses": losses})
    winner, loss = report.get_winner(cell), report.get_best_loss(cell)
    parts = [f"# {folder.name}: {cell.title}", report.format_headline(cell)]
    if loss is not None:
        record = next(record for record in losses if record["name"] == loss.name)
        constants = record.get("constants") or {}
        values = {"learning rate": loss.learning_rate, **constants}
        at = ", ".join(f"{name} {value:.4g}" for name, value in values.items() if value is not None)
        parts.append(f"The loss to use is {loss.name}, at {at}:\n\n    {loss.formula}")
    if winner is not None and winner is not loss:
        parts.append(
            f"The recommender is {winner.name}, which has no loss: it is the best baseline on "
            "validation, and no found loss is better on test."
        )
    if (folder / FOLDER).is_dir():
        parts.append(_describe_use(folder.name))
    written = ("run.log", "results.csv, results.json", "report.html")  # some of it in a moment
    parts.append(
        "\n".join(
            f"- `{name}`: {what}"
            for name, what in FILES.items()
            if name in written or (folder / name.rstrip("/")).exists()
        )
    )
    write_atomically(folder / "README.md", "\n\n".join(parts) + "\n")


def _describe_use(run: str) -> str:
    return f"""\
Recommend, from the folder that holds this one:

    autolossgen recommend {run} --user=ID --k=10
    autolossgen export {run} --to=torch

    from autolossgen import load_run
    run = load_run("{run}")
    run.recommend(ID, k=10)"""
