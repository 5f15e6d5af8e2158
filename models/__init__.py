"""Recommenders: Flax modules over looked-up embedding rows."""

from .recommender import MODELS, Recommender, Table, build

__all__ = ["MODELS", "Recommender", "Table", "build"]
