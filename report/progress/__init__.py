"""How far a run is: one line, redrawn in place in a terminal, plain lines elsewhere."""

from .phases import PhaseProgress
from .search import Rates, SearchProgress, format_progress, make_progress

__all__ = ["PhaseProgress", "Rates", "SearchProgress", "format_progress", "make_progress"]
