"""Flags of an experiment, among those that it passes on to ``run.py``."""

from collections.abc import Sequence
from pathlib import Path


def pop_flag(flags: Sequence[str], name: str) -> tuple[str | None, list[str]]:
    """Takes the one ``--name=VALUE`` from flags.

    Returns:
      The value, None if the flag is not given; and the other flags.

    Example:
      >>> pop_flag(["--hall=hall.csv", "--config.seed=1"], "hall")
      ('hall.csv', ['--config.seed=1'])
    """
    start = f"--{name}="
    values = [flag.removeprefix(start) for flag in flags if flag.startswith(start)]
    if len(values) > 1:
        raise SystemExit(f"expected one {start}... at most, got {len(values)}")
    others = [flag for flag in flags if not flag.startswith(start)]
    return (values[0] if values else None), others


def pop_json_flag(flags: Sequence[str]) -> tuple[Path, list[str]]:
    """Takes the one ``--json=FILE`` from flags; it must be given.

    Returns:
      The file, and the other flags.

    Example:
      >>> pop_json_flag(["--config.seed=1", "--json=figures.json"])
      (PosixPath('figures.json'), ['--config.seed=1'])
    """
    file, others = pop_flag(flags, "json")
    if file is None:
        raise SystemExit("expected a --json=FILE to write figures to")
    return Path(file), others


def pop_number_flag(flags: Sequence[str], name: str, default: int) -> tuple[int, list[str]]:
    """Takes the whole number above 1 of the one ``--name=NUMBER`` from flags.

    Returns:
      The number, the default if the flag is not given; and the other flags.

    Example:
      >>> pop_number_flag(["--population=8"], "population", 32)
      (8, [])
    """
    value, others = pop_flag(flags, name)
    if value is not None and not (value.isdecimal() and int(value) > 1):
        raise SystemExit(f"expected a whole number above 1 behind --{name}=, got {value!r}")
    return default if value is None else int(value), others
