"""The matrix of a transfer: every loss on every model and data set, as a table and as CSV."""

import csv
import io
from collections.abc import Mapping, Sequence
from typing import Any

from rich import box
from rich.table import Table

from .formatting import format_score, to_one_line
from .results import Cell, LossResult, format_metric_name, parse_cells
from .verdict import (
    BEST_BASELINE,
    BETTER,
    INTERVAL_NOTE,
    WORSE,
    decide_verdict,
    format_difference,
    format_user_interval,
    get_best_baseline,
)

_CAPTION = f"{INTERVAL_NOTE} matrix.csv has both."
_STYLES = {BETTER: "green", WORSE: "red"}
_NUMBER_COLUMNS = (
    *("low", "high", "difference", "difference low", "difference high"),
    *("users low", "users high", "verdict"),
)


def is_matrix(results: Mapping[str, Any]) -> bool:
    """Whether results hold more than one model or data set.

    Example:
      >>> is_matrix({"losses": []})
      False
    """
    return len(parse_cells(results)) > 1


def make_matrix_csv(results: Mapping[str, Any]) -> str:
    """Returns the text of ``matrix.csv``: a row for each loss, nine columns for each cell.

    Args:
      results: content of ``results.json``.

    Raises:
      ReportError: if an entry of ``results`` is not of the documented form.

    Example:
      >>> entry = {"name": "bce", "formula": "f", "found": False, "model": "MF", "dataset": "d"}
      >>> make_matrix_csv({"losses": [entry]}).splitlines()[0].split(",")[:4]
      ['loss', 'found', 'MF on d: auc', 'MF on d: low']
    """
    cells = parse_cells(results)
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    header = [f"{cell.title}: {part}" for cell in cells for part in (cell.metric, *_NUMBER_COLUMNS)]
    writer.writerow(["loss", "found", *header])
    for name, row in _group_by_name(cells).items():
        numbers = [value for loss in row for value in _list_numbers(loss)]
        writer.writerow([name, str(_is_found(row)).lower(), *numbers])
    return text.getvalue()


def make_matrix_table(results: Mapping[str, Any]) -> Table:
    """Returns a rich table: for each loss and cell the test metric and the verdict.

    Below them is the difference to the cell's best baseline, with its interval over seeds.

    Args:
      results: content of ``results.json``.

    Raises:
      ReportError: if an entry of ``results`` is not of the documented form.
    """
    cells = parse_cells(results)
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, caption=_CAPTION)
    table.caption_style, table.caption_justify = "", "left"
    table.add_column("loss")
    for cell in cells:
        table.add_column(to_one_line(f"{cell.title}, {format_metric_name(cell.metric)}"))
    for name, row in _group_by_name(cells).items():
        entries = [_format_for_terminal(c, loss) for c, loss in zip(cells, row, strict=True)]
        table.add_row(f"{'* ' if _is_found(row) else '  '}{to_one_line(name)}", *entries)
    return table


def make_matrix_rows(cells: Sequence[Cell]) -> list[list[str]]:
    """Returns rows of text for the page: a loss, then metric, difference and verdict by cell."""
    rows = []
    for name, row in _group_by_name(cells).items():
        entries = [_format_for_page(cell, loss) for cell, loss in zip(cells, row, strict=True)]
        rows.append([f"{'◆ ' if _is_found(row) else ''}{name}", *entries])
    return rows


def _group_by_name(cells: Sequence[Cell]) -> dict[str, list[LossResult | None]]:
    """Returns by name a loss's result in every cell; baselines first, then found losses."""
    is_found = {loss.name: loss.found for cell in cells for loss in cell.losses}
    names = sorted(is_found, key=lambda name: is_found[name])
    by_name = [{loss.name: loss for loss in cell.losses} for cell in cells]
    return {name: [losses.get(name) for losses in by_name] for name in names}


def _is_found(row: Sequence[LossResult | None]) -> bool:
    return any(loss.found for loss in row if loss)


def _list_numbers(loss: LossResult | None) -> list[Any]:
    if loss is None:
        return [None] * (1 + len(_NUMBER_COLUMNS))
    test, comparison = loss.test_score, loss.comparison
    numbers = [test.mean, test.low, test.high]
    if comparison is None:
        return [*numbers, None, None, None, None, None, BEST_BASELINE]
    difference = comparison.difference
    numbers += [difference.mean, difference.low, difference.high]
    numbers += comparison.user_interval or (None, None)
    return [*numbers, decide_verdict(comparison)]


def _format_for_terminal(cell: Cell, loss: LossResult | None) -> str:
    if loss is None:
        return ""
    mean = format_score(loss.test_score.mean)
    if loss is get_best_baseline(cell):
        return f"{mean} {BEST_BASELINE}"
    verdict = decide_verdict(loss.comparison)
    style = _STYLES.get(verdict, "")
    shown = f"[{style}]{verdict}[/]" if style else verdict
    return f"{mean} {shown}\n{format_difference(loss)}"


def _format_for_page(cell: Cell, loss: LossResult | None) -> str:
    if loss is None:
        return ""
    mean = format_score(loss.test_score.mean)
    if loss is get_best_baseline(cell):
        return f"{mean} ({BEST_BASELINE})"
    verdict = decide_verdict(loss.comparison)
    parts = (mean, format_difference(loss), format_user_interval(loss), verdict)
    return " · ".join(part for part in parts if part)
