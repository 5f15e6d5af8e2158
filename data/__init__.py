"""Interactions for the search: reading, splitting by time, groups, and a set with known truth."""

from .generator import Preferences, preference_logits, synthetic, synthetic_preferences
from .implicit import Groups, Implicit, Positives, implicit
from .loading import build, load
from .sources import cache_folder
from .types import DataError, Dataset, Interactions, full_train

__all__ = [
    "DataError",
    "Dataset",
    "Groups",
    "Implicit",
    "Interactions",
    "Positives",
    "Preferences",
    "build",
    "cache_folder",
    "full_train",
    "implicit",
    "load",
    "preference_logits",
    "synthetic",
    "synthetic_preferences",
]
