"""Ctrl-C and SIGTERM while a run goes on: the first ends it well, the second at once."""

import os
import signal
import threading
from collections.abc import Callable
from types import FrameType
from typing import Any

SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Stopped(Exception):
    """The user asked to stop; all that is finished is kept."""

    def __init__(self, where: str):
        """Says after what the run stopped, and how it goes on."""
        super().__init__(f"stopped {where}; the same command goes on")


class Interrupt:
    """Takes Ctrl-C and SIGTERM over while it is open.

    Until ``wait`` is called each is a ``KeyboardInterrupt`` at once. Then the first one is noted in
    ``asked``, for who can stop well; the second one is a ``KeyboardInterrupt``, or ends the process
    if ``exits``: Python itself notices a signal only between two calls, and a call that trains may
    take minutes.

    Outside the main thread, which alone is told of signals, it notes none.

    Args:
      notify: called at the first signal, with the signal.
      exits: whether the second signal ends the process.

    Example:
      >>> with Interrupt(lambda number: print("noted")) as interrupt:
      ...     interrupt.wait()
      ...     interrupt.asked
      ...     signal.raise_signal(signal.SIGINT)
      ...     interrupt.asked
      False
      noted
      True
    """

    def __init__(self, notify: Callable[[int], None], *, exits: bool = False):
        self.notify, self.exits = notify, exits
        self.asked = self.waits = False
        self.number = signal.SIGINT  # of the last signal
        self.listens = threading.current_thread() is threading.main_thread()

    def __enter__(self) -> "Interrupt":
        """Takes the signals over."""
        if self.listens:
            self.previous = {number: signal.signal(number, self._note) for number in SIGNALS}
        return self

    def wait(self) -> None:
        """Notes the first signal from now on, instead of raising."""
        self.waits = True
        if self.listens and self.exits:
            self.pipe = os.pipe()
            os.set_blocking(self.pipe[1], False)
            signal.set_wakeup_fd(self.pipe[1], warn_on_full_buffer=False)
            threading.Thread(target=self._watch, daemon=True).start()

    def _note(self, number: int, frame: FrameType | None) -> None:
        self.number = signal.Signals(number)
        if not self.waits or self.asked:
            raise KeyboardInterrupt
        self.asked = True
        if not self.exits:
            self.notify(number)

    def _watch(self) -> None:
        """Reads the number of each signal as it comes, also while the main thread computes."""
        seen = 0
        while number := os.read(self.pipe[0], 1):
            if number[0] not in SIGNALS:
                continue
            seen += 1
            if seen > 1:
                os._exit(128 + number[0])  # files are whole at any time
            self.notify(number[0])

    def __exit__(self, *error: Any) -> None:
        """Hands the signals back."""
        if not self.listens:
            return
        if self.waits and self.exits:
            signal.set_wakeup_fd(-1)
            os.close(self.pipe[1])  # ends the thread, which reads the other end
        for number, handler in self.previous.items():
            signal.signal(number, handler)
