"""Devices: how JAX is set up for them, and the mesh that lanes are divided over."""

import gc
import math
import os
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path

import jax
from jax import Device
from jax.sharding import AxisType, Mesh

from .distributed import connect_processes


def configure_jax(compiled: Path) -> int:
    """Set JAX up for a run, before anything needs a device; give the number of this process.

    Where the CPU is the device, there is one a core, unless ``JAX_NUM_CPU_DEVICES`` says otherwise.
    Compiled programs are kept in the folder ``compiled``, or in ``JAX_COMPILATION_CACHE_DIR``.

    Raises:
      ProcessError: where there are several processes and they cannot be joined.
    """
    if not os.environ.get("JAX_NUM_CPU_DEVICES"):
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
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


def lane_mesh(count: int, widths: Mapping[str, int]) -> Mesh:
    """Give a mesh of one axis, ``lanes``, with as many devices of every process.

    Args:
      count: of devices of all processes; 0 for as many as divide all widths.
      widths: config key -> lanes that are trained side by side.

    Raises:
      ValueError: for more devices than there are, or a number that does not divide a width or is
        no multiple of the processes.

    >>> lane_mesh(1, {"generation.width": 32}).size
    1
    """
    devices = choose_devices(jax.devices(), count, widths)
    types = (AxisType.Auto,)
    return jax.make_mesh((len(devices),), ("lanes",), axis_types=types, devices=devices)


def choose_devices(
    available: Sequence[Device], count: int, widths: Mapping[str, int]
) -> list[Device]:
    """Give the devices for a mesh out of those of all processes; see ``lane_mesh``."""
    of_process: dict[int, list[Device]] = {}
    for device in available:
        of_process.setdefault(device.process_index, []).append(device)
    processes, width = len(of_process), math.gcd(*widths.values())
    most = processes * min(map(len, of_process.values()))
    fitting = [n for n in range(processes, most + 1, processes) if width % n == 0]
    if count not in (0, *fitting) or not fitting:
        given = " and ".join(f"{name} ({lanes})" for name, lanes in widths.items())
        several = f", is a multiple of the {processes} processes" if processes > 1 else ""
        raise ValueError(
            f"devices is 0, or at most {most} here{several} and divides {given}, got {count}"
        )
    count = count or fitting[-1]
    return [device for own in of_process.values() for device in own[: count // processes]]
