"""From what a run leaves in its folder to tables, plots and one HTML page."""

from .environment import environment
from .interrupt import Interrupt
from .journal import Journal
from .live import Progress, live_line, progress, show_epochs
from .page import write_report
from .results import ReportError
from .spreadsheet import hall_csv, results_csv
from .table import ResultsTable, results_table
from .verdict import headline
from .workdir import check, claim, finished, write

__all__ = [
    "Interrupt",
    "Journal",
    "Progress",
    "ReportError",
    "ResultsTable",
    "check",
    "claim",
    "environment",
    "finished",
    "hall_csv",
    "headline",
    "live_line",
    "progress",
    "results_csv",
    "results_table",
    "show_epochs",
    "write",
    "write_report",
]
