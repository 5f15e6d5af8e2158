"""The command line: from its arguments to an exit status."""

import logging
import shlex
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from ml_collections import ConfigDict
from rich.console import Console

import autolossgen
from autolossgen import data
from autolossgen.configs.command_line import UsageError, read_command_line
from autolossgen.configs.topk import is_of_rankings
from autolossgen.files import write_atomically
from autolossgen.search.checkpoints import CheckpointError
from autolossgen.suggest import did_you_mean
from autolossgen.training.devices import ProcessError, configure_jax, process_dir

from .finished.commands import COMMANDS, ERRORS
from .rankings.run import make_topk, run_topk
from .run import make_run, run_phases
from .save import show_results
from .search import Stopped
from .terminal.help import make_help
from .terminal.log import LoggedConsole
from .terminal.plan import plan_rankings, plan_search, plan_transfer
from .transfer import make_transfer, run_transfer, take_fingerprints
from .workdir import check_data, check_workdir, claim_workdir, read_results

OPEN_KEYS = ("search.generations", "search.candidates", "search.seconds", "search.target")
"""What may differ from how a run began when the same command goes on with it."""


class BadInput(ValueError):
    """The data, the config or the workdir cannot be used."""


def main(argv: list[str]) -> int:
    """Runs the command line.

    Args:
      argv: its words; the first is the program's name.

    Returns:
      The exit status: 0, 1 for bad input, 2 for bad usage, 130 for a run that was stopped.
    """
    console, errors = LoggedConsole(highlight=False), Console(stderr=True, highlight=False)
    program = Path(argv[0]).name
    logging.basicConfig(format="%(message)s", force=True)
    logging.getLogger("autolossgen.data").setLevel(logging.INFO)
    try:
        _run(argv, program, console)
    except (UsageError, BadInput, CheckpointError, ProcessError, *ERRORS) as error:
        errors.print(f"{program}: {error}", markup=False, soft_wrap=True)
        return 2 if isinstance(error, UsageError) else 1
    except (Stopped, KeyboardInterrupt) as stopped:
        console.print(str(stopped) or "stopped; the same command goes on")
        return 130
    return 0


def _run(argv: list[str], program: str, console: LoggedConsole) -> None:
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
            carry_out(config, Path(folder), console, shlex.join(argv))


def carry_out(config: ConfigDict, workdir: Path, console: LoggedConsole, command: str = "") -> None:
    """Carries a run out or goes on with it, to its end; shows a finished one.

    Args:
      config: of the run.
      workdir: its folder.
      console: what is said goes into ``run.log`` there, too.
      command: that asked for it, kept in ``command.txt``; empty if none did.

    Raises:
      BadInput: if the data, the config or the folder cannot be used.
      CheckpointError: for a checkpoint that cannot be read.
      ProcessError: if several processes cannot be joined.
      Stopped: after Ctrl-C in the search.
    """
    logging.getLogger("absl").setLevel(logging.CRITICAL)  # Orbax: what fails raises, too
    process = configure_jax(data.get_cache_folder() / "compiled")
    console.quiet = console.quiet or process > 0
    open_keys = get_open_keys(config)
    with process_dir(process, workdir) as own_dir:
        try:
            check_workdir(workdir, config.to_dict(), open_keys=open_keys)
            if (workdir / "results.json").exists():
                finished = f"{workdir} already contains this finished run:\n"
                console.print(finished, markup=False, soft_wrap=True)
                show_results(console, workdir, read_results(workdir))
                return
            fingerprint, go_on = _prepare(config, workdir, console)
            check_data(workdir, fingerprint)
            claim_workdir(own_dir, config.to_dict(), data=fingerprint, open_keys=open_keys)
            if command:
                write_atomically(own_dir / "command.txt", f"{command}\n")
        except (ValueError, OSError) as error:
            raise BadInput(str(error)) from error
        with console.keep_log(own_dir / "run.log"):
            show_results(console, workdir, go_on(own_dir))


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
    """Returns what may differ when a run goes on: limits of a search, and else nothing."""
    return OPEN_KEYS if _is_search(config) else ()


def _is_search(config: ConfigDict) -> bool:
    """Whether a config describes a search, and no transfer."""
    return is_of_rankings(config) or not config.transfer.losses


def _prepare(
    config: ConfigDict, workdir: Path, console: LoggedConsole
) -> tuple[dict[str, Any], Callable[[Path], dict[str, Any]]]:
    """Builds a run.

    Returns:
      The fingerprint of its data, and what goes on to its end, given the folder that this process
      writes.
    """
    if is_of_rankings(config):
        topk = make_topk(config, console)
        return data.take_fingerprint(topk.data), partial(run_topk, topk)
    if _is_search(config):
        run = make_run(config, console)
        return data.take_fingerprint(run.setup.dataset), partial(run_phases, run, workdir)
    transfer = make_transfer(config, workdir, console)
    return take_fingerprints(transfer), lambda own_dir: run_transfer(transfer, own_dir, console)
