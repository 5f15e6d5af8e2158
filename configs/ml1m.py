"""MovieLens-1M with BiasedMF.

Command:
  ``python run.py --config=configs/ml1m.py``
Time on two cores:
  under 20 minutes; docs/performance.md has the phases.
Result:
  none is published in docs/results.md, as the ratings may not be passed on.
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
    # Ten times the steps of MovieLens-100K in an epoch, so fewer epochs, each at its rates. Half of
    # an epoch tells candidates apart, and one training of so many rows is as good as the mean of
    # three of MovieLens-100K.
    config.train.interactions = 500_000
    config.generation.learning_rate = 10.0
    config.promote.epochs = (2, 5, 15)
    config.test.update(epochs=40, patience=5, tuning_seeds=1)
    return presets.apply(config, preset)
