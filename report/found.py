"""What an earlier run found, for another test of it."""

from pathlib import Path

from .results import ReportError
from .run_folder import read_rows, read_run_folder
from .verdict import by_validation


def found_losses(path: Path, most: int) -> list[tuple[str, str]]:
    """Names and formulas of what a run found, the best first.

    Args:
        path: a run folder, whose tested found losses are taken, in the order of validation; or a
            `hall_of_fame.csv`, whose sound losses are. A folder without results has such a file.
        most: as many are taken at most.

    Raises:
        ReportError: when there is none, or the file is no hall of fame.

    Example:
        >>> found_losses(Path("no/such.csv"), 4)  # doctest: +ELLIPSIS
        Traceback (most recent call last):
        ...
        report.results.ReportError: no/such.csv cannot be read: give the folder of a run...
    """
    if (path / "results.json").is_file():
        every = read_run_folder(path).settings
        best = [loss for setting in every for loss in by_validation(setting) if loss.found]
        pairs = [(loss.name, loss.formula) for loss in best]
    else:
        pairs = _hall(path / "hall_of_fame.csv" if path.is_dir() else path)
    if not pairs or most < 1:
        raise ReportError(f"{path.as_posix()} holds no sound found loss to test")
    return pairs[:most]


def _hall(path: Path) -> list[tuple[str, str]]:
    try:
        rows = read_rows(path)
    except (OSError, ValueError):
        raise ReportError(
            f"{path.as_posix()} cannot be read: give the folder of a run, or its hall_of_fame.csv"
        ) from None
    if any(not {"rank", "formula", "sound"} <= row.keys() for row in rows):
        raise ReportError(
            f"{path.as_posix()} is no hall of fame: expected columns rank, formula and sound"
        )
    return [(f"found-{row['rank']}", row["formula"]) for row in rows if row["sound"] == "true"]
