"""A run through run.py that is cheap to compile, and whose generations take no time."""

from pathlib import Path

from rich.console import Console

import run
from configs.command_line import read_command_line

FLAGS = (
    "--config=configs/synthetic.py:smoke",
    "--config.data.num_users=40",
    "--config.data.num_items=50",
    "--config.data.num_interactions=1500",
    "--config.model.width=4",
    "--config.train.batch_size=256",
    "--config.space.length=7",
    "--config.generation.width=8",
    "--config.generation.memory=64",
    "--config.generation.hall=3",
    "--config.promote.width=8",
    "--config.reinforce.width=8",
    "--config.contenders.baselines=('bce','mse')",
)


def joined(*more: str, workdir: Path = Path("nowhere")) -> run.Run:
    config, _ = read_command_line(["run.py", *FLAGS, *more])
    return run.join(config, workdir, Console(quiet=True))
