"""A run, phase by phase: search, gradient check and promotion, test, save."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from ml_collections import ConfigDict
from rich.console import Console

from autolossgen import report
from autolossgen.search.space import make_space

from .checks import check_numbers, check_sizes
from .finished.training import keep_network
from .kept import keep_in
from .save import save_results, summarize_search
from .search import SearchPhase, SearchStopped, make_policy, make_search_phase, search_losses
from .setup import Setup, make_setup
from .shortlist import ShortlistPhase, check_hall, make_shortlist_phase, promote_losses
from .test import compare_losses
from .timing import PhaseTimes


class Run(NamedTuple):
    """The phases of a run, all built before the first begins: bad values are refused at once."""

    setup: Setup
    search: SearchPhase
    shortlist: ShortlistPhase


def make_run(config: ConfigDict, console: Console) -> Run:
    """Builds what a config describes.

    Raises:
      ValueError: for bad data, unknown names or values out of range.
    """
    check_numbers(config)
    check_sizes(config)
    space = make_space(**config.space)
    policy = make_policy(config, space)  # before data are read: a wrong name fails at once
    setup = make_setup(config, console, {"contenders.found": config.contenders.found})
    search = make_search_phase(setup, space, policy)
    return Run(
        setup=setup, search=search, shortlist=make_shortlist_phase(setup, space, search.filter)
    )


def run_phases(
    run: Run,
    workdir: Path,
    process_dir: Path,
    asked: Callable[[], bool],
    trackers: report.Trackers,
) -> dict[str, Any]:
    """Searches, shortlists, tests, trains the recommender that stays, and saves.

    Args:
      run: what to do.
      workdir: folder of the run, with its checkpoints.
      process_dir: where this process writes all else; in the first process, ``workdir``.
      asked: whether the user asked to stop.
      trackers: that are told what the run does.

    Returns:
      What ``results.json`` holds.

    Raises:
      Stopped: if the user asked to stop; what is finished is kept.
    """
    console, notes = run.setup.console, run.setup.dataset.notes
    for note in notes:
        console.print(note, markup=False, soft_wrap=True)
    kept = keep_in(process_dir, asked, partial(console.print, markup=False, soft_wrap=True))
    times = PhaseTimes()
    try:
        state, records = search_losses(
            run.search, workdir / "checkpoints", process_dir, asked, trackers
        )
    except SearchStopped as stopped:
        check_hall(run.shortlist, stopped.state.hall, process_dir)  # for who has seen enough
        raise
    with run.setup.progress.followed_by(trackers.make_follower()):
        with times.measure("promotion"):
            checked = check_hall(run.shortlist, state.hall, process_dir)
            shortlist = promote_losses(run.shortlist, checked, process_dir, kept)
        with times.measure("test"):
            losses = compare_losses(run.setup, shortlist, kept)
    with times.measure("recommender"):
        keep_network(run.setup, [*run.setup.baselines, *shortlist], losses, process_dir, kept)
    search = summarize_search(records)
    seconds = {"search": search["seconds"], **times.seconds}  # some of the search before a resume
    return save_results(process_dir, losses, search, notes, seconds)
