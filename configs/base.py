"""Every key of every config, declared once; the other configs change values.

A section holds the keyword arguments of one builder, so a key that nobody reads cannot exist.
"""

from ml_collections import ConfigDict
from ml_collections.config_dict import placeholder


def get_config() -> ConfigDict:
    """Returns the defaults."""
    config = ConfigDict()
    config.name = "base"  # of the run; the default workdir is runs/<name>
    config.seed = 0
    config.devices = 0  # that lanes are divided over; 0 for all (on CPU: all cores)

    config.data = ConfigDict()
    # ml100k, ml1m, ml_latest_small, movietweetings or electronics; csv and synthetic have keys of
    # their own, see configs/csv.py and configs/synthetic.py.
    config.data.name = "ml100k"
    config.data.path = ""  # file or folder; empty for the cache, then a download
    config.data.threshold = 3.0  # a rating above it is a positive
    # Each user's last positives, for validation and test; or ratio_per_user, ratio_by_time, random,
    # by_user.
    config.data.split = "leave_one_out"
    config.data.shares = (0.1, 0.1)  # of validation and test in the other splits
    config.data.seed = 0  # of random and by_user
    config.data.min_interactions = 5  # users with fewer stay in train
    # leave_one_out, or same as data.split: cut from train, never seen by validation or test;
    # valid: the validation split.
    config.data.reward_split = "leave_one_out"
    config.data.features = ()  # names of those that the model reads, or all; see docs/data.md

    config.implicit = ConfigDict()  # positives to be ranked, and negatives drawn for them
    # Rows of label 0 that are drawn once for each positive to train on, for pointwise losses of
    # data without dislikes. Pairwise losses have train.negatives.
    config.implicit.negatives = 0
    config.implicit.candidates = 200  # sampled to rank each reward positive among; 0 for all items
    config.implicit.test_candidates = 0  # the same for those of validation and test
    config.implicit.seed = 0

    config.model = ConfigDict()
    # biased_mf, deep, neumf, deepfm, dcn_v2, two_tower, or one's own: "package.module:Class".
    config.model.name = "biased_mf"
    config.model.embedding_dim = 64  # of the embedding vectors
    config.model.init_scale = 0.1  # standard deviation of the initial embeddings
    # Of the model, by name, as in {"hidden": (64, 16), "dropout": 0.1}; None for its own.
    config.model.options = placeholder(object)

    config.train = ConfigDict()  # what all trainings share
    config.train.batch_size = 128
    config.train.clip = placeholder(float)  # gradients of single parameters; None for no clipping
    config.train.l2 = 0.0  # times the sum of squares of all parameters, added to the loss
    # Drawn beside each positive for pairwise losses, afresh for every epoch, from the items that
    # its user is not known to like.
    config.train.negatives = 4
    # That a candidate of the search trains on, drawn anew for each generation; 0 for all.
    config.train.interactions = 0

    config.optimizer = ConfigDict()
    # sgd or adagrad. With adagrad learning rates, weight decays and l2 mean something else, see
    # docs/training.md; preset adagrad sets them all.
    config.optimizer.name = "sgd"
    config.optimizer.adagrad = ConfigDict()
    config.optimizer.adagrad.eps = 1e-20  # added to an accumulated square, under the root
    config.optimizer.adagrad.initial_accumulator = 0.0

    config.space = ConfigDict()
    # pointwise: of a prediction and its label, for AUC; or pairwise: of a positive and its sampled
    # negatives, for NDCG at 10. Operators, operands, reference and baselines left at None are the
    # family's.
    config.space.family = "pointwise"
    config.space.operators = placeholder(tuple)
    config.space.operands = placeholder(tuple)
    config.space.length = 15  # tokens of a loss, at most
    config.space.bounds = (-1e5, 1e5)  # intermediate results are clipped to them
    # Mean and deviation of the tokens of a loss that is written, as in (9.0, 2.0); or None.
    config.space.length_prior = placeholder(tuple)
    # Named losses or formulas to begin with, as in ("bce", "maxr"): the first losses of the first
    # generation, and what a policy gradient is warmed up with.
    config.space.seeds = ()

    config.policy = ConfigDict()
    config.policy.name = "risk_seeking"  # or reinforce (the paper), evolution or random
    config.policy.reinforce = _policy_gradient()
    config.policy.risk_seeking = _policy_gradient()
    config.policy.risk_seeking.quantile = 0.997  # learn from the rewards above it alone
    config.policy.evolution = ConfigDict()
    config.policy.evolution.population = 256
    config.policy.evolution.tournament = 8
    config.policy.evolution.newcomers = 32  # of a generation; the oldest make room
    config.policy.evolution.mutation = 0.1  # chance of an edit at each token
    config.policy.evolution.crossover = 0.25
    config.policy.evolution.explore = 0.5  # as of the policy gradients, below

    config.filter = ConfigDict()
    # Or paper, which together with policy.reinforce.below_baseline=-1.0 is the filter of the paper.
    config.filter.name = "graded"
    config.filter.graded = ConfigDict()
    config.filter.graded.probes = 32
    config.filter.graded.min_gradient = 1e-4  # a largest slope below it is no gradient
    config.filter.graded.min_direction = (
        0.6  # share of probes that point right less those that do not
    )
    config.filter.graded.tolerance = 1e-2  # between twins' slopes of unit length
    config.filter.paper = ConfigDict()
    config.filter.paper.probes = 20
    config.filter.paper.min_gradient = 1e-4
    config.filter.paper.tolerance = 1e-4
    config.filter.paper.seed = 0

    config.generation = ConfigDict()
    config.generation.samples = 8192  # losses that the policy writes
    config.generation.width = 32  # lanes trained side by side, one of them with the reference
    # Recommenders that a candidate is trained from, in as many lanes: 1, that which moves on; 2,
    # one with fresh weights, too; 3, and one half as trained. Width is a multiple of it.
    config.generation.starts = 1
    # That candidates are trained for before their reward, and a recommender when it moves on.
    config.generation.epochs = 1
    # Formula of the loss that lane 0 trains, beside which all others are seen; None for BCE, or for
    # BPR in the pairwise family.
    config.generation.reference = placeholder(str)
    config.generation.learning_rate = placeholder(float)  # None for the model's smallest
    config.generation.weight_decay = 1e-4
    config.generation.reward_scale = "gradient"  # or raw: a large gradient is an advantage
    config.generation.hall = 128  # rows of the hall of fame
    config.generation.memory = 4096  # trained losses remembered
    # The recommender begins anew after a round: always; stalled, where the reference stops to help,
    # and moves on with the best loss else; or never (the paper). See docs/results.md.
    config.generation.restart = "stalled"

    config.search = ConfigDict()
    # At most. The search also ends after the generation in which the first of these is reached.
    config.search.generations = 60
    config.search.candidates = 0  # trained; 0 for no limit
    config.search.seconds = 0.0  # with what a resumed search took before; 0.0 for no limit
    # A reward in the hall of fame, as hall_of_fame.csv has them; None for no limit.
    config.search.target = placeholder(float)
    config.search.round_generations = 10  # then the recommender begins anew or moves on
    config.search.checkpoint_every = 10  # generations
    # The metric that rewards, promotes, chooses and compares: auc, user_auc, logloss, rmse, mae,
    # accuracy or f1; or ndcg@10, recall@10, hit@10, mrr@10 (any number of ranks) or mrr, among all
    # items or sampled ones (implicit). None: auc for pointwise losses, ndcg@10 for pairwise ones.
    config.search.reward = placeholder(str)

    # Sound losses of the hall of fame are trained from scratch, rung by rung, and judged on the
    # reward split and validation together (on the reward split alone where it ranks among another
    # number of candidates); the best are tested.
    config.promote = ConfigDict()
    config.promote.learning_rates = placeholder(tuple)  # None for the model's own
    config.promote.weight_decays = (1e-4,)
    # Of each rung. Of short ones those come out best that learn fast.
    config.promote.epochs = (6, 20, 60)
    config.promote.keep = 0.25  # the share that goes on to the next rung
    # Losses whose gradients of unit length differ by no more at any probe are of one kind, and the
    # best of each kind goes on first: what is tested had better not be one loss four times.
    config.promote.apart = 0.1
    # Trainings of each loss at each setting, whose mean counts: for recommenders, such as deep, of
    # which two trainings differ by more than two losses do.
    config.promote.seeds = 1
    config.promote.scale = "gradient"
    config.promote.width = 64  # lanes trained side by side

    config.contenders = ConfigDict()
    config.contenders.found = 4
    config.contenders.baselines = placeholder(tuple)  # named losses; None for the family's usual
    config.contenders.smoothing = 0.1  # of maxr, sumr and logmin

    config.test = ConfigDict()
    # For a gradient as large as BCE's, or BPR's; None for the model's own, see docs/models.md.
    config.test.learning_rates = placeholder(tuple)
    config.test.weight_decays = (3e-5, 1e-4)
    config.test.scale = "gradient"  # or raw: learning rates as they stand
    # Trainings at each of them, whose mean counts; then, at the best, of other seeds.
    config.test.tuning_seeds = 3
    config.test.seeds = 5
    # Fewer favour losses that learn fast: on MovieLens-100K, BCE and Focal are best after 60.
    config.test.epochs = 100
    # Epochs without a better validation metric of any loss. After a plateau of 5, some rise again.
    config.test.patience = 10

    # Losses to test on every model and data set, in place of a search; see configs/transfer.py.
    config.transfer = ConfigDict()
    # Names, formulas, run folders, paths of a hall_of_fame.csv; empty for a search.
    config.transfer.losses = ()
    config.transfer.models = ()  # model names
    # Names of configs, or config files, each with =PATH behind it where the data lie elsewhere.
    config.transfer.datasets = ()
    return config


def _policy_gradient() -> ConfigDict:
    """Returns what both policy gradients take."""
    section = ConfigDict()
    section.width = 64
    section.init_range = 0.1  # weights start uniform in plus or minus this
    # The original's are squash 1.5, learning rate 1e-3, eps 1e-3 and entropy 1e-4, from all rewards
    # (preset paper). They leave one candidate in a hundred worth training, these fill all lanes.
    section.squash = 5.0  # logits are squash * tanh(.)
    section.learning_rate = 0.01
    section.b1 = 0.0
    section.b2 = 0.999
    section.eps = 1e-8
    section.clip_norm = 5.0
    section.entropy_weight = 0.03
    section.baseline_decay = 0.99
    section.normalize = True  # advantages by the standard deviation of the rewards
    section.below_baseline = placeholder(float)  # what such a reward becomes; None: itself
    # Share of losses written at random, against a closed mind. They are the first to be trained: a
    # filter that lets most losses pass, as the paper's, leaves the policy no lane.
    section.explore = 0.5
    section.warm_steps = 10  # that raise the likelihood of space.seeds before the first generation
    return section
