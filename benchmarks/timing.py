"""How all benchmarks measure, and what they write down with their figures.

Whatever is compared runs in one process, in turns, so that a machine whose speed drifts or a busy
neighbour slows all of it down alike: ratios are the result, times are context.
"""

import importlib.metadata
import json
import os
import platform
import shlex
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np

PACKAGES = ("jax", "jaxlib", "numpy", "torch", "cma")


def count_cores() -> int:
    """Returns the number of cores that this process may use."""
    affinity = getattr(os, "sched_getaffinity", None)
    return len(affinity(0)) if affinity else os.cpu_count() or 1


def use_all_cores() -> None:
    """Makes every core a device, as ``run.py`` does; only before JAX starts."""
    jax.config.update("jax_num_cpu_devices", count_cores())


def time_call(function: Callable[[], object]) -> float:
    """Returns the seconds of one call, including all the work that it starts."""
    start = time.perf_counter()
    jax.block_until_ready(function())
    return time.perf_counter() - start


def time_in_turns(
    ways: Mapping[str, Callable[[], object]], repeats: int, seed: int = 0
) -> dict[str, np.ndarray]:
    """Times several functions in turns, after one call of each that compiles.

    Args:
      ways: what to time, by name.
      repeats: calls of each way; every repeat calls all of them, in a new random order.
      seed: of the orders.

    Returns:
      By name, the seconds [repeats] of the calls.
    """
    for way in ways.values():
        jax.block_until_ready(way())
    names, rng = list(ways), np.random.default_rng(seed)
    seconds = {name: np.zeros(repeats) for name in names}
    for i in range(repeats):
        for j in rng.permutation(len(names)):
            seconds[names[j]][i] = time_call(ways[names[j]])
    return seconds


def summarize(values: np.ndarray) -> dict[str, float]:
    """Returns median, minimum and maximum of values, to four digits.

    Example:
      >>> summarize(np.array([1.0, 4.0, 2.0]))
      {'median': 2.0, 'low': 1.0, 'high': 4.0}
    """
    statistics = {"median": np.median(values), "low": np.min(values), "high": np.max(values)}
    return {name: float(f"{value:.4g}") for name, value in statistics.items()}


def describe_environment() -> dict[str, Any]:
    """Returns the command, the versions of the packages and the machine in words."""
    script = Path(sys.argv[0]).resolve()
    return {
        "command": shlex.join(["python", f"{script.parent.name}/{script.name}", *sys.argv[1:]]),
        "python": platform.python_version(),
        **{name: version for name in PACKAGES if (version := _get_version(name))},
        "machine": f"{_get_processor()}, cores in use: {count_cores()}",
        "devices": f"{len(jax.devices())} x {jax.devices()[0].device_kind}",
    }


def write_figures(path: Path, figures: Mapping[str, Any]) -> None:
    """Writes figures and the environment as JSON."""
    path.parent.mkdir(parents=True, exist_ok=True)
    content = {"environment": describe_environment(), **figures}
    path.write_text(json.dumps(content, indent=2) + "\n")


def _get_version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _get_processor() -> str:
    path = Path("/proc/cpuinfo")
    lines = path.read_text().splitlines() if path.exists() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()
