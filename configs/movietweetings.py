"""MovieTweetings with BiasedMF. Presets: ``configs/movietweetings.py:smoke`` and ``:paper``."""

from ml_collections import ConfigDict

from autolossgen.configs import base, presets


def get_config(preset: str = "") -> ConfigDict:
    """Give the config, or that of a preset."""
    config = base.get_config()
    config.name = "movietweetings"
    config.data.name = "movietweetings"
    config.data.threshold = 7.0  # of 10; half of the ratings are above it
    return presets.apply(config, preset)
