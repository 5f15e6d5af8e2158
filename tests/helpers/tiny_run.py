"""A run built as run.py builds it, cheap to compile, whose generations take no time."""

from rich.console import Console

from autolossgen.configs.command_line import read_command_line
from autolossgen.pipeline.run import Run, make_run
from tests.helpers.run_server import TINY


def make_tiny_run(*flags: str) -> Run:
    """Returns a run on one device, unless flags say otherwise."""
    config = read_command_line(["run.py", *TINY, "--config.devices=1", *flags]).config
    return make_run(config, Console(quiet=True))
