"""The folder of a run: whose it is, and how files get into it."""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any


def claim(workdir: Path, config: Mapping[str, Any]) -> None:
    """Make the folder of a run, or see that it is the folder of the same run.

    Raises:
      ValueError: if it holds a run of another config.
    """
    path = workdir / "config.json"
    wanted = json.loads(json.dumps(config))
    if path.exists():
        there = json.loads(path.read_text())
        if there != wanted:
            raise ValueError(
                f"{workdir} holds the run of another config ({_difference(there, wanted)}); "
                "choose another --workdir, or remove that folder"
            )
        return
    if workdir.exists() and any(workdir.iterdir()):
        raise ValueError(f"{workdir} is not empty and holds no run; choose another --workdir")
    workdir.mkdir(parents=True, exist_ok=True)
    write(path, json.dumps(wanted, indent=2))


def _difference(there: Any, wanted: Any, prefix: str = "") -> str:
    for key in sorted({*there, *wanted}):
        a, b = there.get(key), wanted.get(key)
        if isinstance(a, dict) and isinstance(b, dict) and a != b:
            return _difference(a, b, f"{prefix}{key}.")
        if a != b:
            return f"{prefix}{key} is {a!r} there and {b!r} here"
    return ""


def write(path: Path, text: str) -> None:
    """Write a file whole or not at all."""
    draft = path.with_name(path.name + ".new")
    draft.write_text(text, encoding="utf-8")
    os.replace(draft, path)
