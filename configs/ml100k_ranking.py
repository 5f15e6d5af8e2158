"""MovieLens-100K as implicit feedback: pairwise losses, judged by NDCG@10.

Command:
  ``python run.py --config=configs/ml100k_ranking.py``
Time on two cores:
  19 minutes.
Result:
  test NDCG@10 0.0895 +- 0.0039 for the loss that validation picks, 0.0811 +- 0.0036 for gBCE, the
  baseline that it picks, 0.0894 +- 0.0043 for sampled softmax, the best on test
  (docs/results/pairwise.md).
Presets:
  all of configs/presets.py but ``paper``.
"""

from ml_collections import ConfigDict

from autolossgen.configs import base, presets


def get_config(preset: str = "") -> ConfigDict:
    """Returns the config, or that of a preset."""
    config = base.get_config()
    config.name = "ml100k_ranking"
    config.space.family = "pairwise"
    # Chosen by the baselines' NDCG on validation, with BiasedMF. Another model needs its own
    # learning rates (generation, promote, test): see docs/models.md. Four negatives leave the
    # losses 0.003 to 0.009 lower; larger learning rates undo those of several negatives, more decay
    # undoes all.
    config.train.negatives = 8
    config.generation.update(learning_rate=10.0, weight_decay=3e-5)
    config.promote.update(learning_rates=(10.0, 30.0), weight_decays=(3e-5,), epochs=(3, 8))
    config.test.update(learning_rates=(3.0, 10.0, 30.0), weight_decays=(1e-5, 3e-5), epochs=20)
    return presets.apply(config, preset)
