"""Recommenders: Flax modules over looked-up embedding rows."""

from .modules import MODELS, learning_rates
from .recommender import build
from .types import Recommender, Side, Table

__all__ = ["MODELS", "Recommender", "Side", "Table", "build", "learning_rates"]
