"""Every key of every config, declared once; the other configs change values.

A section holds the keyword arguments of one builder, so a key that nobody reads cannot exist.
"""

from ml_collections import ConfigDict
from ml_collections.config_dict import placeholder


def get_config() -> ConfigDict:
    """Returns the defaults."""
    config = ConfigDict()
    config.name = "base"  # name of the run; the default workdir is runs/NAME
    config.seed = 0  # random seed of the search and of all trainings
    # Where the run can be followed too: wandb, mlflow; see docs/tracking.md.
    config.trackers = ()
    config.devices = 0  # number of devices that share the lanes; 0 for all (on CPU: all cores)

    _declare_data(config)
    _declare_recommender(config)
    _declare_space(config)
    _declare_search(config)
    _declare_test(config)
    return config


def _declare_data(config: ConfigDict) -> None:
    """Declares the keys of the data, and the ranking of positives."""
    config.data = ConfigDict()
    # ml100k, ml1m, ml_latest_small, movietweetings or electronics; csv and synthetic have keys of
    # their own, see configs/csv.py and configs/synthetic.py.
    config.data.name = "ml100k"
    config.data.path = ""  # file or folder; empty for the cache, then a download
    config.data.threshold = 3.0  # a rating above it is a positive
    # How validation and test are held out: leave_one_out (each user's last positives),
    # ratio_per_user, ratio_by_time, random or by_user.
    config.data.split = "leave_one_out"
    config.data.shares = (0.1, 0.1)  # shares of validation and test, except in leave_one_out
    config.data.seed = 0  # random seed of the splits random and by_user
    config.data.min_interactions = 5  # users with fewer interactions stay in train
    # How the rows that reward candidates are held out of train: leave_one_out, or same for the way
    # of data.split. Or valid, to reward on the validation split.
    config.data.reward_split = "leave_one_out"
    config.data.features = ()  # names of features that the model reads, or all; see docs/data.md

    config.implicit = ConfigDict()  # data of positives alone, and their ranking
    # Rows of label 0 drawn once for each positive, to train pointwise losses on data without
    # dislikes. Pairwise losses have train.negatives.
    config.implicit.negatives = 0
    # Items sampled to rank each positive of the reward split among; 0 for all items.
    config.implicit.candidates = 200
    config.implicit.test_candidates = 0  # the same number for positives of validation and test
    config.implicit.seed = 0  # random seed of these draws


def _declare_recommender(config: ConfigDict) -> None:
    """Declares the keys of the recommender, and how it is trained."""
    config.model = ConfigDict()
    # biased_mf, deep, neumf, deepfm, dcn_v2, two_tower, or your own: "package.module:Class".
    config.model.name = "biased_mf"
    config.model.embedding_dim = 64  # number of entries of an embedding vector
    config.model.init_scale = 0.1  # standard deviation of the initial embeddings
    # Options of the model, as in {"hidden": (64, 16), "dropout": 0.1}; None for its defaults.
    config.model.options = placeholder(object)

    config.train = ConfigDict()  # what all trainings share
    config.train.batch_size = 128  # interactions, or groups of a positive and its negatives
    config.train.clip = placeholder(float)  # limit of each entry of a gradient; None for none
    config.train.l2 = 0.0  # factor of the sum of squares of all parameters, added to the loss
    # Interactions that weight decays are given for: with more of them to train on, decays are
    # smaller in proportion, so that they weigh as much against all examples together. 0 to take
    # them as given.
    config.train.decay_interactions = 100_000
    # Negatives drawn for each positive for pairwise losses, new ones in every epoch, from the
    # items that its user is not known to like.
    config.train.negatives = 4
    # Interactions that a candidate trains on, new ones in each generation; 0 for all.
    config.train.interactions = 0

    config.optimizer = ConfigDict()
    # sgd or adagrad. With adagrad, learning rates, weight decays and l2 mean something else: see
    # docs/training.md. Preset adagrad sets them all.
    config.optimizer.name = "sgd"
    config.optimizer.adagrad = ConfigDict()
    config.optimizer.adagrad.eps = 1e-20  # added to an accumulated square, under the root
    config.optimizer.adagrad.initial_accumulator = 0.0  # first value of accumulated squares


def _declare_space(config: ConfigDict) -> None:
    """Declares the keys of what losses a search writes, and what writes and screens them."""
    config.space = ConfigDict()
    # pointwise: losses of a prediction and its label, rewarded by AUC. pairwise: losses of a
    # positive and its sampled negatives, rewarded by NDCG at 10.
    config.space.family = "pointwise"
    config.space.operators = placeholder(tuple)  # names of the operators; None for the family's
    config.space.operands = placeholder(tuple)  # names and numbers; None for the family's
    # Your own operators, in addition to these: "package.module:NAME" or "path/to/file.py:NAME",
    # a sequence of autolossgen.Op.
    config.space.extra_operators = ""
    config.space.length = 15  # tokens of a loss, at most
    config.space.bounds = (-1e5, 1e5)  # intermediate results are clipped to them
    # Mean and deviation of the number of tokens that a policy writes, as in (9.0, 2.0), or None.
    config.space.length_prior = placeholder(tuple)
    # Named losses or formulas to begin with, as in ("bce", "maxr"): the first losses of the first
    # generation, and what a policy gradient is warmed up with. "known" is two good losses that are
    # no baselines, as far as the space can write them.
    config.space.initial_losses = ()

    config.policy = ConfigDict()
    # risk_seeking, reinforce (the paper's), evolution or random.
    config.policy.name = "risk_seeking"
    config.policy.reinforce = declare_policy_gradient()
    config.policy.risk_seeking = declare_policy_gradient()
    config.policy.evolution = ConfigDict()
    config.policy.evolution.population = 256  # losses that may be parents
    # Losses that join in a generation, in place of the oldest.
    config.policy.evolution.newcomers = 32
    config.policy.evolution.explore = 0.5  # fraction drawn uniformly, as for the policy gradients

    config.filter = ConfigDict()
    # graded; or paper, which with policy.reinforce.below_average=-1.0 is the filter of the paper.
    config.filter.name = "graded"
    config.filter.graded = ConfigDict()
    # Largest difference between the gradients of twins, scaled to length 1.
    config.filter.graded.tolerance = 1e-2
    # A loss is rejected if its formula without any protection (of log, reciprocal, div, sqrt and
    # exp, and of space.bounds) has no value, or another gradient: by more than this share of the
    # largest. 0.0 keeps such losses, as the filter paper does.
    config.filter.graded.protection = 0.05


def _declare_search(config: ConfigDict) -> None:
    """Declares the keys of the search."""
    config.generation = ConfigDict()
    config.generation.samples = 8192  # losses that the policy writes
    config.generation.num_lanes = 32  # losses that train together, one of them the reference
    # Epochs that a candidate trains for before its reward, and the base model after a round.
    config.generation.epochs = 1
    # Learning rate of all lanes; None for the model's smallest.
    config.generation.learning_rate = placeholder(float)
    config.generation.weight_decay = 1e-4  # weight decay of all lanes
    # gradient scales all losses to gradients of one size; raw leaves them, so that a large gradient
    # is an advantage.
    config.generation.reward_scale = "gradient"
    config.generation.hall = 128  # rows of the hall of fame
    # Reward that a token costs: the hall of fame is ordered by the gain less parsimony times the
    # complexity, promotion by the reward less the same. 0.0 to look at rewards alone.
    config.generation.parsimony = 1e-4
    config.generation.seen_losses = 4096  # trained losses remembered
    # When the base model starts again with fresh weights after a round: always, never (the paper),
    # or stalled, once the reference no longer improves it; until then it trains on with the best
    # loss of the round. See docs/results/rewards.md.
    config.generation.restart = "stalled"

    config.search = ConfigDict()
    # Generations at most. The search ends earlier, after the generation that reaches one of the
    # next three limits.
    config.search.generations = 60
    config.search.candidates = 0  # candidates that have trained; 0 for no limit
    config.search.seconds = 0.0  # duration of the search, before a resume, too; 0.0 for no limit
    # The reward of a loss in the hall of fame, as in hall_of_fame.csv; None for no limit.
    config.search.target = placeholder(float)
    # Generations in a round. After a round the base model trains on or starts again.
    config.search.round_generations = 10
    config.search.checkpoint_every = 10  # generations from one checkpoint to the next
    # The metric that rewards, promotes, chooses and compares. Of labels: auc, user_auc (mean over
    # users), logloss, rmse, mae, accuracy or f1. Of rankings: ndcg@10, recall@10, hit@10, mrr@10
    # (any number) or mrr. None for auc (pointwise losses) or ndcg@10 (pairwise ones). Pairwise
    # losses cannot be judged by logloss, rmse or mae, as their logits are no probabilities.
    config.search.reward = placeholder(str)


def _declare_test(config: ConfigDict) -> None:
    """Declares the keys of promotion, the fair test and transfers."""
    # Sound losses of the hall of fame train from scratch, rung by rung. The reward split and
    # validation together judge them (the reward split alone if it ranks among another number of
    # candidates). The best are tested.
    config.promote = ConfigDict()
    # Losses of the hall of fame that are promoted, the best ones; 0 for all, and no fewer than
    # contenders.found.
    config.promote.losses = 0
    config.promote.learning_rates = placeholder(tuple)  # rates to try; None for the model's own
    config.promote.weight_decays = (1e-4,)  # tried at each learning rate
    # Epochs of each rung. Short rungs favour losses that learn fast.
    config.promote.epochs = (6, 20, 60)
    # Losses whose gradients, scaled to length 1, differ by no more are of one kind. The best of
    # each kind goes on first, so that the test is not of one loss four times.
    config.promote.distinct_tolerance = 0.1
    # Trainings of each loss at each setting, whose mean counts. For models such as deep, seed noise
    # exceeds the difference between losses: take 4.
    config.promote.seeds = 1
    config.promote.scale = "gradient"  # gradient or raw, as in test.scale
    config.promote.num_lanes = 64  # losses times settings that train together

    config.contenders = ConfigDict()
    config.contenders.found = 4  # losses of the search that are tested
    config.contenders.baselines = placeholder(tuple)  # named losses; None for the family's
    config.contenders.smoothing = 0.1  # smoothing of maxr, sumr and logmin

    config.test = ConfigDict()
    # Rates to try, for a gradient as large as BCE's, or BPR's; None for the model's own, see
    # docs/models.md.
    config.test.learning_rates = placeholder(tuple)
    config.test.weight_decays = (3e-5, 1e-4)  # tried at each learning rate
    # gradient adapts learning rates to the size of each loss's gradient; raw takes them as given.
    config.test.scale = "gradient"
    config.test.tuning_seeds = 3  # trainings at each setting, whose mean chooses
    # Settings of each loss, the best by the first of these seeds, that train with the others, too.
    # One of them is chosen. 0 for all settings.
    config.test.confirmed = 2
    config.test.seeds = 5  # trainings at the chosen setting, with other seeds
    # Epochs at most. Fewer favour losses that learn fast: on MovieLens-100K, BCE and Focal are best
    # after 60.
    config.test.epochs = 100
    # Epochs after which training stops if no loss has improved on validation. After a plateau of 5,
    # some rise again.
    config.test.patience = 10

    # Losses to test on every model and data set, in place of a search; see configs/transfer.py.
    config.transfer = ConfigDict()
    # Names, formulas, run folders or paths of a hall_of_fame.csv; empty for a search.
    config.transfer.losses = ()
    config.transfer.models = ()  # names of models
    # Names of configs or paths of config files, each with =PATH after it if its data lie elsewhere.
    config.transfer.datasets = ()


def declare_policy_gradient() -> ConfigDict:
    """Returns what both policy gradients take."""
    section = ConfigDict()
    section.hidden_dim = 64  # size of the LSTM and of the token embedding
    section.init_range = 0.1  # weights start uniform in plus or minus this
    # The original has squash 1.5, learning rate 1e-3, eps 1e-3 and entropy weight 1e-4, and learns
    # from all rewards (preset paper). With these, one candidate in a hundred is worth training;
    # with the values here all lanes are filled.
    section.squash = 5.0  # logits are squash * tanh(.)
    section.learning_rate = 0.01  # learning rate of Adam
    section.b1 = 0.0  # Adam's decay of the mean of gradients
    section.b2 = 0.999  # Adam's decay of the mean of squared gradients
    section.eps = 1e-8  # Adam's term in the denominator
    section.clip_norm = 5.0  # limit of the norm of a gradient
    section.entropy_weight = 0.03  # factor of the policy's entropy, which is added to its objective
    section.moving_average_decay = 0.99  # decay of the mean of rewards, at each reward
    section.normalize = True  # divide advantages by the standard deviation of the rewards
    section.below_average = placeholder(float)  # replaces rewards below the average; or None
    # Fraction of samples drawn uniformly from the grammar, for exploration. They train first, so a
    # filter that lets most losses pass, as the paper's, leaves no lane to the policy.
    section.explore = 0.5
    # Steps before the first generation that raise the likelihood of space.initial_losses.
    section.warm_steps = 10
    return section
