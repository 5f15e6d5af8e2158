"""The progress of the search: one line that stays up to date, plain lines where it cannot."""

import time
from collections import deque
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Any, NamedTuple, Self

from rich.console import Console
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from .formatting import format_count, format_duration, format_score, shorten, to_one_line
from .results import finite_or_none

_WINDOW = 10  # generations that a rate is taken over: the first one also compiles
_ONE_LINE_WIDTH = 120
_STARTING = "search  compiling the first generation"


class Rates(NamedTuple):
    """Speed of the search; None stands for not known yet."""

    sampled: float | None = None  # candidates a second
    trained: float | None = None  # candidates a second
    seconds_left: float | None = None


def format_progress(
    metrics: Mapping[str, Any], total_generations: int, rates: Rates, width: int = 120
) -> str:
    """One line of at most `width` characters on where the search stands.

    Args:
        metrics: the row of `metrics.jsonl` of the last generation; values may be None.
        total_generations: number of generations of the whole search.
        rates: candidates per second and seconds left.
        width: characters there are; the formula is cut to what the rest leaves.

    Example:
        >>> row = {"generation": 3, "best_reward": 0.71, "best_formula": "square(pred - label)"}
        >>> format_progress(row, 60, Rates(512.0, 64.0, 42.0))
        '3/60  512 sampled/s  64 trained/s  0:42 left  best 0.7100  square(pred - label)'
    """
    line = (
        f"{format_count(metrics.get('generation'))}/{total_generations}  {_facts(metrics, rates)}"
    )
    formula = _formula(metrics)
    room = width - len(line) - 2
    return f"{line}  {shorten(formula, room)}" if formula and room >= 8 else line[:width]


class Progress:
    """Shows each generation as it ends; made by `progress`, used in a `with` statement."""

    def __init__(
        self,
        total_generations: int,
        console: Console,
        max_seconds: float | None,
        max_trained: int | None,
        interval: float,
        clock: Callable[[], float],
    ):
        self._total = total_generations
        self._console = console
        self._limits = (max_seconds, max_trained)
        self._interval = interval
        self._clock = clock
        self._history: deque[Mapping[str, Any]] = deque(maxlen=_WINDOW + 1)
        self._printed_at: float | None = None
        self._unprinted: str | None = None
        live = console.is_terminal and not console.is_dumb_terminal
        self._live = Live(console=console, auto_refresh=False) if live else None

    def __enter__(self) -> Self:
        """Say that the search begins: the first generation compiles and takes a while."""
        if self._live:
            self._live.start()
            self._live.update(Text(_STARTING), refresh=True)
        else:
            self._print(_STARTING)
        return self

    def update(self, metrics: Mapping[str, Any]) -> None:
        """Show a generation, given as its row of `metrics.jsonl`."""
        first = not self._history
        self._history.append(metrics)
        rates = _rates(self._history, self._total, *self._limits)
        if self._live:
            self._live.update(self._renderable(metrics, rates), refresh=True)
            return
        now = self._clock()
        self._unprinted = "search  " + format_progress(metrics, self._total, rates, width=160)
        if first or self._printed_at is None or now - self._printed_at >= self._interval:
            self._printed_at = now
            self._print_last()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Leave the last generation on the screen, also when the search was interrupted."""
        if self._live:
            self._live.stop()
        else:
            self._print_last()

    def _renderable(self, metrics: Mapping[str, Any], rates: Rates) -> Table:
        ascii_only = self._console.options.ascii_only
        wide = self._console.width >= _ONE_LINE_WIDTH
        done = finite_or_none(metrics.get("generation")) or 0
        label = Text(f"{format_count(metrics.get('generation'))}/{self._total}", style="bold")
        facts = _facts(metrics, rates)
        bar = ProgressBar(total=max(self._total, 1), completed=done, width=20 if wide else 10)
        room = self._console.width - len(label) - bar.width - len(facts) - 6
        line = Table.grid(padding=(0, 2, 0, 0))
        formula = to_one_line(_formula(metrics), ascii_only=ascii_only)
        # A short formula beside the facts; on a narrow screen a line of its own.
        beside = shorten(formula, room, ascii_only=ascii_only) if wide else ""
        line.add_row(label, bar, Text(facts), Text(beside))
        if wide:
            return line
        both = Table.grid()
        both.add_row(line)
        below = shorten(formula, self._console.width - 1, ascii_only=ascii_only)
        both.add_row(Text(below, style="dim", no_wrap=True))
        return both

    def _print_last(self) -> None:
        if self._unprinted is not None:
            self._print(self._unprinted)
            self._unprinted = None

    def _print(self, line: str) -> None:
        # Soft wrap: a log file has no width, and a broken line is hard to grep.
        text = to_one_line(line, ascii_only=self._console.options.ascii_only)
        self._console.print(Text(text), soft_wrap=True)


def make_progress(
    total_generations: int,
    console: Console | None = None,
    *,
    max_seconds: float | None = None,
    max_trained: int | None = None,
    interval: float = 5.0,
    clock: Callable[[], float] = time.monotonic,
) -> Progress:
    """A context manager whose `update` shows how far the search is.

    In a terminal the line is redrawn in place. Elsewhere (a file, a pipe, a notebook's shell) the
    first and the last generation are printed and in between one at most every `interval` seconds,
    without escape codes.

    Args:
        total_generations: number of generations of the whole search, at least 1.
        console: where to show it; standard output by default.
        max_seconds: the search also ends after this long, which bounds the time left.
        max_trained: the search also ends after this many trained candidates.
        interval: least seconds between two plain lines.
        clock: seconds, for the interval; tests pass their own.

    Raises:
        ValueError: when `total_generations` is below 1.

    Example:
        >>> with make_progress(1, Console(force_terminal=False, width=80)) as shown:
        ...     shown.update({"generation": 1, "best_reward": 0.7, "best_formula": "square(pred)"})
        search  compiling the first generation
        search  1/1  - sampled/s  - trained/s  0:00 left  best 0.7000  square(pred)
    """
    if total_generations < 1:
        raise ValueError(f"total_generations: expected at least 1, got {total_generations}")
    console = Console() if console is None else console
    return Progress(total_generations, console, max_seconds, max_trained, interval, clock)


def _facts(metrics: Mapping[str, Any], rates: Rates) -> str:
    best = format_score(finite_or_none(metrics.get("best_reward")))
    return (
        f"{_rate(rates.sampled)} sampled/s  {_rate(rates.trained)} trained/s  "
        f"{format_duration(rates.seconds_left)} left  best {best}"
    )


def _rate(value: float | None) -> str:
    if value is not None and value < 9.95:
        return f"{value:.1f}"
    return format_count(value)


def _formula(metrics: Mapping[str, Any]) -> str:
    return to_one_line(str(metrics.get("best_formula") or ""))


def _rates(
    history: deque[Mapping[str, Any]],
    total_generations: int,
    max_seconds: float | None,
    max_trained: int | None,
) -> Rates:
    """Speed over the last generations; a single one is measured from the start of the search."""
    new = history[-1]
    old = history[0] if len(history) > 1 else {}

    def advance(key: str) -> float | None:
        end, start = finite_or_none(new.get(key)), finite_or_none(old.get(key, 0))
        return None if end is None or start is None or end < start else end - start

    seconds = advance("seconds")
    if not seconds:
        seconds = None
    speeds = {
        key: None if seconds is None or (gain := advance(key)) is None else gain / seconds
        for key in ("generation", "sampled_total", "trained_total")
    }
    left = [_time_to(total_generations, new.get("generation"), speeds["generation"])]
    if max_seconds is not None:
        left.append(_time_to(max_seconds, new.get("seconds"), 1.0))
    if max_trained is not None:
        left.append(_time_to(max_trained, new.get("trained_total"), speeds["trained_total"]))
    known = [value for value in left if value is not None]
    return Rates(speeds["sampled_total"], speeds["trained_total"], min(known, default=None))


def _time_to(goal: float, now: Any, speed: float | None) -> float | None:
    """Seconds until `now` reaches `goal`."""
    now = finite_or_none(now)
    if now is None:
        return None
    if now >= goal:
        return 0.0
    return (goal - now) / speed if speed else None


def show_epochs(console: Console, stage: str, done: int, total: int) -> None:
    """Show the epoch that a training in lanes has reached, in place on a terminal."""
    text = f"{stage}: epoch {done} of at most {total}"
    if console.is_terminal:
        console.print(text.ljust(console.width - 1), end="\r")
    elif done in (1, total) or done % 10 == 0:
        console.print(text)
