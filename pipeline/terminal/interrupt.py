"""Ctrl-C while a search runs."""

import signal
import threading
from collections.abc import Callable
from types import FrameType


class Interrupt:
    """Notes the first Ctrl-C in ``asked`` while it is open; the second one stops at once.

    Outside the main thread, which alone is told of Ctrl-C, it notes none.

    Args:
      notify: called at the first Ctrl-C, while a generation goes on.

    Example:
      >>> with Interrupt(lambda: print("noted")) as interrupt:
      ...     interrupt.asked
      ...     signal.raise_signal(signal.SIGINT)
      ...     interrupt.asked
      False
      noted
      True
    """

    def __init__(self, notify: Callable[[], None]):
        self.notify = notify
        self.asked = False
        self.listens = threading.current_thread() is threading.main_thread()

    def __enter__(self) -> "Interrupt":
        """Takes Ctrl-C over."""
        self.asked = False
        if self.listens:
            self.previous = signal.signal(signal.SIGINT, self._note)
        return self

    def _note(self, number: int, frame: FrameType | None) -> None:
        self.asked = True
        signal.signal(signal.SIGINT, self.previous)
        self.notify()

    def __exit__(self, *error: object) -> None:
        """Hands Ctrl-C back."""
        if self.listens:
            signal.signal(signal.SIGINT, self.previous)
