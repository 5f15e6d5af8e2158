"""Reads data sets, splits them and draws negatives. Needs the extra ``search``."""

if __name__ != "autolossgen.data":  # a second copy of every class
    raise ImportError(f"import autolossgen.data, not {__name__}")

from .download import get_cache_folder
from .fingerprint import take_fingerprint
from .implicit import add_negatives, make_positives, make_rankings
from .loading import build
from .ranking import build_ranking, convert_dataset, load_folder, make_ranking_data
from .splitting import check_both_labels
from .types import DataError, Dataset, Interactions, Streamed, merge_reward_rows

__all__ = [
    "DataError",
    "Dataset",
    "Interactions",
    "Streamed",
    "add_negatives",
    "build",
    "build_ranking",
    "check_both_labels",
    "convert_dataset",
    "get_cache_folder",
    "load_folder",
    "make_positives",
    "make_ranking_data",
    "make_rankings",
    "merge_reward_rows",
    "take_fingerprint",
]
