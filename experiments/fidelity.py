"""How well what a search sees of a loss tells what the loss is worth::

    python benchmarks/fidelity.py --config=configs/ml100k.py --json=FILE [flags of run.py]
    python benchmarks/fidelity.py --config=configs/ml100k.py --json=FILE --hall=FILE.csv [flags]

Losses are written at random; those that pass the filter and are no twins are trained from scratch
on train and reward rows together, at the fair test's learning rates, and validation chooses rate
and epoch. Their test metric is what they are worth. Rank correlations with it are given of the
rewards of a search, from recommenders that are fresh, half trained and trained, with gradients of
one size and raw, at one learning rate and at several; of each rung of promotion; and of the same
training with other random numbers, which is as much as any reward can reach.

With ``--hall`` it is the sound losses of a run's hall of fame, good ones alone, and the gains that
the run saw are a reward, too.
"""

import csv
import sys
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import jax
import jax.numpy as jnp
import numpy as np
from rich.console import Console
from scipy.stats import spearmanr

from autolossgen import controller, data
from autolossgen.configs.command_line import read_command_line
from autolossgen.interfaces import Array
from autolossgen.language.programs import Program, assemble
from autolossgen.pipeline.phases import Run, make_run
from autolossgen.pipeline.shortlist import promotion_splits
from autolossgen.search.candidates import CandidateTrainer, make_candidate_trainer
from autolossgen.search.dedup import select_to_train
from autolossgen.search.hall_of_fame import init_seen_losses
from autolossgen.search.log_record import program_of_tokens
from autolossgen.search.screening import FILTERS, Verdict
from autolossgen.training.devices import configure_jax
from autolossgen.training.lanes import LaneState
from autolossgen.training.loss_gradients import LossBatch, pad_programs
from benchmarks.timing import json_and_flags, taken, write
from experiments.scratch import curves, final_courses

CANDIDATES = 256
SAMPLES = 32768  # at once
DRAWS = 16
EPOCHS = 30
STARTS = ("fresh", "half trained", "trained")


def candidates(run: Run) -> np.ndarray:
    """Give the tokens [J, L] of losses written at random that pass the filter, no two alike."""
    config, where = run.ground.config, run.space
    policy = controller.POLICIES["random"](where.grammar)
    filter_ = FILTERS[config.filter](**config[config.filter], group=run.ground.task.group)
    logits = jnp.broadcast_to(filter_.probe.logit, (SAMPLES, len(filter_.probe.logit)))
    low, high = (jnp.full(SAMPLES, bound) for bound in where.bounds)
    label = jnp.asarray(filter_.probe.label)

    @jax.jit
    def written(key: Array) -> tuple[Array, Array, Array]:
        tokens = policy.sample((), key, SAMPLES)
        programs = jax.vmap(partial(assemble, vocab=where.vocabulary))(tokens)
        slopes = run.slopes(LossBatch(programs, low, high, jnp.ones(SAMPLES)), logits, label)
        return tokens, filter_.screen(slopes).verdict, filter_.fingerprint(slopes)

    keys = jax.random.split(jax.random.key(config.seed), DRAWS)
    tokens, verdict, prints = (
        np.concatenate(each) for each in zip(*map(written, keys), strict=True)
    )
    sound = np.flatnonzero(verdict == Verdict.TRAINED)
    memory = init_seen_losses(1, prints.shape[1])
    chosen = select_to_train(
        filter_, memory, verdict[sound], jnp.asarray(prints[sound]), CANDIDATES + 1
    )
    return tokens[sound][np.asarray(chosen.candidate)[np.asarray(chosen.trained)]]


def of_hall(run: Run, path: str) -> tuple[np.ndarray, np.ndarray]:
    """Give the tokens [J, L] and gains [J] of the sound losses of a ``hall_of_fame.csv``."""
    number = {name: place for place, name in enumerate(run.space.vocabulary.names)}
    with open(path, encoding="utf-8", newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["sound"] == "true"]
    tokens = np.zeros((len(rows), run.space.length), np.int32)
    for place, row in enumerate(rows):
        ours = [number[name] for name in row["tokens"].split()]
        tokens[place, : len(ours)] = ours
    return tokens, np.array([float(row["gain"]) for row in rows])


def trials(run: Run, scale: str, learning_rate: float) -> CandidateTrainer:
    """Give trials as the search has them, at a learning rate."""
    on, where = run.ground, run.space
    shared = ("reference", "width", "epochs", "weight_decay")
    settings = {key: on.config.generation[key] for key in shared}
    return make_candidate_trainer(
        on.lanes,
        set(where.vocabulary.operators),
        task=on.task,
        length=where.length,
        bounds=where.bounds,
        batch_size=on.config.train.batch_size,
        learning_rate=learning_rate,
        reward_scale=scale,
        **settings,
    )


def starts(run: Run, tried: CandidateTrainer, step) -> list[LaneState]:
    """Give recommenders that the reference has trained until it no longer helps, halfway, not."""
    key = jax.random.key(run.ground.config.seed)
    width = run.ground.config.generation.width
    lanes = tried.lanes.init(jnp.repeat(key[None], width))
    states = [tried.lanes.take(lanes, jnp.zeros(1, jnp.int32))]
    nothing = _programs(run, tried, np.zeros((width, run.space.length), np.int32))
    best = -np.inf
    for epoch in range(EPOCHS):
        trained, rewards = step(jax.random.fold_in(key, epoch), states[-1], nothing)
        if rewards[0, 0] < best:
            break
        best = rewards[0, 0]
        states.append(tried.lanes.take(trained, jnp.zeros(1, jnp.int32)))
    return [states[0], states[len(states) // 2], states[-1]]


def _programs(run: Run, tried: CandidateTrainer, tokens: Array) -> Program:
    programs = jax.vmap(partial(assemble, vocab=run.space.vocabulary))(jnp.asarray(tokens))
    return pad_programs(programs, tried.slots)


def gains(
    run: Run, tried: CandidateTrainer, step, start: LaneState, tokens: np.ndarray
) -> np.ndarray:
    """Give what every candidate [J] gains over the reference in a trial from ``start``."""
    key, width = jax.random.key(run.ground.config.seed + 1), run.ground.config.generation.width
    found = np.zeros(len(tokens))
    for first in range(0, len(tokens), width - 1):
        rows = np.minimum(first + np.arange(-1, width - 1), len(tokens) - 1)  # lane 0: reference
        _, rewards = step(key, start, _programs(run, tried, tokens[rows]))
        found[rows[1:]] = np.asarray(rewards[0, 1:] - rewards[0, 0])
    return found


def of_search(run: Run, tokens: np.ndarray) -> Iterator[tuple[str, np.ndarray]]:
    """Give the rewards [J] of trials, by name."""
    splits, rates = run.ground.splits, run.ground.config.test.learning_rates
    count = run.ground.config.generation.epochs
    trained = "one epoch" if count == 1 else f"{count} epochs"
    from_ = None
    for scale in ("gradient", "raw"):
        by_rate = []
        for rate in rates:
            tried = trials(run, scale, rate)
            step = partial(_step, jax.jit(tried.run), splits["train"], splits["reward"])
            from_ = from_ or starts(run, tried, step)
            by_rate.append([gains(run, tried, step, start, tokens) for start in from_])
        for how, rewards in (
            (f"one rate ({rates[0]:g})", by_rate[0]),
            (f"best of {len(rates)} rates", np.max(by_rate, axis=0)),
        ):
            for name, reward in zip(STARTS, rewards, strict=True):
                yield f"{trained}, {name}, {scale}, {how}", reward
            yield f"{trained}, mean of three starts, {scale}, {how}", np.mean(rewards, axis=0)


def _step(run_trials, train, rewarded, key, start, programs):
    return run_trials(key, start, programs, 0.0, train, rewarded)


def correlation(seen: np.ndarray, worth: np.ndarray, draws: int = 1000) -> dict[str, float]:
    """Give Spearman's rank correlation and its 95 % interval over candidates (bootstrap)."""
    rng = np.random.default_rng(0)
    again = rng.integers(len(seen), size=(draws, len(seen)))
    drawn = [spearmanr(seen[rows], worth[rows]).statistic for rows in again]
    low, high = np.percentile(drawn, [2.5, 97.5])
    best = np.argsort(-seen, kind="stable")[: max(1, len(seen) // 16)]
    return {
        "correlation": float(spearmanr(seen, worth).statistic),
        "low": float(low),
        "high": float(high),
        "best_of_sixteenth": float(worth[best].max()),
        "mean_of_sixteenth": float(worth[best].mean()),
    }


def rungs(run: Run, courses, programs: Sequence[Program]) -> Iterator[tuple[str, np.ndarray]]:
    """Give the reward [J] of each rung of promotion, and of one of two epochs, by name."""
    first, second = (promotion_splits(run.ground) * 2)[:2]
    parts = {"train": run.ground.splits["train"], "chooses": first, "test": second}
    epochs = sorted({2, *run.ground.config.promote.epochs})
    seen = curves(run, courses, programs, epochs=max(epochs), seed=run.ground.config.seed, **parts)
    mean = (seen.chooses + seen.test) / 2
    for count in epochs:
        yield f"rung of {count} epochs", mean[:count, 1:].max((0, 2))
        yield f"rung of {count} epochs, reward split alone", seen.chooses[:count, 1:].max((0, 2))


def main() -> None:
    """Measure, print and write."""
    path, flags = json_and_flags(sys.argv[1:])
    hall, flags = taken(flags, "hall")
    config, _ = read_command_line(["run.py", *flags])
    configure_jax(data.cache_folder() / "compiled")
    run = make_run(config, Path("fidelity"), Console(quiet=True))
    tokens, gained = of_hall(run, hall) if hall else (candidates(run), None)
    programs = [program_of_tokens(run.space, run.ground.task.family, each) for each in tokens]
    courses, splits = final_courses(run), run.ground.splits
    parts = {"train": splits["full_train"], "chooses": splits["valid"], "test": splits["test"]}
    seed = run.ground.config.seed
    full = curves(run, courses, programs, epochs=EPOCHS, seed=seed, **parts).best()
    again = curves(run, courses, programs, epochs=EPOCHS, seed=seed + 1, **parts).best()
    worth = full[1:]
    found = {"the same, other random numbers": correlation(again[1:], worth)}
    if gained is not None:
        found["gain in the search"] = correlation(gained, worth)
    for name, seen in (*rungs(run, courses, programs), *of_search(run, tokens)):
        found[name] = correlation(seen, worth)
    for name, row in found.items():
        print(f"{name}: {row['correlation']:.3f} ({row['low']:.3f} to {row['high']:.3f})")
    told = {"candidates": len(tokens), "reference": float(full[0]), "best": float(worth.max())}
    write(path, {"dataset": run.ground.dataset.name, **told, "correlations": found})


if __name__ == "__main__":
    main()
