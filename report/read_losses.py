"""Reads the losses that an earlier run found, so that another run can test them."""

from pathlib import Path
from typing import NamedTuple

from autolossgen.interfaces import Bounds

from .results import ReportError, parse_bounds
from .run_folder import read_config, read_hall_of_fame, read_run_folder
from .verdict import sort_by_validation


class FoundLoss(NamedTuple):
    """A loss that a run found, with its family and bounds there; None if they are unknown."""

    name: str
    formula: str
    family: str | None = None
    bounds: Bounds | None = None  # that intermediate results are clipped to


def read_found_losses(path: Path, max_losses: int) -> list[FoundLoss]:
    """Reads the losses that a run found, the best first.

    Family and bounds are those of the run's ``config.json``. In the results of a transfer, whose
    losses come from other runs, each loss has bounds of its own.

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
    family, bounds = _read_family_and_bounds(path if path.is_dir() else path.parent)
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
            )
            for loss in tested
        ]
    else:
        hall = _read_hall(path / "hall_of_fame.csv" if path.is_dir() else path)
        losses = [
            FoundLoss(name=name, formula=formula, family=family, bounds=bounds)
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
