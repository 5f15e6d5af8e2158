"""The metrics of a run: ``metrics.jsonl``, and the same numbers as TensorBoard events."""

import json
from collections.abc import Mapping
from functools import cached_property
from numbers import Real
from pathlib import Path
from typing import Any

from autolossgen.files import write_atomically

FLUSH_SECONDS = 10  # until a TensorBoard that watches the run sees a generation


class Journal:
    """The metrics of a search in its run folder, one entry a generation."""

    def __init__(self, workdir: Path, *, keep: int = 0):
        """Opens the journal of a new or a resumed run.

        What a killed run wrote after its last checkpoint is dropped, because it is run again. Its
        events may not have reached the file, so those of the kept entries are written again.

        Args:
          workdir: the run folder.
          keep: generation of the checkpoint; later entries are dropped.
        """
        self.path = Path(workdir) / "metrics.jsonl"
        self.entries = [entry for entry in self._read() if entry["generation"] <= keep]
        write_atomically(self.path, "".join(json.dumps(entry) + "\n" for entry in self.entries))
        for entry in self.entries:
            self._add_events(entry)

    @cached_property
    def events(self) -> Any:
        """Writer of TensorBoard events, made for the first entry."""
        from tensorboardX import SummaryWriter  # imports PyTorch where that is installed

        # Purging makes TensorBoard forget what earlier files say of these steps.
        return SummaryWriter(str(self.path.parent), purge_step=1, flush_secs=FLUSH_SECONDS)

    @property
    def last(self) -> dict[str, Any] | None:
        """The last entry, None if there is none."""
        return self.entries[-1] if self.entries else None

    def _read(self) -> list[dict[str, Any]]:
        lines = self.path.read_text().splitlines() if self.path.exists() else []
        entries = []
        for line in lines:
            try:
                entries.append(json.loads(line))
            except json.JSONDecodeError:
                break  # the run was killed while writing; the rest is run again
        return entries

    def write(self, entry: Mapping[str, Any]) -> None:
        """Appends the entry of a generation; numbers in it become TensorBoard scalars."""
        self.entries.append(dict(entry))
        with self.path.open("a") as file:
            file.write(json.dumps(entry) + "\n")
        self._add_events(entry)

    def _add_events(self, entry: Mapping[str, Any]) -> None:
        funnel = entry.get("funnel", {})
        flat = {**entry, **{f"funnel/{stage}": count for stage, count in funnel.items()}}
        for name, value in flat.items():
            if isinstance(value, Real) and name != "generation":
                self.events.add_scalar(name, value, entry["generation"])

    def close(self) -> None:
        """Writes out the events that are still buffered."""
        if "events" in vars(self):  # or no entry was written
            self.events.close()
