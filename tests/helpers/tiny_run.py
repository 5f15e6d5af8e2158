"""A run built as run.py builds it, cheap to compile, whose generations take no time."""

from rich.console import Console

from autolossgen.configs.command_line import read_command_line
from autolossgen.pipeline.run import Run, make_run
from tests.helpers.run_server import SMALL

FLAGS = (
    *SMALL,
    "--config.space.operands=('pred','label')",  # so that few samples have losses to train
    "--config.generation.samples=256",
    "--config.generation.num_lanes=8",
    "--config.promote.num_lanes=8",
    "--config.contenders.baselines=('bce','mse')",
)


def make_tiny_run(*flags: str) -> Run:
    config, _ = read_command_line(["run.py", *FLAGS, *flags])
    return make_run(config, Console(quiet=True))
