"""The page and the plots of a finished run."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path

from autolossgen import report
from autolossgen.report import Cell, RunFolder, plots
from autolossgen.report.page import choose_curves, write_report
from autolossgen.report.plots import Plot

from .views import make_views, read_configs


def write_page(folder: Path) -> Path:
    """Writes ``report.html`` into the folder of a run and returns its path.

    Raises:
      ReportError: if it is no folder of a finished run.
      OSError: if the folder cannot be written; an earlier page is still there.
    """
    files = report.read_run_folder(folder)
    return write_report(folder, make_views(files, read_configs(folder, files)))


def list_plots(
    files: RunFolder, cell: Cell, views: report.Views
) -> dict[str, Callable[[], Plot | None]]:
    """Returns name -> what draws a plot of a run."""
    return {
        "curves": lambda: plots.plot_curves(*choose_curves(cell, views)),
        "differences": partial(plots.plot_differences, cell),
        "courses": partial(plots.plot_courses, cell, files.promotion),
        "sensitivity": partial(plots.plot_sensitivity, cell),
        "rewards": partial(plots.plot_rewards, files.generations or ()),
        "front": partial(plots.plot_front, files.hall_of_fame or ()),
    }


def save_plots(
    drawn: Mapping[str, Callable[[], Plot | None]], folder: Path, kinds: Sequence[str]
) -> list[Path]:
    """Writes plots into a folder and returns their paths.

    Raises:
      ValueError: for a kind of file that a plot cannot be.
      OSError: if the folder cannot be written.
    """
    made = {name: plot for name, draw in drawn.items() if (plot := draw()) is not None}
    return [plot.save(folder / f"{name}.{kind}") for name, plot in made.items() for kind in kinds]
