"""Given losses on every model and data set, each in a fair test. Preset: ``:smoke``.

``python run.py --config=configs/transfer.py --config.transfer.losses="('runs/ml100k',)"
--config.transfer.datasets="('ml100k', 'movietweetings=FOLDER')"``
"""

from ml_collections import ConfigDict

from autolossgen.configs import base, presets


def get_config(preset: str = "") -> ConfigDict:
    """Give the config, or that of a preset."""
    config = base.get_config()
    config.name = "transfer"
    # Found on MovieLens-100K with BiasedMF.
    config.transfer.losses = ("square(max(label, square(pred))) + label * square(log(pred))",)
    config.transfer.models = ("biased_mf", "deep")
    config.transfer.datasets = ("ml100k", "synthetic")
    return presets.apply(config, preset)
