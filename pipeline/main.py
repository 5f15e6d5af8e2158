"""The command line: from its arguments to an exit status."""

import logging
import shlex
import signal
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

from ml_collections import ConfigDict
from rich.console import Console

import autolossgen
from autolossgen import data, report
from autolossgen.configs.command_line import UsageError, read_command_line
from autolossgen.configs.topk import is_of_rankings
from autolossgen.files import write_atomically
from autolossgen.search.checkpoints import CheckpointError
from autolossgen.suggest import did_you_mean
from autolossgen.training.devices import ProcessError, any_process, configure_jax, process_dir

from .finished.commands import COMMANDS, ERRORS
from .kept import forget
from .rankings.run import TopK, make_topk, run_topk
from .run import make_run, run_phases
from .save import show_results
from .terminal.help import make_help
from .terminal.interrupt import Interrupt, Stopped
from .terminal.log import LoggedConsole
from .terminal.plan import plan_rankings, plan_search, plan_transfer
from .transfer import make_transfer, run_transfer, take_fingerprints
from .workdir import (
    check_data,
    check_not_held,
    check_workdir,
    claim_workdir,
    hold_workdir,
    read_results,
)

OPEN_KEYS = ("search.generations", "search.candidates", "search.seconds", "search.target")
"""What may differ from how a run began when the same command goes on with it."""


GoOn = Callable[[Path, Callable[[], bool], report.Trackers], dict[str, Any]]
"""(Folder that this process writes, what tells whether the user asked to stop, trackers that are
told what is done) -> results."""


class BadInput(ValueError):
    """The data, the config or the workdir cannot be used."""


def main(argv: list[str]) -> int:
    """Runs the command line.

    Args:
      argv: its words; the first is the program's name.

    Returns:
      The exit status: 0, 1 for what cannot be used, read or written, 2 for bad usage, 130 for a
      run that was stopped by Ctrl-C, and 143 by SIGTERM.
    """
    console, errors = LoggedConsole(highlight=False), Console(stderr=True, highlight=False)
    program = Path(argv[0]).name
    logging.basicConfig(format="%(message)s", force=True)
    logging.getLogger("autolossgen.data").setLevel(logging.INFO)
    interrupt = Interrupt(partial(_note_signal, console), exits=True)
    try:
        with interrupt:
            _run(argv, program, console, interrupt)
    except (UsageError, BadInput, CheckpointError, ProcessError, *ERRORS) as error:
        errors.print(f"{program}: {error}", markup=False, soft_wrap=True)
        return 2 if isinstance(error, UsageError) else 1
    except (Stopped, KeyboardInterrupt) as stopped:
        console.print(str(stopped) or "stopped; the same command goes on")
        return 128 + interrupt.number
    return 0


def _note_signal(console: Console, number: int) -> None:
    again = "Ctrl-C again to stop" if number == signal.SIGINT else "another signal stops it"
    console.print(f"stopping as soon as what is done can be kept; {again} at once")


def _run(argv: list[str], program: str, console: LoggedConsole, interrupt: Interrupt) -> None:
    """Does what the words of the command line ask for."""
    words = argv[1:]
    if words and words[0] in COMMANDS:
        COMMANDS[words[0]](f"{program} {words[0]}", words[1:], console)
    elif words and not words[0].startswith("-"):
        hint = did_you_mean(words[0], COMMANDS)
        raise UsageError(f"expected --config=... and --workdir=..., got {words[0]!r}{hint}")
    elif {"-h", "--help"} & {*words}:
        command = f"python {program}" if program.endswith(".py") else program
        console.print(make_help(command), markup=False, soft_wrap=True)
    elif "--version" in words:
        console.print(f"autolossgen {autolossgen.__version__}", markup=False)
    else:
        config, folder, dry_run = read_command_line(argv)
        if dry_run:
            show_plan(config, Path(folder), console)
        else:
            carry_out(config, Path(folder), console, interrupt, shlex.join(argv))


def carry_out(
    config: ConfigDict,
    workdir: Path,
    console: LoggedConsole,
    interrupt: Interrupt,
    command: str = "",
) -> None:
    """Carries a run out or goes on with it, to its end; shows a finished one.

    Args:
      config: of the run.
      workdir: its folder.
      console: what is said goes into ``run.log`` there, too.
      interrupt: tells if the user asks to stop.
      command: that asked for it, kept in ``command.txt``; empty if none did.

    Raises:
      BadInput: if the data, the config or the folder cannot be used.
      CheckpointError: for a checkpoint that cannot be used.
      ProcessError: if several processes cannot be joined.
      Stopped: after Ctrl-C or SIGTERM, with all kept that is finished.
    """
    process = configure_jax(data.get_cache_folder() / "compiled")
    console.quiet = console.quiet or process > 0
    with process_dir(process, workdir) as own_dir, ExitStack() as held:
        try:
            report.check_trackers(config.trackers)
            check_workdir(workdir, config.to_dict(), open_keys=get_open_keys(config))
            if (workdir / "results.json").exists():
                _show_finished(workdir, console)
                return
            check_not_held(own_dir)
            go_on = _begin(config, workdir, own_dir, console, held)
            if command:
                write_atomically(own_dir / "command.txt", f"{command}\n")
        except (ValueError, OSError) as error:
            raise BadInput(str(error)) from error
        interrupt.wait()
        try:
            say = partial(console.print, markup=False, soft_wrap=True)
            names = config.trackers if process == 0 else ()
            with console.keep_log(own_dir / "run.log"):
                with report.open_trackers(names, own_dir, config.to_dict(), say) as trackers:
                    results = go_on(own_dir, partial(_is_asked, interrupt), trackers)
                    trackers.log_results(results)
                show_results(console, workdir, results)
        except report.TrackerError as error:
            raise BadInput(str(error)) from error
        except OSError as error:
            raise BadInput(_describe_failure(error, workdir)) from error


def _begin(
    config: ConfigDict, workdir: Path, own_dir: Path, console: LoggedConsole, held: ExitStack
) -> GoOn:
    """Builds a run and claims its folder, which is held from then on; returns what goes on."""
    fingerprint, go_on = _prepare(config, workdir, console)
    check_data(workdir, fingerprint)
    held.enter_context(hold_workdir(own_dir))
    open_keys = get_open_keys(config)
    claim_workdir(own_dir, config.to_dict(), data=fingerprint, open_keys=open_keys)
    return go_on


def _is_asked(interrupt: Interrupt) -> bool:
    """Whether any process was asked to stop; all processes have to call this."""
    return any_process(interrupt.asked)


def _show_finished(workdir: Path, console: LoggedConsole) -> None:
    """Shows a finished run; one that was killed at its very end gets the page that it lacks."""
    finished = f"{workdir} already contains this finished run:\n"
    console.print(finished, markup=False, soft_wrap=True)
    results = read_results(workdir)
    if not (workdir / "report.html").exists():
        from .finished.page import write_page  # matplotlib takes half a second, and few need it

        write_page(workdir)
    forget(workdir)
    show_results(console, workdir, results)


def _describe_failure(error: OSError, workdir: Path) -> str:
    """Returns what could not be read or written, and how to go on."""
    file = f"{error.filename}: " if error.filename else ""
    return (
        f"{file}{error.strerror or error}. All that was finished is kept in {workdir}: mend this, "
        "and the same command goes on"
    )


def show_plan(config: ConfigDict, workdir: Path, console: Console) -> None:
    """Checks all that a run needs and prints what it would do; trains and writes nothing.

    Args:
      config: of the run.
      workdir: its folder.
      console: to print on.

    Raises:
      BadInput: if the data, the config or the folder cannot be used.
      ProcessError: if several processes cannot be joined.
    """
    configure_jax(data.get_cache_folder() / "compiled")
    try:
        report.check_trackers(config.trackers)
        check_workdir(workdir, config.to_dict(), open_keys=get_open_keys(config))
        if (workdir / "results.json").exists():
            console.print(f"{workdir} contains this run, finished", markup=False, soft_wrap=True)
        elif is_of_rankings(config):
            topk = make_topk(config, console)
            check_data(workdir, data.take_fingerprint(topk.data))
            plan_rankings(topk)
        elif _is_search(config):
            run = make_run(config, console)
            check_data(workdir, data.take_fingerprint(run.setup.dataset))
            plan_search(run)
        else:
            transfer = make_transfer(config, workdir, console)
            check_data(workdir, take_fingerprints(transfer))
            plan_transfer(transfer, console)
    except (ValueError, OSError) as error:
        raise BadInput(str(error)) from error


def get_open_keys(config: ConfigDict) -> tuple[str, ...]:
    """Returns what may differ when a run goes on: trackers, and limits of a search."""
    return ("trackers", *OPEN_KEYS) if _is_search(config) else ("trackers",)


def _run_topk(
    topk: TopK, folder: Path, asked: Callable[[], bool], trackers: report.Trackers
) -> dict[str, Any]:
    """Runs rankings, followed by trackers."""
    with topk.progress.followed_by(trackers.make_follower()):
        return run_topk(topk, folder, asked, trackers)


def _is_search(config: ConfigDict) -> bool:
    """Whether a config describes a search, and no transfer."""
    return is_of_rankings(config) or not config.transfer.losses


def _prepare(
    config: ConfigDict, workdir: Path, console: LoggedConsole
) -> tuple[dict[str, Any], GoOn]:
    """Builds a run; returns the fingerprint of its data, and what goes on to its end."""
    if is_of_rankings(config):
        topk = make_topk(config, console)
        return data.take_fingerprint(topk.data), partial(_run_topk, topk)
    if _is_search(config):
        run = make_run(config, console)
        return data.take_fingerprint(run.setup.dataset), partial(run_phases, run, workdir)
    transfer = make_transfer(config, workdir, console)
    return take_fingerprints(transfer), partial(run_transfer, transfer, console)
