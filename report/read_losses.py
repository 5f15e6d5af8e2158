"""What an earlier run found, for another test of it."""

from pathlib import Path
from typing import NamedTuple

from .results import ReportError, parse_bounds
from .run_folder import read_config, read_csv_rows, read_run_folder
from .verdict import sort_by_validation


class FoundLoss(NamedTuple):
    """A loss that a run found, and the language that the run read it in; None for not known."""

    name: str
    formula: str
    family: str | None = None
    bounds: tuple[float, float] | None = None  # its intermediate results are clipped to them


def read_found_losses(path: Path, most: int) -> list[FoundLoss]:
    """What a run found, the best first.

    Family and bounds are those of the `config.json` beside; in the results of a transfer, whose
    losses come from other runs, each loss has bounds of its own.

    Args:
        path: a run folder, whose tested found losses are taken, in the order of validation; or a
            `hall_of_fame.csv`, whose sound losses are. A folder without results has such a file.
        most: as many are taken at most.

    Raises:
        ReportError: when there is none, or the file is no hall of fame.

    Example:
        >>> read_found_losses(Path("no/such.csv"), 4)  # doctest: +ELLIPSIS
        Traceback (most recent call last):
        ...
        report.results.ReportError: no/such.csv cannot be read: give the folder of a run...
    """
    family, bounds = _language(path if path.is_dir() else path.parent)
    if (path / "results.json").is_file():
        every = read_run_folder(path).cells
        best = [loss for cell in every for loss in sort_by_validation(cell) if loss.found]
        losses = [FoundLoss(x.name, x.formula, family, x.bounds or bounds) for x in best]
    else:
        hall = _hall(path / "hall_of_fame.csv" if path.is_dir() else path)
        losses = [FoundLoss(name, formula, family, bounds) for name, formula in hall]
    if not losses or most < 1:
        raise ReportError(f"{path.as_posix()} holds no sound found loss to test")
    return losses[:most]


def _language(folder: Path) -> tuple[str | None, tuple[float, float] | None]:
    """Family and bounds of the losses of the run in a folder, where its config tells."""
    space = (read_config(folder) or {}).get("space")
    if not isinstance(space, dict):
        return None, None
    where = f"{(folder / 'config.json').as_posix()}, space.bounds"
    return space.get("family"), parse_bounds(space.get("bounds"), where)


def _hall(path: Path) -> list[tuple[str, str]]:
    try:
        rows = read_csv_rows(path)
    except (OSError, ValueError):
        raise ReportError(
            f"{path.as_posix()} cannot be read: give the folder of a run, or its hall_of_fame.csv"
        ) from None
    if any(not {"rank", "formula", "sound"} <= row.keys() for row in rows):
        raise ReportError(
            f"{path.as_posix()} is no hall of fame: expected columns rank, formula and sound"
        )
    return [
        (f"found-{row['rank']}", row["formula"]) for row in rows if row["sound"].lower() == "true"
    ]
