"""Ctrl-C while a search runs."""

import signal


class Interrupt:
    """While it is open, the first Ctrl-C is noted in ``asked``, and the second stops at once.

    Example:
        >>> with Interrupt() as interrupt:
        ...     interrupt.asked
        False
    """

    def __enter__(self):
        """Take Ctrl-C over."""
        self.asked = False
        self.previous = signal.signal(signal.SIGINT, self._note)
        return self

    def _note(self, number, frame):
        self.asked = True
        signal.signal(signal.SIGINT, self.previous)

    def __exit__(self, *error):
        """Give Ctrl-C back."""
        signal.signal(signal.SIGINT, self.previous)
