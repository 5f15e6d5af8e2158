"""How much a better ranking loss could win: tunes a free-form loss directly, without a formula.

Usage::

    python experiments/ranking_ceiling.py --data=FOLDER --json=FILE [--population=32]
        [--generations=40] [--seconds=0: at most for a loss]

The free form is a log-sum-exp over all negatives, as the best published losses are, whose parts are
curves: of the difference of a negative's and the positive's score; of a negative's score above the
user's threshold; of what the positive is worth above the threshold; of the positive's weight; and
which share of the gradient flows through that weight. A curve is a line with bends at fixed knots.
Softmax, SL@K and Talos are points of it, nearly. CMA-ES (Hansen, 2016, arXiv:1604.00772) tunes its
numbers with learning rate and decay, from SL@K on: each is trained from scratch, with the seed of
its generation, and rewarded by validation. Published losses are tuned in the same way, for a third
of the generations: they have three to five numbers, the free form has 27.

Then all are compared at what CMA-ES ended with: with other seeds, on the validation split that
tuned them, and on two that are drawn anew from the same likes.
"""

import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # for experiments itself

import cma
import jax
import jax.numpy as jnp
import numpy as np

from autolossgen.interfaces import Array
from autolossgen.language.families import PAIRWISE
from autolossgen.ranking.contenders import make_rank_contender
from autolossgen.ranking.trainer import (
    EvalSplit,
    LaneSettings,
    RankTrainer,
    TrainingPairs,
    make_rank_trainer,
)
from autolossgen.ranking.tuning import Range
from benchmarks.timing import write_figures
from experiments.flags import pop_flag, pop_number_flag
from experiments.ranking_fidelity import load_data

METRIC, EVERY, EPOCHS = "ndcg@20", 5, 30
PATIENCE = 2  # looks without a better one, of all trainings together
PUBLISHED = ("softmax", "sl_at_k", "talos", "psl", "bpr")
SEEDS, SPLITS = 5, (2024, 2025, 2026)
RATE, DECAY = Range(1e-3, 0.5), Range(1e-9, 1e-3)
KNOTS = {  # curve -> where it may bend
    "difference": (-0.8, -0.4, 0.0, 0.4, 0.8),
    "negative": (-0.5, -0.25, 0.0, 0.25, 0.5),
    "positive": (-0.5, -0.25, 0.0, 0.25, 0.5),
    "log_weight": (-0.5, -0.25, 0.0, 0.25, 0.5),
}
WIDTH = 0.1  # of a bend
SL_AT_K = {"difference": 5.0, "log_weight": 0.2, "gradient": 4.0}  # slopes to begin with


class Space(NamedTuple):
    """Numbers that CMA-ES tunes, as a vector around 0."""

    start: np.ndarray
    scale: np.ndarray  # of a step of 1
    to_lanes: Callable[[np.ndarray], LaneSettings]  # vectors [K, n]


class FreeForm:
    """A loss of curves, which the trainer takes as it takes a built one."""

    family, reads_threshold = PAIRWISE, True
    constants: Mapping[str, float] = {}

    def __call__(
        self,
        pos: Array,
        neg: Array,
        *,
        where: Array,
        constants: Mapping[str, Array],
        threshold: Array,
        reduce_fn: None,
    ) -> Array:
        """Computes the losses [B] of positives [B] and negatives [B, N]."""
        del reduce_fn
        above = pos - threshold
        logits = bend("difference", constants, neg - pos[:, None])
        logits += bend("negative", constants, neg - threshold[:, None])
        inside = jax.nn.logsumexp(logits, axis=1, where=where)
        weight = jnp.exp(bend("log_weight", constants, above))
        share = jax.nn.sigmoid(constants["gradient"])
        weight = share * weight + (1 - share) * jax.lax.stop_gradient(weight)
        return weight * (inside - bend("positive", constants, above))


def bend(name: str, constants: Mapping[str, Array], x: Array) -> Array:
    """Returns a curve at ``x``: a line and its bends."""
    value = constants[name][0] * x
    for slope, knot in zip(constants[name][1:], KNOTS[name], strict=True):
        value += slope * WIDTH * jax.nn.softplus((x - knot) / WIDTH)
    return value


def make_free_space() -> Space:
    """Returns the numbers of the free form; it begins at SL@K."""
    start: list[float] = [0.0, 0.0]  # learning rate and decay
    for name, knots in KNOTS.items():
        start += [SL_AT_K.get(name, 0.0)] + [0.0] * len(knots)
    start.append(SL_AT_K["gradient"])
    scale = np.ones(len(start))
    scale[2:20], scale[20:26], scale[26] = 2.0, 0.5, 2.0

    def to_lanes(vectors: np.ndarray) -> LaneSettings:
        constants, place = {}, 2
        for name, knots in KNOTS.items():
            constants[name] = jnp.asarray(vectors[:, place : place + 1 + len(knots)], jnp.float32)
            place += 1 + len(knots)
        constants["gradient"] = jnp.asarray(vectors[:, place], jnp.float32)
        return make_lanes(vectors, constants)

    return Space(np.array(start), scale, to_lanes)


def make_named_space(ranges: Mapping[str, Range], values: Mapping[str, float]) -> Space:
    """Returns the numbers of a named loss; it begins at its published constants."""
    start = [0.0, 0.0] + [2 * ranges[name].to_unit(value) - 1 for name, value in values.items()]

    def to_lanes(vectors: np.ndarray) -> LaneSettings:
        places = np.clip((vectors[:, 2:] + 1) / 2, 0, 1)
        constants = {
            name: jnp.asarray(range_.from_unit(places[:, i]), jnp.float32)
            for i, (name, range_) in enumerate(ranges.items())
        }
        return make_lanes(vectors, constants)

    return Space(np.array(start), np.full(len(start), 0.5), to_lanes)


def make_lanes(vectors: np.ndarray, constants: Mapping[str, Array]) -> LaneSettings:
    """Returns settings whose first two numbers are places of learning rate and decay."""
    places = np.clip((vectors[:, :2] + 1) / 2, 0, 1)
    rate, decay = RATE.from_unit(places[:, 0]), DECAY.from_unit(places[:, 1])
    return LaneSettings(jnp.asarray(rate, jnp.float32), jnp.asarray(decay, jnp.float32), constants)


def compute_rewards(
    trainer: RankTrainer, lanes: LaneSettings, keys: Array, train: TrainingPairs, valid: EvalSplit
) -> np.ndarray:
    """Returns the best metric over the epochs, [K]."""
    weight_keys, order_keys = jax.vmap(jax.random.split, out_axes=1)(keys)
    state, best, waited = trainer.init(weight_keys), np.zeros(len(keys)), 0
    for _ in range(EPOCHS // EVERY):
        state = trainer.train(state, lanes, train, order_keys, jnp.full(len(keys), EVERY))
        if trainer.reads_threshold:
            state = trainer.refresh_thresholds(state)
        values = np.asarray(trainer.evaluate(state, valid).users[METRIC]).mean(1)
        values = np.nan_to_num(values, nan=0.0)
        waited = 0 if (values > best).any() else waited + 1
        best = np.maximum(best, values)
        if waited >= PATIENCE:
            break
    return best


def tune(
    space: Space,
    trainer: RankTrainer,
    data: tuple[TrainingPairs, EvalSplit],
    *,
    population: int,
    generations: int,
    seconds: float,
) -> tuple[np.ndarray, list[float]]:
    """Returns the mean that CMA-ES ends at, and the mean reward of each generation."""
    options = {"popsize": population, "seed": 1, "CMA_stds": space.scale, "verbose": -9}
    search = cma.CMAEvolutionStrategy(space.start, 0.5, options)
    start, means = time.monotonic(), []
    for generation in range(generations):
        vectors = np.array(search.ask())
        keys = jnp.repeat(jax.random.key(generation)[None], population)
        rewards = compute_rewards(trainer, space.to_lanes(vectors), keys, *data)
        search.tell(list(vectors), list(-rewards))
        means.append(float(rewards.mean()))
        if seconds and time.monotonic() - start > seconds:
            break
    return search.result.xfavorite, means


def main() -> None:
    """Tunes all losses, and compares them."""
    folder, flags = pop_flag(sys.argv[1:], "data")
    file, flags = pop_flag(flags, "json")
    population, flags = pop_number_flag(flags, "population", 32)
    generations, flags = pop_number_flag(flags, "generations", 40)
    seconds, flags = pop_flag(flags, "seconds")
    if flags or not folder or not file:
        raise SystemExit(f"expected --data=FOLDER --json=FILE, see the top; unknown: {flags}")
    splits = [load_data(folder, seed) for seed in SPLITS]
    figures: dict[str, Any] = {"data": Path(folder).name, "epochs": EPOCHS, "losses": []}
    for name in ("free form", *PUBLISHED):
        count = generations
        if name == "free form":
            loss, score, space = FreeForm(), "cosine", make_free_space()
        else:
            count = -(-generations // 3)
            contender = make_rank_contender(name)
            loss, score = contender.loss, contender.score
            values = {key: loss.constants[key] for key in contender.constants}
            space = make_named_space(contender.constants, values)
        trainer = make_rank_trainer(splits[0][0], loss, score=score, cutoffs=(20,))
        start = time.monotonic()
        vector, means = tune(
            space,
            trainer,
            splits[0][1:],
            population=population,
            generations=count,
            seconds=float(seconds or 0),
        )
        lanes = space.to_lanes(np.repeat(vector[None], SEEDS, axis=0))
        keys = jax.random.split(jax.random.key(10**6), SEEDS)
        values = [compute_rewards(trainer, lanes, keys, *split[1:]).tolist() for split in splits]
        figures["losses"].append(
            {
                "loss": name,
                "generations": len(means),
                "trainings": len(means) * population,
                "seconds": round(time.monotonic() - start, 1),
                "means": means,
                "vector": vector.tolist(),
                "valid": dict(zip(map(str, SPLITS), values, strict=True)),
            }
        )
        print(name, len(means), figures["losses"][-1]["seconds"], np.mean(values, axis=1).round(5))
        write_figures(Path(file), figures)


if __name__ == "__main__":
    main()
