"""The results as a table in the terminal, with as many columns as fit."""

from collections.abc import Callable, Iterator, Mapping
from textwrap import fill
from typing import Any, NamedTuple

from rich import box
from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
from rich.table import Table
from rich.text import Text

from .formatting import format_number, format_score, shorten, to_one_line
from .results import Cell, LossResult, format_metric_name, parse_cells
from .verdict import (
    BETTER,
    OVER_USERS,
    WORSE,
    format_difference,
    format_headline,
    format_verdict,
)

_STYLES = {BETTER: "green", WORSE: "red"}
_NAME, _FORMULA = "loss", "formula"
_LONGEST_NAME = 24
# Characters that names (with their mark) and formulas may be cut down to before columns go.
_ENOUGH = {_NAME: 14, _FORMULA: 30}


class _Column(NamedTuple):
    header: str  # with {} for the metric
    cell: Callable[[Cell, LossResult], str]
    right: bool = False


_COLUMNS = {
    _NAME: _Column(_NAME, lambda _, loss: _marked_name(loss)),
    _FORMULA: _Column("formula", lambda _, loss: to_one_line(loss.formula)),
    "rate": _Column("lr", lambda _, loss: format_number(loss.learning_rate), right=True),
    "decay": _Column("wd", lambda _, loss: format_number(loss.weight_decay), right=True),
    "epochs": _Column("epochs", lambda _, loss: format_number(loss.epochs), right=True),
    "valid": _Column("valid {}", lambda _, loss: format_score(loss.valid_score), right=True),
    "test": _Column("test {}", lambda _, loss: format_test_score(loss)),
    "difference": _Column("to the best baseline", lambda _, loss: format_difference(loss)),
    "verdict": _Column("verdict", format_verdict),
}
# From the fullest to the barest; the first that fits is shown. Without the column of formulas, the
# formulas of the found losses follow the table: the baselines are known by their names.
_LAYOUTS = (
    (_NAME, _FORMULA, "rate", "decay", "epochs", "valid", "test", "difference", "verdict"),
    (_NAME, "rate", "decay", "epochs", "valid", "test", "difference", "verdict"),
    (_NAME, "rate", "epochs", "test", "difference", "verdict"),
    (_NAME, "rate", "test", "difference", "verdict"),
    (_NAME, "test", "difference", "verdict"),
    (_NAME, "test", "verdict"),
)


class ResultsTable(NamedTuple):
    """A rich renderable of the tested losses; picks its columns when the width is known."""

    cells: tuple[Cell, ...]

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Yield for each recommender and data set a table, the formulas and the verdict."""
        if not self.cells:
            yield Text("No losses were tested.")
        for index, cell in enumerate(self.cells):
            if index:
                yield Text()
            yield from _render(cell, options.max_width, options.ascii_only)


def make_results_table(results: Mapping[str, Any]) -> ResultsTable:
    """A rich renderable: losses from the best test metric to the worst, and the verdict.

    Found losses carry a `*`. On a wide terminal the formulas stand in the table; those of found
    losses that are cut there, or all of them, stand below it, in full. Down to 60 columns no
    number is wrapped or cut.

    Raises:
        ReportError: when an entry of `results` is not of the documented form.

    Example:
        >>> entry = {"name": "bce", "formula": "f", "found": False, "model": "MF", "dataset": "d"}
        >>> Console(width=80).print(make_results_table({"losses": [entry]}))  # doctest: +ELLIPSIS
        MF on d...
    """
    return ResultsTable(parse_cells(results))


def format_test_score(loss: LossResult) -> str:
    """Mean test metric and half the width of its 95 % interval."""
    mean, half_width = loss.test_score.mean, loss.test_score.half_width
    if mean is None or half_width is None:
        return format_score(mean)
    return f"{format_score(mean)} ± {format_score(half_width)}"


def _render(cell: Cell, width: int, ascii_only: bool) -> tuple[RenderableType, ...]:
    cells = {
        key: [to_one_line(column.cell(cell, loss), ascii_only=ascii_only) for loss in cell.losses]
        for key, column in _COLUMNS.items()
    }
    metric = to_one_line(format_metric_name(cell.metric), ascii_only=ascii_only)
    headers = {key: column.header.format(metric) for key, column in _COLUMNS.items()}
    layout, room = _fitting(cells, headers, width)
    for key, characters in room.items():
        cells[key] = [shorten(text, characters, ascii_only=ascii_only) for text in cells[key]]
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 1, 0, 0))
    for key in layout:
        justify = "right" if _COLUMNS[key].right else "left"
        table.add_column(headers[key], justify=justify, no_wrap=True)
    for row, loss in enumerate(cell.losses):
        style = "bold" if loss.found else ""
        texts = [cells[key][row] for key in layout]
        table.add_row(*(Text(text, style=_STYLES.get(text, "")) for text in texts), style=style)
    shown = cells[_FORMULA] if _FORMULA in layout else []
    title = Text(to_one_line(cell.title, ascii_only=ascii_only), style="bold")
    return (title, Text(), table, Text(), *_notes(cell, shown, width, ascii_only))


def _notes(cell: Cell, shown: list[str], width: int, ascii_only: bool) -> Iterator[Text]:
    """What stands below a table in which the formulas `shown` can be read."""
    found = [loss for loss in cell.losses if loss.found]
    if found:
        yield Text("* found by the search", style="dim")
    for loss in found:
        formula = to_one_line(loss.formula, ascii_only=ascii_only)
        if formula not in shown:
            name = to_one_line(_marked_name(loss), ascii_only=ascii_only)
            # In full: a formula that is cut cannot be copied.
            yield Text(fill(f"  {name}: {formula}", width, subsequent_indent=" " * 6))
    if any(loss.comparison and loss.comparison.users for loss in cell.losses):
        yield Text(OVER_USERS, style="dim")
    yield Text(to_one_line(format_headline(cell), ascii_only=ascii_only), style="bold")


def _marked_name(loss: LossResult) -> str:
    name = shorten(to_one_line(loss.name), _LONGEST_NAME)
    return f"* {name}" if loss.found else f"  {name}"


def _fitting(
    cells: dict[str, list[str]], headers: dict[str, str], width: int
) -> tuple[tuple[str, ...], dict[str, int]]:
    """The first layout that fits `width`, and the characters it leaves for name and formula."""
    widths = {
        key: max(cell_len(text) for text in (headers[key], *column))
        for key, column in cells.items()
    }
    least = {key: min(size, _ENOUGH.get(key, size)) for key, size in widths.items()}
    for layout in _LAYOUTS:
        spare = width - sum(least[key] for key in layout) - 2 * (len(layout) - 1)
        if spare >= 0:
            break
    room = {}
    for key in (_NAME, _FORMULA):
        extra = min(widths[key] - least[key], max(spare, 0))
        room[key] = least[key] + extra
        spare -= extra
    return layout, room
