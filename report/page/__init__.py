"""The page of a run: one file that needs no other file and no network."""

from .page import write_report
from .tested import choose_curves

__all__ = ["choose_curves", "write_report"]
