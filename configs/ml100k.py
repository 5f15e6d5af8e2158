"""MovieLens-100K with BiasedMF: the default run.

Command:
  ``python run.py --config=configs/ml100k.py``, or ``make run``.
Time on two cores:
  5 to 8 minutes, most of it for the test. Preset ``smoke``: under a minute; ``thorough``: 20
  minutes.
Result:
  test AUC 0.8094 +- 0.0015 for the loss that validation picks, 0.8085 +- 0.0014 for Focal, the best
  baseline, 0.8074 +- 0.0011 for BCE (docs/results.md).
Presets:
  all of configs/presets.py.
"""

from ml_collections import ConfigDict

from autolossgen.configs import base, presets


def get_config(preset: str = "") -> ConfigDict:
    """Returns the config, or that of a preset."""
    config = base.get_config()
    config.name = "ml100k"
    return presets.apply(config, preset)
