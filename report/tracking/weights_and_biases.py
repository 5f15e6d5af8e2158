"""Weights & Biases: a run of the project ``autolossgen``. Needs the extra ``wandb``."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from .interface import flatten_settings, keep_id, read_id

PROJECT = "autolossgen"


class WeightsAndBiases:
    """A run of Weights & Biases; its own environment variables say where, and whether offline."""

    def __init__(self, folder: Path, config: Mapping[str, Any]):
        import wandb

        known = read_id(folder, "wandb")
        self._run = wandb.init(
            project=os.environ.get("WANDB_PROJECT", PROJECT),
            name=folder.name,
            id=known,
            resume="allow" if known else None,
            dir=str(folder),
            config=flatten_settings(config),
            reinit="create_new",
            settings=wandb.Settings(console="off"),  # run.log has what the console says
        )
        self._axes: set[str] = set()
        keep_id(folder, "wandb", self._run.id)

    def forget(self) -> bool:
        """Forgets nothing: what was logged is there."""
        return False

    def log_scalars(self, scalars: Mapping[str, float], step: int, axis: str) -> None:
        """Adds a point to curves, each of which has its own axis."""
        for name in scalars.keys() - self._axes:
            self._run.define_metric(name, step_metric=axis)
            self._axes.add(name)
        self._run.log({**scalars, axis: step})

    def log_text(self, name: str, text: str, step: int) -> None:
        """Keeps the text in the summary, where the last one stands."""
        del step
        self._run.summary[name] = text

    def log_outcome(self, outcome: Mapping[str, float]) -> None:
        """Keeps the outcome in the summary, by which runs are sorted."""
        self._run.summary.update(dict(outcome))

    def close(self, *, failed: bool) -> None:
        """Ends the run."""
        self._run.finish(exit_code=int(failed))
