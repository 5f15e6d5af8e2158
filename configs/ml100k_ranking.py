"""MovieLens-100K as implicit feedback: pairwise losses, judged by NDCG. Preset: ``:smoke``."""

from ml_collections import ConfigDict

from configs import base, presets


def get_config(preset: str = "") -> ConfigDict:
    """Give the config, or that of a preset."""
    config = base.get_config()
    config.name = "ml100k_ranking"
    config.space.family = "pairwise"
    return presets.apply(config, preset)
