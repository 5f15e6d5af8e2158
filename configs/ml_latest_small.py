"""MovieLens latest small with BiasedMF.

Command:
  ``python run.py --config=configs/ml_latest_small.py``
Time on two cores:
  not measured; about as many interactions as configs/ml100k.py.
Result:
  test AUC 0.7867 +- 0.0028 for the loss that validation picks, 0.7852 for Focal, the best baseline,
  with ``--config.data.split=ratio_per_user --config.data.reward_split=same`` (docs/results.md).
Presets:
  all of configs/presets.py.
"""

from ml_collections import ConfigDict

from autolossgen.configs import base, presets


def get_config(preset: str = "") -> ConfigDict:
    """Returns the config, or that of a preset."""
    config = base.get_config()
    config.name = "ml_latest_small"
    config.data.name = "ml_latest_small"
    return presets.apply(config, preset)
