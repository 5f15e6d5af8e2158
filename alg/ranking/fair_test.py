"""The fair test of rankings: every loss with the same number of trials, then with several seeds.

Validation tunes learning rate, weight decay and the constants of each loss, chooses the number of
epochs, and stops. Test is looked at once for each frozen configuration, in two ways:

- ``train``: the recommender that saw the train split, with what it saw masked. Published figures
  on data with a validation split are often taken so; items held out for validation count as
  errors.
- ``train+valid``: a recommender that is trained again on train and validation, for as many epochs,
  with both masked. It is what a user would be served.
"""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from ..interfaces import (
    Array,
    EmbeddingModel,
    ItemSets,
    ProgressFn,
    RankingData,
    ignore_progress,
)
from ..language.inputs import LossFn
from ..language.named_losses import PAIRWISE_LOSSES, named_loss
from ..language.printing import to_text
from .metrics import check_metric
from .negatives import Negatives
from .trainer import (
    EvalSplit,
    LaneSettings,
    RankState,
    RankTrainer,
    TrainingPairs,
    make_eval_split,
    make_rank_trainer,
    make_training_pairs,
)
from .tuning import Range, Trials, add_trials, find_best, find_edges, propose, to_settings

MASKS = ("train", "train+valid")
"""What is left out of the rankings of a test."""


class RankContender(NamedTuple):
    """A loss in the test."""

    name: str
    formula: str
    loss: LossFn
    score: str
    constants: Mapping[str, Range]  # that are tuned
    found: bool = False  # by a search; otherwise it is a baseline


class RankTestSettings(NamedTuple):
    """How losses are tuned and tested."""

    metric: str = "ndcg@20"  # that chooses
    cutoffs: tuple[int, ...] = (5, 10, 20, 50)
    top: int = 20  # places whose last one is a user's threshold
    trials: tuple[int, ...] = (8, 8, 8)  # of each round
    seeds: int = 5
    epochs: int = 100  # at most
    evaluate_every: int = 5  # epochs; thresholds are refreshed as often
    patience: int = 4  # evaluations without a better one that end a training
    # The worse half of a round's trials stops after so many epochs, half of the rest after twice as
    # many, and so on; 0 for none.
    halving: int = 0
    batch_size: int = 1024
    negatives: Negatives = Negatives()
    learning_rate: Range = Range(1e-3, 0.3)
    weight_decay: Range = Range(1e-9, 1e-3)
    seed: int = 0


class RankResult(NamedTuple):
    """Result of the test for one loss, or for a recommender without one."""

    name: str
    formula: str  # empty without a loss
    score: str  # the same
    found: bool
    settings: dict[str, float]  # learning rate, weight decay and constants
    epochs: int
    edges: list[str]  # settings at an edge of what was tried
    trials: Trials | None  # None for what is tuned on a grid
    valid: dict[str, np.ndarray]  # metric -> [S, E] of validation's users
    test: dict[str, dict[str, np.ndarray]]  # mask -> metric -> [S, E] of the test's users
    lists: dict[str, dict[str, np.ndarray]]  # mask -> metric of all lists together -> [S]
    num_trainings: int
    num_epochs: int  # of all trainings together
    seconds: float
    course: Sequence[tuple[int, float]] = ()  # epoch and mean of the metric on validation
    tuning: Sequence[Mapping[str, float]] = ()  # settings that were tried, and their metric


MakeModel = Callable[[ItemSets], EmbeddingModel]
"""What is known of each user -> model; a graph model needs it."""


class _Course(NamedTuple):
    """Lanes after one more stretch of epochs."""

    epoch: int
    state: RankState
    valid: np.ndarray  # metric of each lane's users on validation, [K, E]
    num_epochs: int  # of all lanes together


class _HeldOut(NamedTuple):
    """Result of seeds that were trained on train alone."""

    epochs: int  # best on validation
    num_epochs: int  # that were trained, of all seeds together
    course: list[tuple[int, float]]
    valid: dict[str, np.ndarray]
    test: dict[str, np.ndarray]
    lists: dict[str, np.ndarray]


class _Track(NamedTuple):
    """What a loss is trained and evaluated with."""

    settings: RankTestSettings
    trainer: RankTrainer
    data: TrainingPairs
    valid: EvalSplit
    name: str  # of the loss
    plan: tuple[int, ...]  # epochs at most of each round of tuning, of the test, and of training on
    progress: ProgressFn


def make_rank_contender(name: str, *, score: str | None = None) -> RankContender:
    """Returns the contender of a named loss; its score is the one that it is made for.

    Raises:
      ValueError: for a name that is no pairwise loss.

    Example:
      >>> contender = make_rank_contender("softmax")
      >>> contender.score, dict(contender.constants)
      ('cosine', {'temperature': Range(low=0.02, high=1.0, log=True)})
    """
    loss = named_loss(name)
    if name not in PAIRWISE_LOSSES:
        raise ValueError(f"rankings are trained by pairwise losses, got {name!r}")
    named = PAIRWISE_LOSSES[name]
    ranges = {
        key: Range(*option.tuned, log=option.tuned[0] > 0)
        for key, option in named.options.items()
        if option.tuned is not None
    }
    return RankContender(
        name=name,
        formula=named.formula if isinstance(named.formula, str) else to_text(loss),
        loss=loss,
        score=score or named.score,
        constants=ranges,
    )


def check_settings(settings: RankTestSettings) -> None:
    """Checks settings of a test; ValueError with what was expected."""
    check_metric(settings.metric, settings.cutoffs)
    counts = {
        "seeds": settings.seeds,
        "epochs": settings.epochs,
        "evaluate_every": settings.evaluate_every,
        "patience": settings.patience,
        "trials": min(settings.trials, default=0),
    }
    for name, count in counts.items():
        if count < 1:
            raise ValueError(f"the test needs {name} of at least 1, got {count}")
    if settings.halving < 0:
        raise ValueError(f"halving is a number of epochs, or 0 for none, got {settings.halving}")


def run_rank_test(
    contender: RankContender,
    data: RankingData,
    make_model: MakeModel,
    settings: RankTestSettings = RankTestSettings(),  # noqa: B008
    *,
    progress: ProgressFn = ignore_progress,
) -> RankResult:
    """Tunes a loss and tests it.

    Args:
      contender: the loss.
      data: train, validation and test.
      make_model: builds the recommender.
      settings: of the test, the same for all losses that are compared.
      progress: called with the epochs of all trainings of the loss, those that it may skip too.

    Raises:
      ValueError: for settings that cannot be.
    """
    check_settings(settings)
    start = time.monotonic()
    track = _make_track(contender, data, make_model(data.train), settings, data.train, progress)
    trials, tuned_epochs = _tune(contender, track)
    ranges = _list_ranges(contender, settings)
    best = trials.units[[find_best(trials)]]
    chosen = {name: float(values[0]) for name, values in to_settings(ranges, best).items()}
    split = make_eval_split(data.test, data.mask(data.train), data.num_items)
    held_out = _test_held_out(track, chosen, split)
    known = data.train.union(data.valid)
    again = _make_track(contender, data, make_model(known), settings, known, progress)
    refit, refit_lists = _test_again(
        again, chosen, held_out.epochs, make_eval_split(data.test, data.mask(known), data.num_items)
    )
    return RankResult(
        name=contender.name,
        formula=contender.formula,
        score=contender.score,
        found=contender.found,
        settings=chosen,
        epochs=held_out.epochs,
        edges=find_edges(trials, harmless=("weight_decay",)),
        trials=trials,
        valid=held_out.valid,
        test={"train": held_out.test, "train+valid": refit},
        lists={"train": held_out.lists, "train+valid": refit_lists},
        num_trainings=len(trials.scores) + 2 * settings.seeds,
        num_epochs=tuned_epochs + held_out.num_epochs + held_out.epochs * settings.seeds,
        seconds=time.monotonic() - start,
        course=held_out.course,
        tuning=_list_trials(trials, ranges),
    )


def _list_trials(trials: Trials, ranges: Mapping[str, Range]) -> list[dict[str, float]]:
    """Returns the settings that were tried, and how good they were."""
    tried = {**to_settings(ranges, trials.units), "valid": trials.scores}
    rows = zip(*(values.tolist() for values in tried.values()), strict=True)
    return [dict(zip(tried, row, strict=True)) for row in rows]


def make_contender_trainer(
    contender: RankContender, model: EmbeddingModel, settings: RankTestSettings
) -> RankTrainer:
    """Builds the trainer of a contender as the test trains it."""
    return make_rank_trainer(
        model,
        contender.loss,
        score=contender.score,
        negatives=settings.negatives,
        batch_size=settings.batch_size,
        top=settings.top,
        cutoffs=settings.cutoffs,
    )


def _make_track(
    contender: RankContender,
    data: RankingData,
    model: EmbeddingModel,
    settings: RankTestSettings,
    known: ItemSets,
    progress: ProgressFn,
) -> _Track:
    trainer = make_contender_trainer(contender, model, settings)
    positives = make_training_pairs(known, data.num_items, power=settings.negatives.power)
    valid = make_eval_split(data.valid, data.mask(data.train), data.num_items)
    return _Track(
        settings=settings,
        trainer=trainer,
        data=positives,
        valid=valid,
        name=contender.name,
        plan=_plan_epochs(settings),
        progress=progress,
    )


def _plan_epochs(settings: RankTestSettings) -> tuple[int, ...]:
    """Returns the epochs at most of all lanes together, of each stretch of trainings in turn."""
    of_rounds = (_count_epochs(settings, count, settings.halving) for count in settings.trials)
    of_seeds = _count_epochs(settings, settings.seeds)
    return (*of_rounds, of_seeds, of_seeds)


def _count_epochs(settings: RankTestSettings, num_lanes: int, halving: int = 0) -> int:
    """Returns the epochs of lanes, ever fewer of which go on, if none stops early."""
    epoch = total = 0
    while epoch < settings.epochs:
        epochs = min(settings.evaluate_every, settings.epochs - epoch)
        epoch, total = epoch + epochs, total + epochs * num_lanes
        while halving and epoch >= halving:
            halving, num_lanes = 2 * halving, -(-num_lanes // 2)
    return total


def _list_ranges(contender: RankContender, settings: RankTestSettings) -> dict[str, Range]:
    return {
        "learning_rate": settings.learning_rate,
        "weight_decay": settings.weight_decay,
        **contender.constants,
    }


def to_lanes(settings: Mapping[str, np.ndarray]) -> LaneSettings:
    """Returns the settings of K lanes from name -> values [K]."""
    values = {name: jnp.asarray(value, jnp.float32) for name, value in settings.items()}
    return LaneSettings(
        learning_rate=values.pop("learning_rate"),
        weight_decay=values.pop("weight_decay"),
        constants=values,
    )


def _train(
    track: _Track,
    lanes: LaneSettings,
    keys: Array,
    stage: str,
    *,
    number: int,
    halving: int = 0,
) -> Iterator[_Course]:
    """Trains lanes, and yields them after each stretch of epochs, at most ``epochs`` in all.

    The stage is the one of this number in the plan. With ``halving``, ever fewer lanes go on; the
    others stay as they are.
    """
    settings, trainer = track.settings, track.trainer
    going_on, num_epochs, best = np.ones(len(keys), bool), 0, np.full(len(keys), -np.inf)
    weight_keys, order_keys = jax.vmap(jax.random.split, out_axes=1)(keys)
    state, epoch = trainer.init(weight_keys), 0
    before, total = sum(track.plan[:number]), sum(track.plan)
    track.progress(stage, before, total, {})
    while epoch < settings.epochs:
        epochs = min(settings.evaluate_every, settings.epochs - epoch)
        epoch += epochs
        num_epochs += epochs * int(going_on.sum())
        count = jnp.asarray(epochs * going_on, jnp.int32)
        state = trainer.train(state, lanes, track.data, order_keys, count)
        if trainer.reads_threshold:
            state = trainer.refresh_thresholds(state)
        valid = np.asarray(trainer.evaluate(state, track.valid).users[settings.metric])
        scores = np.nan_to_num(valid.mean(1), nan=0.0)
        score = float(scores.max() if stage == "tuning" else scores.mean())
        track.progress(stage, before + num_epochs, total, {track.name: score})
        yield _Course(epoch, state, valid, num_epochs)
        best = np.maximum(best, np.nan_to_num(valid.mean(1), nan=-np.inf))
        while halving and epoch >= halving:
            halving *= 2
            order = np.argsort(np.where(going_on, -best, np.inf), kind="stable")
            going_on[order[-(-int(going_on.sum()) // 2) :]] = False


def _tune(contender: RankContender, track: _Track) -> tuple[Trials, int]:
    """Returns all trials, and the epochs that they took together."""
    settings, ranges = track.settings, _list_ranges(contender, track.settings)
    published = {name: contender.loss.constants[name] for name in contender.constants}
    trials, num_epochs = None, 0
    for number, count in enumerate(settings.trials):
        units = propose(
            ranges,
            count,
            number=number,
            seed=settings.seed,
            before=trials,
            published=published,
        )
        lanes = to_lanes(to_settings(ranges, units))
        # All trials begin with the same weights and see the same batches: settings differ alone.
        keys = jnp.repeat(jax.random.key(settings.seed)[None], count)
        best, waited = np.full(count, -np.inf), 0
        for course in _train(track, lanes, keys, "tuning", number=number, halving=settings.halving):
            means = np.nan_to_num(course.valid.mean(1), nan=-np.inf)
            waited = 0 if (means > best).any() else waited + 1
            best = np.maximum(best, means)
            if waited >= settings.patience:
                break
        num_epochs += course.num_epochs
        trials = add_trials(trials, Trials(names=tuple(ranges), units=units, scores=best))
    assert trials is not None  # there is at least one round
    return trials, num_epochs


def _seed_lanes(track: _Track, chosen: Mapping[str, float]) -> tuple[LaneSettings, Array]:
    """Returns a lane for each seed; seeds are others than that of the trials."""
    seeds = track.settings.seeds
    lanes = to_lanes({name: np.full(seeds, value) for name, value in chosen.items()})
    return lanes, jax.random.split(jax.random.key(track.settings.seed + 1), seeds)


def _test_held_out(track: _Track, chosen: Mapping[str, float], split: EvalSplit) -> _HeldOut:
    """Trains all seeds on train, for as many epochs as are best on validation."""
    lanes, keys = _seed_lanes(track, chosen)
    best, waited, points = -np.inf, 0, []
    for course in _train(track, lanes, keys, "test", number=len(track.settings.trials)):
        mean = float(np.nan_to_num(course.valid, nan=0.0).mean())
        points.append((course.epoch, mean))
        waited += 1
        if mean > best:
            best, waited = mean, 0
            # A copy, for training donates the state.
            best_course = course._replace(state=jax.tree.map(jnp.copy, course.state))
        if waited >= track.settings.patience:
            break
    test = track.trainer.evaluate(best_course.state, split)
    return _HeldOut(
        epochs=best_course.epoch,
        num_epochs=course.num_epochs,
        course=points,
        valid=_to_numpy(track.trainer.evaluate(best_course.state, track.valid).users),
        test=_to_numpy(test.users),
        lists=_to_numpy(test.lists),
    )


def _test_again(
    track: _Track, chosen: Mapping[str, float], epochs: int, split: EvalSplit
) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Trains all seeds on train and validation for so many epochs; returns the test's metrics."""
    lanes, keys = _seed_lanes(track, chosen)
    track = track._replace(settings=track.settings._replace(epochs=epochs))
    number = len(track.plan) - 1
    for course in _train(track, lanes, keys, "test, trained on validation too", number=number):
        state = course.state
    found = track.trainer.evaluate(state, split)
    return _to_numpy(found.users), _to_numpy(found.lists)


def _to_numpy(values: Mapping[str, Array]) -> dict[str, np.ndarray]:
    return {name: np.asarray(value) for name, value in values.items()}
