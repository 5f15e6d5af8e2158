"""Interactions for the search: reading, splitting by time, and a synthetic set with known truth."""

from .generator import Preferences, preference_logits, synthetic, synthetic_preferences
from .loading import build, load
from .sources import cache_folder
from .types import DataError, Dataset, Interactions, full_train

__all__ = [
    "DataError",
    "Dataset",
    "Interactions",
    "Preferences",
    "build",
    "cache_folder",
    "full_train",
    "load",
    "preference_logits",
    "synthetic",
    "synthetic_preferences",
]
