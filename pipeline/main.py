"""Search, check and test a loss: ``python run.py --config=configs/ml100k.py``.

The entry point: flags -> objects -> phases -> files. Parts meet here, in ``phases.py`` and in
``transfer.py``, and nowhere else.
"""

import logging
import sys
from collections import Counter
from pathlib import Path
from typing import Any

from ml_collections import ConfigDict
from rich.console import Console

from autolossgen import data, report
from autolossgen.configs.command_line import HELP, UsageError, read_command_line
from autolossgen.search.checkpoints import CheckpointError
from autolossgen.training.devices import configure_jax
from autolossgen.training.distributed import ProcessError, process_dir

from .phases import Run, Stopped, compare_losses, make_run, search_phase
from .shortlist import check_phase, promote_phase
from .transfer import prepare_transfer, run_transfer, save_results
from .workdir import check_workdir, claim_workdir, read_results

# What a run may go on with otherwise than it began.
LIMITS = ("search.generations", "search.candidates", "search.seconds", "search.target")


def searched(entries: list[dict]) -> dict[str, Any]:
    """Give the ``search`` of ``results.json`` from the journal's entries."""
    funnel = Counter()
    for entry in entries:
        funnel.update(entry["funnel"])
    last = entries[-1] if entries else {"sampled_total": 0, "trained_total": 0, "seconds": 0.0}
    return {
        "sampled": last["sampled_total"],
        "trained": last["trained_total"],
        "seconds": last["seconds"],
        "funnel": dict(funnel),
    }


def show_results(console: Console, workdir: Path, results: dict[str, Any]) -> None:
    """Print the table of losses and where the files are."""
    console.print()
    files = ["report.html", "results.json", "results.csv"]
    if report.is_matrix(results):
        console.print(report.make_matrix_table(results))
        files.append("matrix.csv")
    else:
        console.print(report.make_results_table(results))
        files += ["hall_of_fame.csv"] if (workdir / "hall_of_fame.csv").exists() else []
    console.print(f"\nFiles in {workdir}: {', '.join(files)}", markup=False, soft_wrap=True)


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
        process = configure_jax(data.cache_folder() / "compiled")
        console.quiet = process > 0
        with process_dir(process, Path(folder)) as own:
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
    tested = config.transfer.losses
    limits = () if tested else LIMITS
    try:
        check_workdir(workdir, config.to_dict(), open_keys=limits)
        if (workdir / "results.json").exists():
            there = f"{workdir} holds this run, finished; its results:\n"
            console.print(there, markup=False, soft_wrap=True)
            show_results(console, workdir, read_results(workdir))
            return 0
        parts = (
            prepare_transfer(config, workdir, console) if tested else make_run(config, own, console)
        )
        claim_workdir(own, config.to_dict(), open_keys=limits)
    except (ValueError, OSError) as error:
        raise BadInput(str(error)) from error
    if tested:
        show_results(console, workdir, run_transfer(parts, own, console))
    else:
        _search(parts, workdir, own)
    return 0


def _search(run: Run, workdir: Path, own: Path) -> None:
    """Search, check and test."""
    console, notes = run.ground.console, run.ground.dataset.notes
    for note in notes:
        console.print(note, markup=False, soft_wrap=True)
    try:
        state, entries = search_phase(run, workdir / "checkpoints")
    except Stopped as stopped:
        check_phase(run, stopped.state)  # for who has seen enough
        raise
    losses = compare_losses(run.ground, promote_phase(run, check_phase(run, state)))
    show_results(console, workdir, save_results(own, losses, searched(entries), notes))


if __name__ == "__main__":
    sys.exit(main(sys.argv))
