"""The folder of a run: whose it is, and how files get into it."""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any


def check(workdir: Path, config: Mapping[str, Any]) -> None:
    """See that the folder of a run is free, or that of the same run; change nothing.

    Raises:
      ValueError: if it holds a run of another config, or something else.
    """
    path = workdir / "config.json"
    if not path.exists():
        if workdir.exists() and any(workdir.iterdir()):
            raise ValueError(f"{workdir} is not empty and holds no run; choose another --workdir")
        return
    try:
        there = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path} cannot be read ({error}); choose another --workdir") from None
    wanted = json.loads(json.dumps(config))
    if there != wanted:
        raise ValueError(
            f"{workdir} holds the run of another config ({_difference(there, wanted)}); "
            "choose another --workdir, or remove that folder"
        )


def claim(workdir: Path, config: Mapping[str, Any]) -> None:
    """Make the folder of a run, so that no other config gets into it.

    Raises:
      ValueError: as ``check``.
    """
    check(workdir, config)
    workdir.mkdir(parents=True, exist_ok=True)
    if not (workdir / "config.json").exists():
        write(workdir / "config.json", json.dumps(config, indent=2))


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
