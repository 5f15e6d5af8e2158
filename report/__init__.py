"""Writes the files of a run folder and shows them: tables, plots, progress and an HTML report.

Needs the extra ``search``.
"""

if __name__ != "autolossgen.report":  # a second copy of every class
    raise ImportError(f"import autolossgen.report, not {__name__}")

from .csv_tables import find_pareto_front, make_hall_of_fame_csv, make_results_csv
from .formatting import format_duration
from .metrics_journal import Journal
from .progress import PhaseProgress, make_progress
from .read_losses import FoundLoss, read_found_losses
from .results import Cell, LossResult, ReportError, parse_cells
from .run_folder import RunFolder, read_config, read_run_folder
from .terminal_table import make_results_table
from .tracking import TrackerError, Trackers, check_trackers, open_trackers
from .transfer_matrix import is_matrix, make_matrix_csv, make_matrix_table
from .verdict import (
    format_headline,
    get_best_baseline,
    get_best_loss,
    get_winner,
    sort_by_validation,
)
from .views import LossCurves, LossView, Views

__all__ = [
    "Cell",
    "FoundLoss",
    "Journal",
    "LossCurves",
    "LossResult",
    "LossView",
    "PhaseProgress",
    "ReportError",
    "RunFolder",
    "TrackerError",
    "Trackers",
    "Views",
    "check_trackers",
    "find_pareto_front",
    "format_duration",
    "format_headline",
    "get_best_baseline",
    "get_best_loss",
    "get_winner",
    "is_matrix",
    "make_hall_of_fame_csv",
    "make_matrix_csv",
    "make_matrix_table",
    "make_progress",
    "make_results_csv",
    "make_results_table",
    "open_trackers",
    "parse_cells",
    "read_config",
    "read_found_losses",
    "read_run_folder",
    "sort_by_validation",
]
