"""Processes: one run on several machines, or on several parts of one.

All processes run the same program on the same data, and their lanes are divided over the devices
of all. The first one's files and output are the run's.
"""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import jax
import numpy as np
from jax.experimental import multihost_utils

ADDRESS = "JAX_COORDINATOR_ADDRESS"
"""Environment variable: host and port that the first process listens at. JAX reads it."""


class ProcessError(ValueError):
    """The processes of a run cannot be joined: says why and what to set."""


def connect_processes() -> int:
    """Join the other processes of a run, if the environment says so; give this one's number.

    ``JAX_COORDINATOR_ADDRESS`` says that there are others. How many, and which this one is, JAX
    knows from Slurm, Open MPI and Cloud TPUs; elsewhere ``JAX_NUM_PROCESSES`` and
    ``JAX_PROCESS_ID`` say it.

    Raises:
      ProcessError: for numbers that are missing or wrong, or if the first process is not there.

    >>> connect_processes()
    0
    """
    if not os.environ.get(ADDRESS):
        return 0
    count, number = _number("JAX_NUM_PROCESSES"), _number("JAX_PROCESS_ID")
    try:
        jax.distributed.initialize(num_processes=count, process_id=number)
    except (ValueError, RuntimeError) as error:
        raise ProcessError(
            f"{ADDRESS} is set, but the processes cannot be joined: {error} Give each its "
            "JAX_NUM_PROCESSES and JAX_PROCESS_ID (from 0), or unset all three"
        ) from error
    return jax.process_index()


def _number(name: str) -> int | None:
    """Give the number that an environment variable holds, or None where it is not set."""
    text = os.environ.get(name)
    if text and not text.isdecimal():
        raise ProcessError(f"{name} in the environment is a whole number, got {text!r}")
    return int(text) if text else None


def is_first_process() -> bool:
    """Say if this is the first process, whose files and output are the run's.

    >>> is_first_process()
    True
    """
    return jax.process_index() == 0


def any_process(flag: bool) -> bool:
    """Say if any process says so; all have to ask.

    >>> any_process(True), any_process(False)
    (True, False)
    """
    return bool(np.any(multihost_utils.process_allgather(np.asarray(flag))))


@contextmanager
def process_dir(process: int, folder: Path) -> Iterator[Path]:
    """Give the folder that a process writes in: the first has ``folder``, others one for a while.

    >>> with process_dir(0, Path("runs/a")) as first, process_dir(1, Path("runs/a")) as second:
    ...     first.as_posix(), second.as_posix() == "runs/a", second.name
    ('runs/a', False, 'a')
    """
    if process == 0:
        yield folder
        return
    with tempfile.TemporaryDirectory() as scratch:
        yield Path(scratch) / folder.name
