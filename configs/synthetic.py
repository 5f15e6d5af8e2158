"""Generated interactions with known preferences; needs no file.

Command:
  ``python run.py --config=configs/synthetic.py``
Time on two cores:
  not measured; as many interactions as configs/ml100k.py.
Result:
  none is published; it is for tests and for trying things out without a download.
Presets:
  all of configs/presets.py.
"""

from ml_collections import ConfigDict

from autolossgen.configs import base, presets


def get_config(preset: str = "") -> ConfigDict:
    """Returns the config, or that of a preset."""
    config = base.get_config()
    config.name = "synthetic"
    config.data = ConfigDict()  # the generator's own keys
    config.data.name = "synthetic"
    config.data.num_users = 943  # number of users
    config.data.num_items = 1682  # number of items
    config.data.num_interactions = 100_000  # number of interactions before the splits
    config.data.seed = 0  # random seed of the interactions and of the splits
    config.data.split = "leave_one_out"
    config.data.shares = (0.1, 0.1)
    config.data.min_interactions = 5
    config.data.reward_split = "leave_one_out"
    return presets.apply(config, preset)
