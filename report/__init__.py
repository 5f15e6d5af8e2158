"""From what a run leaves in its folder to tables, plots and one HTML page."""

from .environment import environment
from .front import on_front
from .journal import Journal
from .live import progress, show_epochs
from .matrix import is_matrix, matrix_csv, matrix_table
from .page import write_report
from .read_losses import FoundLoss, read_found_losses
from .results import ReportError
from .spreadsheet import hall_csv, results_csv
from .table import results_table

__all__ = [
    "FoundLoss",
    "Journal",
    "ReportError",
    "environment",
    "hall_csv",
    "is_matrix",
    "matrix_csv",
    "matrix_table",
    "on_front",
    "progress",
    "read_found_losses",
    "results_csv",
    "results_table",
    "show_epochs",
    "write_report",
]
