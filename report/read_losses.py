"""Reads the losses that an earlier run found, so that another run can test them."""

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from autolossgen.interfaces import Bounds

from .results import ReportError, parse_bounds
from .run_folder import read_config, read_hall_of_fame, read_run_folder
from .verdict import sort_by_validation


class FoundLoss(NamedTuple):
    """A loss that a run found, with what is known of it there; None for what is unknown."""

    name: str
    formula: str
    family: str | None = None
    bounds: Bounds | None = None  # that intermediate results are clipped to
    score: str | None = None  # of a user and an item, in rankings
    constants: Mapping[str, float] | None = None  # that were tuned, in rankings


def read_found_losses(path: Path, max_losses: int) -> list[FoundLoss]:
    """Reads the losses that a run found, the best first.

    Family, bounds and score are those of the run's ``config.json``. In the results of a transfer,
    whose losses come from other runs, each loss has bounds of its own. Results of rankings have the
    score and the constants of each loss.

    Args:
      path: a run folder, or a ``hall_of_fame.csv``. From a folder with results the tested found
        losses are taken, in the order of validation; otherwise those of the hall of fame.
      max_losses: how many are taken at most.

    Raises:
      ReportError: if there is none, or the file is no hall of fame.

    Example:
      >>> try:
      ...     read_found_losses(Path("no/such.csv"), 4)
      ... except ReportError as error:
      ...     print(error)
      no/such.csv cannot be read: give the folder of a run, or its hall_of_fame.csv
    """
    folder = path if path.is_dir() else path.parent
    family, bounds = _read_family_and_bounds(folder)
    score = _read_score(folder)
    if (path / "results.json").is_file():
        tested = [
            loss
            for cell in read_run_folder(path).cells
            for loss in sort_by_validation(cell)
            if loss.found
        ]
        losses = [
            FoundLoss(
                name=loss.name,
                formula=loss.formula,
                family=family,
                bounds=loss.bounds or bounds,
                score=loss.score or score,
                constants=loss.constants or None,
            )
            for loss in tested
        ]
    else:
        hall = _read_hall(path / "hall_of_fame.csv" if path.is_dir() else path)
        losses = [
            FoundLoss(name=name, formula=formula, family=family, bounds=bounds, score=score)
            for name, formula in hall
        ]
    if not losses or max_losses < 1:
        raise ReportError(f"{path.as_posix()} holds no sound found loss to test")
    return losses[:max_losses]


def _read_family_and_bounds(folder: Path) -> tuple[str | None, Bounds | None]:
    """Returns family and bounds of the losses of the run in a folder, as far as its config says."""
    space = (read_config(folder) or {}).get("space")
    if not isinstance(space, dict):
        return None, None
    place = f"{(folder / 'config.json').as_posix()}, space.bounds"
    return space.get("family"), parse_bounds(space.get("bounds"), place)


def _read_score(folder: Path) -> str | None:
    """Returns the score that the losses of a run of rankings were found with, if it is known."""
    section = (read_config(folder) or {}).get("contenders")
    score = section.get("score") if isinstance(section, dict) else None
    return score if isinstance(score, str) else None


def _read_hall(path: Path) -> list[tuple[str, str]]:
    """Returns name and formula of each loss of a ``hall_of_fame.csv``."""
    try:
        rows = read_hall_of_fame(path)
    except (OSError, ValueError):
        raise ReportError(
            f"{path.as_posix()} cannot be read: give the folder of a run, or its hall_of_fame.csv"
        ) from None
    if any(not {"rank", "formula"} <= row.keys() for row in rows):
        raise ReportError(
            f"{path.as_posix()} is no hall of fame: expected columns rank and formula"
        )
    return [(f"found-{row['rank']}", row["formula"]) for row in rows]
