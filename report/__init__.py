"""From what a run leaves in its folder to tables, plots and one HTML page."""

from .live import Progress, live_line, progress
from .page import write_report
from .results import ReportError
from .spreadsheet import results_csv
from .table import ResultsTable, results_table
from .verdict import headline

__all__ = [
    "Progress",
    "ReportError",
    "ResultsTable",
    "headline",
    "live_line",
    "progress",
    "results_csv",
    "results_table",
    "write_report",
]
