"""How long the phases of a run take."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager


class PhaseTimes:
    """The seconds of each phase, in this process.

    Example:
      >>> times = PhaseTimes(clock=iter([3.0, 5.5]).__next__)
      >>> with times.measure("test"):
      ...     pass
      >>> times.seconds
      {'test': 2.5}
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic):
        self.seconds: dict[str, float] = {}
        self._clock = clock

    @contextmanager
    def measure(self, phase: str) -> Iterator[None]:
        """Measures a phase."""
        start = self._clock()
        yield
        self.seconds[phase] = self._clock() - start
