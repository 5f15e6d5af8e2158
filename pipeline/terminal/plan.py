"""``--dry_run``: what a run would do and how long it would take, without training anything.

Steps of training and an evaluation are measured, on recommenders that are thrown away. A phase
takes as many of both as it does at most: most trainings stop earlier.
"""

import time
from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from rich.console import Console
from rich.table import Table

from autolossgen import report
from autolossgen.evaluation.promotion import compute_rung_sizes
from autolossgen.evaluation.trainings import count_seeds_together
from autolossgen.evaluation.tuning import plan_rounds
from autolossgen.interfaces import Data
from autolossgen.ranking.fair_test import make_contender_trainer
from autolossgen.ranking.trainer import (
    LaneSettings,
    make_eval_split,
    make_training_pairs,
)
from autolossgen.training.chunks import compute_subsample_size, subsample
from autolossgen.training.optimizers import Hyper
from autolossgen.training.trainer import make_trainer

from ..rankings.run import TopK
from ..run import Run
from ..setup import Setup
from ..transfer import Transfer

MEASURED_STEPS = 20
NOT_COUNTED = (
    "Not counted: compiling, which takes seconds to minutes the first time (in rankings of each "
    "loss), and what writes and screens losses. Trainings that no longer improve stop earlier."
)


class Phase(NamedTuple):
    """What one phase does at most."""

    name: str
    trainings: int
    lanes: int  # that train next to each other
    steps: int  # of all lanes together
    evaluations: int  # the same


class Cost(NamedTuple):
    """Seconds that lanes next to each other take."""

    step: float
    evaluation: float


CostFn = Callable[[int], Cost]
"""Number of lanes -> what they cost."""


def plan_search(run: Run) -> None:
    """Prints the plan of a search.

    Args:
      run: its phases, built and checked.
    """
    setup, config = run.setup, run.setup.config
    num_losses = len(setup.baselines) + config.contenders.found
    phases = [_plan_search(setup), _plan_promotion(setup), *_plan_test(setup, num_losses)]
    phases.append(_plan_recommender(setup))
    notes = setup.dataset.notes
    limit = config.search.seconds or None
    _print_plan(setup.console, notes, phases, _measure_lanes(setup, num_losses), limit)


def plan_transfer(transfer: Transfer, console: Console) -> None:
    """Prints the plan of the cells of a transfer that are not finished."""
    for name in transfer.finished:
        console.print(f"{name} is finished", markup=False, soft_wrap=True)
    for name, setup in transfer.setups.items():
        console.print(f"\n{name}:", markup=False, soft_wrap=True)
        if isinstance(setup, TopK):
            plan_rankings(setup)
            continue
        num_losses = len(setup.baselines) + len(transfer.losses)
        phases, notes = _plan_test(setup, num_losses), setup.dataset.notes
        _print_plan(console, notes, phases, _measure_lanes(setup, num_losses))


def plan_rankings(topk: TopK) -> None:
    """Prints the plan of a run of rankings, as far as its losses are concerned.

    On CPU lanes train one after the other, so that each training has its own cost.
    """
    config, settings, data = topk.config, topk.settings, topk.data
    per_epoch = -(-data.train.items.size // settings.batch_size)
    looks = -(-settings.epochs // settings.evaluate_every)
    num_losses, phases = len(topk.contenders), []
    if topk.search:
        search, promote = config.generation, config.promote
        num_candidates = config.search.generations * search.num_candidates
        phases = [
            _plan_stages("search", num_candidates, search.trials, search.epochs, per_epoch),
            _plan_stages("promotion", promote.losses, promote.trials, promote.epochs, per_epoch),
        ]
        num_losses += config.contenders.found
    trainings = num_losses * (sum(settings.trials) + 2 * settings.seeds)
    steps = per_epoch * settings.epochs
    phases.append(Phase("tuning and test", trainings, 1, trainings * steps, trainings * looks))
    phases.append(Phase("recommender", 1, 1, steps, 0))
    limit = config.search.seconds or None
    _print_plan(topk.console, data.notes, phases, _measure_rankings(topk), limit)
    names = ", ".join(form.name for form in topk.references)
    if names:
        topk.console.print(f"Not counted either, without a loss: {names}.", soft_wrap=True)


def _plan_stages(
    name: str, num_losses: int, trials: Sequence[int], epochs: Sequence[int], per_epoch: int
) -> Phase:
    """Returns the phase of losses whose settings train stage by stage."""
    steps = int(np.dot(trials, epochs)) * per_epoch
    return Phase(name, num_losses * trials[0], 1, num_losses * steps, num_losses * sum(trials))


def _count_steps(setup: Setup, data: Data, count: int = 0) -> int:
    """Returns the steps of an epoch, of all data or of ``count`` interactions of them."""
    return -(-compute_subsample_size(data, count) // setup.config.train.batch_size)


def _plan_search(setup: Setup) -> Phase:
    config = setup.config
    generations, lanes = config.search.generations, config.generation.num_lanes
    trainings = generations * (lanes - 1)  # one lane is the reference
    if 0 < config.search.candidates < trainings:
        trainings = config.search.candidates
    steps = _count_steps(setup, setup.splits.train, config.train.interactions)
    return Phase(
        "search", trainings, lanes, generations * config.generation.epochs * steps, generations
    )


def _plan_promotion(setup: Setup) -> Phase:
    section, steps = setup.config.promote, _count_steps(setup, setup.splits.train)
    sizes = compute_rung_sizes(
        setup.config.generation.hall,
        len(section.epochs),
        first=section.losses,
        min_survivors=setup.config.contenders.found,
    )
    num_settings = len(section.learning_rates) * len(section.weight_decays)
    groups = [-(-size // (section.num_lanes // num_settings)) for size in sizes]
    epochs = section.seeds * int(np.dot(groups, section.epochs))
    trainings = section.seeds * num_settings * sum(sizes)
    return Phase("promotion", trainings, section.num_lanes, epochs * steps, 2 * epochs)


def _plan_test(setup: Setup, num_losses: int) -> list[Phase]:
    section, devices = setup.config.test, setup.replicated.mesh.size
    num_settings = len(section.learning_rates) * len(section.weight_decays)
    rounds = plan_rounds(num_settings, section.confirmed, section.tuning_seeds)
    names = ["tuning"] if len(rounds) == 1 else ["tuning, first seed", "tuning, other seeds"]
    phases = []
    for name, (variants, seeds) in zip(
        (*names, "test"), (*rounds, (1, section.seeds)), strict=True
    ):
        streamed = not hasattr(setup.splits.full_train, "ids")
        together = count_seeds_together(variants, devices, streamed=streamed)
        epochs = -(-seeds // together) * section.epochs
        lanes = num_losses * (variants + -variants % devices)
        steps = epochs * _count_steps(setup, setup.splits.full_train)
        phases.append(Phase(name, num_losses * variants * seeds, lanes, steps, epochs))
    return phases


def _plan_recommender(setup: Setup) -> Phase:
    epochs, devices = setup.config.test.epochs, setup.replicated.mesh.size
    steps = epochs * _count_steps(setup, setup.splits.full_train)
    return Phase("recommender", 1, devices, steps, 0)


def _measure_lanes(setup: Setup, num_losses: int) -> CostFn:
    """Measures the few lanes of the fair test and the many; others cost in proportion."""
    lanes = sorted({phase.lanes for phase in _plan_test(setup, num_losses)})
    return _interpolate(lanes, [_measure(setup, num_losses, count) for count in lanes])


def _interpolate(lanes: Sequence[int], costs: Sequence[Cost]) -> CostFn:
    """Returns the cost of any number of lanes, from those of some, which are ascending."""

    def cost(count: int) -> Cost:
        more = max(1.0, count / lanes[-1])
        return Cost(
            *(more * float(np.interp(count, lanes, part)) for part in zip(*costs, strict=True))
        )

    return cost


def _measure(setup: Setup, num_losses: int, num_lanes: int) -> Cost:
    """Measures a step and an evaluation of lanes with baselines, next to each other."""
    config = setup.config
    losses = [setup.baselines[j % len(setup.baselines)].loss for j in range(num_losses)]
    logit_grads = setup.task.static_logit_grads(losses)
    batch_size = config.train.batch_size
    trainer = make_trainer(setup.make_lanes, logit_grads, batch_size=batch_size, task=setup.task)
    key, ones = jax.random.key(0), jnp.ones(num_lanes)
    few = subsample(setup.splits.full_train, key, MEASURED_STEPS * batch_size)
    steps = _count_steps(setup, few)
    state = trainer.init(jax.random.split(key, num_lanes))
    hyper = Hyper(learning_rate=1e-3 * ones, weight_decay=0 * ones, l2=0 * ones)
    state, _ = trainer.epoch(state, ones, hyper, key, few, setup.splits.valid)  # compiles
    begin = time.perf_counter()
    trainer.evaluate(state, setup.splits.valid)
    between = time.perf_counter()
    jax.block_until_ready(trainer.epoch(state, ones, hyper, key, few, setup.splits.valid))
    evaluation, both = between - begin, time.perf_counter() - between
    return Cost(step=max(both - evaluation, 0.0) / steps, evaluation=evaluation)


def _measure_rankings(topk: TopK) -> CostFn:
    """Measures a lane of the first loss; all others are taken to cost the same."""
    settings, data, contender = topk.settings, topk.data, topk.contenders[0]
    trainer = make_contender_trainer(contender, topk.make_model(data.train), settings)
    lanes = 1 if jax.default_backend() == "cpu" else max(*settings.trials, settings.seeds)
    pairs = make_training_pairs(data.train, data.num_items, power=settings.negatives.power)
    few = MEASURED_STEPS * settings.batch_size
    pairs = pairs._replace(users=pairs.users[:few], items=pairs.items[:few])
    keys = jax.random.split(jax.random.key(0), lanes)
    constants = {
        name: jnp.full(lanes, contender.loss.constants[name]) for name in contender.constants
    }
    setting = LaneSettings(jnp.full(lanes, 1e-3), jnp.zeros(lanes), constants)
    split = make_eval_split(data.valid, data.mask(data.train), data.num_items)
    state = trainer.train(trainer.init(keys), setting, pairs, keys, jnp.ones(lanes, int))
    jax.block_until_ready(trainer.evaluate(state, split))  # all is compiled
    begin = time.perf_counter()
    jax.block_until_ready(trainer.evaluate(state, split))
    between = time.perf_counter()
    jax.block_until_ready(trainer.train(state, setting, pairs, keys, jnp.ones(lanes, int)))
    steps = -(-pairs.users.size // settings.batch_size)
    seconds = between - begin, (time.perf_counter() - between) / steps
    of_one = Cost(step=seconds[1] / lanes, evaluation=seconds[0] / lanes)
    return lambda count: of_one


def _print_plan(
    console: Console,
    notes: Sequence[str],
    phases: Sequence[Phase],
    measure: CostFn,
    search_seconds: float | None = None,
) -> None:
    """Prints what there is, what would be done, and how long that takes at most."""
    for note in notes:
        console.print(note, markup=False, soft_wrap=True)
    device = f"{len(jax.devices())} x {jax.devices()[0].device_kind}"
    console.print(f"config, data and memory are fine; device: {device}", soft_wrap=True)
    table = Table(box=None, pad_edge=False)
    for column in ("phase", "trainings", "side by side", "at most"):
        table.add_column(column, justify="left" if column == "phase" else "right")
    total = 0.0
    for phase in phases:
        cost = measure(phase.lanes)
        seconds = phase.steps * cost.step + phase.evaluations * cost.evaluation
        if phase.name == "search" and search_seconds is not None:
            seconds = min(seconds, search_seconds)
        total += seconds
        numbers = f"{phase.trainings:,}", f"{phase.lanes:,}", report.format_duration(seconds)
        table.add_row(phase.name, *numbers)
    table.add_row("together", "", "", report.format_duration(total))
    console.print(table)
    console.print(NOT_COUNTED, soft_wrap=True)
