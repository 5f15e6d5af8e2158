"""Losses of top-k rankings, on what users liked: your own interactions, or a folder that is split.

Command:
  ``python run.py --config=configs/topk.py --config.data.path=FOLDER`` for a folder with train.tsv
  and test.tsv; with ``--config.data.name=ml100k`` or ``ml1m``; or ``--config.data.name=csv
  --config.data.path=FILE``.
Time on two cores:
  for 38,000 likes of 1,200 items about 30 minutes, by the phases of a longer run; preset quick
  about 8.
Result:
  losses that a search found, and named losses, each tuned by the same number of trials, next to
  recommenders without a loss.
Presets:
  smoke; quick; published: no search, all named losses, tuned and trained for long.
"""

from collections.abc import Callable, Mapping
from typing import Any

from ml_collections import ConfigDict
from ml_collections.config_dict import placeholder

from autolossgen.configs.base import declare_policy_gradient
from autolossgen.suggest import did_you_mean


def is_of_rankings(config: Mapping[str, Any]) -> bool:
    """Whether a config describes a run of rankings: no other has references."""
    return "references" in config["contenders"]


def get_config(preset: str = "") -> ConfigDict:
    """Returns the config, or that of a preset."""
    config = ConfigDict()
    config.name = "topk"  # name of the run; the default workdir is runs/NAME
    config.seed = 0  # random seed of all trainings
    config.trackers = ()  # where the run can be followed too: wandb, mlflow; see docs/tracking.md
    _declare_data(config)
    _declare_model(config)
    _declare_space(config)
    _declare_search(config)
    _declare_test(config)
    if preset:
        if preset not in PRESETS:
            raise ValueError(f"preset {preset!r} is not known{did_you_mean(preset, PRESETS)}")
        config.name = f"topk-{preset}"
        PRESETS[preset](config)
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
    config.data.mask_disliked = False  # whether what a user rated lower is not ranked for the user
    config.data.core = 1  # users and items with fewer likes are dropped until all have as many
    config.data.min_interactions = 3  # users with fewer likes stay in train
    config.data.separator = ""  # of a CSV, as are the next six: see configs/csv.py
    config.data.quoted = True
    config.data.columns = ()
    config.data.user = "user"
    config.data.item = "item"
    config.data.label = "rating"
    config.data.time = ""  # of a folder too, with split by_time or leave_one_out
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
    config.train.correct_popularity = False  # a drawn negative counts as 1 / (its chance)


def _declare_space(config: ConfigDict) -> None:
    """Declares which losses a search writes, and what writes and screens them."""
    config.space = ConfigDict()
    config.space.operators = (
        *("add", "sub", "mul", "div", "max", "exp", "log", "softplus", "sigmoid", "tanh", "atan"),
        *("relu", "square", "sum_neg", "mean_neg", "max_neg", "logsumexp_neg", "stop_gradient"),
    )
    # pos and neg are scores, diff is pos - neg, threshold is a user's score at place test.top, and
    # c is a constant that is tuned.
    config.space.operands = ("pos", "neg", "diff", "threshold", "1", "c")
    config.space.length = 18  # tokens of a loss, at most
    # Mean and deviation of the number of tokens that a policy writes, or None.
    config.space.length_prior = (7.0, 1.5)
    # Named losses or formulas to begin with, in which c0, c1, ... are constants; () for none.
    config.space.initial_losses = (
        *("softmax", "bpr", "psl_tanh", "sl_at_k", "ccl"),
        "logsumexp_neg(neg / c0) - pos / c1",  # bsl, but for a factor
        "logsumexp_neg(log(max(1 - diff, c0)) / c1)",  # psl
        "logsumexp_neg(log(sigmoid(neg - threshold)) / c0)"
        " - log(sigmoid(pos - threshold)) / c1",  # talos
    )

    config.policy = ConfigDict()
    config.policy.name = "evolution"  # evolution, risk_seeking, reinforce or random
    config.policy.evolution = ConfigDict()
    config.policy.evolution.population = 32  # losses that may be parents
    config.policy.evolution.newcomers = 8  # that join in a generation, in place of the oldest
    config.policy.evolution.explore = 0.25  # fraction drawn uniformly
    config.policy.reinforce = declare_policy_gradient()
    config.policy.risk_seeking = declare_policy_gradient()

    config.filter = ConfigDict()  # see configs/base.py
    config.filter.tolerance = 2e-3
    config.filter.protection = 0.05


def _declare_search(config: ConfigDict) -> None:
    """Declares how candidates train, when a search ends, and which losses are promoted."""
    config.generation = ConfigDict()
    config.generation.samples = 1024  # losses that the policy writes
    config.generation.num_candidates = 8  # losses that train
    # Settings of a candidate that train, stage by stage, and the epochs that each stage adds. The
    # best of a stage go on. How well such a reward tells losses apart is in
    # docs/results/ranking_search.md.
    config.generation.trials = (8, 4, 2)
    config.generation.epochs = (1, 2, 4)
    config.generation.learning_rate = (0.03, 0.2)  # lowest and highest that are tried
    config.generation.constants = (0.05, 5.0)  # the same, of each constant, in the test too
    config.generation.hall = 64  # rows of the hall of fame
    config.generation.seen_losses = 4096  # trained losses remembered

    config.search = ConfigDict()
    config.search.generations = 6  # at most; 0 for no search
    config.search.candidates = 0  # candidates that have trained; 0 for no limit
    config.search.seconds = 0.0  # duration of the search, before a resume, too; 0.0 for no limit
    config.search.target = placeholder(float)  # reward of a loss, the metric on validation
    config.search.checkpoint_every = 1  # generations from one checkpoint to the next

    config.promote = ConfigDict()  # the best of the search train for longer; the best are tested
    config.promote.losses = 6
    # As generation.trials: with as many in the first stage, they are the same settings again.
    config.promote.trials = (8, 3)
    config.promote.epochs = (3, 17)


def _declare_test(config: ConfigDict) -> None:
    """Declares what is compared, and how."""
    config.contenders = ConfigDict()
    config.contenders.found = 1  # losses of the search that are tested
    # Named losses; formulas of pos, neg, diff and threshold, in which c0, c1, ... are tuned; or run
    # folders, whose found losses are taken.
    config.contenders.losses = ("bpr", "softmax", "psl", "sl_at_k")
    config.contenders.score = "cosine"  # of formulas: dot, cosine, half_cosine or sigmoid
    # Recommenders without a loss: popularity, item_knn, ease, ials.
    config.contenders.references = ("popularity", "item_knn", "ease", "ials")

    config.test = ConfigDict()
    config.test.metric = "ndcg@20"  # tunes, stops and compares
    config.test.cutoffs = (5, 10, 20, 50)  # of the metrics that are reported
    # Places whose last one is a user's threshold; None for as many as the metric counts.
    config.test.top = placeholder(int)
    config.test.learning_rate = (1e-3, 0.3)  # lowest and highest that are tried
    config.test.weight_decay = (1e-9, 1e-3)  # the same
    config.test.trials = (6, 6)  # settings that are tried of each loss, round by round
    # The worse half of a round's trials stops after so many epochs, half of the rest after twice as
    # many, and so on; 0 for none.
    config.test.halving = 5
    config.test.seeds = 5  # trainings of each loss in the end
    config.test.epochs = 30  # at most
    config.test.evaluate_every = 5  # epochs between two looks at validation
    config.test.refresh_every = 5  # epochs between two looks at the users' thresholds
    config.test.patience = 2  # looks without a better one that end a training


def _set_quick(config: ConfigDict) -> None:
    """Searches and tests briefly."""
    config.generation.update(trials=(4, 1), epochs=(2, 5))
    config.search.generations = 3
    config.promote.update(losses=3, trials=(4, 1), epochs=(2, 10))
    config.contenders.losses = ("softmax", "sl_at_k")
    config.contenders.references = ("popularity", "item_knn", "ease")
    config.test.update(trials=(6,), seeds=3, epochs=25)


def _set_published(config: ConfigDict) -> None:
    """Tests all named losses as long as published figures need."""
    config.search.generations = 0
    config.contenders.found = 0
    config.contenders.losses = ("bpr", "softmax", "bsl", "psl", "sl_at_k", "talos", "ccl", "gbce")
    config.test.update(trials=(8, 8, 8), halving=0, epochs=100, patience=4)


def _set_smoke(config: ConfigDict) -> None:
    """Searches and tests in a minute."""
    config.model.embedding_dim = 8
    config.space.initial_losses = ("softmax", "sl_at_k")
    config.generation.update(samples=64, num_candidates=2, trials=(2, 1), epochs=(1, 1))
    config.search.generations = 2
    config.promote.update(losses=1, trials=(2, 1), epochs=(1, 1))
    config.contenders.losses = ("bpr", "softmax")
    config.contenders.references = ("popularity", "ease")
    config.test.update(trials=(2,), seeds=2, epochs=4, evaluate_every=2, halving=0)


PRESETS: dict[str, Callable[[ConfigDict], None]] = {
    "smoke": _set_smoke,
    "quick": _set_quick,
    "published": _set_published,
}
