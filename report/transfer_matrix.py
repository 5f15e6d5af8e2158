"""The matrix of a transfer: losses by model and data set, on paper, in the terminal and as CSV."""

import csv
import io
from collections.abc import Mapping, Sequence
from typing import Any

from rich import box
from rich.table import Table

from .formatting import format_score, to_one_line
from .results import Cell, LossResult, format_metric_name, parse_cells
from .verdict import (
    BETTER,
    OVER_USERS,
    WORSE,
    decide_verdict,
    format_difference,
    format_user_interval,
    get_best_baseline,
)

_CAPTION = f"{OVER_USERS} matrix.csv has both."
_STYLES = {BETTER: "green", WORSE: "red"}


def is_matrix(results: Mapping[str, Any]) -> bool:
    """Whether results hold more than one model or data set.

    Example:
        >>> is_matrix({"losses": []})
        False
    """
    return len(parse_cells(results)) > 1


def group_by_loss(every: Sequence[Cell]) -> dict[str, list[LossResult | None]]:
    """By the name of each loss its result in every cell; baselines first, then found ones."""
    names = {loss.name: loss.found for cell in every for loss in cell.losses}
    order = sorted(names, key=lambda name: names[name])
    by_name = [{loss.name: loss for loss in cell.losses} for cell in every]
    return {name: [losses.get(name) for losses in by_name] for name in order}


def make_matrix_csv(results: Mapping[str, Any]) -> str:
    """CSV text: a row for each loss; for each model and data set, what is known of it there.

    Raises:
        ReportError: when an entry of `results` is not of the documented form.

    Example:
        >>> entry = {"name": "bce", "formula": "f", "found": False, "model": "MF", "dataset": "d"}
        >>> make_matrix_csv({"losses": [entry]}).splitlines()[0].split(",")[:4]
        ['loss', 'found', 'MF on d: auc', 'MF on d: low']
    """
    every = parse_cells(results)
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    parts = ("low", "high", "difference", "difference low", "difference high")
    parts += ("users low", "users high", "verdict")
    header = [f"{cell.title}: {part}" for cell in every for part in (cell.metric, *parts)]
    writer.writerow(["loss", "found", *header])
    for name, row in group_by_loss(every).items():
        is_found = any(loss.found for loss in row if loss)
        cells = [value for loss in row for value in _numbers(loss)]
        writer.writerow([name, str(is_found).lower(), *cells])
    return text.getvalue()


def _numbers(loss: LossResult | None) -> list[Any]:
    if loss is None:
        return [None] * 9
    test, against = loss.test_score, loss.comparison
    numbers = [test.mean, test.low, test.high]
    if against is None:
        return [*numbers, None, None, None, None, None, "best baseline"]
    users = against.users or (None, None)
    difference = against.difference
    numbers += [difference.mean, difference.low, difference.high, *users]
    return [*numbers, decide_verdict(against)]


def make_matrix_table(results: Mapping[str, Any]) -> Table:
    """A rich table: in each cell the test metric, and the difference to the best baseline there.

    Below the metric stands the difference with its interval over seeds.

    Raises:
        ReportError: when an entry of `results` is not of the documented form.
    """
    every = parse_cells(results)
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, caption=_CAPTION)
    table.caption_style, table.caption_justify = "", "left"
    table.add_column("loss")
    for cell in every:
        table.add_column(to_one_line(f"{cell.title}, {format_metric_name(cell.metric)}"))
    for name, row in group_by_loss(every).items():
        is_found = any(loss.found for loss in row if loss)
        cells = [_terminal_cell(s, loss) for s, loss in zip(every, row, strict=True)]
        table.add_row(f"{'* ' if is_found else '  '}{to_one_line(name)}", *cells)
    return table


def _terminal_cell(cell: Cell, loss: LossResult | None) -> str:
    if loss is None:
        return ""
    mean = format_score(loss.test_score.mean)
    if loss is get_best_baseline(cell):
        return f"{mean} best baseline"
    word = decide_verdict(loss.comparison)
    style = _STYLES.get(word, "")
    shown = f"[{style}]{word}[/]" if style else word
    return f"{mean} {shown}\n{format_difference(loss)}"


def make_matrix_rows(every: Sequence[Cell]) -> list[list[str]]:
    """Rows of text: the loss, then for each cell metric, difference, intervals and verdict."""
    rows = []
    for name, row in group_by_loss(every).items():
        mark = "◆ " if any(loss.found for loss in row if loss) else ""
        rows.append([mark + name, *(_cell(s, x) for s, x in zip(every, row, strict=True))])
    return rows


def _cell(cell: Cell, loss: LossResult | None) -> str:
    if loss is None:
        return ""
    mean = format_score(loss.test_score.mean)
    if loss is get_best_baseline(cell):
        return f"{mean} (best baseline)"
    parts = (
        mean,
        format_difference(loss),
        format_user_interval(loss),
        decide_verdict(loss.comparison),
    )
    return " · ".join(part for part in parts if part)
