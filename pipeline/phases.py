"""Where the parts meet: what a config names, the search over it, and the test at its end."""

import time
from collections.abc import Callable, Mapping
from contextlib import closing
from functools import partial
from operator import attrgetter
from pathlib import Path
from typing import Any, NamedTuple

import jax
from jax.sharding import NamedSharding, PartitionSpec
from ml_collections import ConfigDict
from rich.console import Console

from autolossgen import controller, data, models, report, to_text
from autolossgen.evaluation.contenders import Contender, baseline_contenders
from autolossgen.evaluation.fair_test import FairTest, make_fair_test
from autolossgen.evaluation.promotion import Promote, make_promotion
from autolossgen.evaluation.statistics import Splits, result_records
from autolossgen.interfaces import Array, Data, StreamedData
from autolossgen.search.checkpoints import Checkpoints, open_checkpoints
from autolossgen.search.log_record import make_log_record, program_of_tokens
from autolossgen.search.screening import FILTERS, Filter
from autolossgen.search.search import Search, SearchState, make_search, with_subsampling
from autolossgen.search.space import Space, make_space
from autolossgen.search.stopping import Limits, stop_reason
from autolossgen.training.devices import lane_mesh
from autolossgen.training.distributed import any_process, is_first_process
from autolossgen.training.lanes import Lanes, make_lanes
from autolossgen.training.loss_gradients import LogitGradFn
from autolossgen.training.memory_budget import estimate_memory
from autolossgen.training.optimizers import OPTIMIZERS
from autolossgen.training.tasks import Task, make_task

from .checks import check_fits_memory, check_numbers, max_examples_at_once
from .interrupt import Interrupt
from .splits import EVAL_SPLITS, make_splits

STOPPING = "stopping after this generation; Ctrl-C again to stop at once"


class Setup(NamedTuple):
    """What losses are trained and judged on."""

    config: ConfigDict
    console: Console
    dataset: data.Dataset
    splits: dict[str, Data]  # train, reward, full_train, valid, test
    task: Task
    everywhere: NamedSharding  # of what all devices have
    lanes: Callable[[LogitGradFn], Lanes]
    usual: list[Contender]
    test: FairTest


class Run(NamedTuple):
    """The parts of a run, joined."""

    ground: Setup
    workdir: Path  # that this process writes in
    space: Space
    slopes: LogitGradFn  # of losses of the space
    filter: Filter
    search: Search
    promote: Promote


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
    if unset and config.train.optimizer in OPTIMIZERS.keys() - {"sgd"}:
        raise ValueError(
            f"the model's own learning rates are those of sgd: with train.optimizer "
            f"{config.train.optimizer!r} give {', '.join(unset)}, as preset adagrad does"
        )
    settled = config.copy_and_resolve_references()
    settled.update_from_flattened_dict(unset)
    return settled


def make_setup(
    config: ConfigDict, console: Console, beside: Mapping[str, int] | None = None
) -> Setup:
    """Build what losses are trained and judged on, and the fair test.

    Args:
      config: of the run.
      console: to print on.
      beside: config key -> losses that are tested beside the usual ones, at most.

    Raises:
      ValueError: for bad data, unknown names or values out of range.
    """
    config = _with_rates(config)
    task = make_task(config.space.family, config.train.negatives, config.search.reward)
    widths = {f"{name}.width": config[name].width for name in ("generation", "promote")}
    mesh = lane_mesh(config.devices, widths)
    optimizer = _named("train.optimizer", config.train.optimizer, OPTIMIZERS)(
        clip=config.train.clip, **config.get(config.train.optimizer, {})
    )
    known = baseline_losses(config, task)
    dataset = data.build(**config.data)
    recommender = models.build(**config.model, sizes=dataset.sizes, sides=dataset.sides)

    def lanes(slopes: LogitGradFn) -> Lanes:
        return make_lanes(recommender, slopes, optimizer=optimizer, mesh=mesh)

    everywhere = NamedSharding(mesh, PartitionSpec())
    parts, notes = make_splits(dataset, task, **config.implicit)
    dataset = dataset._replace(notes=(*dataset.notes, *notes))
    splits = jax.device_put(parts, everywhere)
    counts = (
        config.train.batch_size,
        max_examples_at_once(config, parts["train"], parts["full_train"]),
    )
    sums = optimizer.scale_free or config.train.clip is not None
    examples = (count * task.group for count in counts)
    init = lanes(task.static_slopes([each.loss for each in known])).init
    judged = max(splits[name].label.shape[0] for name in EVAL_SPLITS)
    takes = estimate_memory(
        recommender, init, *examples, sums=sums, judged=judged, devices=mesh.size
    )
    contenders = {"contenders.baselines": len(known), **(beside or {})}
    check_fits_memory(
        config, takes, widths, mesh, contenders, isinstance(parts["train"], StreamedData)
    )
    watched = _watched(config, console)
    test = make_fair_test(lanes, **config.test, **watched, task=task, devices=mesh.size)
    return Setup(config, console, dataset, splits, task, everywhere, lanes, known, test)


def baseline_losses(config: ConfigDict, task: Task) -> list[Contender]:
    """Give the losses that a config has found ones tested against."""
    section = config.contenders
    return baseline_contenders(task, baselines=section.baselines, smoothing=section.smoothing)


def make_run(config: ConfigDict, workdir: Path, console: Console) -> Run:
    """Build the parts that a config names.

    Raises:
      ValueError: for bad data, unknown names or values out of range.
    """
    check_numbers(config)
    where = make_space(**config.space)
    policy = _named("policy", config.policy, controller.POLICIES)(
        where.grammar, **config.get(config.policy, {})
    )
    on = make_setup(config, console, {"contenders.found": config.contenders.found})
    make_filter = _named("filter", config.filter, FILTERS)
    filter_ = make_filter(**config[config.filter], group=on.task.group)
    search = make_search(
        policy,
        on.lanes,
        where,
        filter_,
        **on.config.generation,
        batch_size=config.train.batch_size,
        l2=config.train.l2,
        sharding=on.everywhere,
        task=on.task,
    )
    search = with_subsampling(search, config.train.interactions)
    slopes = on.task.traced_slopes(where.vocabulary.operators)
    watched = _watched(config, console)
    promote = make_promotion(
        on.lanes,
        slopes,
        **on.config.promote,
        **watched,
        least=on.config.contenders.found,
        task=on.task,
    )
    return Run(on, workdir, where, slopes, filter_, search, promote)


def _named(what: str, name: str, known: Mapping[str, Any]) -> Any:
    """Give what a config names."""
    if name not in known:
        raise ValueError(f"{what} {name!r} is not known (known: {', '.join(known)})")
    return known[name]


def _tell_seeds(run: Run) -> None:
    """Print the seeds as the space writes them, so that a smoothing is seen."""
    family = run.ground.task.family
    for seed, tokens in zip(run.ground.config.space.seeds, run.space.seeds, strict=True):
        formula = to_text(program_of_tokens(run.space, family, tokens), family=family)
        run.ground.console.print(f"seed {seed}: {formula}", markup=False, highlight=False)


def search_phase(run: Run, folder: Path) -> tuple[SearchState, list[dict[str, Any]]]:
    """Search, from the last checkpoint in ``folder`` on; give the state and the journal's entries.

    Raises:
      Stopped: after Ctrl-C, with a checkpoint written.
      CheckpointError: for a checkpoint that cannot be read.
    """
    on = run.ground
    key = jax.random.fold_in(jax.random.key(on.config.seed), 0)
    state = run.search.init(key, on.splits["reward"])
    saved = open_checkpoints(folder)
    if saved.latest() is not None:
        state = saved.restore(state)
    begun = int(state.generation)
    if begun:
        on.console.print(f"going on after generation {begun}")
    else:
        _tell_seeds(run)
    with closing(report.Journal(run.workdir, keep=begun)) as journal:
        if not _over(on, state, journal):
            state = _generations(run, state, key, saved, journal)
    if why := _limit(on, state, journal):
        ended = f"the search ended after generation {int(state.generation)}: {why}"
        on.console.print(ended, soft_wrap=True)
    return state, journal.entries


def _generations(
    run: Run, state: SearchState, key: Array, saved: Checkpoints, journal: report.Journal
) -> SearchState:
    """Search to the end, or to Ctrl-C, writing what is found."""
    on, settings = run.ground, run.ground.config.search
    start = time.monotonic() - (journal.last["seconds"] if journal.last else 0.0)
    ends = {"max_seconds": settings.seconds or None, "max_trained": settings.candidates or None}
    over = False
    with (
        Interrupt(lambda: on.console.print(STOPPING)) as interrupt,
        report.make_progress(settings.generations, on.console, **ends) as live,
    ):
        while not over:
            state, last = next_generation(run, state, key, journal.last)
            last["seconds"] = time.monotonic() - start
            journal.write(last)
            live.update(last)
            state = next_round(run, state, key)
            generation = int(state.generation)
            stops, over = any_process(interrupt.asked), _over(on, state, journal)
            if stops or over or generation % settings.checkpoint_every == 0:
                saved.save(state)
            if stops:
                raise Stopped(state)
    return state


def next_generation(
    run: Run, state: SearchState, key: Array, last: dict[str, Any] | None
) -> tuple[SearchState, dict[str, Any]]:
    """Search for one generation; give the journal's entry, less its seconds, too."""
    on, every = run.ground, run.ground.config.search.round_generations
    key = jax.random.fold_in(key, 2 * (int(state.generation) + 1))
    state, done = run.search.generation(state, key, on.splits["train"], on.splits["reward"])
    return state, make_log_record(
        run.space, on.task.family, state, done, last, round_generations=every
    )


def next_round(run: Run, state: SearchState, key: Array) -> SearchState:
    """Let the recommender move on where a round has ended."""
    on, generation = run.ground, int(state.generation)
    if generation % on.config.search.round_generations:
        return state
    key = jax.random.fold_in(key, 2 * generation + 1)
    return run.search.advance(state, key, on.splits["train"], on.splits["reward"])[0]


def _over(on: Setup, state: SearchState, journal: report.Journal) -> bool:
    """Say if the search is over, the same in all processes, which all have to ask."""
    # Others' clocks differ and their journals end with them: the first one's say counts.
    limited = is_first_process() and _limit(on, state, journal) is not None
    return any_process(limited) or int(state.generation) >= on.config.search.generations


def _limit(on: Setup, state: SearchState, journal: report.Journal) -> str | None:
    """Say which of the user's limits the search has reached, if any."""
    settings = on.config.search
    limits = Limits(settings.candidates, settings.seconds, settings.target)
    return stop_reason(limits, journal.last, state.hall) if journal.last else None


class Stopped(Exception):
    """The user asked to stop; a checkpoint is written."""

    def __init__(self, state: SearchState):
        """Keep the state, of which more may be written."""
        generation = int(state.generation)
        super().__init__(f"stopped after generation {generation}; the same command goes on")
        self.state = state


def compare_losses(on: Setup, best: list[Contender]) -> list[dict[str, Any]]:
    """Train found losses from scratch beside the usual ones; give the rows of the results."""
    contenders = [*on.usual, *best]
    splits = Splits(*(on.splits[name] for name in ("full_train", "valid", "test")))
    outcomes = on.test.run(contenders, on.test.tune(contenders, splits), splits)
    labels = {"model": on.config.model.name, "dataset": on.dataset.name}
    return result_records(outcomes, **labels, metric=on.task.metric)
