"""MovieLens latest small. Presets: ``configs/ml_latest_small.py:smoke`` and ``:paper``."""

from ml_collections import ConfigDict

from autolossgen.configs import base, presets


def get_config(preset: str = "") -> ConfigDict:
    """Give the config, or that of a preset."""
    config = base.get_config()
    config.name = "ml_latest_small"
    config.data.name = "ml_latest_small"
    return presets.apply(config, preset)
