"""MovieLens-1M with BiasedMF.

Command:
  ``python run.py --config=configs/ml1m.py``
Time on two cores:
  not measured; about ten times the interactions of configs/ml100k.py.
Result:
  none is published in docs/results.md.
Presets:
  all of configs/presets.py.
"""

from ml_collections import ConfigDict

from autolossgen.configs import base, presets


def get_config(preset: str = "") -> ConfigDict:
    """Returns the config, or that of a preset."""
    config = base.get_config()
    config.name = "ml1m"
    config.data.name = "ml1m"
    config.train.batch_size = 1024
    return presets.apply(config, preset)
