"""MovieLens-1M with BiasedMF. Presets: ``configs/ml1m.py:smoke`` and ``:paper``."""

from ml_collections import ConfigDict

from autolossgen.configs import base, presets


def get_config(preset: str = "") -> ConfigDict:
    """Give the config, or that of a preset."""
    config = base.get_config()
    config.name = "ml1m"
    config.data.name = "ml1m"
    config.train.batch_size = 1024
    return presets.apply(config, preset)
