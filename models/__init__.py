"""Recommenders: Flax modules over looked-up embedding rows. Needs the extra ``search``."""

if __name__ != "autolossgen.models":  # a second copy of every class
    raise ImportError(f"import autolossgen.models, not {__name__}")

from .modules import MODELS, get_learning_rates
from .recommender import build

__all__ = ["MODELS", "build", "get_learning_rates"]
