"""Files that are written whole or not at all."""

import os
import secrets
from pathlib import Path

DRAFT_ENDING = ".new"


def write_atomically(path: Path, content: str | bytes) -> None:
    """Writes a file next to its place, then moves it there.

    Several processes may write the same path at once: each has a draft of its own, and the last one
    to finish wins.

    Raises:
      OSError: if it cannot be written; what was there before is still there.
    """
    draft = path.with_name(f"{path.name}.{secrets.token_hex(4)}{DRAFT_ENDING}")
    try:
        draft.write_bytes(content.encode() if isinstance(content, str) else content)
        os.replace(draft, path)
    except BaseException:
        draft.unlink(missing_ok=True)
        raise


def is_draft(file: Path, path: Path) -> bool:
    """Whether a file is what a process left that was killed while it wrote ``path``."""
    return file.name.startswith(f"{path.name}.") and file.name.endswith(DRAFT_ENDING)
