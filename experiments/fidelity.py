"""How well the rewards that a search sees predict what losses are worth.

Usage::

    python experiments/fidelity.py --config=configs/ml100k.py --json=FILE [flags of run.py]
    python experiments/fidelity.py --config=configs/ml100k.py --json=FILE --hall=FILE.csv [flags]

Losses are drawn at random; those that pass the filter, and no twins, are trained from scratch on
train and reward rows together, at the fair test's learning rates, and validation chooses rate and
epoch. Their test metric is what they are worth. The figures are rank correlations with it: of the
rewards of a search, from base models that are fresh, half trained and trained, with gradients of
one size and raw, at one learning rate and at several; of each rung of promotion; and of the same
training with other random numbers, which is the most that any reward can reach.

With ``--hall`` the losses are the sound ones of a run's hall of fame, all good, and the gains
that the run saw are a reward, too.
"""

import csv
import sys
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # for experiments itself

import jax
import jax.numpy as jnp
import numpy as np
from scipy.stats import spearmanr

from autolossgen import controller
from autolossgen.interfaces import Array
from autolossgen.language.programs import Program, assemble
from autolossgen.search.candidates import CandidateTrainer, make_candidate_trainer
from autolossgen.search.dedup import select_to_train
from autolossgen.search.hall_of_fame import init_seen_losses
from autolossgen.search.log_record import make_program
from autolossgen.search.screening import Verdict
from autolossgen.training.lanes import LaneState
from autolossgen.training.loss_gradients import LossBatch, pad_programs
from autolossgen.training.trainer import Trainer
from benchmarks.timing import write_figures
from experiments.flags import pop_flag, pop_json_flag
from experiments.run_parts import Run, build_run, get_promotion_splits, read_config
from experiments.scratch_training import make_final_trainer, train_curves

NUM_CANDIDATES = 256
SAMPLES_PER_DRAW = 32768
NUM_DRAWS = 16
NUM_EPOCHS = 30
BASE_MODELS = ("fresh", "half trained", "trained")


def draw_candidates(run: Run) -> np.ndarray:
    """Returns tokens [num_losses, L] of random losses that pass the filter, without twins."""
    config, space, filter_ = run.setup.config, run.search.space, run.search.filter
    policy = controller.POLICIES["random"](space.grammar)
    probe = filter_.probe
    logits = jnp.broadcast_to(probe.logit, (SAMPLES_PER_DRAW, len(probe.logit)))
    low, high = (jnp.full(SAMPLES_PER_DRAW, bound) for bound in space.bounds)
    label, scale = jnp.asarray(probe.label), jnp.ones(SAMPLES_PER_DRAW)

    @jax.jit
    def draw(key: Array) -> tuple[Array, Array, Array]:
        tokens = policy.sample((), key, SAMPLES_PER_DRAW)
        programs = jax.vmap(partial(assemble, vocab=space.vocabulary))(tokens)
        losses = LossBatch(programs, low, high, scale)
        gradients = run.shortlist.logit_grads(losses, logits, label)
        return tokens, filter_.screen(gradients).verdict, filter_.fingerprint(gradients)

    keys = jax.random.split(jax.random.key(config.seed), NUM_DRAWS)
    tokens, verdict, fingerprint = (
        np.concatenate(parts) for parts in zip(*map(draw, keys), strict=True)
    )
    valid = np.flatnonzero(verdict == Verdict.TRAINED)
    selection = select_to_train(
        filter_,
        init_seen_losses(1, fingerprint.shape[1]),
        verdict[valid],
        jnp.asarray(fingerprint[valid]),
        NUM_CANDIDATES + 1,
    )
    return tokens[valid][np.asarray(selection.sample)[np.asarray(selection.trained)]]


def read_hall(run: Run, path: str) -> tuple[np.ndarray, np.ndarray]:
    """Returns tokens [num_losses, L] and gains of the sound losses of a ``hall_of_fame.csv``."""
    number_of = {name: number for number, name in enumerate(run.search.space.vocabulary.names)}
    with open(path, encoding="utf-8", newline="") as file:
        rows = [row for row in csv.DictReader(file) if row.get("sound", "true") == "true"]
    tokens = np.zeros((len(rows), run.search.space.length), np.int32)
    for index, row in enumerate(rows):
        numbers = [number_of[name] for name in row["tokens"].split()]
        tokens[index, : len(numbers)] = numbers
    return tokens, np.array([float(row["gain"]) for row in rows])


class RewardMeter(NamedTuple):
    """Trains candidates as the search does, at one learning rate and reward scale."""

    run: Run
    trainer: CandidateTrainer
    # key, base model, programs -> trained lanes, rewards [num_lanes]
    train: Callable[[Array, LaneState, Program], tuple[LaneState, Array]]


def make_reward_meter(run: Run, scale: str, learning_rate: float) -> RewardMeter:
    """Makes what trains candidates as the search does, but for scale and learning rate."""
    setup, space = run.setup, run.search.space
    generation = setup.config.generation
    trainer = make_candidate_trainer(
        setup.make_lanes,
        set(space.vocabulary.operators),
        task=setup.task,
        length=space.length,
        bounds=space.bounds,
        batch_size=setup.config.train.batch_size,
        learning_rate=learning_rate,
        reward_scale=scale,
        num_lanes=generation.num_lanes,
        epochs=generation.epochs,
        weight_decay=generation.weight_decay,
    )
    compiled = jax.jit(trainer.train)

    def train(key: Array, start: LaneState, programs: Program) -> tuple[LaneState, Array]:
        splits = setup.splits
        return compiled(key, start, programs, 0.0, splits.train, splits.reward)

    return RewardMeter(run=run, trainer=trainer, train=train)


def train_base_models(meter: RewardMeter) -> list[LaneState]:
    """Returns the untrained model, and the one that the reference trained half and all the way."""
    config, lanes = meter.run.setup.config, meter.trainer.lanes
    key, num_lanes = jax.random.key(config.seed), config.generation.num_lanes
    first_lane = jnp.zeros(1, jnp.int32)
    models = [lanes.take(lanes.init(jnp.repeat(key[None], num_lanes)), first_lane)]
    nothing = np.zeros((num_lanes, meter.run.search.space.length), np.int32)
    programs, best = _assemble(meter, nothing), -np.inf
    for epoch in range(NUM_EPOCHS):
        trained, rewards = meter.train(jax.random.fold_in(key, epoch), models[-1], programs)
        if rewards[0] < best:
            break
        best = rewards[0]
        models.append(lanes.take(trained, first_lane))
    return [models[0], models[len(models) // 2], models[-1]]


def measure_gains(meter: RewardMeter, base_model: LaneState, tokens: np.ndarray) -> np.ndarray:
    """Returns what every candidate [num_losses] gains over the reference from a base model."""
    config = meter.run.setup.config
    key, num_lanes = jax.random.key(config.seed + 1), config.generation.num_lanes
    gains = np.zeros(len(tokens))
    for first in range(0, len(tokens), num_lanes - 1):
        # Lane 0 is the reference's.
        rows = np.minimum(first + np.arange(-1, num_lanes - 1), len(tokens) - 1)
        _, rewards = meter.train(key, base_model, _assemble(meter, tokens[rows]))
        gains[rows[1:]] = np.asarray(rewards[1:] - rewards[0])
    return gains


def _assemble(meter: RewardMeter, tokens: Array) -> Program:
    vocabulary = meter.run.search.space.vocabulary
    programs = jax.vmap(partial(assemble, vocab=vocabulary))(jnp.asarray(tokens))
    return pad_programs(programs, meter.trainer.num_instructions)


def iterate_search_rewards(run: Run, tokens: np.ndarray) -> Iterator[tuple[str, np.ndarray]]:
    """Yields name and rewards [num_losses] of every way in which a search could reward."""
    rates, epochs = run.setup.config.test.learning_rates, run.setup.config.generation.epochs
    length = "one epoch" if epochs == 1 else f"{epochs} epochs"
    base_models = None
    for scale in ("gradient", "raw"):
        gains_by_rate = []
        for rate in rates:
            meter = make_reward_meter(run, scale, rate)
            base_models = base_models or train_base_models(meter)
            gains_by_rate.append([measure_gains(meter, model, tokens) for model in base_models])
        for rate_name, gains in (
            (f"one rate ({rates[0]:g})", gains_by_rate[0]),
            (f"best of {len(rates)} rates", np.max(gains_by_rate, axis=0)),
        ):
            for name, reward in zip(BASE_MODELS, gains, strict=True):
                yield f"{length}, {name}, {scale}, {rate_name}", reward
            yield f"{length}, mean of three starts, {scale}, {rate_name}", np.mean(gains, axis=0)


def correlate(rewards: np.ndarray, worth: np.ndarray, resamples: int = 1000) -> dict[str, float]:
    """Returns Spearman's rank correlation and its 95 % interval over candidates (bootstrap)."""
    rng = np.random.default_rng(0)
    samples = rng.integers(len(rewards), size=(resamples, len(rewards)))
    statistics = [spearmanr(rewards[rows], worth[rows]).statistic for rows in samples]
    low, high = np.percentile(statistics, [2.5, 97.5])
    best = np.argsort(-rewards, kind="stable")[: max(1, len(rewards) // 16)]
    return {
        "correlation": float(spearmanr(rewards, worth).statistic),
        "low": float(low),
        "high": float(high),
        "best_of_sixteenth": float(worth[best].max()),
        "mean_of_sixteenth": float(worth[best].mean()),
    }


def iterate_rungs(
    run: Run, trainer: Trainer, programs: Sequence[Program]
) -> Iterator[tuple[str, np.ndarray]]:
    """Yields name and reward [num_losses] of each rung of promotion, and of one of two epochs."""
    first, second = (get_promotion_splits(run.setup) * 2)[:2]
    epochs = sorted({2, *run.setup.config.promote.epochs})
    curves = train_curves(
        run,
        trainer,
        programs,
        epochs=max(epochs),
        seed=run.setup.config.seed,
        train=run.setup.splits.train,
        valid=first,
        test=second,
    )
    mean = (curves.valid + curves.test) / 2
    for count in epochs:
        yield f"rung of {count} epochs", mean[:count, 1:].max((0, 2))
        yield f"rung of {count} epochs, reward split alone", curves.valid[:count, 1:].max((0, 2))


def measure_worth(run: Run, trainer: Trainer, programs: Sequence[Program], seed: int) -> np.ndarray:
    """Returns the test metric of the reference and of each loss, trained as in the fair test."""
    splits = run.setup.splits
    return train_curves(
        run,
        trainer,
        programs,
        epochs=NUM_EPOCHS,
        seed=seed,
        train=splits.full_train,
        valid=splits.valid,
        test=splits.test,
    ).pick_best()


def main() -> None:
    """Measures, prints and writes."""
    path, flags = pop_json_flag(sys.argv[1:])
    hall, flags = pop_flag(flags, "hall")
    run = build_run(read_config(flags))
    setup, seed = run.setup, run.setup.config.seed
    tokens, gains = read_hall(run, hall) if hall else (draw_candidates(run), None)
    programs = [make_program(run.search.space, setup.task.family, row) for row in tokens]
    trainer = make_final_trainer(run)
    reference, *worth = measure_worth(run, trainer, programs, seed)
    worth = np.array(worth)
    repeated = measure_worth(run, trainer, programs, seed + 1)
    rows = {"the same, other random numbers": correlate(repeated[1:], worth)}
    if gains is not None:
        rows["gain in the search"] = correlate(gains, worth)
    rewards = (*iterate_rungs(run, trainer, programs), *iterate_search_rewards(run, tokens))
    for name, reward in rewards:
        rows[name] = correlate(reward, worth)
    for name, row in rows.items():
        print(f"{name}: {row['correlation']:.3f} ({row['low']:.3f} to {row['high']:.3f})")
    figures = {
        "dataset": setup.dataset.name,
        "candidates": len(tokens),
        "reference": float(reference),
        "best": float(worth.max()),
        "correlations": rows,
    }
    write_figures(path, figures)


if __name__ == "__main__":
    main()
