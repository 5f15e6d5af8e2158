"""The folder of a run: whose it is, and how files get into it."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from autolossgen.files import is_draft, write_atomically


def check_workdir(
    workdir: Path, config: Mapping[str, Any], *, open_keys: Sequence[str] = ()
) -> None:
    """See that the folder of a run is free, or that of the same run; change nothing.

    Args:
      workdir: the folder.
      config: of the run.
      open_keys: what may differ, as ``section.key``, while the run has no results.

    Raises:
      ValueError: if it holds a run of another config, or one with results that differs in
        ``open_keys``, or something else, or is no folder.
    """
    path = workdir / "config.json"
    if workdir.exists() and not workdir.is_dir():
        raise ValueError(f"{workdir} is not a folder; choose another --workdir")
    if not path.exists():
        # A run that was killed while it claimed the folder leaves a draft.
        if workdir.exists() and not all(is_draft(file, path) for file in workdir.iterdir()):
            raise ValueError(f"{workdir} is not empty and holds no run; choose another --workdir")
        return
    try:
        there = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path} cannot be read ({error}); choose another --workdir") from None
    if not isinstance(there, dict):
        raise ValueError(f"{path} is not the config of a run; choose another --workdir")
    wanted = json.loads(json.dumps(config))
    if difference := _difference(_with(there, wanted, open_keys), wanted):
        raise ValueError(
            f"{workdir} holds the run of another config ({difference}); choose another --workdir, "
            "or remove that folder"
        )
    results = workdir / "results.json"
    if results.exists() and (difference := _difference(there, wanted)):
        raise ValueError(
            f"{workdir} holds this run, finished ({difference}); choose another --workdir, or "
            f"remove {results}, and the run goes on with what is asked for now"
        )


def claim_workdir(
    workdir: Path, config: Mapping[str, Any], *, open_keys: Sequence[str] = ()
) -> None:
    """Make the folder of a run, so that no other config gets into it; see ``check_workdir``.

    Raises:
      ValueError: as ``check_workdir``, or if files cannot be written there.
    """
    check_workdir(workdir, config, open_keys=open_keys)
    try:
        workdir.mkdir(parents=True, exist_ok=True)
        # Also where it is there already: a run that goes on has to write, too.
        write_atomically(workdir / "config.json", json.dumps(config, indent=2))
    except OSError as error:
        why = error.strerror or error
        raise ValueError(
            f"{workdir} cannot be written to ({why}); choose another --workdir"
        ) from None


def _with(there: dict[str, Any], other: dict[str, Any], keys: Sequence[str]) -> dict[str, Any]:
    """Give a config with what another one has at ``section.key``."""
    changed = there
    for section, name in (key.split(".") for key in keys):
        mine, theirs = changed.get(section), other.get(section)
        if isinstance(mine, dict) and isinstance(theirs, dict) and name in theirs:
            changed = {**changed, section: {**mine, name: theirs[name]}}
    return changed


def _difference(there: Any, wanted: Any, prefix: str = "") -> str:
    for key in sorted({*there, *wanted}):
        a, b = there.get(key), wanted.get(key)
        if isinstance(a, dict) and isinstance(b, dict) and a != b:
            return _difference(a, b, f"{prefix}{key}.")
        if a != b:
            return f"{prefix}{key} is {a!r} there and {b!r} here"
    return ""


def read_results(workdir: Path) -> dict[str, Any]:
    """The results of a finished run; ValueError, with what to do, where they are damaged."""
    path = workdir / "results.json"
    try:
        return json.loads(path.read_text())
    except ValueError as error:
        raise ValueError(f"{path} cannot be read: {error}. Remove it to test anew") from error
