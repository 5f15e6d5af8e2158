"""Ctrl-C while a search runs."""

import signal
from collections.abc import Callable


class Interrupt:
    """While it is open, the first Ctrl-C is noted in ``asked``, and the second stops at once.

    Example:
        >>> with Interrupt(lambda: print("noted")) as interrupt:
        ...     interrupt.asked
        ...     signal.raise_signal(signal.SIGINT)
        ...     interrupt.asked
        False
        noted
        True
    """

    def __init__(self, tell: Callable[[], None]):
        """``tell`` is called at the first Ctrl-C, while a generation goes on."""
        self.tell = tell

    def __enter__(self):
        """Take Ctrl-C over."""
        self.asked = False
        self.previous = signal.signal(signal.SIGINT, self._note)
        return self

    def _note(self, number, frame):
        self.asked = True
        signal.signal(signal.SIGINT, self.previous)
        self.tell()

    def __exit__(self, *error):
        """Give Ctrl-C back."""
        signal.signal(signal.SIGINT, self.previous)
