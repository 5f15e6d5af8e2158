"""Reads data sets, splits them and draws negatives. Needs the extra ``search``."""

if __name__ != "autolossgen.data":  # a second copy of every class
    raise ImportError(f"import autolossgen.data, not {__name__}")

from .download import get_cache_folder
from .implicit import add_negatives, make_positives, make_rankings
from .loading import build
from .splitting import check_both_labels
from .types import DataError, Dataset, Interactions, Streamed, merge_reward_rows

__all__ = [
    "DataError",
    "Dataset",
    "Interactions",
    "Streamed",
    "add_negatives",
    "build",
    "check_both_labels",
    "get_cache_folder",
    "make_positives",
    "make_rankings",
    "merge_reward_rows",
]
