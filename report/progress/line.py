"""The line that shows progress, wherever it is read: terminal, notebook, pipe or file."""

import time
from collections.abc import Callable

from rich.console import Console, RenderableType
from rich.live import Live
from rich.text import Text

from ..formatting import to_one_line

PLAIN_WIDTH = 160
"""Characters of a plain line at most: a file has no width."""
INTERVAL = 5.0
"""Seconds between two plain lines, at least."""


class ProgressLine:
    """A line about something that goes on, in place in a terminal.

    Elsewhere the first and the last state are printed, and in between one at most every few
    seconds, without escape codes. The last state stays on the screen as a line, which a log of the
    console has, too.
    """

    def __init__(
        self,
        console: Console,
        *,
        interval: float = INTERVAL,
        clock: Callable[[], float] = time.monotonic,
    ):
        self.console = console
        self.is_live = console.is_terminal and not console.is_dumb_terminal
        self._interval = interval
        self._clock = clock
        self._live: Live | None = None
        self._shown: RenderableType = ""
        self._printed_at: float | None = None
        self._unprinted: str | None = None

    @property
    def width(self) -> int:
        """Characters that a line may have."""
        return self.console.width - 1 if self.is_live else PLAIN_WIDTH

    def start(self, text: str) -> None:
        """Begins with a line that is shown at once, for what follows may take a while."""
        self._printed_at = self._unprinted = None
        if self.is_live:
            self._live = Live(console=self.console, auto_refresh=False, transient=True)
            self._live.start()
            self.show(text)
        else:
            self._print(text)

    def show(self, plain: str, drawn: RenderableType | None = None) -> None:
        """Shows a state: as ``drawn`` in a terminal, if that differs."""
        if self._live is not None:
            self._shown = self._to_text(plain, cut=True) if drawn is None else drawn
            self._live.update(self._shown, refresh=True)
            return
        now = self._clock()
        self._unprinted = plain
        if self._printed_at is None or now - self._printed_at >= self._interval:
            self._printed_at = now
            self._print_last()

    def stop(self, *, leave: bool = True) -> None:
        """Ends the line, also after an interrupt.

        Args:
          leave: whether its last state stays on the screen.
        """
        if self._live is not None:
            self._live.stop()
            self._live = None
            if leave:
                self.console.print(self._shown)
        elif leave:
            self._print_last()

    def _print_last(self) -> None:
        if self._unprinted is not None:
            self._print(self._unprinted)
            self._unprinted = None

    def _print(self, line: str) -> None:
        # Soft wrap: a broken line is hard to grep.
        self.console.print(self._to_text(line), soft_wrap=True)

    def _to_text(self, line: str, *, cut: bool = False) -> Text:
        line = to_one_line(line, ascii_only=self.console.options.ascii_only)
        return Text(line[: self.width] if cut else line)
