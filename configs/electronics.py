"""Amazon Electronics with BiasedMF.

Command:
  ``python run.py --config=configs/electronics.py``
Time on two cores:
  not measured.
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
    config.name = "electronics"
    config.data.name = "electronics"
    return presets.apply(config, preset)
