"""Reads the files that a run left in its folder; only ``results.json`` must be there."""

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from autolossgen.files import parse_json

from .results import Cell, ReportError, parse_cells


class RunFolder(NamedTuple):
    """The files of one run; None for a file that is missing or cannot be read."""

    name: str
    results: dict[str, Any]
    cells: tuple[Cell, ...]
    generations: list[dict[str, Any]] | None  # metrics.jsonl
    hall_of_fame: list[dict[str, str]] | None  # hall_of_fame.csv
    config: dict[str, Any] | None  # config.json
    promotion: list[dict[str, Any]]  # promotion.json
    data: dict[str, Any] | None  # data.json: the fingerprint of the data
    command: str  # command.txt
    files: tuple[str, ...]  # names of all that is in the folder


def read_run_folder(workdir: Path) -> RunFolder:
    """Reads a run folder.

    Raises:
      ReportError: if the folder or ``results.json`` is missing, or is not of the documented form;
        the message says what to do.

    Example:
      >>> try:
      ...     read_run_folder(Path("no/such/run"))
      ... except ReportError as error:
      ...     print(error)
      no/such/run is not a folder: give the workdir of a run
    """
    workdir = Path(workdir)
    if not workdir.is_dir():
        raise ReportError(f"{workdir.as_posix()} is not a folder: give the workdir of a run")
    results = _read_results(workdir)
    return RunFolder(
        name=workdir.resolve().name,
        results=results,
        cells=parse_cells(results),
        generations=_read_optional(workdir / "metrics.jsonl", _read_generations),
        hall_of_fame=_read_optional(workdir / "hall_of_fame.csv", read_hall_of_fame),
        config=read_config(workdir),
        promotion=_read_optional(workdir / "promotion.json", _read_rows) or [],
        data=_read_optional(workdir / "data.json", _read_object),
        command=_read_optional(workdir / "command.txt", _read_line) or "",
        files=tuple(sorted(path.name for path in workdir.iterdir())),
    )


def read_config(workdir: Path) -> dict[str, Any] | None:
    """Returns the config of a run, None if it is missing or cannot be read."""
    return _read_optional(workdir / "config.json", _read_object)


def read_csv_rows(path: Path) -> list[dict[str, str]]:
    """Returns the rows of a CSV file with a header, by column.

    It may also be one that a spreadsheet has saved: with a byte order mark, and semicolons.

    Raises:
      OSError: if the file cannot be read.
      ValueError: if it is no text.
    """
    with path.open(encoding="utf-8-sig", newline="") as file:
        header = file.readline()
        file.seek(0)
        delimiter = ";" if header.count(";") > header.count(",") else ","
        rows = csv.DictReader(file, delimiter=delimiter)
        return [{key: value or "" for key, value in row.items() if key} for row in rows]


def read_hall_of_fame(path: Path) -> list[dict[str, str]]:
    """Returns the rows of a ``hall_of_fame.csv``.

    Files of version 0.1 also have losses that are not sound, and say so; these are left out.

    Raises:
      OSError: if the file cannot be read.
      ValueError: if it is no text.
    """
    return [row for row in read_csv_rows(path) if row.get("sound", "true").lower() == "true"]


def _read_results(workdir: Path) -> dict[str, Any]:
    path = workdir / "results.json"
    try:
        return _read_object(path)
    except FileNotFoundError:
        raise ReportError(
            f"{workdir} has no results.json: its run has not reached the end of the test; "
            "give the run's command again, and it goes on from where it stopped"
        ) from None
    except json.JSONDecodeError as error:
        raise ReportError(
            f"{path}, line {error.lineno}, column {error.colno}: expected JSON ({error.msg}); "
            "remove it, and the run's command writes it again"
        ) from None
    except (OSError, ValueError) as error:
        raise ReportError(f"{path} cannot be read: {error}") from None


def _read_optional(path: Path, read: Callable[[Path], Any]) -> Any:
    try:
        return read(path)
    except (OSError, ValueError, csv.Error):
        return None


def _read_object(path: Path) -> dict[str, Any]:
    value = _parse_json(path.read_text(encoding="utf-8"))
    if not isinstance(value, dict):
        raise ValueError(f"expected a JSON object, got {type(value).__name__}")
    return value


def _read_rows(path: Path) -> list[dict[str, Any]]:
    """Returns the objects of a JSON list that have a name."""
    rows = _parse_json(path.read_text(encoding="utf-8"))
    if not isinstance(rows, list):
        raise ValueError(f"expected a JSON list, got {type(rows).__name__}")
    return [row for row in rows if isinstance(row, dict) and isinstance(row.get("name"), str)]


def _read_line(path: Path) -> str:
    return path.read_text(encoding="utf-8").strip()


def _read_generations(path: Path) -> list[dict[str, Any]]:
    """Returns the rows in the order of their generations, for each the last one written.

    A killed run may leave half a line, and a resumed one writes a generation again.
    """
    rows: dict[int, dict[str, Any]] = {}
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            row = _parse_json(line)
        except ValueError:
            continue
        if isinstance(row, dict) and isinstance(row.get("generation"), int):
            rows[row["generation"]] = row
    return [rows[generation] for generation in sorted(rows)]


def _parse_json(text: str) -> Any:
    # Python writes NaN and Infinity although JSON has neither; here both mean "unknown".
    return parse_json(text, parse_constant=lambda _: None)
