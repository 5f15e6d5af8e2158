"""Interactions for the search: reading, splitting, features, groups, a set with known truth."""

from .csv_files import csv
from .download import cache_folder
from .generator import Preferences, preference_logits, synthetic, synthetic_preferences
from .implicit import (
    Groups,
    Implicit,
    Positives,
    implicit,
    positives,
    with_negatives,
)
from .loading import build, load
from .splitting import check_both_labels
from .streamed import Streamed, streamed
from .types import DataError, Dataset, Interactions, Side, full_train

__all__ = [
    "DataError",
    "Dataset",
    "Groups",
    "Implicit",
    "Interactions",
    "Positives",
    "Preferences",
    "Side",
    "Streamed",
    "build",
    "cache_folder",
    "check_both_labels",
    "csv",
    "full_train",
    "implicit",
    "load",
    "positives",
    "preference_logits",
    "streamed",
    "synthetic",
    "synthetic_preferences",
    "with_negatives",
]
