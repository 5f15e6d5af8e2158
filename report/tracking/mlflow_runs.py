"""MLflow: a run of the experiment ``autolossgen``. Needs the extra ``mlflow``."""

import os
import re
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from .interface import flatten_settings, keep_id, read_id

EXPERIMENT = "autolossgen"
MAX_SETTINGS = 100  # that MLflow takes at once


class MLflow:
    """A run of MLflow; its own environment variables say where."""

    def __init__(self, folder: Path, config: Mapping[str, Any]):
        from mlflow import MlflowClient
        from mlflow.entities import Metric, Param

        self._client, self._metric = MlflowClient(), Metric
        known = read_id(folder, "mlflow")
        if known:
            self._run_id = known
            self._client.update_run(known, status="RUNNING")
            return
        name = os.environ.get("MLFLOW_EXPERIMENT_NAME", EXPERIMENT)
        experiment = self._client.get_experiment_by_name(name)
        number = experiment.experiment_id if experiment else self._client.create_experiment(name)
        self._run_id = self._client.create_run(number, run_name=folder.name).info.run_id
        settings = [Param(key, str(value)) for key, value in flatten_settings(config).items()]
        for first in range(0, len(settings), MAX_SETTINGS):
            self._client.log_batch(self._run_id, params=settings[first : first + MAX_SETTINGS])
        keep_id(folder, "mlflow", self._run_id)

    def forget(self) -> bool:
        """Forgets nothing: what was logged is there."""
        return False

    def log_scalars(self, scalars: Mapping[str, float], step: int, axis: str) -> None:
        """Adds a point to curves; an axis is the step of each."""
        del axis
        now = int(1000 * time.time())
        metrics = [self._metric(_clean(name), x, now, step) for name, x in scalars.items()]
        self._client.log_batch(self._run_id, metrics=metrics)

    def log_text(self, name: str, text: str, step: int) -> None:
        """Keeps the text as a tag, of which the last one stands."""
        del step
        self._client.set_tag(self._run_id, _clean(name), text)

    def log_outcome(self, outcome: Mapping[str, float]) -> None:
        """Keeps the outcome as metrics, by which runs are sorted."""
        self.log_scalars(outcome, step=0, axis="")

    def close(self, *, failed: bool) -> None:
        """Ends the run."""
        self._client.set_terminated(self._run_id, "FAILED" if failed else "FINISHED")


def _clean(name: str) -> str:
    """Returns a name with the characters that MLflow takes.

    Example:
      >>> _clean("test/ndcg@10")
      'test/ndcg_10'
    """
    return re.sub(r"[^/\w.\- ]", "_", name)
