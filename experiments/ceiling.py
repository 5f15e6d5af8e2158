"""How much a better loss could win: tunes gradients directly, whatever formula may have them.

Usage::

    python experiments/ceiling.py --config=configs/ml100k.py --json=FILE [--population=N]
        [--generations=N] [flags of run.py]

All that training sees of a pointwise loss is two curves: its gradient by the logit for either
label. Here these are powers of the prediction and its complement, ``pred**a * (1 - pred)**b`` for
dislikes and ``-c * pred**d * (1 - pred)**e`` for likes: BCE is (1, 0, 1, 0, 1), and squared error,
exponential loss and the tailored losses of Buja, Stuetzle and Shen (2005) are among them. CMA-ES
(Hansen, 2016, arXiv:1604.00772; the package ``cma``, ``pip install -e ".[search,experiments]"``)
tunes the five numbers: each candidate is trained from scratch, once, with the settings and for the
epochs of promotion's last rung, and rewarded on promotion's splits. The mean of the last generation
goes through the fair test, with the baselines.

Its lead is about what a search for formulas can find with these data, this recommender and this
protocol. It is no bound: other curves may be better.
"""

import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # for experiments itself

import cma
import jax
import jax.numpy as jnp
import numpy as np

from autolossgen.evaluation.contenders import Contender
from autolossgen.interfaces import Array
from autolossgen.language.operators import DEFAULT_BOUNDS
from autolossgen.training.learning_rates import make_settings_grid
from autolossgen.training.trainer import Trainer, make_trainer, train_from_scratch
from benchmarks.timing import write_figures
from experiments.flags import pop_json_flag, pop_number_flag
from experiments.run_parts import (
    Setup,
    build_setup,
    compare_losses,
    get_promotion_splits,
    read_config,
)

SIGMA = 0.5  # of the first generation


class Powers(NamedTuple):
    """The five numbers of a loss, [...] each."""

    dislike_pred: Array
    dislike_rest: Array
    log_weight: Array  # of likes relative to dislikes
    like_pred: Array
    like_rest: Array


BCE = Powers(dislike_pred=1.0, dislike_rest=0.0, log_weight=0.0, like_pred=0.0, like_rest=1.0)


def compute_logit_grad(powers: Powers, logit: Array, label: Array) -> Array:
    """Returns d loss / d logit [n] of one loss."""
    log_pred, log_rest = jax.nn.log_sigmoid(logit), jax.nn.log_sigmoid(-logit)
    dislike = powers.dislike_pred * log_pred + powers.dislike_rest * log_rest
    like = powers.log_weight + powers.like_pred * log_pred + powers.like_rest * log_rest
    log_size = jnp.clip(jnp.where(label > 0.5, like, dislike), -20.0, 5.0)
    return jnp.where(label > 0.5, -1.0, 1.0) * jnp.exp(log_size)


def compute_logit_grads(losses: tuple[Powers, Array], logits: Array, label: Array) -> Array:
    """Returns gradients [K, B] of K losses, each times its scale [K]."""
    powers, scale = losses
    gradients = jax.vmap(compute_logit_grad, in_axes=(0, 0, None))(powers, logits, label)
    return scale[:, None] * gradients


def make_loss(powers: Powers) -> Callable[..., Array]:
    """Makes a loss that has these gradients, and no value: training asks for none."""

    @jax.custom_jvp
    def elementwise(logit: Array, label: Array) -> Array:
        del label
        return jnp.zeros_like(logit)

    @elementwise.defjvp
    def derivative(primals, tangents):
        logit, label = primals
        return jnp.zeros_like(logit), compute_logit_grad(powers, logit, label) * tangents[0]

    def loss(scores: Array, labels: Array, *, reduce_fn=None) -> Array:
        del reduce_fn  # the fair test asks for the elementwise loss
        return elementwise(scores, jnp.asarray(labels, scores.dtype))

    loss.bounds = DEFAULT_BOUNDS  # results name them
    return loss


def compute_rewards(
    setup: Setup, trainer: Trainer, vectors: np.ndarray, generation: int
) -> np.ndarray:
    """Returns the best reward [num_losses] over settings and epochs.

    Args:
      setup: of the run.
      trainer: of losses with given gradients.
      vectors: the numbers of each loss [num_losses, 5].
      generation: chooses the random numbers of the trainings.
    """
    promote, l2 = setup.config.promote, setup.config.train.l2
    grid = make_settings_grid(
        promote.learning_rates, promote.weight_decays, l2=l2, scale=promote.scale
    )
    num_losses = len(vectors)
    padding = -num_losses % setup.replicated.mesh.size
    vectors = np.resize(vectors, (num_losses + padding, len(BCE)))
    settings = np.repeat(grid, len(vectors), axis=0)
    powers = Powers(*jnp.asarray(np.tile(vectors, (len(grid), 1)).T, jnp.float32))
    epochs = train_from_scratch(
        trainer,
        (powers, jnp.ones(len(settings))),
        settings,
        l2=l2,
        scale=promote.scale,
        epochs=promote.epochs[-1],
        key=jax.random.fold_in(jax.random.key(setup.config.seed), generation),
        data=setup.splits.train,
        splits=get_promotion_splits(setup),
    )
    best = np.max([rewards for _, rewards in epochs], axis=0)
    return best.reshape(len(grid), -1).max(0)[:num_losses]


def tune_powers(setup: Setup, population: int, generations: int) -> tuple[Powers, list[dict]]:
    """Tunes the numbers; returns the mean of the last generation, and figures of all of them."""
    trainer = make_trainer(
        setup.make_lanes,
        compute_logit_grads,
        batch_size=setup.config.train.batch_size,
        task=setup.task,
    )
    options = {"popsize": population - 1, "seed": setup.config.seed + 1, "verbose": -9}
    evolution, rows = cma.CMAEvolutionStrategy(np.array(BCE), SIGMA, options), []
    for generation in range(generations):
        start, candidates = time.perf_counter(), evolution.ask()
        vectors = np.stack([np.array(BCE), *candidates])
        rewards = compute_rewards(setup, trainer, vectors, generation)
        evolution.tell(candidates, list(-rewards[1:]))
        row = {"bce": rewards[0], "median": np.median(rewards[1:]), "best": rewards[1:].max()}
        row["seconds"] = time.perf_counter() - start
        rows.append({name: float(value) for name, value in row.items()})
        figures = ", ".join(f"{name} {value:.4f}" for name, value in row.items())
        print(f"generation {generation + 1}: {figures}", flush=True)
    return Powers(*map(float, evolution.mean)), rows


def main() -> None:
    """Tunes, tests, prints and writes."""
    path, flags = pop_json_flag(sys.argv[1:])
    population, flags = pop_number_flag(flags, "population", 32)
    generations, flags = pop_number_flag(flags, "generations", 24)
    config = read_config(flags)
    if config.space.family != "pointwise":
        raise SystemExit(f"expected a config of pointwise losses, got {config.space.family} ones")
    setup = build_setup(config, {"powers": 1})
    powers, rows = tune_powers(setup, population, generations)
    contender = Contender("powers", "powers", make_loss(powers), True)
    losses = compare_losses(setup, [contender])
    for loss in losses:
        test = loss["test"][setup.task.metric.name]
        print(f"{loss['name']}: {test['mean']:.4f} {loss['vs_best_baseline']}")
    write_figures(path, {"powers": powers._asdict(), "generations": rows, "losses": losses})


if __name__ == "__main__":
    main()
