"""Progress of promotion, tuning, test and what else trains for a number of epochs."""

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from types import TracebackType
from typing import NamedTuple, Self

from rich.console import Console

from autolossgen.interfaces import ProgressFn, ignore_progress

from ..formatting import format_duration, to_one_line
from .line import INTERVAL, ProgressLine

_STANDINGS = 3  # losses that are named


class _Part(NamedTuple):
    """The loss that is tested, of all that are."""

    name: str
    number: int  # from 0
    parts: int


_WHOLE = _Part(name="", number=0, parts=1)


class PhaseProgress:
    """A line with the stage, its epochs, the time left and the losses that are best so far.

    It is called as ``autolossgen.interfaces.ProgressFn`` says, inside a ``with`` statement. Where
    losses are tested one after the other, the time left is that of all: ``part`` says which.
    """

    def __init__(
        self,
        console: Console,
        *,
        interval: float = INTERVAL,
        clock: Callable[[], float] = time.monotonic,
    ):
        self._line = ProgressLine(console, interval=interval, clock=clock)
        self._clock = clock
        self._stage: str | None = None
        self._part = _WHOLE
        self._best: dict[str, dict[str, float]] = {}  # stage -> loss -> best reward
        self._start: tuple[float, float] | None = None  # time and parts done that speed is since
        self._follower: ProgressFn = ignore_progress

    def __enter__(self) -> Self:
        """Begins a phase, of which nothing is known yet."""
        self._best, self._start, self._part = {}, None, _WHOLE
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Leaves the last state on the screen, also after an interrupt."""
        self._end_stage()

    @contextmanager
    def followed_by(self, follower: ProgressFn) -> Iterator[None]:
        """Tells someone else what it is told, too, such as a tracker."""
        self._follower = follower
        try:
            yield
        finally:
            self._follower = ignore_progress

    @contextmanager
    def part(self, name: str, number: int, parts: int) -> Iterator[None]:
        """Shows what one loss does, the one of this number of so many that take turns."""
        self._part = _Part(name=name, number=number, parts=parts)
        try:
            yield
        finally:
            self._end_stage()

    def __call__(self, stage: str, done: int, total: int, scores: Mapping[str, float]) -> None:
        """Shows how far a stage is."""
        self._follower(stage, done, total, scores)
        if stage != self._stage:
            self._begin_stage(stage)
        best = self._best.setdefault(stage, {})
        for name, score in scores.items():
            best[name] = max(score, best.get(name, score))
        if not done:
            return
        self._line.show(self._describe(stage, done, total))
        if self._start is None:  # what comes before also compiles
            self._start = self._clock(), done / total

    def _begin_stage(self, stage: str) -> None:
        self._end_stage()
        if self._part == _WHOLE:
            self._start = None
        elif self._start is None:  # not before: finished losses take no time
            self._start = self._clock(), self._part.number
        self._stage = stage
        self._line.start(f"{self._name(stage)}  compiling")

    def _end_stage(self) -> None:
        if self._stage is not None:
            self._line.stop(leave=self._part == _WHOLE)
            self._stage = None

    def _name(self, stage: str) -> str:
        name, number, parts = self._part
        return f"{stage} of {name}, {number + 1}/{parts}" if name else stage

    def _describe(self, stage: str, done: int, total: int) -> str:
        line = f"{self._name(stage)}  epoch {done:,}/{total:,}"
        left = self._estimate_left(done / total)
        if left is not None:
            line += f"  at most {format_duration(left)} left"
        width, joint = self._line.width, "  best "
        ordered = sorted(self._best[stage].items(), key=lambda item: -item[1])
        for name, score in ordered[:_STANDINGS]:
            entry = f"{joint}{to_one_line(name)} {score:.4f}"
            if len(line) + len(entry) > width:
                break
            line, joint = line + entry, ", "
        return line[:width]

    def _estimate_left(self, share: float) -> float | None:
        """Returns the seconds until all parts are done, if the rest is as fast as what is."""
        if self._start is None:
            return None
        since, first = self._start
        done = self._part.number + share
        if done <= first:
            return None
        return (self._clock() - since) * (self._part.parts - done) / (done - first)
