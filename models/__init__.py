"""Recommenders: Flax modules over looked-up embedding rows. Needs the extra ``search``."""

from .modules import MODELS, get_learning_rates
from .recommender import build

__all__ = ["MODELS", "build", "get_learning_rates"]
