"""A run joined as run.py joins it, cheap to compile, whose generations take no time."""

from pathlib import Path

from rich.console import Console

from configs.command_line import read_command_line
from phases import Run, join

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
    "--config.risk_seeking.width=8",
    "--config.contenders.baselines=('bce','mse')",
)


def joined(*more: str, workdir: Path = Path("nowhere")) -> Run:
    config, _ = read_command_line(["run.py", *FLAGS, *more])
    return join(config, workdir, Console(quiet=True))
