"""The command line: which config, which changes to it, which folder."""

import re
from pathlib import Path

from absl import flags
from ml_collections import ConfigDict, config_flags

DEFAULT = str(Path(__file__).parent / "ml100k.py")


class UsageError(Exception):
    """The command line is wrong."""


def read_command_line(argv: list[str]) -> tuple[ConfigDict, str]:
    """Give the config and the workdir that the command line asks for."""
    known = flags.FlagValues()
    try:
        config_flags.DEFINE_config_file("config", DEFAULT, flag_values=known)
        flags.DEFINE_string("workdir", "", "folder of the run", flag_values=known)
        rest = known(argv)[1:]
        config = known.config
    except (flags.Error, KeyError, AttributeError, OSError, ImportError, ValueError) as error:
        lines = [line.strip() for line in str(error).replace("\\n", "\n").splitlines()]
        message = " ".join(line.strip("'\"") for line in lines if line and "Traceback" not in line)
        message = re.sub(r'File "[^"]*", line \d+, in .*?(?=\w+Error: )', "", message)
        raise UsageError(message) from None
    if rest:
        raise UsageError(f"expected --config=... and --workdir=..., got {rest[0]!r}")
    return config, known.workdir or str(Path("runs") / config.name)
