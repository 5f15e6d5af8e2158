"""The table of results in the terminal, with as many columns as fit."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from textwrap import fill
from typing import Any, NamedTuple

from rich import box
from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, JustifyMethod, RenderableType, RenderResult
from rich.table import Table
from rich.text import Text

from .formatting import format_hyper_parameter, format_score, shorten, to_one_line
from .results import Cell, LossResult, format_metric_name, parse_cells
from .verdict import (
    BETTER,
    INTERVAL_NOTE,
    WORSE,
    format_difference,
    format_headline,
    format_verdict,
)

_STYLES = {BETTER: "green", WORSE: "red"}
_NAME, _FORMULA = "loss", "formula"
_MAX_NAME_WIDTH = 24
# Names (with their mark) and formulas are cut down to so many characters before columns go.
_MIN_WIDTHS = {_NAME: 14, _FORMULA: 30}
_GAP = 2  # characters between columns

Texts = dict[str, list[str]]  # by column, one text a loss


class _Column(NamedTuple):
    header: str  # with {} for the metric
    format_entry: Callable[[Cell, LossResult], str]
    right: bool = False


_COLUMNS = {
    _NAME: _Column(_NAME, lambda _, loss: _format_name(loss)),
    _FORMULA: _Column(_FORMULA, lambda _, loss: to_one_line(loss.formula)),
    "rate": _Column("lr", lambda _, loss: format_hyper_parameter(loss.learning_rate), right=True),
    "decay": _Column("wd", lambda _, loss: format_hyper_parameter(loss.weight_decay), right=True),
    "epochs": _Column("epochs", lambda _, loss: format_hyper_parameter(loss.epochs), right=True),
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
        """Yields for each recommender and data set a table, the formulas and the verdict."""
        if not self.cells:
            yield Text("No losses were tested.")
        for index, cell in enumerate(self.cells):
            if index:
                yield Text()
            yield from _render_cell(cell, options.max_width, options.ascii_only)


def make_results_table(results: Mapping[str, Any]) -> ResultsTable:
    """Returns a rich renderable: losses from the best test metric to the worst, and the verdict.

    Found losses carry a ``*``. On a wide terminal the table has a column of formulas. Formulas of
    found losses that it cuts, or all of them, follow below it in full. Down to 60 columns no number
    is wrapped or cut.

    Args:
      results: content of ``results.json``.

    Raises:
      ReportError: if an entry of ``results`` is not of the documented form.

    Example:
      >>> entry = {"name": "bce", "formula": "f", "found": False, "model": "MF", "dataset": "d"}
      >>> Console(width=80).print(make_results_table({"losses": [entry]}))  # doctest: +ELLIPSIS
      MF on d...
    """
    return ResultsTable(parse_cells(results))


def format_test_score(loss: LossResult) -> str:
    """Returns the mean test metric and half the width of its 95 % interval."""
    mean, half_width = loss.test_score.mean, loss.test_score.half_width
    if mean is None or half_width is None:
        return format_score(mean)
    return f"{format_score(mean)} ± {format_score(half_width)}"


def format_edges(cell: Cell) -> str:
    """Returns which losses were best at an edge of what was tried, "" if none was."""
    at_edge = [f"{loss.name} ({', '.join(loss.edges)})" for loss in cell.losses if loss.edges]
    if not at_edge:
        return ""
    return f"Best at an edge of what was tried, so others may be better: {', '.join(at_edge)}."


def format_diverged(cell: Cell) -> str:
    """Returns how many trainings of which losses diverged, "" if none did."""
    counts = [
        f"{loss.diverged} of {len(loss.seeds)} trainings of {loss.name}"
        for loss in cell.losses
        if loss.diverged
    ]
    if not counts:
        return ""
    return f"Diverged, and count as 0 in the means: {', '.join(counts)}."


def _render_cell(cell: Cell, width: int, ascii_only: bool) -> Iterator[RenderableType]:
    texts = {
        key: [
            to_one_line(column.format_entry(cell, loss), ascii_only=ascii_only)
            for loss in cell.losses
        ]
        for key, column in _COLUMNS.items()
    }
    metric = to_one_line(format_metric_name(cell.metric), ascii_only=ascii_only)
    headers = {key: column.header.format(metric) for key, column in _COLUMNS.items()}
    layout, widths = _fit_layout(texts, headers, width)
    for key, characters in widths.items():
        texts[key] = [shorten(text, characters, ascii_only=ascii_only) for text in texts[key]]
    shown_formulas = texts[_FORMULA] if _FORMULA in layout else []
    yield Text(to_one_line(cell.title, ascii_only=ascii_only), style="bold")
    yield Text()
    yield _make_table(cell, layout, headers, texts)
    yield Text()
    yield from _make_notes(cell, shown_formulas, width, ascii_only)


def _make_table(
    cell: Cell, layout: Sequence[str], headers: Mapping[str, str], texts: Texts
) -> Table:
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 1, 0, 0))
    for key in layout:
        justify: JustifyMethod = "right" if _COLUMNS[key].right else "left"
        table.add_column(headers[key], justify=justify, no_wrap=True)
    for row, loss in enumerate(cell.losses):
        row_texts = [texts[key][row] for key in layout]
        table.add_row(
            *(Text(text, style=_STYLES.get(text, "")) for text in row_texts),
            style="bold" if loss.found else "",
        )
    return table


def _make_notes(
    cell: Cell, shown_formulas: Sequence[str], width: int, ascii_only: bool
) -> Iterator[Text]:
    """Yields what follows a table that shows some formulas in full: the others, and the verdict."""
    found_losses = [loss for loss in cell.losses if loss.found]
    if found_losses:
        yield Text("* found by the search", style="dim")
    for loss in found_losses:
        formula = to_one_line(loss.formula, ascii_only=ascii_only)
        if formula not in shown_formulas:
            name = to_one_line(_format_name(loss), ascii_only=ascii_only)
            # In full: a formula that is cut cannot be copied.
            yield Text(fill(f"  {name}: {formula}", width, subsequent_indent=" " * 6))
    if any(loss.comparison and loss.comparison.user_interval for loss in cell.losses):
        yield Text(INTERVAL_NOTE, style="dim")
    for note in (format_edges(cell), format_diverged(cell)):
        if note:
            yield Text(to_one_line(note, ascii_only=ascii_only), style="dim")
    yield Text(to_one_line(format_headline(cell), ascii_only=ascii_only), style="bold")


def _format_name(loss: LossResult) -> str:
    name = shorten(to_one_line(loss.name), _MAX_NAME_WIDTH)
    return f"* {name}" if loss.found else f"  {name}"


def _fit_layout(
    texts: Texts, headers: Mapping[str, str], width: int
) -> tuple[tuple[str, ...], dict[str, int]]:
    """Returns the first layout that fits, and the characters it leaves for name and formula."""
    full_widths = {
        key: max(cell_len(text) for text in (headers[key], *column))
        for key, column in texts.items()
    }
    min_widths = {key: min(size, _MIN_WIDTHS.get(key, size)) for key, size in full_widths.items()}
    for layout in _LAYOUTS:
        spare = width - sum(min_widths[key] for key in layout) - _GAP * (len(layout) - 1)
        if spare >= 0:
            break
    widths = {}
    for key in (_NAME, _FORMULA):
        extra = min(full_widths[key] - min_widths[key], max(spare, 0))
        widths[key] = min_widths[key] + extra
        spare -= extra
    return layout, widths
