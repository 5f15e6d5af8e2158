"""What the console said, kept in a file of the run's folder."""

import io
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rich.console import Console, NewLine
from rich.control import Control


class LoggedConsole(Console):
    r"""A console whose lines also go to a log, as plain text.

    What is said before the log has a file comes first in it. Lines that the terminal draws over do
    not go there, and a quiet console still has a log.

    Example:
      >>> import tempfile
      >>> console = LoggedConsole(quiet=True)
      >>> console.print("reading")
      >>> with tempfile.TemporaryDirectory() as folder:
      ...     with console.keep_log(Path(folder) / "run.log"):
      ...         console.print("searching")
      ...     (Path(folder) / "run.log").read_text()
      'reading\nsearching\n'
    """

    def __init__(self, **options: Any):
        super().__init__(**options)
        # As wide as the console, for tables.
        self._log = Console(
            file=io.StringIO(),
            width=self.width,
            highlight=False,
            no_color=True,
            force_terminal=False,
            force_jupyter=False,  # a notebook would show it, too
        )

    def print(self, *objects: Any, **keywords: Any) -> None:
        """Prints on the console, and in the log."""
        super().print(*objects, **keywords)
        moves = any(isinstance(one, Control | NewLine) for one in objects)  # of what is live
        if not moves and keywords.get("end") != "\r":
            self._log.print(*objects, **keywords)

    @contextmanager
    def keep_log(self, path: Path) -> Iterator[None]:
        """Keeps the log in a file, at whose end it begins; an error is its last line."""
        said = self._log.file
        with path.open("a", encoding="utf-8", buffering=1) as file:
            file.write(said.getvalue() if isinstance(said, io.StringIO) else "")
            self._log.file = file
            try:
                yield
            except BaseException as error:
                self._log.print(str(error) or type(error).__name__, markup=False, soft_wrap=True)
                raise
            finally:
                self._log.file = io.StringIO()
