"""How every benchmark here measures, and what it writes down beside its figures.

What is compared runs in one process, in turns, so that a machine whose speed drifts and a busy
neighbour slow all of it down: ratios are the result, times are context.
"""

import importlib.metadata
import json
import os
import platform
import shlex
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np

PACKAGES = ("jax", "jaxlib", "numpy", "torch", "cma")


def cores() -> int:
    """Give the cores that this process may use."""
    affinity = getattr(os, "sched_getaffinity", None)
    return len(affinity(0)) if affinity else os.cpu_count() or 1


def use_all_cores() -> None:
    """Make every core a device, as ``run.py`` does; only before JAX starts."""
    jax.config.update("jax_num_cpu_devices", cores())


def seconds(function: Callable[[], object]) -> float:
    """Give the seconds of one call, what it has started included."""
    start = time.perf_counter()
    jax.block_until_ready(function())
    return time.perf_counter() - start


def in_turns(
    ways: Mapping[str, Callable[[], object]], repeats: int, seed: int = 0
) -> dict[str, np.ndarray]:
    """Give for every way the seconds [repeats] of a call, after one that compiles.

    Each repeat runs all ways, in an order drawn afresh.
    """
    for way in ways.values():
        jax.block_until_ready(way())
    names, rng = list(ways), np.random.default_rng(seed)
    taken = {name: np.zeros(repeats) for name in names}
    for i in range(repeats):
        for j in rng.permutation(len(names)):
            taken[names[j]][i] = seconds(ways[names[j]])
    return taken


def summary(values: np.ndarray) -> dict[str, float]:
    """Give median, least and largest of values, to four digits.

    >>> summary(np.array([1.0, 4.0, 2.0]))
    {'median': 2.0, 'low': 1.0, 'high': 4.0}
    """
    found = np.median(values), np.min(values), np.max(values)
    return {
        name: float(f"{x:.4g}") for name, x in zip(("median", "low", "high"), found, strict=True)
    }


def taken(flags: Sequence[str], name: str) -> tuple[str | None, list[str]]:
    """Give what stands behind the one ``--name=`` among flags, or None, and the others.

    >>> taken(["--hall=hall.csv", "--config.seed=1"], "hall")
    ('hall.csv', ['--config.seed=1'])
    """
    start = f"--{name}="
    given = [each.removeprefix(start) for each in flags if each.startswith(start)]
    if len(given) > 1:
        raise SystemExit(f"expected one {start}... at most, got {len(given)}")
    return next(iter(given), None), [each for each in flags if not each.startswith(start)]


def json_and_flags(arguments: Sequence[str]) -> tuple[Path, list[str]]:
    """Give the file of the one ``--json=FILE`` among arguments, and the others, which run.py takes.

    >>> json_and_flags(["--config.seed=1", "--json=found.json"])
    (PosixPath('found.json'), ['--config.seed=1'])
    """
    file, others = taken(arguments, "json")
    if file is None:
        raise SystemExit("expected a --json=FILE to write figures to")
    return Path(file), others


def number(flags: Sequence[str], name: str, default: int) -> tuple[int, list[str]]:
    """Give the whole number above 1 behind ``--name=`` among flags, or the default, and the others.

    >>> number(["--population=8"], "population", 32)
    (8, [])
    """
    given, others = taken(flags, name)
    if given is not None and not (given.isdecimal() and int(given) > 1):
        raise SystemExit(f"expected a whole number above 1 behind --{name}=, got {given!r}")
    return default if given is None else int(given), others


def environment() -> dict[str, Any]:
    """Give the command, the versions and the machine in words."""
    return {
        "command": shlex.join(["python", "benchmarks/" + Path(sys.argv[0]).name, *sys.argv[1:]]),
        "python": platform.python_version(),
        **{name: version for name in PACKAGES if (version := _version(name))},
        "machine": f"{_processor()}, cores in use: {cores()}",
        "devices": f"{len(jax.devices())} x {jax.devices()[0].device_kind}",
    }


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _processor() -> str:
    told = Path("/proc/cpuinfo")
    lines = told.read_text().splitlines() if told.exists() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def write(path: Path, figures: Mapping[str, Any]) -> None:
    """Write figures and the environment as JSON."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"environment": environment(), **figures}, indent=2) + "\n")
