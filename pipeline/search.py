"""The search phase: generations of candidates, with a log, checkpoints and limits."""

import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import jax
from ml_collections import ConfigDict
from rich.console import Console

import autolossgen
from autolossgen import controller, report
from autolossgen.interfaces import Array, Policy
from autolossgen.search.checkpoints import Checkpoints, open_checkpoints
from autolossgen.search.generation import SearchState
from autolossgen.search.log_record import make_log_record, write_formula
from autolossgen.search.screening import FILTERS, Filter
from autolossgen.search.search import Search, make_search, with_subsampling
from autolossgen.search.space import Space
from autolossgen.search.stopping import Limits, find_stop_reason
from autolossgen.training.devices import any_process, is_first_process
from autolossgen.training.random_keys import SEARCH, advance_number, generation_number
from autolossgen.training.tasks import Task

from .setup import Setup, look_up
from .terminal.interrupt import Stopped


class SearchPhase(NamedTuple):
    """A search, what it searches in, and what its candidates train on."""

    search: Search
    space: Space
    filter: Filter
    task: Task
    train: Any  # what the search trains on
    reward_split: Any  # and what rewards it
    settings: ConfigDict  # the section ``search``
    seed: int
    console: Console
    parsimony: float = 0.0  # reward that a token costs


class SearchStopped(Stopped):
    """The user asked to stop in the search; a checkpoint is written."""

    def __init__(self, state: SearchState):
        """Keeps the state, from which the hall of fame is still written."""
        super().__init__(f"after generation {int(state.generation)}")
        self.state = state


def make_policy(config: ConfigDict, space: Space) -> Policy:
    """Builds the policy that a config names, which takes no data.

    Raises:
      ValueError: for an unknown name or values out of range.
    """
    make = look_up("policy.name", config.policy.name, controller.POLICIES)
    return make(space.grammar, **config.policy.get(config.policy.name, {}))


def make_search_phase(setup: Setup, space: Space, policy: Policy) -> SearchPhase:
    """Builds the filter and the search that a config names.

    Raises:
      ValueError: for unknown names or values out of range.
    """
    config, task = setup.config, setup.task
    make_filter = look_up("filter.name", config.filter.name, FILTERS)
    filter_ = make_filter(**config.filter.get(config.filter.name, {}), group=task.group)
    search = make_search(
        policy,
        setup.make_lanes,
        space,
        filter_,
        **config.generation,
        batch_size=config.train.batch_size,
        l2=config.train.l2,
        sharding=setup.replicated,
        task=task,
    )
    return SearchPhase(
        search=with_subsampling(search, config.train.interactions),
        space=space,
        filter=filter_,
        task=task,
        train=setup.splits.train,
        reward_split=setup.splits.reward,
        settings=config.search,
        parsimony=config.generation.parsimony,
        seed=config.seed,
        console=setup.console,
    )


def search_losses(
    phase: SearchPhase,
    checkpoint_dir: Path,
    log_dir: Path,
    asked: Callable[[], bool] = lambda: False,
    trackers: report.Trackers | None = None,
) -> tuple[SearchState, list[dict[str, Any]]]:
    """Searches, from the last checkpoint on.

    Args:
      phase: the search.
      checkpoint_dir: folder of the checkpoints.
      log_dir: folder of ``metrics.jsonl``.
      asked: whether the user asked to stop, as any process knows.
      trackers: that are told of each generation, too.

    Returns:
      The last state, and a log record for each generation.

    Raises:
      SearchStopped: if the user asked to stop, with a checkpoint written.
      CheckpointError: for a checkpoint that cannot be read.
    """
    key = make_search_key(phase)
    state = phase.search.init(key, phase.reward_split)
    checkpoints = open_checkpoints(
        checkpoint_dir,
        version=autolossgen.__version__,
        writes=is_first_process(),
        warn=partial(phase.console.print, markup=False, soft_wrap=True),
    )
    state = checkpoints.restore(state) or state
    generation = int(state.generation)
    if generation:
        phase.console.print(f"going on after generation {generation}")
    else:
        _print_initial_losses(phase)
    journal = report.Journal(log_dir, keep=generation, trackers=trackers)
    if not _is_over(phase, state, journal):
        state = _run_generations(phase, state, key, checkpoints, journal, asked)
    if reason := _limit_reached(phase, state, journal):
        ended = f"the search ended after generation {int(state.generation)}: {reason}"
        phase.console.print(ended, soft_wrap=True)
    return state, journal.entries


def make_search_key(phase: SearchPhase) -> Array:
    """Returns the random key that a search begins with."""
    return jax.random.fold_in(jax.random.key(phase.seed), SEARCH)


def next_generation(
    phase: SearchPhase, state: SearchState, key: Array, previous: dict[str, Any] | None
) -> tuple[SearchState, dict[str, Any]]:
    """Runs one generation.

    Args:
      phase: the search.
      state: of the search.
      key: of the search, the same for all generations.
      previous: log record of the generation before, if any.

    Returns:
      The next state, and the log record without its seconds.
    """
    key = jax.random.fold_in(key, generation_number(int(state.generation) + 1))
    state, result = phase.search.run_generation(state, key, phase.train, phase.reward_split)
    record = make_log_record(
        phase.space,
        phase.task.family,
        state,
        result,
        previous,
        round_generations=phase.settings.round_generations,
        parsimony=phase.parsimony,
    )
    return state, record


def next_round(phase: SearchPhase, state: SearchState, key: Array) -> SearchState:
    """Trains the base model on, or begins it again, if a round ends with this generation."""
    generation = int(state.generation)
    if generation % phase.settings.round_generations:
        return state
    key = jax.random.fold_in(key, advance_number(generation))
    return phase.search.advance(state, key, phase.train, phase.reward_split)[0]


def _run_generations(
    phase: SearchPhase,
    state: SearchState,
    key: Array,
    checkpoints: Checkpoints,
    journal: report.Journal,
    asked: Callable[[], bool],
) -> SearchState:
    """Searches until it is over or the user stops it; logs, shows and saves what is found."""
    console, settings = phase.console, phase.settings
    start = time.monotonic() - (journal.last["seconds"] if journal.last else 0.0)
    is_over = False
    with report.make_progress(
        settings.generations,
        console,
        max_seconds=settings.seconds or None,
        max_trained=settings.candidates or None,
    ) as live:
        while not is_over:
            state, record = next_generation(phase, state, key, journal.last)
            record["seconds"] = time.monotonic() - start
            journal.write(record)
            live.update(record)
            state = next_round(phase, state, key)
            stops, is_over = asked(), _is_over(phase, state, journal)
            if stops or is_over or int(state.generation) % settings.checkpoint_every == 0:
                checkpoints.save(state)
            if stops:
                raise SearchStopped(state)
    return state


def _is_over(phase: SearchPhase, state: SearchState, journal: report.Journal) -> bool:
    """Whether the search is over: the same in all processes, which all have to ask."""
    # Other processes' clocks differ and their journals end with them: the first one decides.
    limited = is_first_process() and _limit_reached(phase, state, journal) is not None
    return any_process(limited) or int(state.generation) >= phase.settings.generations


def _limit_reached(phase: SearchPhase, state: SearchState, journal: report.Journal) -> str | None:
    """Returns which of the user's limits the search has reached, if any."""
    settings = phase.settings
    limits = Limits(
        candidates=settings.candidates, seconds=settings.seconds, target=settings.target
    )
    return find_stop_reason(limits, journal.last, state.hall) if journal.last else None


def _print_initial_losses(phase: SearchPhase) -> None:
    """Prints initial losses as the space writes them, so that a smoothing is seen."""
    family = phase.task.family
    for name, tokens in zip(phase.space.initial_names, phase.space.initial_losses, strict=True):
        formula = write_formula(phase.space, family, tokens)
        line = f"initial loss {formula}" if name == formula else f"initial loss {name}: {formula}"
        phase.console.print(line, markup=False, highlight=False, soft_wrap=True)
