"""How much there is to win by the loss: its slopes are tuned as such, whatever formula has them::

    python benchmarks/ceiling.py --config=configs/ml100k.py --json=FILE [--population=N]
        [--generations=N] [flags of run.py]

Of a pointwise loss, training sees two curves alone: the slope by the logit for either label. Here
they are powers of the prediction and its complement, ``pred**a * (1 - pred)**b`` for dislikes and
``-c * pred**d * (1 - pred)**e`` for likes: BCE is (1, 0, 1, 0, 1), and squared error, exponential
loss and the tailored losses of Buja, Stuetzle and Shen (2005) are among them. CMA-ES (Hansen, 2016,
arXiv:1604.00772; the package ``cma``, ``pip install "autolossgen[bench]"``) tunes the five numbers:
each candidate is trained from scratch, once, at the settings and for the epochs of promotion's last
rung, and rewarded by the splits that judge promotion. The mean of the last generation goes through
the fair test, beside the usual losses.

What it is ahead by is about what a search of formulas can find with these data, this recommender
and this protocol. It is no bound: other curves may be better.
"""

import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import cma
import jax
import jax.numpy as jnp
import numpy as np
from rich.console import Console

from autolossgen import data
from autolossgen.configs.command_line import read_command_line
from autolossgen.evaluation.contenders import Contender
from autolossgen.interfaces import Array
from autolossgen.language.operators import DEFAULT_BOUNDS
from autolossgen.pipeline.phases import Setup, compare_losses, make_setup
from autolossgen.pipeline.shortlist import promotion_splits
from autolossgen.training.devices import configure_jax
from autolossgen.training.learning_rates import make_settings_grid
from autolossgen.training.trainer import Trainer, make_trainer, train_from_scratch
from benchmarks.timing import json_and_flags, number, write

SIGMA = 0.5  # of the first generation


class Powers(NamedTuple):
    """The numbers of a loss, [...] each."""

    dislike_pred: Array
    dislike_rest: Array
    log_weight: Array  # of likes beside dislikes
    like_pred: Array
    like_rest: Array


BCE = Powers(1.0, 0.0, 0.0, 0.0, 1.0)


def slope(powers: Powers, logit: Array, label: Array) -> Array:
    """Give d loss / d logit [n] of one loss."""
    pred, rest = jax.nn.log_sigmoid(logit), jax.nn.log_sigmoid(-logit)
    dislike = powers.dislike_pred * pred + powers.dislike_rest * rest
    like = powers.log_weight + powers.like_pred * pred + powers.like_rest * rest
    log = jnp.clip(jnp.where(label > 0.5, like, dislike), -20.0, 5.0)
    return jnp.where(label > 0.5, -1.0, 1.0) * jnp.exp(log)


def slopes(objective: tuple[Powers, Array], logits: Array, label: Array) -> Array:
    """Give slopes [K, B] of K losses, each times its scale [K]."""
    powers, scale = objective
    return scale[:, None] * jax.vmap(slope, in_axes=(0, 0, None))(powers, logits, label)


def as_loss(powers: Powers) -> Callable[..., Array]:
    """Give a loss with these slopes, and no value: in training nothing asks for one."""

    @jax.custom_jvp
    def loss(logit: Array, label: Array) -> Array:
        del label
        return jnp.zeros_like(logit)

    @loss.defjvp
    def derivative(primals, tangents):
        logit, label = primals
        return jnp.zeros_like(logit), slope(powers, logit, label) * tangents[0]

    def call(scores: Array, labels: Array, *, reduce_fn=None) -> Array:
        del reduce_fn  # the fair test asks for the elementwise loss
        return loss(scores, jnp.asarray(labels, scores.dtype))

    call.bounds = DEFAULT_BOUNDS  # results name them
    return call


def rewards(on: Setup, courses: Trainer, vectors: np.ndarray, generation: int) -> np.ndarray:
    """Give the best reward [J] of losses [J, 5] over settings and epochs."""
    how, l2 = on.config.promote, on.config.train.l2
    grid = make_settings_grid(how.learning_rates, how.weight_decays, l2=l2, scale=how.scale)
    count = len(vectors)
    vectors = np.resize(vectors, (count + -count % on.everywhere.mesh.size, len(BCE)))
    settings = np.repeat(grid, len(vectors), axis=0)
    powers = Powers(*jnp.asarray(np.tile(vectors, (len(grid), 1)).T, jnp.float32))
    seen = train_from_scratch(
        courses,
        (powers, jnp.ones(len(settings))),
        settings,
        l2=l2,
        scale=how.scale,
        epochs=how.epochs[-1],
        key=jax.random.fold_in(jax.random.key(on.config.seed), generation),
        data=on.splits["train"],
        judged=promotion_splits(on),
    )
    best = np.max(list(seen), axis=0)
    return best.reshape(len(grid), -1).max(0)[:count]


def search(on: Setup, population: int, generations: int) -> tuple[Powers, list[dict]]:
    """Give the mean of the last generation, and what each generation saw."""
    courses = make_trainer(on.lanes, slopes, batch_size=on.config.train.batch_size, task=on.task)
    options = {"popsize": population - 1, "seed": on.config.seed + 1, "verbose": -9}
    evolution, seen = cma.CMAEvolutionStrategy(np.array(BCE), SIGMA, options), []
    for generation in range(generations):
        begun, asked = time.perf_counter(), evolution.ask()
        found = rewards(on, courses, np.stack([np.array(BCE), *asked]), generation)
        evolution.tell(asked, list(-found[1:]))
        row = {"bce": found[0], "median": np.median(found[1:]), "best": found[1:].max()}
        row["seconds"] = time.perf_counter() - begun
        seen.append({name: float(value) for name, value in row.items()})
        told = ", ".join(f"{name} {value:.4f}" for name, value in row.items())
        print(f"generation {generation + 1}: {told}", flush=True)
    return Powers(*map(float, evolution.mean)), seen


def main() -> None:
    """Search, test, print and write."""
    path, flags = json_and_flags(sys.argv[1:])
    population, flags = number(flags, "population", 32)
    generations, flags = number(flags, "generations", 24)
    config, _ = read_command_line(["run.py", *flags])
    configure_jax(data.cache_folder() / "compiled")
    if config.space.family != "pointwise":
        raise SystemExit(f"expected a config of pointwise losses, got {config.space.family} ones")
    on = make_setup(config, Console(quiet=True), {"powers": 1})
    found, seen = search(on, population, generations)
    rows = compare_losses(on, [Contender("powers", "powers", as_loss(found), True)])
    for row in rows:
        test = row["test"][on.task.metric.name]
        print(f"{row['name']}: {test['mean']:.4f} {row['vs_best_baseline']}")
    write(path, {"powers": found._asdict(), "generations": seen, "losses": rows})


if __name__ == "__main__":
    main()
