"""MovieLens-100K with BiasedMF. Presets: ``configs/ml100k.py:smoke`` and ``:paper``."""

from ml_collections import ConfigDict

from autolossgen.configs import base, presets


def get_config(preset: str = "") -> ConfigDict:
    """Give the config, or that of a preset."""
    config = base.get_config()
    config.name = "ml100k"
    return presets.apply(config, preset)
