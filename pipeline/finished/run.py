"""A finished run as an object: what was found, and the recommender that stays."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import polars as pl

from autolossgen import report
from autolossgen.language.inputs import LossFn
from autolossgen.report import Cell, LossResult, RunFolder
from autolossgen.report.csv_tables import HALL_OF_FAME_COLUMNS
from autolossgen.suggest import did_you_mean

from ..workdir import OWN_DATA
from .recommender import FIELDS, load_recommender, recommend
from .views import build_tested, make_views, read_configs

if TYPE_CHECKING:
    from autolossgen.report.plots import Plot

PLOT_KINDS = ("svg", "png")
"""Files that are written of a plot, unless others are asked for."""


class RunLoss(NamedTuple):
    """A loss of a finished run, with the settings that suit it."""

    name: str
    formula: str
    found: bool  # by the search; otherwise it is a baseline
    learning_rate: float | None
    weight_decay: float | None
    epochs: int | None
    constants: Mapping[str, float]  # of the formula, as they were tuned
    metric: str  # that compares
    valid: float | None  # its value on validation, the mean over seeds
    test: float | None  # the same on test
    loss: LossFn  # a function of logits and labels, or of positives and negatives

    def __repr__(self) -> str:
        """Returns name, formula and result in a line."""
        score = "" if self.test is None else f", test {self.metric} {self.test:.4f}"
        return f"<{self.name}: {self.formula}{score}>"


@dataclass(frozen=True, repr=False, eq=False)
class Run:
    """A finished run.

    Attributes:
      folder: of its files.
      files: their contents, but for the recommender.
      best: the loss to use: the best found one if the test shows that it is better than the best
        baseline, otherwise that baseline.
      losses: every tested loss, a row each, as in ``results.csv``.
      hall_of_fame: the best of the search, as in ``hall_of_fame.csv``; without rows if nothing was
        searched.
    """

    folder: Path
    files: RunFolder

    @cached_property
    def best(self) -> RunLoss:
        """The loss to use."""
        best = report.get_best_loss(self._cell)
        if best is None:
            raise report.ReportError(f"{self.folder} has no tested loss")
        return self._describe(best)

    def get_loss(self, name: str) -> RunLoss:
        """Returns a tested loss by its name.

        Raises:
          ReportError: for a name that no tested loss has.
        """
        losses = {loss.name: loss for loss in self._cell.losses if loss.formula}
        if name not in losses:
            hint = did_you_mean(name, losses)
            raise report.ReportError(f"{self.folder} has tested no loss {name!r}{hint}")
        return self._describe(losses[name])

    @cached_property
    def losses(self) -> pl.DataFrame:
        """Every tested loss, a row each."""
        text = report.make_results_csv(self.files.results)
        return pl.read_csv(text.encode(), infer_schema_length=None)

    @cached_property
    def hall_of_fame(self) -> pl.DataFrame:
        """The best losses of the search, a row each."""
        path = self.folder / "hall_of_fame.csv"
        if not path.exists():
            return pl.DataFrame(schema=dict.fromkeys(HALL_OF_FAME_COLUMNS, pl.String))
        return pl.read_csv(path, infer_schema_length=None)

    def recommend(self, users: Any, k: int = 10, *, exclude_seen: bool = True) -> pl.DataFrame:
        """Returns the best items of users, by the recommender that was trained on all data.

        Args:
          users: an id, or several, as they are in the data.
          k: items of each user, at most.
          exclude_seen: whether items that the data have with the user are left out.

        Returns:
          Columns user, item, rank and score; the more, the better. Ids are of the type that they
          have in the frame of ``find_loss``, or numbers or words as in the file.

        Raises:
          RecommendError: for an unknown user, or if the run has left no recommender.
        """
        found = recommend(self._recommender, users, k=k, exclude_seen=exclude_seen)
        return found.with_columns(
            pl.col(field).cast(kind) for field, kind in self._id_types.items()
        )

    @cached_property
    def _recommender(self) -> Any:
        return load_recommender(self.folder)

    @cached_property
    def _id_types(self) -> dict[str, pl.DataType]:
        """The types of ids in the frame that was given, if one was."""
        path, section = self.folder / OWN_DATA, (self.files.config or {}).get("data", {})
        if not path.exists():
            return {}
        schema = pl.read_parquet_schema(path)
        return {field: schema[section[field]] for field in FIELDS if section[field] in schema}

    def report(self) -> Path:
        """Returns the page of the run, written again if it is not there."""
        page = self.folder / "report.html"
        return page if page.exists() else _page().write_page(self.folder)

    def plot_curves(self) -> "Plot | None":
        """Plots the found losses and the best baselines, value and gradient."""
        return self._plots["curves"]()

    def plot_differences(self) -> "Plot | None":
        """Plots the difference of each loss to the best baseline, with both 95 % intervals."""
        return self._plots["differences"]()

    def plot_courses(self) -> "Plot | None":
        """Plots the validation metric over the epochs of promotion and test."""
        return self._plots["courses"]()

    def plot_sensitivity(self) -> "Plot | None":
        """Plots the validation metric over the learning rates and constants that were tried."""
        return self._plots["sensitivity"]()

    def plot_rewards(self) -> "Plot | None":
        """Plots the rewards of the search; None without one, as all plots without their data."""
        return self._plots["rewards"]()

    def plot_front(self) -> "Plot | None":
        """Plots the gain of the hall of fame over complexity, with the formulas of the front."""
        return self._plots["front"]()

    def save_plots(
        self, folder: str | Path | None = None, *, kinds: Sequence[str] = PLOT_KINDS
    ) -> list[Path]:
        """Writes all plots as files.

        Args:
          folder: where; ``plots`` in the run's folder if left out.
          kinds: endings of the files, of ``svg``, ``png`` and ``pdf``.

        Returns:
          The paths of the files.

        Raises:
          ValueError: for another kind of file.
          OSError: if the folder cannot be written.
        """
        target = self.folder / "plots" if folder is None else Path(folder).expanduser()
        return _page().save_plots(self._plots, target, kinds)

    @cached_property
    def _plots(self) -> "Mapping[str, Callable[[], Plot | None]]":
        views = make_views(self.files, read_configs(self.folder, self.files))
        return _page().list_plots(self.files, self._cell, views)

    def __repr__(self) -> str:
        """Returns what won, in two lines."""
        return f"Run({str(self.folder)!r})\n{report.format_headline(self._cell)}"

    @property
    def _cell(self) -> Cell:
        cells = self.files.cells
        if len(cells) != 1:
            raise report.ReportError(
                f"{self.folder} is a transfer to {len(cells)} models and data sets, of which no "
                "loss is the best: see losses, or load the run of one of its folders"
            )
        return cells[0]

    def _describe(self, loss: LossResult) -> RunLoss:
        return RunLoss(
            name=loss.name,
            formula=loss.formula,
            found=loss.found,
            learning_rate=loss.learning_rate,
            weight_decay=loss.weight_decay,
            epochs=None if loss.epochs is None else int(loss.epochs),
            constants=loss.constants,
            metric=loss.metric,
            valid=loss.valid_score,
            test=loss.test_score.mean,
            loss=build_tested(loss, self.files.config),
        )


def _page() -> Any:
    """Returns the module that draws; its matplotlib takes half a second, and few need it."""
    from . import page

    return page


def load_run(folder: str | Path) -> Run:
    """Loads a finished run.

    Args:
      folder: of the run, such as ``runs/ml100k``.

    Returns:
      What ``find_loss`` returned, or would have.

    Raises:
      ReportError: if it is no folder of a finished run, with what to do.

    Example:
      >>> load_run("no/such/run")
      Traceback (most recent call last):
      ...
      autolossgen.report.results.ReportError: no/such/run is not a folder: give the workdir of a run
    """
    folder = Path(folder).expanduser()
    return Run(folder, report.read_run_folder(folder))
