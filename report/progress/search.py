"""The progress of a search: its speed, the time left and the best loss so far."""

import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from types import TracebackType
from typing import Any, NamedTuple, Self

from rich.console import Console, Group, RenderableType
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from ..formatting import format_count, format_duration, shorten, to_one_line
from ..results import finite_or_none
from .line import INTERVAL, PLAIN_WIDTH, ProgressLine

_RATE_WINDOW = 10  # generations that a rate is taken over: the first one also compiles
_MIN_WIDTH_OF_ONE_LINE = 120
_MIN_FORMULA_WIDTH = 8
_STARTING = "search  compiling the first generation"


class Rates(NamedTuple):
    """Speed of the search; None for what is not known yet."""

    sampled: float | None = None  # candidates a second
    trained: float | None = None  # candidates a second
    seconds_left: float | None = None


def format_progress(
    metrics: Mapping[str, Any], total_generations: int, rates: Rates, width: int = 120
) -> str:
    """Returns one line on how far the search is, with the score of its best loss.

    Args:
      metrics: the row of ``metrics.jsonl`` of the last generation; values may be None.
      total_generations: number of generations of the whole search.
      rates: candidates per second and seconds left.
      width: characters of the line at most; the formula is cut to what the rest leaves.

    Example:
      >>> row = {"generation": 3, "best_score": 0.0123, "best_formula": "square(pred - label)"}
      >>> format_progress(row, 60, Rates(512.0, 64.0, 42.0))
      '3/60  512 sampled/s  64 trained/s  0:42 left  best +0.0123  square(pred - label)'
    """
    done = format_count(metrics.get("generation"))
    line = f"{done}/{total_generations}  {_format_facts(metrics, rates)}"
    formula = _get_formula(metrics)
    room = width - len(line) - 2
    if formula and room >= _MIN_FORMULA_WIDTH:
        return f"{line}  {shorten(formula, room)}"
    return line[:width]


class SearchProgress:
    """A view of the running search; ``make_progress`` makes it for a ``with`` statement."""

    def __init__(
        self,
        total_generations: int,
        *,
        line: ProgressLine,
        max_seconds: float | None,
        max_trained: int | None,
    ):
        self._total = total_generations
        self._line = line
        self._max_seconds = max_seconds
        self._max_trained = max_trained
        self._history: deque[Mapping[str, Any]] = deque(maxlen=_RATE_WINDOW + 1)

    def __enter__(self) -> Self:
        """Announces the search: the first generation compiles and takes a while."""
        self._line.start(_STARTING)
        return self

    def update(self, metrics: Mapping[str, Any]) -> None:
        """Shows a generation, given as its row of ``metrics.jsonl``."""
        self._history.append(metrics)
        rates = _compute_rates(self._history, self._total, self._max_seconds, self._max_trained)
        plain = "search  " + format_progress(metrics, self._total, rates, width=PLAIN_WIDTH)
        self._line.show(plain, self._render(metrics, rates) if self._line.is_live else None)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Leaves the last generation on the screen, also after an interrupt."""
        self._line.stop()

    def _render(self, metrics: Mapping[str, Any], rates: Rates) -> RenderableType:
        console = self._line.console
        ascii_only = console.options.ascii_only
        wide = console.width >= _MIN_WIDTH_OF_ONE_LINE
        done = finite_or_none(metrics.get("generation")) or 0
        label = Text(f"{format_count(metrics.get('generation'))}/{self._total}", style="bold")
        facts = _format_facts(metrics, rates)
        bar_width = 20 if wide else 10
        bar = ProgressBar(total=max(self._total, 1), completed=done, width=bar_width)
        formula = to_one_line(_get_formula(metrics), ascii_only=ascii_only)
        room = console.width - len(label) - bar_width - len(facts) - 6
        line = Table.grid(padding=(0, 2, 0, 0))
        at_end = shorten(formula, room, ascii_only=ascii_only) if wide else ""
        line.add_row(label, bar, Text(facts), Text(at_end))
        if wide:
            return line
        below = shorten(formula, console.width - 1, ascii_only=ascii_only)
        return Group(line, Text(below, style="dim", no_wrap=True))


def make_progress(
    total_generations: int,
    console: Console | None = None,
    *,
    max_seconds: float | None = None,
    max_trained: int | None = None,
    interval: float = INTERVAL,
    clock: Callable[[], float] = time.monotonic,
) -> SearchProgress:
    """Makes a context manager whose ``update`` shows how far the search is.

    In a terminal the line is redrawn in place. Elsewhere (a file, a pipe, a notebook's shell) the
    first and the last generation are printed and in between one at most every ``interval`` seconds,
    without escape codes.

    Args:
      total_generations: number of generations of the whole search, at least 1.
      console: to print on; standard output by default.
      max_seconds: the search also ends after this long, which bounds the time left.
      max_trained: the search also ends after this many trained candidates.
      interval: seconds between two plain lines, at least.
      clock: seconds, for the interval; tests pass their own.

    Raises:
      ValueError: if ``total_generations`` is below 1.

    Example:
      >>> with make_progress(1, Console(force_terminal=False, width=80)) as progress:
      ...     progress.update({"generation": 1, "best_score": 0.1, "best_formula": "square(pred)"})
      search  compiling the first generation
      search  1/1  - sampled/s  - trained/s  0:00 left  best +0.1000  square(pred)
    """
    if total_generations < 1:
        raise ValueError(f"total_generations: expected at least 1, got {total_generations}")
    console = Console() if console is None else console
    return SearchProgress(
        total_generations,
        line=ProgressLine(console, interval=interval, clock=clock),
        max_seconds=max_seconds,
        max_trained=max_trained,
    )


def _format_facts(metrics: Mapping[str, Any], rates: Rates) -> str:
    score = finite_or_none(metrics.get("best_score"))
    best = "-" if score is None else f"{score:+.4f}"
    return (
        f"{_format_rate(rates.sampled)} sampled/s  {_format_trained(rates.trained)}  "
        f"{format_duration(rates.seconds_left)} left  best {best}"
    )


def _format_trained(rate: float | None) -> str:
    if rate is not None and 0 < rate < 1:
        return f"{_format_rate(60 * rate)} trained/min"
    return f"{_format_rate(rate)} trained/s"


def _format_rate(value: float | None) -> str:
    if value is not None and value < 9.95:
        return f"{value:.1f}"
    return format_count(value)


def _get_formula(metrics: Mapping[str, Any]) -> str:
    return to_one_line(str(metrics.get("best_formula") or ""))


def _compute_rates(
    history: Sequence[Mapping[str, Any]],
    total_generations: int,
    max_seconds: float | None,
    max_trained: int | None,
) -> Rates:
    """Returns the speed over the last generations; that of a first one is since the start."""
    new = history[-1]
    old = history[0] if len(history) > 1 else {}

    def advance(key: str) -> float | None:
        end, start = finite_or_none(new.get(key)), finite_or_none(old.get(key, 0))
        return None if end is None or start is None or end < start else end - start

    seconds = advance("seconds") or None
    speeds = {
        key: None if seconds is None or (gain := advance(key)) is None else gain / seconds
        for key in ("generation", "sampled_total", "trained_total")
    }
    left = [_seconds_until(total_generations, new.get("generation"), speeds["generation"])]
    if max_seconds is not None:
        left.append(_seconds_until(max_seconds, new.get("seconds"), 1.0))
    if max_trained is not None:
        left.append(_seconds_until(max_trained, new.get("trained_total"), speeds["trained_total"]))
    limits = [value for value in left if value is not None]
    return Rates(
        sampled=speeds["sampled_total"],
        trained=speeds["trained_total"],
        seconds_left=min(limits, default=None),
    )


def _seconds_until(goal: float, value: Any, speed: float | None) -> float | None:
    """Returns the seconds until a growing value reaches a goal, None if that is unknown."""
    value = finite_or_none(value)
    if value is None:
        return None
    if value >= goal:
        return 0.0
    return (goal - value) / speed if speed else None
