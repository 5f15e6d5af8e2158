"""Where the time goes until a run has its first generation.

Usage::

    python benchmarks/startup.py [flags of run.py]

It starts twice, each time in a new folder, so that the second start finds the data and the compiled
programs in the cache. CPU seconds are of all threads: on a busy machine they say more than the
clock does.
"""

import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
CHILD = "BENCHMARK_START"  # set in the environment of a process whose start is measured
EVENTS = {
    "/jax/core/compile/jaxpr_trace_duration": "tracing",
    "/jax/core/compile/jaxpr_to_mlir_module_duration": "lowering",
    "/jax/core/compile/backend_compile_duration": "compiling, or loading",
}


class Stages:
    """A stopwatch that prints how long each stage took, by the clock and in CPU seconds."""

    def __init__(self):
        """Starts the stopwatch; CPU seconds include the interpreter, which the clock misses."""
        self.start = time.perf_counter()
        self.clock, self.processor = self.start, 0.0

    def finish(self, name: str) -> None:
        """Prints the stage that ends here."""
        clock, processor = time.perf_counter(), time.process_time()
        _print_row(name, clock - self.clock, processor - self.processor)
        self.clock, self.processor = clock, processor

    def print_sum(self) -> None:
        """Prints the sum."""
        _print_row("all", self.clock - self.start, self.processor)


def _print_row(name: str, *seconds: float) -> None:
    print(f"  {name:<30}" + "".join(f"{each:8.2f}" for each in seconds), flush=True)


def measure_start(arguments: list[str]) -> None:
    """Does what run.py does until the first generation is there."""
    stages = Stages()
    import jax
    from rich.console import Console

    stages.finish("importing JAX")
    from autolossgen import data, report
    from autolossgen.configs.command_line import read_command_line
    from autolossgen.pipeline.run import make_run
    from autolossgen.pipeline.search import search_losses
    from autolossgen.training.devices import configure_jax

    stages.finish("importing the rest")
    seconds_of, programs = Counter(), Counter()

    def note(event: str, seconds: float, **_: str) -> None:
        seconds_of[event] += seconds
        programs[event] += 1

    jax.monitoring.register_event_duration_secs_listener(note)
    config, folder, _ = read_command_line(["run.py", *arguments])
    configure_jax(data.get_cache_folder() / "compiled")
    jax.devices()
    stages.finish("starting JAX")
    config.search.generations = 1
    run = make_run(config, Console(quiet=True))
    stages.finish("building, with the data")
    workdir = Path(folder)
    workdir.mkdir(parents=True)
    write_entry = report.Journal.write

    def write(journal: report.Journal, entry: dict) -> None:
        stages.finish("first generation")
        write_entry(journal, entry)

    report.Journal.write = write
    search_losses(run.search, workdir / "checkpoints", workdir)
    stages.finish("journal and checkpoint")
    stages.print_sum()
    for event, name in EVENTS.items():
        _print_row(f"{name} ({programs[event]})", seconds_of[event])


def main() -> None:
    """Measures two starts."""
    if os.environ.get(CHILD):
        measure_start(sys.argv[1:])
        return
    for which in ("first", "second"):
        print(f"{which + ' start':<32}   clock     CPU", flush=True)
        with tempfile.TemporaryDirectory() as folder:
            command = [sys.executable, __file__, *sys.argv[1:], f"--workdir={folder}/run"]
            subprocess.run(command, cwd=ROOT, env={**os.environ, CHILD: "1"}, check=True)


if __name__ == "__main__":
    main()
