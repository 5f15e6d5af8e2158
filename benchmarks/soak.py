"""Searches for long, and shows whether memory grows or anything compiles that should not.

    python benchmarks/soak.py --family=pointwise --minutes=30
    python benchmarks/soak.py --family=rankings --minutes=30

The pointwise search is on a million generated interactions. The first sixth of the time, and at
least five generations, warm up. Later generations compile nothing but, in a search for rankings,
one program for each candidate that trains. Exit status 1 if they compile anything else, or if
memory rises by more than ``--percent`` above that after warm-up. Needs Linux.
"""

import argparse
import os
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any, NamedTuple

import jax
from rich.console import Console

from autolossgen.configs.command_line import read_command_line
from autolossgen.pipeline.rankings.run import make_topk
from autolossgen.pipeline.run import make_run
from autolossgen.pipeline.search import SearchPhase, search_losses
from autolossgen.training.devices import configure_jax

COMPILED = "/jax/core/compile/backend_compile_duration"  # what JAX calls the event
WARM_GENERATIONS, WARM_SHARE = 3, 1 / 6
FLAGS = {
    "pointwise": (
        "--config=synthetic",
        "--config.data.num_users=6040",
        "--config.data.num_items=3706",
        "--config.data.num_interactions=1000000",
        # So that a round ends, and a checkpoint is written, while it warms up.
        "--config.search.round_generations=2",
        "--config.search.checkpoint_every=2",
        # Small lanes and large batches, so that there are many generations.
        "--config.model.embedding_dim=16",
        "--config.train.batch_size=8192",
        "--config.generation.num_lanes=8",
    ),
    "rankings": (
        "--config=topk",
        "--config.data.name=synthetic",
        # Short trainings, so that many candidates compile.
        "--config.model.embedding_dim=16",
        "--config.space.initial_losses=()",
        "--config.generation.num_candidates=4",
        "--config.generation.trials=(2,1)",
        "--config.generation.epochs=(1,1)",
    ),
}


class Sample(NamedTuple):
    """What is seen after a generation."""

    seconds: float
    megabytes: float  # of memory that is resident
    compiled: Counter[str]  # names of programs -> how often each compiled so far


def measure_memory() -> float:
    """Returns the resident memory of this process in megabytes."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def count_compilations() -> Counter[str]:
    """Returns how often each program compiled, from now on."""
    compiled: Counter[str] = Counter()

    def note(event: str, seconds: float, **about: Any) -> None:
        if event == COMPILED:
            compiled[str(about.get("fun_name", "a program"))] += 1

    jax.monitoring.register_event_duration_secs_listener(note)
    return compiled


def make_phase(family: str, minutes: float) -> SearchPhase:
    """Returns the search of a family, which ends after so many minutes."""
    limits = (f"--config.search.seconds={60 * minutes}", "--config.search.generations=1000000")
    config = read_command_line(["run.py", *FLAGS[family], *limits]).config
    console = Console(quiet=True)
    if family == "pointwise":
        return make_run(config, console).search
    search = make_topk(config, console).search
    assert search is not None, "generations were asked for"
    return search.search


def search_and_sample(
    family: str, minutes: float, folder: Path
) -> tuple[list[Sample], list[dict[str, Any]]]:
    """Searches; returns a sample and the log record of each generation."""
    configure_jax(folder / "compiled")
    compiled, samples = count_compilations(), []
    phase, began = make_phase(family, minutes), time.monotonic()

    def look() -> bool:
        sample = Sample(time.monotonic() - began, measure_memory(), Counter(compiled))
        samples.append(sample)
        total = compiled.total()
        print(f"{sample.seconds:6.0f} s {sample.megabytes:6.0f} MB {total} compiled", flush=True)
        return False

    _, records = search_losses(phase, folder / "checkpoints", folder, look)
    return samples, records


def main() -> int:
    """Prints memory and compilations; returns 1 if they grow."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--family", choices=FLAGS, default="pointwise")
    parser.add_argument("--minutes", type=float, default=30.0)
    parser.add_argument("--percent", type=float, default=5.0, help="growth of memory that is none")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        samples, records = search_and_sample(given.family, given.minutes, Path(folder))
    limit = 60 * given.minutes * WARM_SHARE
    warm = max(WARM_GENERATIONS, sum(sample.seconds < limit for sample in samples))
    if warm >= len(samples):
        print(f"{len(samples)} generations, of which {warm} warm up: too few, give more --minutes")
        return 1
    return judge(given, samples[warm - 1 :], sum(record["trained"] for record in records[warm:]))


def judge(given: argparse.Namespace, samples: list[Sample], trained: int) -> int:
    """Returns 1 if what is seen after warm-up grows, and prints it.

    Args:
      given: what the command line asks for.
      samples: the last one of warm-up, and those after it.
      trained: candidates that trained after warm-up.
    """
    first, *rest = samples
    peak = max(sample.megabytes for sample in rest)
    growth = 100 * (peak / first.megabytes - 1)
    compiled = rest[-1].compiled - first.compiled
    expected = trained if given.family == "rankings" else 0
    print(
        f"{given.family}: {len(rest)} generations after warm-up, {trained:,} candidates; memory "
        f"{first.megabytes:.0f} MB then, {rest[-1].megabytes:.0f} MB in the end, {peak:.0f} MB at "
        f"most: {growth:+.1f} %; compiled {compiled.total()}, of which {expected} candidates"
    )
    if compiled.total() != expected:
        print(", ".join(f"{name} {count} times" for name, count in compiled.items()))
    return int(growth > given.percent or compiled.total() != expected)


if __name__ == "__main__":
    sys.exit(main())
