"""Where the parts meet: what a config names, and the three phases of a run over it."""

import time
from collections.abc import Callable, Mapping
from functools import partial
from operator import attrgetter
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import NamedSharding, PartitionSpec
from ml_collections import ConfigDict
from rich.console import Console

import controller
import data
import models
import report
from alg import complexity, grammar, to_text
from alg.checkpoints import checkpoints
from alg.contenders import Contender, found, usual
from alg.courses import whom
from alg.devices import lane_mesh
from alg.entries import entry, names, program
from alg.fair_test import FairTest, make_fair_test
from alg.filters import FILTERS
from alg.lanes import Lanes, make_lanes
from alg.memory import check_memory, need
from alg.objectives import Objective, Slopes, objective
from alg.optimizers import OPTIMIZERS
from alg.pieces import at_once
from alg.processes import said_anywhere
from alg.programs import Program
from alg.promotion import Promote, make_promotion
from alg.results import Splits, rows
from alg.search import Search, SearchState, Space, drawing, make_search, space
from alg.tasks import Task, task_of
from alg.types import Batch, Data, Positives, Source
from alg.validity import check


class Ground(NamedTuple):
    """What losses are trained and judged on."""

    config: ConfigDict
    console: Console
    dataset: data.Dataset
    splits: dict[str, Data]  # train, reward, full_train, valid, test
    task: Task
    everywhere: NamedSharding  # of what all devices have
    lanes: Callable[[Slopes], Lanes]
    usual: list[Contender]
    test: FairTest


class Run(NamedTuple):
    """The parts of a run, joined."""

    ground: Ground
    workdir: Path  # that this process writes in
    space: Space
    slopes: Slopes  # of losses of the space
    search: Search
    promote: Promote


LEAST = {"contenders.found": 0, "search.generations": 0}
LEAST |= {"search.round_generations": 1, "search.checkpoint_every": 1}


def _check_numbers(config: ConfigDict) -> None:
    """See that the numbers that no builder takes are in range."""
    for key, least in LEAST.items():
        if (value := attrgetter(key)(config)) < least:
            raise ValueError(f"{key} is at least {least}, got {value}")


def _watched(config: ConfigDict, console: Console) -> dict[str, Any]:
    """Give what promotion and the fair test share."""
    progress = partial(report.show_epochs, console)
    shared = {"batch_size": config.train.batch_size, "l2": config.train.l2}
    return {**shared, "seed": config.seed, "progress": progress}


def _with_rates(config: ConfigDict) -> ConfigDict:
    """Give the config with the model's own learning rates where it leaves them open."""
    rates = models.learning_rates(config.model.name)
    open_ = {"promote.learning_rates": rates, "test.learning_rates": rates}
    open_["generation.learning_rate"] = rates[0]
    unset = {key: value for key, value in open_.items() if attrgetter(key)(config) is None}
    settled = config.copy_and_resolve_references()
    settled.update_from_flattened_dict(unset)
    return settled


def ground(config: ConfigDict, console: Console) -> Ground:
    """Build what losses are trained and judged on, and the fair test.

    Raises:
      ValueError: for bad data, unknown names or values out of range.
    """
    _check_numbers(config)
    config = _with_rates(config)
    task = task_of(config.space.family, config.train.negatives, config.search.reward)
    widths = {f"{name}.width": config[name].width for name in ("generation", "promote")}
    mesh = lane_mesh(config.devices, widths)
    optimizer = _named("train.optimizer", config.train.optimizer, OPTIMIZERS)(
        clip=config.train.clip, **config.get(config.train.optimizer, {})
    )
    known = usual_losses(config, task)
    dataset = data.build(**config.data)
    recommender = models.build(**config.model, sizes=dataset.sizes, sides=dataset.sides)

    def lanes(slopes: Slopes) -> Lanes:
        return make_lanes(recommender, slopes, optimizer=optimizer, mesh=mesh)

    everywhere = NamedSharding(mesh, PartitionSpec())
    parts = _splits(dataset, task, **config.implicit)
    for name in ("reward", "valid", "test"):
        _can_be_judged(parts[name], task, name)
    splits = jax.device_put(parts, everywhere)
    counts = config.train.batch_size, at_once(splits["full_train"])
    sums = optimizer.scale_free or config.train.clip is not None
    examples = (count * task.group for count in counts)
    init = lanes(task.static_slopes([each.loss for each in known])).init
    takes = need(recommender, init, *examples, sums=sums, devices=mesh.size)
    check_memory(takes, widths, mesh)
    watched = _watched(config, console)
    test = make_fair_test(lanes, **config.test, **watched, task=task, devices=mesh.size)
    return Ground(config, console, dataset, splits, task, everywhere, lanes, known, test)


def usual_losses(config: ConfigDict, task: Task) -> list[Contender]:
    """Give the losses that a config has found ones tested against."""
    section = config.contenders
    return usual(task, baselines=section.baselines, smoothing=section.smoothing)


def join(config: ConfigDict, workdir: Path, console: Console) -> Run:
    """Build the parts that a config names.

    Raises:
      ValueError: for bad data, unknown names or values out of range.
    """
    where = space(**config.space)
    make_filter = _named("filter", config.filter, FILTERS)
    policy = _named("policy", config.policy, controller.POLICIES)(
        grammar(where.vocabulary, where.length), **config.get(config.policy, {})
    )
    on = ground(config, console)
    search = make_search(
        policy,
        on.lanes,
        where,
        make_filter(**config[config.filter], group=on.task.group),
        **on.config.generation,
        batch_size=config.train.batch_size,
        l2=config.train.l2,
        sharding=on.everywhere,
        task=on.task,
    )
    search = drawing(search, config.train.interactions)
    slopes = on.task.traced_slopes(where.vocabulary.operators)
    watched = _watched(config, console)
    promote = make_promotion(on.lanes, slopes, **on.config.promote, **watched, task=on.task)
    return Run(on, workdir, where, slopes, search, promote)


def _splits(dataset: data.Dataset, task: Task, **options: int) -> dict[str, Data]:
    """Give what the task trains on, interactions or positives, and what its metric judges.

    That is interactions, or groups to rank in, in splits of the same names either way.
    """
    rows = {name: getattr(dataset, name) for name in ("train", "reward", "valid", "test")}
    rows["full_train"] = data.full_train(dataset)
    parts = {name: _interactions(part) for name, part in rows.items()}
    if task.metric.of_ranks:
        ranked = data.implicit(dataset, **options)
        parts |= {name: Batch(*getattr(ranked, name)) for name in ("reward", "valid", "test")}
    if task.group > 1:
        train, full_train = data.positives(dataset)
        parts |= {"train": Positives(*train), "full_train": Positives(*full_train)}
    return parts


def _interactions(part: data.Interactions | data.Streamed) -> Batch | Source:
    """Give a split as it is trained on, each interaction with weight 1."""
    if isinstance(part, data.Streamed):
        return Source(part.rows, part.piece, lambda *where: _interactions(part.draw(*where)))
    return Batch(*part, np.ones_like(part.label))


def _can_be_judged(split: Batch, task: Task, name: str) -> None:
    """See that a split has what the metric needs, such as users with likes and dislikes."""
    judged = whom(split)
    value = jax.jit(task.metric.value)  # operator by operator, it would compile for a second
    if not np.isfinite(value(jnp.ones(judged.label.shape), judged)):
        raise ValueError(
            f"{task.metric.name} cannot be taken of the {name} split: none of its users has both "
            "likes and dislikes there; choose another search.reward, such as auc, or another "
            "data.split, such as ratio_per_user"
        )


def _named(what: str, name: str, known: Mapping[str, Any]) -> Any:
    """Give what a config names."""
    if name not in known:
        raise ValueError(f"{what} {name!r} is not known (known: {', '.join(known)})")
    return known[name]


def _tell_seeds(run: Run) -> None:
    """Print the seeds as the space writes them, so that a smoothing is seen."""
    family = run.ground.task.family
    for seed, tokens in zip(run.ground.config.space.seeds, run.space.seeds, strict=True):
        formula = to_text(program(run.space, family, tokens), family=family)
        run.ground.console.print(f"seed {seed}: {formula}", markup=False, highlight=False)


def search_phase(run: Run, folder: Path) -> tuple[SearchState, list[dict[str, Any]]]:
    """Search, from the last checkpoint in ``folder`` on; give the state and the journal's entries.

    Raises:
      Stopped: after Ctrl-C, with everything written.
      CheckpointError: for a checkpoint that cannot be read.
    """
    on, search, settings = run.ground, run.search, run.ground.config.search
    key = jax.random.fold_in(jax.random.key(on.config.seed), 0)
    train, reward = on.splits["train"], on.splits["reward"]
    state = search.init(key, reward)
    saved = checkpoints(folder)
    if saved.latest() is not None:
        state = saved.restore(state)
    begun = int(state.generation)
    journal = report.Journal(run.workdir, keep=begun)
    if begun:
        on.console.print(f"going on after generation {begun}")
    else:
        _tell_seeds(run)
    last = journal.entries[-1] if journal.entries else None
    start = time.monotonic() - (last["seconds"] if last else 0.0)
    every = {"round_generations": settings.round_generations}
    with (
        report.Interrupt() as interrupt,
        report.progress(settings.generations, on.console) as live,
    ):
        for generation in range(begun + 1, settings.generations + 1):
            state, done = search.generation(
                state, jax.random.fold_in(key, 2 * generation), train, reward
            )
            last = entry(run.space, on.task.family, state, done, last, **every)
            last["seconds"] = time.monotonic() - start
            journal.write(last)
            live.update(last)
            if generation % settings.round_generations == 0:
                state, _ = search.advance(
                    state, jax.random.fold_in(key, 2 * generation + 1), train, reward
                )
            stops = said_anywhere(interrupt.asked)
            ends = stops or generation == settings.generations
            if ends or generation % settings.checkpoint_every == 0:
                saved.save(state)
            if stops and generation < settings.generations:
                journal.close()
                raise Stopped(f"stopped after generation {generation}; the same command goes on")
    journal.close()
    return state, journal.entries


class Stopped(Exception):
    """The user asked to stop; all is written."""


class Found(NamedTuple):
    """A sound loss of the hall of fame."""

    rank: int
    tokens: tuple[str, ...]
    program: Program


def check_phase(run: Run, state: SearchState) -> list[Found]:
    """Check the hall of fame and write ``hall_of_fame.csv``; give the sound losses, best first."""
    hall = jax.tree.map(lambda part: part[np.isfinite(state.hall.gain)], state.hall)
    family, group = run.ground.task.family, run.ground.task.group
    programs = [program(run.space, family, tokens) for tokens in hall.tokens]
    validity = check(run.slopes, _objective(run, programs), group=group) if programs else None
    sound, table = [], []
    for j, each in enumerate(programs):
        tokens = names(run.space, hall.tokens[j])
        row = {
            "rank": j + 1,
            "formula": to_text(each, family=family),
            "complexity": complexity(each, family=family),
            "reward": f"{float(hall.reward[j]):.6f}",
            "gain": f"{float(hall.gain[j]):.6f}",
            "generation": int(hall.generation[j]),
            "check": f"{validity.right[j]:.4f}",
            "sound": str(validity.sound[j]).lower(),
            "tokens": " ".join(tokens),
        }
        table.append(row)
        if validity.sound[j]:
            sound.append(Found(j + 1, tokens, each))
    report.write(run.workdir / "hall_of_fame.csv", report.hall_csv(table))
    return sound


def _objective(run: Run, programs: list[Program]) -> Objective:
    return objective(programs, [run.space.bounds] * len(programs))


def test_phase(run: Run, sound: list[Found]) -> list[dict[str, Any]]:
    """Retrain the best found losses beside the usual ones; give the rows of the results."""
    on = run.ground
    wanted = on.config.contenders.found
    if sound and wanted:
        losses = _objective(run, [each.program for each in sound])
        order, _ = run.promote(losses, on.splits["train"], on.splits["reward"])
        sound = [sound[j] for j in order]
    language = {"family": on.task.family, "bounds": run.space.bounds}
    best = [
        found(f"found-{each.rank}", each.program, tokens=each.tokens, **language)
        for each in sound[:wanted]
    ]
    return compare(on, best)


def compare(on: Ground, best: list[Contender]) -> list[dict[str, Any]]:
    """Train found losses from scratch beside the usual ones; give the rows of the results."""
    contenders = [*on.usual, *best]
    splits = Splits(*(on.splits[name] for name in ("full_train", "valid", "test")))
    outcomes = on.test.run(contenders, on.test.tune(contenders, splits), splits)
    labels = {"model": on.config.model.name, "dataset": on.dataset.name}
    return rows(outcomes, **labels, metric=on.task.metric)
