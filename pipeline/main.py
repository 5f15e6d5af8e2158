"""The command line: from its arguments to an exit status."""

import logging
from pathlib import Path

from ml_collections import ConfigDict
from rich.console import Console

from autolossgen import data
from autolossgen.configs.command_line import HELP, UsageError, read_command_line
from autolossgen.search.checkpoints import CheckpointError
from autolossgen.training.devices import ProcessError, configure_jax, process_dir

from .run import make_run, run_phases
from .save import show_results
from .search import Stopped
from .topk import make_topk, run_topk
from .transfer import make_transfer, run_transfer
from .workdir import check_workdir, claim_workdir, read_results

OPEN_KEYS = ("search.generations", "search.candidates", "search.seconds", "search.target")
"""What may differ from how a run began when the same command goes on with it."""


class BadInput(Exception):
    """The data, the config or the workdir cannot be used."""


def main(argv: list[str]) -> int:
    """Runs the command line.

    Args:
      argv: its words; the first is the program's name.

    Returns:
      The exit status: 0, 1 for bad input, 2 for bad usage, 130 for a run that was stopped.
    """
    console, errors = Console(highlight=False), Console(stderr=True, highlight=False)
    logging.getLogger("absl").setLevel(logging.CRITICAL)  # Orbax: what fails raises, too
    logging.basicConfig(format="%(message)s", force=True)
    logging.getLogger("autolossgen.data").setLevel(logging.INFO)
    if {"-h", "--help"} & {*argv[1:]}:
        console.print(HELP, markup=False, soft_wrap=True)
        return 0
    try:
        config, folder = read_command_line(argv)
        process = configure_jax(data.get_cache_folder() / "compiled")
        console.quiet = process > 0
        workdir = Path(folder)
        with process_dir(process, workdir) as own_dir:
            _run(config, workdir, own_dir, console)
    except (UsageError, BadInput, CheckpointError, ProcessError) as error:
        errors.print(f"run.py: {error}", markup=False, soft_wrap=True)
        return 2 if isinstance(error, UsageError) else 1
    except (Stopped, KeyboardInterrupt) as stopped:
        console.print(str(stopped) or "stopped; the same command goes on")
        return 130
    return 0


def _run(config: ConfigDict, workdir: Path, own_dir: Path, console: Console) -> None:
    """Shows a finished run, or goes on to its end; this process writes in ``own_dir``."""
    is_topk = "search" not in config
    is_transfer = not is_topk and bool(config.transfer.losses)
    open_keys = () if is_topk or is_transfer else OPEN_KEYS
    try:
        check_workdir(workdir, config.to_dict(), open_keys=open_keys)
        if (workdir / "results.json").exists():
            finished = f"{workdir} already contains this finished run:\n"
            console.print(finished, markup=False, soft_wrap=True)
            show_results(console, workdir, read_results(workdir))
            return
        if is_topk:
            topk = make_topk(config, console)
        elif is_transfer:
            transfer = make_transfer(config, workdir, console)
        else:
            run = make_run(config, console)
        claim_workdir(own_dir, config.to_dict(), open_keys=open_keys)
    except (ValueError, OSError) as error:
        raise BadInput(str(error)) from error
    if is_topk:
        results = run_topk(topk, own_dir)
    elif is_transfer:
        results = run_transfer(transfer, own_dir, console)
    else:
        results = run_phases(run, workdir, own_dir)
    show_results(console, workdir, results)
