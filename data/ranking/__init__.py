"""What users liked, as sets of items to learn from and to find again in rankings of all items."""

from .from_folder import load_folder
from .from_pairs import make_ranking_data
from .from_sets import RankingKeys, build_ranking, convert_dataset

__all__ = [
    "RankingKeys",
    "build_ranking",
    "convert_dataset",
    "load_folder",
    "make_ranking_data",
]
