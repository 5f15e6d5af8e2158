"""The journal of a search: ``metrics.jsonl``, and the same numbers as TensorBoard events."""

import json
import os
from collections.abc import Mapping
from functools import cached_property
from numbers import Real
from pathlib import Path
from typing import Any

FLUSH_SECONDS = 10  # until a TensorBoard that watches the run sees a generation


class Journal:
    """Appends one entry a generation to a run folder."""

    def __init__(self, workdir: Path, *, keep: int = 0):
        """Open the journal and keep its entries up to generation ``keep``, that of a checkpoint.

        What a killed run wrote after its last checkpoint is dropped: it is run again. Its events
        may have been lost on their way to the file, so those of the kept entries are written anew.
        """
        self.path = Path(workdir) / "metrics.jsonl"
        self.entries = [entry for entry in self._read() if entry["generation"] <= keep]
        draft = self.path.with_suffix(".new")
        draft.write_text("".join(json.dumps(entry) + "\n" for entry in self.entries))
        os.replace(draft, self.path)
        for entry in self.entries:
            self._add_events(entry)

    @cached_property
    def events(self) -> Any:
        """The writer of TensorBoard's events, made for the first entry."""
        from tensorboardX import SummaryWriter  # imports PyTorch where that is installed

        # Purging makes TensorBoard forget what earlier files say of these steps.
        return SummaryWriter(str(self.path.parent), purge_step=1, flush_secs=FLUSH_SECONDS)

    @property
    def last(self) -> dict[str, Any] | None:
        """The last entry, if there is one."""
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
        """Append the entry of a generation; numbers in it become TensorBoard scalars."""
        self.entries.append(dict(entry))
        with self.path.open("a") as file:
            file.write(json.dumps(entry) + "\n")
        self._add_events(entry)

    def _add_events(self, entry: Mapping[str, Any]) -> None:
        flat = {**entry, **{f"funnel/{k}": v for k, v in entry.get("funnel", {}).items()}}
        for name, value in flat.items():
            if isinstance(value, Real) and name != "generation":
                self.events.add_scalar(name, value, entry["generation"])

    def close(self) -> None:
        """Write out what TensorBoard still waits for."""
        if "events" in vars(self):  # or no entry was written
            self.events.close()
