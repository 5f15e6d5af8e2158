"""Where the time goes until a run has its first generation::

python benchmarks/start.py [arguments of run.py]

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
CHILD = "BENCHMARK_START"  # in the environment: a start to be measured
INSIDE = {
    "/jax/core/compile/jaxpr_trace_duration": "tracing",
    "/jax/core/compile/jaxpr_to_mlir_module_duration": "lowering",
    "/jax/core/compile/backend_compile_duration": "compiling, or loading",
}


class Stages:
    """Prints how long each stage took, by the clock and in CPU seconds."""

    def __init__(self):
        """Begin with what the interpreter took; the clock misses that."""
        self.begun = time.perf_counter()
        self.clock, self.processor = self.begun, 0.0

    def passed(self, name: str) -> None:
        """Print the stage that ends here."""
        clock, processor = time.perf_counter(), time.process_time()
        _show(name, clock - self.clock, processor - self.processor)
        self.clock, self.processor = clock, processor

    def end(self) -> None:
        """Print the sum."""
        _show("all", self.clock - self.begun, self.processor)


def _show(name: str, *seconds: float) -> None:
    print(f"  {name:<30}" + "".join(f"{each:8.2f}" for each in seconds), flush=True)


def start(arguments: list[str]) -> None:
    """Do what run.py does until the first generation is there."""
    stages = Stages()
    sys.path.insert(0, str(ROOT))
    import jax
    from rich.console import Console

    stages.passed("importing JAX")
    from autolossgen import data, report
    from autolossgen.configs.command_line import read_command_line
    from autolossgen.pipeline.phases import make_run, search_phase
    from autolossgen.training.devices import configure_jax

    stages.passed("importing the rest")
    inside, programs = Counter(), Counter()

    def note(event: str, seconds: float, **_: str) -> None:
        inside[event] += seconds
        programs[event] += 1

    jax.monitoring.register_event_duration_secs_listener(note)
    config, folder = read_command_line(["run.py", *arguments])
    configure_jax(data.cache_folder() / "compiled")
    jax.devices()
    stages.passed("starting JAX")
    joined = make_run(config, Path(folder), Console(quiet=True))
    stages.passed("joining, with the data")
    joined.ground.config.search.generations = 1
    Path(folder).mkdir(parents=True)
    written = report.Journal.write

    def write(journal: report.Journal, entry: dict) -> None:
        stages.passed("first generation")
        written(journal, entry)

    report.Journal.write = write
    search_phase(joined, Path(folder) / "checkpoints")
    stages.passed("journal and checkpoint")
    stages.end()
    for event, name in INSIDE.items():
        _show(f"{name} ({programs[event]})", inside[event])


def main() -> None:
    """Measure two starts."""
    if os.environ.get(CHILD):
        start(sys.argv[1:])
        return
    for which in ("first", "second"):
        print(f"{which + ' start':<32}   clock     CPU", flush=True)
        with tempfile.TemporaryDirectory() as folder:
            command = [sys.executable, __file__, *sys.argv[1:], f"--workdir={folder}/run"]
            subprocess.run(command, cwd=ROOT, env={**os.environ, CHILD: "1"}, check=True)


if __name__ == "__main__":
    main()
