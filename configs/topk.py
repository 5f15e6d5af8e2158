"""Losses of top-k rankings, on what users liked: your own interactions, or a folder that is split.

Command:
  ``python run.py --config=configs/topk.py --config.data.path=FOLDER`` for a folder with train.tsv
  and test.tsv; with ``--config.data.name=ml100k`` or ``ml1m``; or ``--config.data.name=csv
  --config.data.path=FILE``.
Time on two cores:
  for 38,000 likes of 1,200 items about 20 minutes a loss; on one NVIDIA H200 about 20 seconds.
Result:
  named losses, each tuned by the same number of trials, next to recommenders without a loss.
Presets:
  smoke.
"""

from ml_collections import ConfigDict
from ml_collections.config_dict import placeholder

from autolossgen.suggest import did_you_mean


def get_config(preset: str = "") -> ConfigDict:
    """Returns the config, or that of a preset."""
    config = ConfigDict()
    config.name = "topk"  # name of the run; the default workdir is runs/NAME
    config.seed = 0  # random seed of all trainings
    _declare_data(config)
    _declare_model(config)
    _declare_test(config)
    if preset == "smoke":
        config.name = "topk-smoke"
        _set_smoke(config)
    elif preset:
        raise ValueError(f"preset {preset!r} is not known{did_you_mean(preset, ['smoke'])}")
    return config


def _declare_data(config: ConfigDict) -> None:
    """Declares where the likes are from, and how some are held out."""
    config.data = ConfigDict()
    config.data.name = ""  # folder, csv, synthetic or the name of a known set; empty for folder
    config.data.path = ""  # folder or file; empty for a known set's cache, then a download
    # files (as a folder is split), by_user (random shares of each user), by_time or leave_one_out;
    # empty for files where there are such, and by_user elsewhere
    config.data.split = ""
    config.data.shares = (0.1, 0.2)  # shares of validation and test: by_user and by_time
    config.data.seed = 0  # random seed of what is drawn for test
    config.data.valid_share = 0.1  # of train, where a folder has no file of validation
    config.data.valid_seed = 2024  # random seed of what is drawn for validation
    config.data.threshold = placeholder(float)  # a rating of at least this is a like; None: usual
    config.data.core = 1  # users and items with fewer likes are dropped until all have as many
    config.data.min_interactions = 3  # users with fewer likes stay in train
    config.data.separator = ""  # of a CSV, as are the next six: see configs/csv.py
    config.data.quoted = True
    config.data.columns = ()
    config.data.user = "user"
    config.data.item = "item"
    config.data.label = "rating"
    config.data.time = ""
    config.data.num_users = 943  # of synthetic data, as are the next two
    config.data.num_items = 1682
    config.data.num_interactions = 100_000


def _declare_model(config: ConfigDict) -> None:
    """Declares the recommender, and how it is trained."""
    config.model = ConfigDict()
    config.model.name = "mf"  # mf (matrix factorization) or lightgcn
    config.model.embedding_dim = 64  # number of entries of an embedding vector
    config.model.init_scale = 0.1  # standard deviation of the initial embeddings
    config.model.layers = 2  # of lightgcn

    config.train = ConfigDict()
    config.train.batch_size = 1024  # likes of a step
    # all items; shared (drawn once for a batch), each (drawn for each like), in_batch (the likes of
    # the others in the batch) or mixed (half shared, half in_batch)
    config.train.negatives = "all"
    config.train.num_negatives = 1000  # that are drawn
    config.train.popularity_power = 0.0  # draws are in proportion to popularity to this power
    config.train.correct_popularity = False  # subtract log q from a drawn negative's logit


def _declare_test(config: ConfigDict) -> None:
    """Declares what is compared, and how."""
    config.contenders = ConfigDict()
    # Named losses, or formulas of pos, neg, diff and threshold.
    config.contenders.losses = ("bpr", "softmax", "bsl", "psl", "sl_at_k", "talos", "ccl", "gbce")
    config.contenders.score = "cosine"  # of formulas: dot, cosine, half_cosine or sigmoid
    # Recommenders without a loss: popularity, item_knn, ease, ials.
    config.contenders.references = ("popularity", "item_knn", "ease", "ials")

    config.test = ConfigDict()
    config.test.metric = "ndcg@20"  # tunes, stops and compares
    config.test.cutoffs = (5, 10, 20, 50)  # of the metrics that are reported
    config.test.top = 20  # places whose last one is a user's threshold
    config.test.learning_rate = (1e-3, 0.3)  # lowest and highest that are tried
    config.test.weight_decay = (1e-9, 1e-3)  # the same
    config.test.trials = (8, 8, 8)  # settings that are tried of each loss, round by round
    config.test.seeds = 5  # trainings of each loss in the end
    config.test.epochs = 100  # at most
    config.test.evaluate_every = 5  # epochs between two looks at validation
    config.test.patience = 4  # looks without a better one that end a training


def _set_smoke(config: ConfigDict) -> None:
    """Tests two losses, briefly."""
    config.model.embedding_dim = 8
    config.contenders.losses = ("bpr", "softmax")
    config.contenders.references = ("popularity", "ease")
    config.test.update(trials=(2,), seeds=2, epochs=4, evaluate_every=2)
