"""Given losses on every model and data set, each cell a fair test; no search.

Command:
  ``python run.py --config=configs/transfer.py --config.transfer.losses="('runs/ml100k',)"
  --config.transfer.datasets="('ml100k', 'movietweetings=FOLDER')"``
Time on two cores:
  for each cell that of the test of a run: about five minutes for ML-100K with BiasedMF.
Result:
  ``matrix.csv`` and a folder for each cell. Of three losses found on ML-100K two are better than
  every baseline on MovieTweetings (docs/results/transfer.md).
Presets:
  all of configs/presets.py.
"""

from ml_collections import ConfigDict

from autolossgen.configs import base, presets


def get_config(preset: str = "") -> ConfigDict:
    """Returns the config, or that of a preset."""
    config = base.get_config()
    config.name = "transfer"
    # Found on MovieLens-100K with BiasedMF.
    config.transfer.losses = ("square(max(label, square(pred))) + label * square(log(pred))",)
    config.transfer.models = ("biased_mf", "deep")
    config.transfer.datasets = ("ml100k", "synthetic")
    return presets.apply(config, preset)
