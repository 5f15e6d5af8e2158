"""The folder of a run: whose it is, and whether the same command may go on there."""

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from autolossgen.configs.old_keys import update_keys
from autolossgen.files import is_draft, parse_json, remove_drafts, write_atomically

OWN_DATA = "interactions.parquet"
"""A frame that was given in Python, which is kept where the run is."""
DATA_FILE = "data.json"  # the fingerprint of the data
LOCK = "run.lock"


def check_workdir(
    workdir: Path, config: Mapping[str, Any], *, open_keys: Sequence[str] = ()
) -> None:
    """Checks that the folder of a run is free, or holds the same run; changes nothing.

    A finished run of version 0.1 is the same if its keys, by their new names, have the same values.

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
        if workdir.exists() and not all(_is_harmless(file, path) for file in workdir.iterdir()):
            raise ValueError(f"{workdir} is not empty and holds no run; choose another --workdir")
        return
    as_written = _read_config(path)
    saved, wanted = update_keys(as_written), json.loads(json.dumps(config))
    if difference := _difference(_replace_keys(saved, wanted, open_keys), wanted):
        raise ValueError(
            f"{workdir} holds the run of another config ({difference}); choose another --workdir, "
            "or remove that folder"
        )
    results = workdir / "results.json"
    if saved != as_written and not results.exists():
        raise ValueError(
            f"{workdir} holds an unfinished run of version 0.1, whose checkpoints this version "
            "cannot read; choose another --workdir, or remove that folder"
        )
    if results.exists() and (difference := _difference(saved, wanted)):
        raise ValueError(
            f"{workdir} holds this run, finished ({difference}); choose another --workdir, or "
            f"remove {results}, and the run goes on with what is asked for now"
        )


def _is_harmless(file: Path, path: Path) -> bool:
    """Whether a file may be in a folder that holds no run; ``path`` is that of its config."""
    return file.name.startswith(OWN_DATA) or file.name == LOCK or is_draft(file, path)


@contextmanager
def hold_workdir(workdir: Path) -> Iterator[None]:
    """Holds the folder of a run, which is made if need be: nobody else writes there meanwhile.

    The system lets go of it when the process ends, however it ends.

    Raises:
      ValueError: if another run holds it, or it cannot be written to.
    """
    lock = FileLock(workdir / LOCK)
    try:
        workdir.mkdir(parents=True, exist_ok=True)
        lock.acquire(blocking=False)
    except Timeout:
        raise ValueError(
            f"{workdir} is in use: another run writes there. Wait for its end, stop it, or choose "
            "another --workdir"
        ) from None
    except OSError as error:
        raise _cannot_write(workdir, error) from None
    with lock:
        remove_drafts(workdir)
        yield


def check_not_held(workdir: Path) -> None:
    """Checks that no other run writes in the folder of a run; see ``hold_workdir``."""
    if (workdir / LOCK).exists():
        with hold_workdir(workdir):
            return


def _cannot_write(workdir: Path, error: OSError) -> ValueError:
    why = error.strerror or error
    return ValueError(f"{workdir} cannot be written to ({why}); choose another --workdir")


def check_data(workdir: Path, data: Mapping[str, Any]) -> None:
    """Checks that a run goes on with the data that it began with.

    Args:
      workdir: the folder of the run, or none yet.
      data: the fingerprint of its data, or those of the cells of a transfer, by their names.

    Raises:
      ValueError: if the folder keeps the fingerprint of other data, with what differs.
    """
    saved, wanted = _read_data(workdir), json.loads(json.dumps(data))
    known = {key: wanted[key] for key in saved if key in wanted}  # a cell may be new
    if differences := _data_differences({key: saved[key] for key in known}, known):
        raise ValueError(
            f"{workdir} holds a run that began with other data ({'; '.join(differences)}): its "
            f"losses would be rewarded by both. Bring back the data as they were, or choose "
            f"another --workdir"
        )


def claim_workdir(
    workdir: Path,
    config: Mapping[str, Any],
    *,
    data: Mapping[str, Any],
    open_keys: Sequence[str] = (),
) -> None:
    """Makes the folder of a run, so that no other config or data get into it.

    Raises:
      ValueError: as ``check_workdir`` and ``check_data``, or if files cannot be written there.
    """
    check_workdir(workdir, config, open_keys=open_keys)
    check_data(workdir, data)
    known = {**_read_data(workdir), **data}
    try:
        workdir.mkdir(parents=True, exist_ok=True)
        # Also where it exists already: a run that goes on has to write, too.
        write_atomically(workdir / "config.json", json.dumps(config, indent=2))
        write_atomically(workdir / DATA_FILE, json.dumps(known, indent=2))
    except OSError as error:
        raise _cannot_write(workdir, error) from error


def read_results(workdir: Path) -> dict[str, Any]:
    """Returns the results of a finished run.

    Raises:
      ValueError: if they are damaged, with what to do.
    """
    path = workdir / "results.json"
    try:
        return parse_json(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path} cannot be read: {error}. Remove it to test again") from error


def _read_config(path: Path) -> dict[str, Any]:
    try:
        config = parse_json(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path} cannot be read ({error}); choose another --workdir") from None
    if not isinstance(config, dict):
        raise ValueError(f"{path} is not the config of a run; choose another --workdir")
    return config


def _read_data(workdir: Path) -> dict[str, Any]:
    """Returns the fingerprint that a folder keeps; none of a run that has not kept it yet."""
    path = workdir / DATA_FILE
    if not path.exists():
        return {}
    try:
        data = parse_json(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(
            f"{path} cannot be read ({error}). Remove it if the data are as they were"
        ) from None
    if not isinstance(data, dict):
        raise ValueError(f"{path} is not what a run keeps. Remove it if the data are as they were")
    return data


def _data_differences(
    saved: Mapping[str, Any], wanted: Mapping[str, Any], prefix: str = ""
) -> list[str]:
    """Returns what differs between two fingerprints, in words."""
    differences = []
    for key in wanted:
        there, here = saved.get(key), wanted[key]
        if there == here:
            continue
        if key == "digests" and isinstance(there, dict):
            names = [name for name in {**there, **here} if there.get(name) != here.get(name)]
            differences.append(f"{prefix}other values of {', '.join(names)}")
        elif isinstance(here, dict):
            inner = there if isinstance(there, dict) else {}
            differences += _data_differences(inner, here, f"{prefix}{key}: ")
        else:
            differences.append(f"{prefix}{key}: {there} there and {here} here")
    return differences


def _replace_keys(
    config: dict[str, Any], other: dict[str, Any], keys: Sequence[str]
) -> dict[str, Any]:
    """Returns a config with the values of another one at ``key`` or ``section.key``."""
    replaced = dict(config)
    for first, _, name in (key.partition(".") for key in keys):
        values, new_values = replaced.get(first), other.get(first)
        if not name and first in other:
            replaced[first] = new_values
        elif isinstance(values, dict) and isinstance(new_values, dict) and name in new_values:
            replaced[first] = {**values, name: new_values[name]}
    return replaced


def _difference(saved: Any, wanted: Any, prefix: str = "") -> str:
    """Returns the first key whose values differ, with both, or ""."""
    for key in sorted({*saved, *wanted}):
        a, b = saved.get(key), wanted.get(key)
        if isinstance(a, dict) and isinstance(b, dict) and a != b:
            return _difference(a, b, f"{prefix}{key}.")
        if a != b:
            return f"{prefix}{key} is {a!r} there and {b!r} here"
    return ""
