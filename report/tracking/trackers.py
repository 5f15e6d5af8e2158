"""All trackers of a run as one, and what of a run they are told."""

import importlib.util
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from numbers import Real
from pathlib import Path
from typing import Any, NamedTuple

from autolossgen.interfaces import ProgressFn
from autolossgen.suggest import did_you_mean

from ..results import parse_cells
from ..verdict import get_best_found, get_best_loss
from .interface import Tracker
from .mlflow_runs import MLflow
from .tensorboard import TensorBoard
from .weights_and_biases import WeightsAndBiases


class _Kind(NamedTuple):
    module: str  # that has to be installed
    make: Callable[[Path, Mapping[str, Any]], Tracker]


TRACKERS = {"wandb": _Kind("wandb", WeightsAndBiases), "mlflow": _Kind("mlflow", MLflow)}
"""Trackers by the name of their extra, besides TensorBoard, which always has its events."""


class Trackers:
    """Tells all trackers of a run what it does."""

    def __init__(self, trackers: Sequence[Tracker] = ()):
        self._trackers = tuple(trackers)
        self._formula: str | None = None

    def go_on(self, entries: Sequence[Mapping[str, Any]]) -> None:
        """Goes on with a search; trackers that may have holes are told its generations again.

        Args:
          entries: of the generations so far, lines of ``metrics.jsonl``.
        """
        for tracker in self._trackers:
            if tracker.forget():
                for entry in entries:
                    self._log_generation(entry, [tracker])

    def log_generation(self, entry: Mapping[str, Any]) -> None:
        """Logs a generation of the search, given as its line of ``metrics.jsonl``."""
        self._log_generation(entry, self._trackers)

    def _log_generation(self, entry: Mapping[str, Any], trackers: Sequence[Tracker]) -> None:
        funnel = entry.get("funnel", {})
        flat = {**entry, **{f"funnel/{stage}": count for stage, count in funnel.items()}}
        scalars = {
            name: float(value)
            for name, value in flat.items()
            if isinstance(value, Real) and name != "generation"
        }
        formula = entry.get("best_formula")
        for tracker in trackers:
            tracker.log_scalars(scalars, entry["generation"], "generation")
            if formula and formula != self._formula:
                tracker.log_text("best_formula", formula, entry["generation"])
        self._formula = formula

    def make_follower(self, prefix: str = "") -> ProgressFn:
        """Returns what logs the curves of promotion, tuning and test.

        Args:
          prefix: of the names of curves, as in ``"cell/"``.
        """

        def follow(stage: str, done: int, total: int, scores: Mapping[str, float]) -> None:
            curves = {f"{prefix}{stage}/{name}": score for name, score in scores.items()}
            for tracker in self._trackers:
                if curves:
                    tracker.log_scalars(curves, done, f"{prefix}{stage}/epoch")

        return follow

    def log_results(self, results: Mapping[str, Any]) -> None:
        """Logs the results of a run, and the loss to use."""
        outcome: dict[str, float] = {}
        cells = parse_cells(results)
        for cell in cells:
            place = f"{cell.title}/" if len(cells) > 1 else ""
            for loss in cell.losses:
                if loss.test_score.mean is not None:
                    outcome[f"{place}{loss.name}/test_{cell.metric}"] = loss.test_score.mean
            found = get_best_found(cell)
            if found is not None and found.comparison is not None:
                difference = found.comparison.difference.mean
                if difference is not None:
                    outcome[f"{place}found_minus_best_baseline"] = difference
            best = get_best_loss(cell)
            for tracker in self._trackers:
                if best is not None:
                    tracker.log_text(f"{place}loss_to_use", best.formula, 1)
        for tracker in self._trackers:
            tracker.log_outcome(outcome)

    def close(self, *, failed: bool) -> None:
        """Ends all; a run that goes on opens them again."""
        for tracker in self._trackers:
            tracker.close(failed=failed)


def check_trackers(names: Sequence[str]) -> None:
    """Checks that trackers are known and installed.

    Raises:
      ValueError: for the first that is not, with what to do.
    """
    if isinstance(names, str):
        raise ValueError(f"trackers is a tuple of names, as in ('wandb',), got {names!r}")
    for name in names:
        if name not in TRACKERS:
            hint = did_you_mean(name, TRACKERS, otherwise="")
            raise ValueError(
                f"trackers has {name!r}, which is not known{hint} (known: {', '.join(TRACKERS)}; "
                "TensorBoard's events are always written)"
            )
        if importlib.util.find_spec(TRACKERS[name].module) is None:
            raise ValueError(
                f"trackers has {name!r}, which is not installed: pip install 'autolossgen[{name}]'"
            )


@contextmanager
def open_trackers(
    names: Sequence[str], folder: Path, config: Mapping[str, Any]
) -> Iterator[Trackers]:
    """Opens TensorBoard's events and the trackers that are named, and closes them in the end.

    Args:
      names: of ``TRACKERS``.
      folder: of the run.
      config: of the run.

    Raises:
      ValueError: for a name that is not known, or not installed.
    """
    check_trackers(names)
    opened = [TensorBoard(folder, config), *(TRACKERS[name].make(folder, config) for name in names)]
    trackers = Trackers(opened)
    try:
        yield trackers
    except BaseException:
        trackers.close(failed=True)
        raise
    trackers.close(failed=False)
