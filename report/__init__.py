"""From what a run leaves in its folder to tables, plots and one HTML page."""

from .environment import environment
from .found import FoundLoss, found_losses
from .front import on_front
from .interrupt import Interrupt
from .journal import Journal
from .live import Progress, live_line, progress, show_epochs
from .matrix import is_matrix, matrix_csv, matrix_table
from .page import write_report
from .results import ReportError
from .spreadsheet import hall_csv, results_csv
from .table import ResultsTable, results_table
from .verdict import headline
from .workdir import check, claim, finished, write

__all__ = [
    "FoundLoss",
    "Interrupt",
    "Journal",
    "Progress",
    "ReportError",
    "ResultsTable",
    "check",
    "claim",
    "environment",
    "finished",
    "found_losses",
    "hall_csv",
    "headline",
    "is_matrix",
    "live_line",
    "matrix_csv",
    "matrix_table",
    "on_front",
    "progress",
    "results_csv",
    "results_table",
    "show_epochs",
    "write",
    "write_report",
]
