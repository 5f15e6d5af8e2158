"""What a tracker does: the one interface that all of them have."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Protocol

from autolossgen.files import write_atomically

Hyper = str | int | float | bool
IDS_FILE = "trackers.json"
"""Keeps, in the folder of a run, what trackers call it, so that a run that goes on is one there."""


class Tracker(Protocol):
    """Keeps numbers and texts of a run, as curves over steps."""

    def forget(self) -> bool:
        """Forgets what was logged before, if it may have holes, as a search goes on from there.

        Returns:
          Whether it did, so that generations have to be logged again.
        """

    def log_scalars(self, scalars: Mapping[str, float], step: int, axis: str) -> None:
        """Adds a point to curves.

        Args:
          scalars: name of each curve -> its value.
          step: where on the axis.
          axis: what steps count, such as generations.
        """

    def log_text(self, name: str, text: str, step: int) -> None:
        """Keeps a text, such as a formula."""

    def log_outcome(self, outcome: Mapping[str, float]) -> None:
        """Keeps what a finished run is compared by with runs of other settings."""

    def close(self, *, failed: bool) -> None:
        """Writes out what is still buffered.

        Args:
          failed: whether the run has not come to its end.
        """


def flatten_settings(config: Mapping[str, Any]) -> dict[str, Hyper]:
    """Returns the settings of a run by key, as numbers, words and booleans.

    Example:
      >>> flatten_settings({"seed": 0, "test": {"rates": (0.1, 1), "scale": None}})
      {'seed': 0, 'test.rates': '(0.1, 1)', 'test.scale': 'None'}
    """
    return dict(_flatten(config, ""))


def _flatten(config: Mapping[str, Any], prefix: str) -> Iterator[tuple[str, Hyper]]:
    for name, value in config.items():
        if isinstance(value, Mapping):
            yield from _flatten(value, f"{prefix}{name}.")
        else:
            plain = isinstance(value, str | int | float | bool)
            yield f"{prefix}{name}", value if plain else str(value)


def read_id(folder: Path, tracker: str) -> str | None:
    """Returns what a tracker calls the run of a folder; None for a new one."""
    path = folder / IDS_FILE
    return json.loads(path.read_text()).get(tracker) if path.exists() else None


def keep_id(folder: Path, tracker: str, run_id: str) -> None:
    """Keeps what a tracker calls the run of a folder."""
    path = folder / IDS_FILE
    known = json.loads(path.read_text()) if path.exists() else {}
    write_atomically(path, json.dumps({**known, tracker: run_id}))
