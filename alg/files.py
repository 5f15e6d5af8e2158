"""Files that are written whole or not at all."""

import os
from pathlib import Path


def write_atomically(path: Path, content: str | bytes) -> None:
    """Writes a file next to its place, then moves it there.

    Raises:
      OSError: if it cannot be written; what was there before is still there.
    """
    draft = draft_path(path)
    draft.write_bytes(content.encode() if isinstance(content, str) else content)
    os.replace(draft, path)


def draft_path(path: Path) -> Path:
    """Returns where ``write_atomically`` writes before it moves the file to ``path``."""
    return path.with_name(path.name + ".new")
