"""TensorBoard: events in the folder of the run."""

from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

from .interface import flatten_settings

FLUSH_SECONDS = 10  # until a TensorBoard that watches the run sees a generation


class TensorBoard:
    """Events of TensorBoard: curves, formulas as text, and settings with the outcome (hparams)."""

    def __init__(self, folder: Path, config: Mapping[str, Any]):
        self._folder = folder
        self._settings = flatten_settings(config)
        self._forgets = False

    @cached_property
    def _writer(self) -> Any:
        """The writer, made for the first event."""
        from tensorboardX import SummaryWriter  # imports PyTorch where that is installed

        # Purging makes TensorBoard forget what earlier files say of these steps.
        purge = 1 if self._forgets else None
        return SummaryWriter(str(self._folder), purge_step=purge, flush_secs=FLUSH_SECONDS)

    def forget(self) -> bool:
        """Forgets all: events of a killed run may not have reached the file."""
        self._forgets = True
        return True

    def log_scalars(self, scalars: Mapping[str, float], step: int, axis: str) -> None:
        """Adds a point to curves; an axis is the step of each."""
        del axis
        for name, value in scalars.items():
            self._writer.add_scalar(name, value, step)

    def log_text(self, name: str, text: str, step: int) -> None:
        """Keeps a text, as code: TensorBoard reads Markdown."""
        self._writer.add_text(name, f"`{text}`", step)

    def log_outcome(self, outcome: Mapping[str, float]) -> None:
        """Writes the settings and the outcome into the page of hparams."""
        from tensorboardX.summary import hparams

        for summary in hparams(self._settings, dict(outcome)):
            self._writer.file_writer.add_summary(summary)
        self.log_scalars(outcome, step=1, axis="")

    def close(self, *, failed: bool) -> None:
        """Writes out the events that are still buffered."""
        del failed
        if "_writer" in vars(self):  # or nothing was logged
            self._writer.close()
