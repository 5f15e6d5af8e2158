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
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from ..evaluation.kept import NOTHING, Kept, do_once, go_on
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
from ..search.checkpoints import pack_state
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
    train_epochs,
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
    published: Mapping[str, float] | None = None  # values to begin with; None if nobody knows


class RankTestSettings(NamedTuple):
    """How losses are tuned and tested."""

    metric: str = "ndcg@20"  # that chooses
    cutoffs: tuple[int, ...] = (5, 10, 20, 50)
    top: int = 20  # places whose last one is a user's threshold
    trials: tuple[int, ...] = (8, 8, 8)  # of each round
    seeds: int = 5
    epochs: int = 100  # at most
    evaluate_every: int = 5  # epochs
    refresh_every: int = 5  # epochs, of the users' thresholds
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
    # Metric of each lane's users on validation, [K, E]; no users where validation is trained on.
    valid: np.ndarray
    num_epochs: int  # of all lanes together


class _Effort(NamedTuple):
    """What trainings took."""

    num_epochs: int  # of all together
    seconds: float


class _Track(NamedTuple):
    """What a loss is trained and evaluated with."""

    settings: RankTestSettings
    trainer: RankTrainer
    data: TrainingPairs
    valid: EvalSplit | None  # None if it is trained on
    name: str  # of the loss
    plan: tuple[int, ...]  # epochs at most of each round of tuning, of the test, and of training on
    progress: ProgressFn
    kept: Kept  # of the loss


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
        published={key: loss.constants[key] for key in ranges},
    )


def check_settings(settings: RankTestSettings) -> None:
    """Checks settings of a test; ValueError with what was expected."""
    counts = {
        "cutoffs": min(settings.cutoffs, default=0),
        "top": settings.top,
        "batch_size": settings.batch_size,
        "seeds": settings.seeds,
        "epochs": settings.epochs,
        "evaluate_every": settings.evaluate_every,
        "refresh_every": settings.refresh_every,
        "patience": settings.patience,
        "trials": min(settings.trials, default=0),
    }
    for name, count in counts.items():
        if count < 1:
            raise ValueError(f"the test needs {name} of at least 1, got {count}")
    check_metric(settings.metric, settings.cutoffs)
    if settings.halving < 0:
        raise ValueError(f"halving is a number of epochs, or 0 for none, got {settings.halving}")


def run_rank_test(
    contender: RankContender,
    data: RankingData,
    make_model: MakeModel,
    settings: RankTestSettings = RankTestSettings(),  # noqa: B008
    *,
    progress: ProgressFn = ignore_progress,
    kept: Kept = NOTHING,
) -> RankResult:
    """Tunes a loss and tests it.

    Args:
      contender: the loss.
      data: train, validation and test.
      make_model: builds the recommender.
      settings: of the test, the same for all losses that are compared.
      progress: called with the epochs of all trainings of the loss, those that it may skip too.
      kept: of this loss.

    Raises:
      ValueError: for settings that cannot be.
    """
    check_settings(settings)
    model, known = make_model(data.train), data.train.union(data.valid)
    track = _make_track(contender, data, model, settings, progress, kept)
    trials, tuned = _tune(contender, track)
    ranges = _list_ranges(contender, settings)
    best = trials.units[[find_best(trials)]]
    chosen = {name: float(values[0]) for name, values in to_settings(ranges, best).items()}
    split = make_eval_split(data.test, data.mask(data.train), data.num_items)
    held_out = _do_once(kept, "test", partial(_test_held_out, track, chosen, split))
    epochs = int(held_out["epochs"])
    again = track._replace(
        trainer=make_contender_trainer(contender, make_model(known), settings),
        data=make_training_pairs(known, data.num_items, power=settings.negatives.power),
        valid=None,
    )
    split = make_eval_split(data.test, data.mask(known), data.num_items)
    refit = _do_once(kept, "test-again", partial(_test_again, again, chosen, epochs, split))
    return RankResult(
        name=contender.name,
        formula=contender.formula,
        score=contender.score,
        found=contender.found,
        settings=chosen,
        epochs=epochs,
        edges=[
            *find_edges(trials, harmless=("weight_decay",)),
            *["epochs at their highest"] * (epochs == settings.epochs),
        ],
        trials=trials,
        valid=held_out["valid"],
        test={"train": held_out["test"], "train+valid": refit["test"]},
        lists={"train": held_out["lists"], "train+valid": refit["lists"]},
        num_trainings=len(trials.scores) + 2 * settings.seeds,
        num_epochs=tuned.num_epochs + int(held_out["num_epochs"]) + epochs * settings.seeds,
        seconds=tuned.seconds + float(held_out["seconds"] + refit["seconds"]),
        course=[(int(epoch), float(value)) for epoch, value in held_out["course"]],
        tuning=_list_trials(trials, ranges),
    )


def _list_trials(trials: Trials, ranges: Mapping[str, Range]) -> list[dict[str, float]]:
    """Returns the settings that were tried, and how good they were."""
    tried = {**to_settings(ranges, trials.units), "valid": trials.scores}
    rows = zip(*(values.tolist() for values in tried.values()), strict=True)
    return [dict(zip(tried, row, strict=True)) for row in rows]


def _do_once(kept: Kept, name: str, compute: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """Returns a part that is kept, or computes and keeps it; with the seconds that it took."""

    def compute_timed() -> dict[str, Any]:
        start = time.monotonic()
        return {**compute(), "seconds": time.monotonic() - start}

    return do_once(kept, name, compute_timed)


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
    progress: ProgressFn,
    kept: Kept,
) -> _Track:
    """Returns what a loss is tuned with: train to train on, validation to choose by."""
    return _Track(
        settings=settings,
        trainer=make_contender_trainer(contender, model, settings),
        data=make_training_pairs(data.train, data.num_items, power=settings.negatives.power),
        valid=make_eval_split(data.valid, data.mask(data.train), data.num_items),
        name=contender.name,
        plan=_plan_epochs(settings),
        progress=progress,
        kept=kept,
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
    noted: dict[str, Any],
    *,
    number: int,
    halving: int = 0,
) -> Iterator[_Course]:
    """Trains lanes, and yields them after each stretch of epochs, at most ``epochs`` in all.

    The stage is the one of this number in the plan. With ``halving``, ever fewer lanes go on; the
    others stay as they are. What the caller notes of the courses so far is kept with the state, and
    is there again when the training goes on; None stands for a state that is not known yet.
    """
    settings, trainer, name = track.settings, track.trainer, f"part-{number}"
    weight_keys, order_keys = jax.vmap(jax.random.split, out_axes=1)(keys)
    of_lanes = {"going_on": np.ones(len(keys), bool), "best": np.full(len(keys), -np.inf)}
    untrained = trainer.init(weight_keys)
    known = {name: untrained if value is None else value for name, value in noted.items()}
    begin = untrained, of_lanes, np.array([0, 0, halving]), known
    state, of_lanes, counts, noted_before = go_on(track.kept, name, begin)
    noted.update(noted_before)
    epoch, num_epochs, halving = map(int, counts)
    before, total = sum(track.plan[:number]), sum(track.plan)
    track.progress(stage, before + num_epochs, total, {})
    while epoch < settings.epochs:
        epochs = min(settings.evaluate_every, settings.epochs - epoch)
        epoch += epochs
        num_epochs += epochs * int(of_lanes["going_on"].sum())
        state = train_epochs(
            trainer,
            state,
            lanes,
            track.data,
            order_keys,
            epochs * of_lanes["going_on"],
            done=epoch - epochs,
            refresh_every=settings.refresh_every,
        )
        valid, scores = np.empty((len(keys), 0)), {}
        if track.valid is not None:
            valid = np.asarray(trainer.evaluate(state, track.valid).users[settings.metric])
            scores = {track.name: _sum_up(valid, stage)}
        track.progress(stage, before + num_epochs, total, scores)
        yield _Course(epoch, state, valid, num_epochs)
        if track.valid is not None:
            halving = _halve(of_lanes, valid, epoch, halving)
        if epoch < settings.epochs:
            counts = np.array([epoch, num_epochs, halving])
            track.kept.offer(name, partial(pack_state, (state, of_lanes, counts, noted)))


def _sum_up(valid: np.ndarray, stage: str) -> float:
    """Returns the score that is shown of lanes [K, E]."""
    scores = np.nan_to_num(valid.mean(1), nan=0.0)
    return float(scores.max() if stage == "tuning" else scores.mean())


def _halve(of_lanes: dict[str, np.ndarray], valid: np.ndarray, epoch: int, halving: int) -> int:
    """Notes how good lanes are, and which go on; returns the epoch of the next halving."""
    of_lanes["best"] = np.maximum(of_lanes["best"], np.nan_to_num(valid.mean(1), nan=-np.inf))
    while halving and epoch >= halving:
        halving *= 2
        going_on = of_lanes["going_on"]
        order = np.argsort(np.where(going_on, -of_lanes["best"], np.inf), kind="stable")
        going_on[order[-(-int(going_on.sum()) // 2) :]] = False
    return halving


def _tune(contender: RankContender, track: _Track) -> tuple[Trials, _Effort]:
    """Returns all trials, and what they took together."""
    settings, ranges = track.settings, _list_ranges(contender, track.settings)
    trials, num_epochs, seconds = None, 0, 0.0
    for number, count in enumerate(settings.trials):
        units = propose(
            ranges,
            count,
            number=number,
            seed=settings.seed,
            before=trials,
            published=contender.published,
        )
        lanes = to_lanes(to_settings(ranges, units))
        tuned = _do_once(track.kept, f"round-{number}", partial(_try, track, lanes, number))
        num_epochs += int(tuned["num_epochs"])
        seconds += float(tuned["seconds"])
        new = Trials(names=tuple(ranges), units=units, scores=tuned["scores"])
        trials = add_trials(trials, new)
    assert trials is not None  # there is at least one round
    return trials, _Effort(num_epochs, seconds)


def _try(track: _Track, lanes: LaneSettings, number: int) -> dict[str, Any]:
    """Returns the scores of the trials of a round, and the epochs of all together."""
    settings, count = track.settings, len(lanes.learning_rate)
    # All trials begin with the same weights and see the same batches: settings differ alone.
    keys = jnp.repeat(jax.random.key(settings.seed)[None], count)
    noted = {"best": np.full(count, -np.inf), "waited": np.zeros((), int)}
    training = _train(track, lanes, keys, "tuning", noted, number=number, halving=settings.halving)
    for course in training:
        means = np.nan_to_num(course.valid.mean(1), nan=-np.inf)
        noted["waited"] = np.asarray(0 if (means > noted["best"]).any() else noted["waited"] + 1)
        noted["best"] = np.maximum(noted["best"], means)
        if noted["waited"] >= settings.patience:
            break
    return {"scores": noted["best"], "num_epochs": course.num_epochs}


def _seed_lanes(track: _Track, chosen: Mapping[str, float]) -> tuple[LaneSettings, Array]:
    """Returns a lane for each seed; seeds are others than that of the trials."""
    seeds = track.settings.seeds
    lanes = to_lanes({name: np.full(seeds, value) for name, value in chosen.items()})
    return lanes, jax.random.split(jax.random.key(track.settings.seed + 1), seeds)


def _test_held_out(track: _Track, chosen: Mapping[str, float], split: EvalSplit) -> dict[str, Any]:
    """Trains all seeds on train, for as many epochs as are best on validation."""
    lanes, keys = _seed_lanes(track, chosen)
    zero, most = np.zeros((), int), -(-track.settings.epochs // track.settings.evaluate_every)
    noted: dict[str, Any] = {"best": np.asarray(-np.inf), "waited": zero, "epoch": zero}
    noted["course"] = np.full((most, 2), np.nan)  # epoch and value
    noted["state"] = None  # after the best epoch
    for course in _train(track, lanes, keys, "test", noted, number=len(track.settings.trials)):
        mean = np.asarray(float(np.nan_to_num(course.valid, nan=0.0).mean()))
        noted["course"][np.isnan(noted["course"][:, 0]).argmax()] = course.epoch, mean
        noted["waited"] = np.asarray(noted["waited"] + 1)
        if mean > noted["best"]:
            noted |= {"best": mean, "waited": zero, "epoch": np.asarray(course.epoch)}
            # A copy, for training donates the state.
            noted["state"] = jax.tree.map(jnp.copy, course.state)
        if noted["waited"] >= track.settings.patience:
            break
    assert track.valid is not None  # it decides when to stop
    test = track.trainer.evaluate(noted["state"], split)
    return {
        "epochs": noted["epoch"],
        "num_epochs": course.num_epochs,
        "course": noted["course"][np.isfinite(noted["course"][:, 0])],
        "valid": _to_numpy(track.trainer.evaluate(noted["state"], track.valid).users),
        "test": _to_numpy(test.users),
        "lists": _to_numpy(test.lists),
    }


def _test_again(
    track: _Track, chosen: Mapping[str, float], epochs: int, split: EvalSplit
) -> dict[str, Any]:
    """Trains all seeds on train and validation for so many epochs; returns the test's metrics."""
    lanes, keys = _seed_lanes(track, chosen)
    track = track._replace(settings=track.settings._replace(epochs=epochs))
    number = len(track.plan) - 1
    for course in _train(track, lanes, keys, "refit", {}, number=number):
        state = course.state
    found = track.trainer.evaluate(state, split)
    return {"test": _to_numpy(found.users), "lists": _to_numpy(found.lists)}


def _to_numpy(values: Mapping[str, Array]) -> dict[str, np.ndarray]:
    return {name: np.asarray(value) for name, value in values.items()}
