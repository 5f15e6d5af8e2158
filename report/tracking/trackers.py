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


class TrackerError(ValueError):
    """A tracker cannot be used."""


class Trackers:
    """Tells all trackers of a run what it does.

    One that fails is told no more, and the run goes on.
    """

    def __init__(
        self, trackers: Mapping[str, Tracker] | None = None, say: Callable[[str], None] = print
    ):
        self._trackers = dict(trackers or {})
        self._say = say
        self._formula: str | None = None

    def _tell(self, what: Callable[[Tracker], Any]) -> None:
        """Does something with each tracker."""
        for name in list(self._trackers):
            try:
                what(self._trackers[name])
            except Exception as error:  # of a service: no reason to lose a run
                del self._trackers[name]
                self._say(f"{name} fails, and is told no more of this run: {error}")

    def go_on(self, entries: Sequence[Mapping[str, Any]]) -> None:
        """Goes on with a search; trackers that may have holes are told its generations again.

        Args:
          entries: of the generations so far, lines of ``metrics.jsonl``.
        """

        def repeat(tracker: Tracker) -> None:
            if tracker.forget():
                self._formula = None
                for entry in entries:
                    self._log_generation(entry, tracker)
                    self._formula = entry.get("best_formula")

        self._tell(repeat)

    def log_generation(self, entry: Mapping[str, Any]) -> None:
        """Logs a generation of the search, given as its line of ``metrics.jsonl``."""
        self._tell(lambda tracker: self._log_generation(entry, tracker))
        self._formula = entry.get("best_formula")

    def _log_generation(self, entry: Mapping[str, Any], tracker: Tracker) -> None:
        funnel = entry.get("funnel", {})
        flat = {**entry, **{f"funnel/{stage}": count for stage, count in funnel.items()}}
        scalars = {
            name: float(value)
            for name, value in flat.items()
            if isinstance(value, Real) and name != "generation"
        }
        tracker.log_scalars(scalars, entry["generation"], "generation")
        formula = entry.get("best_formula")
        if formula and formula != self._formula:
            tracker.log_text("best_formula", formula, entry["generation"])

    def make_follower(self, prefix: str = "") -> ProgressFn:
        """Returns what logs the curves of promotion, tuning and test.

        Args:
          prefix: of the names of curves, as in ``"cell/"``.
        """

        def follow(stage: str, done: int, total: int, scores: Mapping[str, float]) -> None:
            curves = {f"{prefix}{stage}/{name}": score for name, score in scores.items()}
            axis = f"{prefix}{stage}/epoch"
            if curves:
                self._tell(lambda tracker: tracker.log_scalars(curves, done, axis))

        return follow

    def log_results(self, results: Mapping[str, Any]) -> None:
        """Logs the results of a run, and the loss to use."""
        outcome: dict[str, float] = {}
        texts: dict[str, str] = {}
        cells = parse_cells(results)
        for cell in cells:
            place = f"{cell.title}/" if len(cells) > 1 else ""
            for loss in cell.losses:
                if loss.test_score.mean is not None:
                    outcome[f"{place}{loss.name}/test_{cell.metric}"] = loss.test_score.mean
            found, best = get_best_found(cell), get_best_loss(cell)
            difference = found and found.comparison and found.comparison.difference.mean
            if difference is not None:
                outcome[f"{place}found_minus_best_baseline"] = difference
            if best is not None:
                texts[f"{place}loss_to_use"] = best.formula

        def log(tracker: Tracker) -> None:
            tracker.log_outcome(outcome)
            for name, text in texts.items():
                tracker.log_text(name, text, 1)

        self._tell(log)

    def close(self, *, failed: bool) -> None:
        """Ends all; a run that goes on opens them again."""
        self._tell(lambda tracker: tracker.close(failed=failed))


def check_trackers(names: Sequence[str]) -> None:
    """Checks that trackers are known and installed.

    Raises:
      TrackerError: for the first that is not, with what to do.
    """
    if isinstance(names, str):
        raise TrackerError(f"trackers is a tuple of names, as in ('wandb',), got {names!r}")
    for name in names:
        if name not in TRACKERS:
            hint = did_you_mean(name, TRACKERS, otherwise="")
            raise TrackerError(
                f"trackers has {name!r}, which is not known{hint} (known: {', '.join(TRACKERS)}; "
                "TensorBoard's events are always written)"
            )
        if importlib.util.find_spec(TRACKERS[name].module) is None:
            raise TrackerError(
                f"trackers has {name!r}, which is not installed: pip install 'autolossgen[{name}]'"
            )


@contextmanager
def open_trackers(
    names: Sequence[str],
    folder: Path,
    config: Mapping[str, Any],
    say: Callable[[str], None] = print,
) -> Iterator[Trackers]:
    """Opens TensorBoard's events and the trackers that are named, and closes them in the end.

    Args:
      names: of ``TRACKERS``.
      folder: of the run.
      config: of the run.
      say: is told when a tracker fails.

    Raises:
      TrackerError: for a tracker that is not known, not installed or cannot be reached.
    """
    check_trackers(names)
    opened: dict[str, Tracker] = {"tensorboard": TensorBoard(folder, config)}
    for name in names:
        try:
            opened[name] = TRACKERS[name].make(folder, config)
        except Exception as error:  # of a service, whatever it is
            Trackers(opened, say).close(failed=True)
            raise TrackerError(
                f"trackers: {name} does not begin: {error}. Mend this, or leave it out of trackers"
            ) from error
    trackers = Trackers(opened, say)
    try:
        yield trackers
    except BaseException:
        trackers.close(failed=True)
        raise
    trackers.close(failed=False)
