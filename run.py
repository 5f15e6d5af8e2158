"""Search, check and test a loss: ``python run.py --config=configs/ml100k.py``.

The only file that joins the parts: flags -> objects -> phases -> files.
"""

import json
import logging
import sys
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from functools import partial
from operator import attrgetter
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
from jax.sharding import NamedSharding, PartitionSpec
from ml_collections import ConfigDict
from rich.console import Console

import controller
import data
import models
import report
from alg import build_loss, complexity, grammar, named_loss, to_text
from alg.checkpoints import CheckpointError, checkpoints
from alg.devices import lane_mesh, start_jax
from alg.fair_test import FairTest, make_fair_test
from alg.filters import FILTERS, Verdict
from alg.lanes import Lanes, make_lanes
from alg.losses import PAIRWISE_LOSSES, POINTWISE_LOSSES, as_program, named_program
from alg.memory import check_memory, need
from alg.objectives import Objective, Slopes, objective
from alg.optimizers import OPTIMIZERS
from alg.pieces import at_once
from alg.processes import ProcessError, own_folder, said_anywhere
from alg.programs import Program
from alg.promotion import Promote, make_promotion
from alg.results import Contender, Splits, rows
from alg.search import Report, Search, SearchState, Space, drawing, make_search, space
from alg.tasks import Task, task_of
from alg.types import Batch, Data, Positives, Source
from alg.validity import check
from configs.command_line import HELP, UsageError, read_command_line


class Run(NamedTuple):
    """The parts of a run, joined."""

    config: ConfigDict
    workdir: Path  # that this process writes in
    console: Console
    dataset: data.Dataset
    splits: dict[str, Data]  # train, reward, full_train, valid, test
    task: Task
    space: Space
    slopes: Slopes  # of losses of the space
    search: Search
    promote: Promote
    usual: list[Contender]
    test: FairTest


LEAST = {"contenders.found": 0, "search.generations": 0, "search.round_generations": 1}
LEAST["search.checkpoint_every"] = 1


def _check_numbers(config: ConfigDict) -> None:
    """See that the numbers that no builder takes are in range."""
    for key, least in LEAST.items():
        if (value := attrgetter(key)(config)) < least:
            raise ValueError(f"{key} is at least {least}, got {value}")


def join(config: ConfigDict, workdir: Path, console: Console) -> Run:
    """Build the parts that a config names.

    Raises:
      ValueError: for bad data, unknown names or values out of range.
    """
    _check_numbers(config)
    task = task_of(config.space.family, config.train.negatives)
    widths = {f"{name}.width": config[name].width for name in ("generation", "promote")}
    mesh = lane_mesh(config.devices, widths)
    everywhere = NamedSharding(mesh, PartitionSpec())
    where = space(**config.space)
    policy = _named("policy", config.policy, controller.POLICIES)(
        grammar(where.vocabulary, where.length), **config.get(config.policy, {})
    )
    filter_ = _named("filter", config.filter, FILTERS)(**config[config.filter], group=task.group)
    optimizer = _named("train.optimizer", config.train.optimizer, OPTIMIZERS)(
        clip=config.train.clip, **config.get(config.train.optimizer, {})
    )
    usual = _usual(task, **config.contenders)
    dataset = data.build(**config.data)
    recommender = models.build(**config.model, sizes=dataset.sizes, sides=dataset.sides)
    shared = {"batch_size": config.train.batch_size, "l2": config.train.l2}
    watched = {"seed": config.seed, "progress": partial(report.show_epochs, console), "task": task}
    slopes = task.traced_slopes(where.vocabulary.operators)

    def lanes(slopes: Slopes) -> Lanes:
        return make_lanes(recommender, slopes, optimizer=optimizer, mesh=mesh)

    splits = jax.device_put(_splits(dataset, task, **config.implicit), everywhere)
    counts = config.train.batch_size, at_once(splits["full_train"])
    sums = optimizer.scale_free or config.train.clip is not None
    examples = (count * task.group for count in counts)
    takes = need(recommender, lanes(slopes).init, *examples, sums=sums, devices=mesh.size)
    check_memory(takes, widths, mesh)
    search = make_search(
        *(policy, lanes, where, filter_),
        **config.generation,
        **shared,
        sharding=everywhere,
        task=task,
    )
    search = drawing(search, config.train.interactions)
    promote = make_promotion(lanes, slopes, **config.promote, **shared, **watched)
    test = make_fair_test(lanes, **config.test, **shared, **watched, devices=mesh.size)
    return Run(
        *(config, workdir, console, dataset, splits),
        *(task, where, slopes, search, promote, usual, test),
    )


def _splits(dataset: data.Dataset, task: Task, **options: int) -> dict[str, Data]:
    """Give what the task trains on and is judged on: interactions, or positives and groups."""
    if task.group > 1:
        parts = data.implicit(dataset, **options)._asdict()
        to_train_on = {name: Positives(*parts.pop(name)) for name in ("train", "full_train")}
        return to_train_on | {name: Batch(*groups) for name, groups in parts.items()}
    parts = {name: getattr(dataset, name) for name in ("train", "reward", "valid", "test")}
    parts["full_train"] = data.full_train(dataset)
    return {name: _interactions(part) for name, part in parts.items()}


def _interactions(part: data.Interactions | data.Streamed) -> Batch | Source:
    """Give a split as it is trained on, each interaction with weight 1."""
    if isinstance(part, data.Streamed):
        return Source(part.rows, part.piece, lambda *where: _interactions(part.draw(*where)))
    return Batch(*part, np.ones_like(part.label))


def _named(what: str, name: str, known: Mapping[str, Any]) -> Any:
    """Give what a config names."""
    if name not in known:
        raise ValueError(f"{what} {name!r} is not known (known: {', '.join(known)})")
    return known[name]


def search_phase(run: Run, folder: Path) -> tuple[SearchState, list[dict[str, Any]]]:
    """Search, from the last checkpoint in ``folder`` on; give the state and the journal's entries.

    Raises:
      Stopped: after Ctrl-C, with everything written.
      CheckpointError: for a checkpoint that cannot be read.
    """
    settings, search = run.config.search, run.search
    key = jax.random.fold_in(jax.random.key(run.config.seed), 0)
    train, reward = run.splits["train"], run.splits["reward"]
    state = search.init(key, reward)
    saved = checkpoints(folder)
    if saved.latest() is not None:
        state = saved.restore(state)
    begun = int(state.generation)
    journal = report.Journal(run.workdir, keep=begun)
    if begun:
        run.console.print(f"going on after generation {begun}")
    before = journal.entries[-1]["seconds"] if journal.entries else 0.0
    start = time.monotonic()
    with (
        report.Interrupt() as interrupt,
        report.progress(settings.generations, run.console) as live,
    ):
        for generation in range(begun + 1, settings.generations + 1):
            state, report_ = search.generation(
                state, jax.random.fold_in(key, 2 * generation), train, reward
            )
            round_ends = generation % settings.round_generations == 0
            entry = _entry(run, state, report_, journal.entries)
            entry["seconds"] = before + time.monotonic() - start
            journal.write(entry)
            live.update(entry)
            if round_ends:
                state, _ = search.advance(
                    state, jax.random.fold_in(key, 2 * generation + 1), train, reward
                )
            stops = said_anywhere(interrupt.asked)
            last = stops or generation == settings.generations
            if last or generation % settings.checkpoint_every == 0:
                saved.save(state)
            if stops and generation < settings.generations:
                journal.close()
                raise Stopped(f"stopped after generation {generation}; the same command goes on")
    journal.close()
    return state, journal.entries


class Stopped(Exception):
    """The user asked to stop; all is written."""


def _entry(run: Run, state: SearchState, done: Report, earlier: list[dict]) -> dict[str, Any]:
    """Give the journal's entry of a generation."""
    counts = Counter(np.asarray(done.verdicts).tolist())
    rewards = np.asarray(done.rewards)
    trained = rewards[np.asarray(done.trained)]
    last = earlier[-1] if earlier else {"sampled_total": 0, "trained_total": 0}
    generation, per_round = int(state.generation), run.config.search.round_generations
    found = bool(np.isfinite(state.hall.gain[0]))
    return {
        "generation": generation,
        "round": (generation - 1) // per_round + 1,
        "sampled": len(done.verdicts),
        "trained": len(trained),
        "sampled_total": last["sampled_total"] + len(done.verdicts),
        "trained_total": last["trained_total"] + len(trained),
        "best_reward": float(state.hall.reward[0]) if found else None,
        "best_gain": float(state.hall.gain[0]) if found else None,
        "best_formula": _formula(run, state.hall.tokens[0]) if found else None,
        "generation_best": float(trained.max()) if len(trained) else None,
        "generation_mean": float(trained.mean()) if len(trained) else None,
        "reference_reward": float(rewards[0]),
        "start_reward": float(state.standing),
        "funnel": {verdict.name.lower(): counts[verdict.value] for verdict in Verdict},
        **{name: float(value) for name, value in done.policy.items()},
    }


def _names(run: Run, tokens: jax.Array) -> tuple[str, ...]:
    """Give the names of tokens [L] without padding."""
    return tuple(run.space.vocabulary.names[token] for token in np.asarray(tokens) if token)


def _program(run: Run, tokens: jax.Array) -> Program:
    return as_program(_names(run, tokens), family=run.task.family)


def _formula(run: Run, tokens: jax.Array) -> str:
    return to_text(_program(run, tokens), family=run.task.family)


def _objective(run: Run, programs: Sequence[Program]) -> Objective:
    return objective(programs, [run.space.bounds] * len(programs))


class Found(NamedTuple):
    """A sound loss of the hall of fame."""

    rank: int
    tokens: tuple[str, ...]
    program: Program


def check_phase(run: Run, state: SearchState) -> list[Found]:
    """Check the hall of fame and write ``hall_of_fame.csv``; give the sound losses, best first."""
    hall = jax.tree.map(lambda part: part[np.isfinite(state.hall.gain)], state.hall)
    programs = [_program(run, tokens) for tokens in hall.tokens]
    family, group = run.task.family, run.task.group
    validity = check(run.slopes, _objective(run, programs), group=group) if programs else None
    found, table = [], []
    for j, program in enumerate(programs):
        names = _names(run, hall.tokens[j])
        row = {
            "rank": j + 1,
            "formula": to_text(program, family=family),
            "complexity": complexity(program, family=family),
            "reward": f"{float(hall.reward[j]):.6f}",
            "gain": f"{float(hall.gain[j]):.6f}",
            "generation": int(hall.generation[j]),
            "check": f"{validity.right[j]:.4f}",
            "sound": str(validity.sound[j]).lower(),
            "tokens": " ".join(names),
        }
        table.append(row)
        if validity.sound[j]:
            found.append(Found(j + 1, names, program))
    report.write(run.workdir / "hall_of_fame.csv", report.hall_csv(table))
    return found


def test_phase(run: Run, found: list[Found]) -> list[dict[str, Any]]:
    """Retrain the best found losses beside the usual ones; give the rows of the results."""
    wanted, parts = run.config.contenders.found, run.splits
    if found and wanted:
        losses = _objective(run, [each.program for each in found])
        order, _ = run.promote(losses, parts["train"], parts["reward"])
        found = [found[j] for j in order]
    contenders = [*run.usual, *(_contender(run, each) for each in found[:wanted])]
    splits = Splits(parts["full_train"], parts["valid"], parts["test"])
    outcomes = run.test.run(contenders, run.test.tune(contenders, splits), splits)
    names = {"model": run.config.model.name, "dataset": run.dataset.name}
    return rows(outcomes, **names, metric=run.task.metric)


def _contender(run: Run, found: Found) -> Contender:
    family = run.task.family
    loss = build_loss(found.program, bounds=run.space.bounds, family=family)
    name, formula = f"found-{found.rank}", to_text(found.program, family=family)
    return Contender(name, formula, loss, True, found.tokens)


def _usual(
    task: Task, *, found: int, baselines: Sequence[str] | None, smoothing: float
) -> list[Contender]:
    """Give the usual losses: the named ones, or the task's."""
    del found
    others = {"pointwise": PAIRWISE_LOSSES, "pairwise": POINTWISE_LOSSES}[task.family.name]
    usual = []
    for name in task.baselines if baselines is None else baselines:
        if name in others:
            raise ValueError(f"contenders.baselines are {task.family.name} losses, got {name!r}")
        formula = to_text(named_program(name, smoothing=smoothing), family=task.family)
        usual.append(Contender(name, formula, named_loss(name, smoothing=smoothing), False))
    if not usual:
        raise ValueError("contenders.baselines names at least one loss, the others are seen beside")
    return usual


def write_results(run: Run, losses: list[dict], entries: list[dict]) -> dict[str, Any]:
    """Write the results and the report; give the results."""
    funnel = Counter()
    for entry in entries:
        funnel.update(entry["funnel"])
    last = entries[-1] if entries else {"sampled_total": 0, "trained_total": 0, "seconds": 0.0}
    results = {
        "losses": losses,
        "search": {
            "sampled": last["sampled_total"],
            "trained": last["trained_total"],
            "seconds": last["seconds"],
            "funnel": dict(funnel),
        },
        "environment": report.environment(run.dataset.notes),
    }
    report.write(run.workdir / "results.csv", report.results_csv(results))
    report.write(run.workdir / "results.json", json.dumps(results, indent=2))
    report.write_report(run.workdir)
    return results


def show_results(console: Console, workdir: Path, results: dict[str, Any]) -> None:
    """Print the table of losses and where the files are."""
    console.print()
    console.print(report.results_table(results))
    files = "report.html, results.json, results.csv, hall_of_fame.csv"
    console.print(f"\nFiles in {workdir}: {files}", soft_wrap=True)


def main(argv: list[str]) -> int:
    """Run the command line; give the exit status: 0, 1 for bad input, 2 for bad usage."""
    console, errors = Console(highlight=False), Console(stderr=True, highlight=False)
    logging.getLogger("absl").setLevel(logging.CRITICAL)  # Orbax: what fails raises, too
    logging.basicConfig(format="%(message)s", force=True)
    logging.getLogger("data").setLevel(logging.INFO)
    if {"-h", "--help"} & {*argv[1:]}:
        console.print(HELP, markup=False, soft_wrap=True)
        return 0
    try:
        config, folder = read_command_line(argv)
        process = start_jax(data.cache_folder() / "compiled")
        console.quiet = process > 0
        with own_folder(process, Path(folder)) as own:
            return _run(config, Path(folder), own, console)
    except (UsageError, BadInput, CheckpointError, ProcessError) as error:
        errors.print(f"run.py: {error}", markup=False, soft_wrap=True)
        return 2 if isinstance(error, UsageError) else 1
    except (Stopped, KeyboardInterrupt) as stopped:
        console.print(str(stopped) or "stopped; the same command goes on")
        return 130


class BadInput(Exception):
    """The data, the config or the workdir cannot be used."""


def _run(config: ConfigDict, workdir: Path, own: Path, console: Console) -> int:
    """Show a finished run, or go on with it to the end; this process writes in ``own``."""
    try:
        report.check(workdir, config.to_dict())
        if (workdir / "results.json").exists():
            console.print(f"{workdir} holds this run, finished; its results:\n")
            show_results(console, workdir, report.finished(workdir))
            return 0
        run = join(config, own, console)
        report.claim(own, config.to_dict())
    except (ValueError, OSError) as error:
        raise BadInput(str(error)) from error
    for note in run.dataset.notes:
        console.print(note, markup=False, soft_wrap=True)
    state, entries = search_phase(run, workdir / "checkpoints")
    losses = test_phase(run, check_phase(run, state))
    show_results(console, workdir, write_results(run, losses, entries))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv))
