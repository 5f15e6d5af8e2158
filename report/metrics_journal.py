"""The metrics of a run: ``metrics.jsonl``, and the same numbers for trackers."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from autolossgen.files import parse_json, write_atomically

from .tracking import Trackers


class Journal:
    """The metrics of a search in its run folder, one entry a generation."""

    def __init__(self, workdir: Path, *, keep: int = 0, trackers: Trackers | None = None):
        """Opens the journal of a new or a resumed run.

        What a killed run wrote after its last checkpoint is dropped, because it is run again.

        Args:
          workdir: the run folder.
          keep: generation of the checkpoint; later entries are dropped.
          trackers: that are told each entry, too.
        """
        self.path = Path(workdir) / "metrics.jsonl"
        self.entries = [entry for entry in self._read() if entry["generation"] <= keep]
        self._trackers = trackers or Trackers()
        write_atomically(self.path, "".join(json.dumps(entry) + "\n" for entry in self.entries))
        self._is_open = False

    @property
    def last(self) -> dict[str, Any] | None:
        """The last entry, None if there is none."""
        return self.entries[-1] if self.entries else None

    def _read(self) -> list[dict[str, Any]]:
        lines = self.path.read_text(errors="replace").splitlines() if self.path.exists() else []
        entries = []
        for line in lines:
            try:
                entries.append(parse_json(line))
            except ValueError:
                break  # the run was killed while writing; the rest is run again
        return entries

    def write(self, entry: Mapping[str, Any]) -> None:
        """Appends the entry of a generation."""
        if not self._is_open:  # not before: of a search that is over trackers have all
            self._trackers.go_on(self.entries)
            self._is_open = True
        self.entries.append(dict(entry))
        with self.path.open("a") as file:
            file.write(json.dumps(entry) + "\n")
        self._trackers.log_generation(entry)
