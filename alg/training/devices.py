"""Devices and processes: how JAX is set up, and the mesh that lanes are divided over.

One run may have several processes, on several machines or on parts of one. All of them run the same
program on the same data, and lanes are divided over the devices of all. The files and the output of
the first process are those of the run.
"""

import gc
import math
import os
import tempfile
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import jax
import numpy as np
from jax import Device
from jax.experimental import multihost_utils
from jax.sharding import AxisType, Mesh

ADDRESS = "JAX_COORDINATOR_ADDRESS"
"""Environment variable: host and port at which the first process listens. JAX reads it."""


class ProcessError(ValueError):
    """Error of processes that cannot be joined; the message says why and what to set."""


def configure_jax(compiled: Path) -> int:
    """Configures JAX for a run, before anything needs a device.

    On CPU there is one device per core, unless ``JAX_NUM_CPU_DEVICES`` says otherwise, or JAX has
    begun to compute in this process: then it keeps the devices that it has.

    Args:
      compiled: folder in which compiled programs are kept, unless ``JAX_COMPILATION_CACHE_DIR``
        names another.

    Returns:
      The number of this process.

    Raises:
      ProcessError: if there are several processes and they cannot be joined.
    """
    if not os.environ.get("JAX_NUM_CPU_DEVICES"):
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
        with suppress(RuntimeError):  # JAX has begun, as in a notebook
            jax.config.update("jax_num_cpu_devices", cores or 1)
    if not os.environ.get("JAX_COMPILATION_CACHE_DIR"):
        jax.config.update("jax_compilation_cache_dir", str(compiled))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
    # Another run may be writing a program that this one looks up, or was killed while it did: JAX
    # compiles it again, and there is nothing that the user should do.
    warnings.filterwarnings("ignore", "Error reading persistent compilation cache entry")
    # Tracing makes many objects that stay; looking through them often takes a quarter of its time.
    gc.freeze()
    gc.set_threshold(100_000, 50, 100)
    return connect_processes()


def make_lane_mesh(count: int, num_lanes: Mapping[str, int]) -> Mesh:
    """Builds a mesh of one axis, ``lanes``, with as many devices of every process.

    Args:
      count: of devices of all processes; 0 for as many as divide all widths.
      num_lanes: config key -> lanes that are trained side by side.

    Raises:
      ValueError: for more devices than there are, or a number that does not divide the lanes or
        is no multiple of the processes.

    Example:
      >>> make_lane_mesh(1, {"generation.num_lanes": 32}).size
      1
    """
    devices = choose_devices(jax.devices(), count, num_lanes)
    types = (AxisType.Auto,)
    return jax.make_mesh((len(devices),), ("lanes",), axis_types=types, devices=devices)


def choose_devices(
    available: Sequence[Device], count: int, num_lanes: Mapping[str, int]
) -> list[Device]:
    """Chooses the devices for a mesh among those of all processes; see ``make_lane_mesh``."""
    by_process: dict[int, list[Device]] = {}
    for device in available:
        by_process.setdefault(device.process_index, []).append(device)
    processes, divisor = len(by_process), math.gcd(*num_lanes.values())
    most = processes * min(map(len, by_process.values()))
    fitting = [n for n in range(processes, most + 1, processes) if divisor % n == 0]
    if count not in (0, *fitting) or not fitting:
        lane_counts = " and ".join(f"{name} ({lanes})" for name, lanes in num_lanes.items())
        several = f", is a multiple of the {processes} processes" if processes > 1 else ""
        raise ValueError(
            f"devices is 0, or at most {most} here{several} and divides {lane_counts}, got {count}"
        )
    count = count or fitting[-1]
    per_process = count // processes
    return [device for devices in by_process.values() for device in devices[:per_process]]


def connect_processes() -> int:
    """Joins the other processes of a run, if the environment says so; returns this one's number.

    ``JAX_COORDINATOR_ADDRESS`` says that there are others. How many, and which this one is, JAX
    knows from Slurm, Open MPI and Cloud TPUs; elsewhere ``JAX_NUM_PROCESSES`` and
    ``JAX_PROCESS_ID`` say it.

    Raises:
      ProcessError: for numbers that are missing or wrong, or if the first process is not there.

    Example:
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
    """Returns the number that an environment variable holds, or None if it is not set."""
    text = os.environ.get(name)
    if text and not text.isdecimal():
        raise ProcessError(f"{name} in the environment is a whole number, got {text!r}")
    return int(text) if text else None


def is_first_process() -> bool:
    """Whether this is the first process, whose files and output are the run's.

    Example:
      >>> is_first_process()
      True
    """
    return jax.process_index() == 0


def any_process(flag: bool) -> bool:
    """Whether the flag is set in any process; all processes have to call this.

    Example:
      >>> any_process(True), any_process(False)
      (True, False)
    """
    return bool(np.any(multihost_utils.process_allgather(np.asarray(flag))))


@contextmanager
def process_dir(process: int, folder: Path) -> Iterator[Path]:
    """Yields the folder that a process writes to: ``folder``, or a temporary one if not the first.

    Example:
      >>> with process_dir(0, Path("runs/a")) as first, process_dir(1, Path("runs/a")) as second:
      ...     first.as_posix(), second.as_posix() == "runs/a", second.name
      ('runs/a', False, 'a')
    """
    if process == 0:
        yield folder
        return
    with tempfile.TemporaryDirectory() as scratch:
        yield Path(scratch) / folder.name
