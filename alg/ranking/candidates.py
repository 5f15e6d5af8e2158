"""Candidates of a search for ranking losses: each compiled by itself, its constants tuned briefly.

A candidate is a formula with free constants. How good it is depends on them, so its reward is that
of the best of several trainings, with other constants and learning rates, which successive halving
thins out (Jamieson and Talwalkar, 2016, arXiv:1502.07943): all train for a few epochs, the best go
on. A value of a constant is data, so a candidate is compiled once.
"""

import os
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, NamedTuple, Protocol

import jax
import jax.numpy as jnp
import numpy as np

from ..evaluation.kept import NOTHING, Kept, do_once
from ..interfaces import Array, EmbeddingModel, ProgressFn, ignore_progress
from ..language.inputs import LossFn
from .metrics import check_metric, read_cutoff
from .negatives import Negatives
from .trainer import (
    EvalSplit,
    LaneSettings,
    RankTrainer,
    TrainingPairs,
    make_rank_trainer,
    train_epochs,
)
from .tuning import Range, propose, to_settings


class CandidateSettings(NamedTuple):
    """How long candidates train, and what is tried."""

    metric: str = "ndcg@20"  # that rewards
    top: int = 20  # places whose last one is a user's threshold
    trials: tuple[int, ...] = (6, 2)  # trainings that go on, stage by stage
    epochs: tuple[int, ...] = (2, 6)  # that each stage adds
    learning_rate: Range = Range(0.03, 0.2)
    constants: Range = Range(0.05, 5.0)  # of every free constant
    batch_size: int = 1024
    negatives: Negatives = Negatives()
    refresh_every: int = 1  # epochs, of the users' thresholds: trainings are short
    score: str = "cosine"
    seed: int = 0


class CandidateResult(NamedTuple):
    """What became of a candidate."""

    reward: float  # of the best training; 0 if all diverged
    settings: dict[str, float]  # learning rate and constants of that training
    course: Sequence[tuple[int, float]] = ()  # its epochs after each stage, and the metric then


class _Compiled(NamedTuple):
    """A candidate that is ready to train."""

    trainer: RankTrainer
    lanes: LaneSettings
    values: Mapping[str, np.ndarray]  # learning rate and constants of each lane


class TrainCandidates(Protocol):
    """Training of candidates."""

    def __call__(
        self,
        losses: Sequence[LossFn],
        data: TrainingPairs,
        valid: EvalSplit,
        *,
        names: Sequence[str] = (),
        progress: ProgressFn = ignore_progress,
        kept: Kept = NOTHING,
    ) -> list[CandidateResult]:
        """Returns the result of each loss.

        Args:
          losses: to train.
          data: to train on.
          valid: to evaluate on.
          names: of the losses, for who follows the progress.
          progress: called after each loss, with the epochs of all its trainings.
          kept: of these losses.
        """


def make_rank_candidate_trainer(
    model: EmbeddingModel,
    settings: CandidateSettings = CandidateSettings(),  # noqa: B008
) -> TrainCandidates:
    """Builds the training of candidates.

    All candidates, and all trainings of each, begin with the same weights and see the same batches:
    they differ in loss, constants and learning rate alone.

    Args:
      model: of two tables.
      settings: of the trainings.

    Raises:
      ValueError: for values out of range.
    """
    _check_settings(settings)
    return partial(_train_candidates, model, settings)


def _check_settings(settings: CandidateSettings) -> None:
    check_metric(settings.metric, (read_cutoff(settings.metric),))
    trials, epochs = settings.trials, settings.epochs
    if not trials or len(trials) != len(epochs) or min(*trials, *epochs) < 1:
        raise ValueError(
            "candidates need trials and epochs of the same number of stages, each at least 1, got "
            f"{trials} and {epochs}"
        )
    if list(trials) != sorted(trials, reverse=True):
        raise ValueError(f"each stage has at most as many trials as the one before, got {trials}")


def _train_candidates(
    model: EmbeddingModel,
    settings: CandidateSettings,
    losses: Sequence[LossFn],
    data: TrainingPairs,
    valid: EvalSplit,
    *,
    names: Sequence[str] = (),
    progress: ProgressFn = ignore_progress,
    kept: Kept = NOTHING,
) -> list[CandidateResult]:
    """Trains losses one after the other; see ``TrainCandidates``."""
    names = names or [str(number) for number in range(len(losses))]
    epochs, results = int(np.dot(settings.trials, settings.epochs)), []
    progress("promotion", 0, epochs * len(losses), {})
    # The next candidates compile while one trains: XLA compiles without Python's lock.
    pool = ThreadPoolExecutor(max(1, (os.cpu_count() or 1) - 1))
    compiled = {
        number: pool.submit(_compile, model, settings, data, loss)
        for number, loss in enumerate(losses)
        if kept.load(f"candidate-{number}") is None
    }

    def train(number: int) -> dict[str, Any]:
        result = _train(settings, compiled[number].result(), data, valid)
        course = np.array(result.course, float).reshape(-1, 2)
        return {"reward": result.reward, "settings": result.settings, "course": course}

    try:
        for number, name in enumerate(names):
            found = do_once(kept, f"candidate-{number}", partial(train, number))
            values = {key: float(value) for key, value in found["settings"].items()}
            course = [(int(epoch), float(value)) for epoch, value in found["course"]]
            results.append(CandidateResult(float(found["reward"]), values, course))
            scores = {name: results[-1].reward}
            progress("promotion", epochs * len(results), epochs * len(losses), scores)
    finally:
        pool.shutdown(cancel_futures=True)  # or who stops would wait for all of them
    return results


def _make_keys(settings: CandidateSettings) -> tuple[Array, Array]:
    """Returns the keys of the weights and of the orders, [K] each and the same for all lanes."""
    weights, orders = jax.random.split(jax.random.key(settings.seed))
    count = settings.trials[0]
    return jnp.repeat(weights[None], count), jnp.repeat(orders[None], count)


def _compile(
    model: EmbeddingModel, settings: CandidateSettings, data: TrainingPairs, loss: LossFn
) -> _Compiled:
    """Compiles the training of a loss, ahead of its first call."""
    trainer = make_rank_trainer(
        model,
        loss,
        score=settings.score,
        negatives=settings.negatives,
        batch_size=settings.batch_size,
        top=settings.top,
        cutoffs=(read_cutoff(settings.metric),),
    )
    ranges = {"learning_rate": settings.learning_rate}
    ranges |= dict.fromkeys(loss.constants, settings.constants)
    count = settings.trials[0]
    units = propose(ranges, count, number=0, seed=settings.seed, before=None)
    values = {name: x.astype(np.float32) for name, x in to_settings(ranges, units).items()}
    lanes = LaneSettings(
        learning_rate=jnp.asarray(values["learning_rate"]),
        weight_decay=jnp.zeros(count),
        constants={name: jnp.asarray(values[name]) for name in loss.constants},
    )
    weight_keys, order_keys = _make_keys(settings)
    state = jax.eval_shape(trainer.init, weight_keys)
    jitted: Any = trainer.train  # its type has no method
    train = jitted.lower(state, lanes, data, order_keys, jnp.ones(count, jnp.int32)).compile()
    return _Compiled(trainer._replace(train=train), lanes, values)


def _train(
    settings: CandidateSettings, candidate: _Compiled, data: TrainingPairs, valid: EvalSplit
) -> CandidateResult:
    """Trains the trials of a candidate; stage by stage the best go on."""
    trainer, count = candidate.trainer, settings.trials[0]
    weight_keys, order_keys = _make_keys(settings)
    state = trainer.init(weight_keys)
    going_on, best = np.arange(count), np.zeros(count)
    courses: list[list[tuple[int, float]]] = [[] for _ in range(count)]
    done = 0
    for num_trials, num_epochs in zip(settings.trials, settings.epochs, strict=True):
        going_on = going_on[np.argsort(-best[going_on], kind="stable")[:num_trials]]
        epochs = np.where(np.isin(np.arange(count), going_on), num_epochs, 0)
        state = train_epochs(
            trainer,
            state,
            candidate.lanes,
            data,
            order_keys,
            epochs,
            done=done,
            refresh_every=settings.refresh_every,
        )
        values = np.asarray(trainer.evaluate(state, valid).users[settings.metric]).mean(1)
        best[going_on] = np.maximum(best[going_on], np.nan_to_num(values[going_on], nan=0.0))
        done += num_epochs
        for lane in going_on:
            courses[lane].append((done, float(values[lane])))
    winner = int(best.argmax())
    chosen = {name: float(values[winner]) for name, values in candidate.values.items()}
    return CandidateResult(reward=float(best[winner]), settings=chosen, course=courses[winner])
