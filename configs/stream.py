"""Interactions that do not fit in memory, in Arrow files.

Command:
  ``python run.py --config=configs/stream.py --config.data.path=FILE``; docs/data.md says how to
  write the file.
Time on two cores:
  not measured; a candidate trains on ``train.interactions`` of them, however many there are.
Result:
  on generated interactions, validation AUC after three epochs: 0.79 with Adagrad, 0.73 with SGD.
Presets:
  all of configs/presets.py but ``paper``.
"""

from ml_collections import ConfigDict

from autolossgen.configs import base, presets


def get_config(preset: str = "") -> ConfigDict:
    """Returns the config, or that of a preset."""
    config = base.get_config()
    config.name = "stream"
    config.data = ConfigDict()  # keys of its own
    config.data.name = "stream"
    config.data.path = ""  # an Arrow file, or a folder of them, required
    config.data.features = ()  # names of further columns that the model reads, or all
    config.data.held_out = 90_000  # rows, a third each to reward, validate and test
    config.data.piece = 1_000_000  # rows in memory together
    config.data.seed = 0  # random seed of the held-out rows and of the order of the others
    config.model.embedding_dim = 16
    config.train.batch_size = 4096
    config.train.update(interactions=500_000, decay_interactions=0)
    # Most rows are met once in thousands of steps; on generated interactions three epochs of
    # Adagrad came to a validation AUC of 0.79, of SGD at its best rate to 0.73.
    config.optimizer.name = "adagrad"
    config.generation.update(num_lanes=16, learning_rate=0.3, weight_decay=1e-4)
    config.promote.update(
        epochs=(1,), learning_rates=(0.1, 0.3), weight_decays=(1e-4,), num_lanes=16
    )
    config.test.update(learning_rates=(0.1, 0.3), weight_decays=(0.0, 1e-3), tuning_seeds=1)
    config.test.update(seeds=2, epochs=3, patience=1)
    return presets.apply(config, preset)
