"""MovieTweetings with BiasedMF.

Command:
  ``python run.py --config=configs/movietweetings.py``
Time on two cores:
  not measured.
Result:
  test AUC 0.7893 +- 0.0005 for the loss that validation picks, 0.7877 for Focal, the best baseline,
  with ``--config.data.split=ratio_per_user --config.data.reward_split=same``: better over seeds and
  over users (docs/results.md).
Presets:
  all of configs/presets.py.
"""

from ml_collections import ConfigDict

from autolossgen.configs import base, presets


def get_config(preset: str = "") -> ConfigDict:
    """Returns the config, or that of a preset."""
    config = base.get_config()
    config.name = "movietweetings"
    config.data.name = "movietweetings"
    config.data.threshold = 7.0  # of 10; half of the ratings are above it
    return presets.apply(config, preset)
