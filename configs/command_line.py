"""The command line: which config, which changes to it, which folder."""

import difflib
import re
from operator import attrgetter
from pathlib import Path

from absl import flags
from ml_collections import ConfigDict, config_flags

from .presets import PRESETS

PARTS = ("base", "presets", "command_line")  # of configs, and none themselves
DEFAULT = str(Path(__file__).parent / "ml100k.py")
HELP = f"""\
python run.py [--config=FILE[:PRESET]] [--workdir=FOLDER] [--config.SECTION.KEY=VALUE ...]

--config    configs/ml100k.py if left out; presets: {", ".join(PRESETS)}
--workdir   where the run's files go; runs/NAME if left out. The same command goes on with a run.
configs/base.py lists all keys, as in --config.search.generations=100"""


CHOSEN_BY = {  # sections that are read only where a key names them
    **dict.fromkeys(("reinforce", "risk_seeking", "evolution"), "policy"),
    **dict.fromkeys(("graded", "paper"), "filter"),
    "adagrad": "train.optimizer",
}


class UsageError(Exception):
    """The command line is wrong."""


def read_command_line(argv: list[str]) -> tuple[ConfigDict, str]:
    """Give the config and the workdir that the command line asks for.

    Raises:
      UsageError: with one line that says what is wrong.
    """
    known = flags.FlagValues()
    try:
        config_flags.DEFINE_config_file("config", DEFAULT, flag_values=known, sys_argv=argv)
        flags.DEFINE_string("workdir", "", "folder of the run", flag_values=known)
        rest = known(argv)[1:]
        config = known.config
        default = str(Path("runs") / config.name)
    except Exception as error:  # a config is a Python file, and can fail in any way
        raise UsageError(_line(error)) from None
    if rest:
        raise UsageError(f"expected --config=... and --workdir=..., got {rest[0]!r}")
    _check_read(config, argv)
    return config, str(Path(known.workdir or default).expanduser())


def _check_read(config: ConfigDict, argv: list[str]) -> None:
    """See that no flag changes what nothing reads."""
    for argument in argv:
        if not (flag := re.match(r"--?(config\.(\w+)\.\w+)", argument)):
            continue
        key, section = CHOSEN_BY.get(flag[2]), flag[2]
        if key and (chosen := attrgetter(key)(config)) != section:
            raise UsageError(
                f"--{flag[1]} would change nothing, as {key} is {chosen!r}: give "
                f"--config.{key}={section}, too, or leave it out"
            )


def shipped_configs() -> dict[str, Path]:
    """Give the files of the shipped configs, by name."""
    files = sorted(Path(DEFAULT).parent.glob("[!_]*.py"))
    return {file.stem: file for file in files if file.stem not in PARTS}


def _meant(path: str) -> str:
    """Give a hint at the shipped config with a name like that of a missing file, or nothing."""
    names = [file.name for file in shipped_configs().values()]
    close = difflib.get_close_matches(Path(path).name, names, n=1)
    return f" (did you mean 'configs/{close[0]}'?)" if close else ""


def _line(error: BaseException) -> str:
    """Give the one line of an error from absl, ml_collections or a config that says what is wrong.

    >>> _line(KeyError("'serch'\\nDid you mean \\"search\\" instead of \\"serch\\"?"))
    "the config has no key 'serch' (did you mean 'search'?)"
    """
    while error.args and isinstance(error.args[0], BaseException):
        error = error.args[0]
    text = str(error.args[0]) if isinstance(error, KeyError) and error.args else str(error)
    if key := re.match(r"('[^']*')(?:\nDid you mean \"(.*?)\"|$)", text):
        hint = f" (did you mean {key[2]!r}?)" if key[2] else ""
        return f"the config has no key {key[1]}{hint}"
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    last = lines[-1] if lines else ""
    if isinstance(error, flags.Error) and "Traceback" in text:
        flag = lines[0].removeprefix("flag ").split(": Error whilst")[0]
        return f"{flag}: {last.removeprefix('ValueError: ')}"
    last = re.sub(r"^(Configuration is not available.*?: )?(\[Errno \d+\] )?", "", last)
    if missing := re.fullmatch(r"No such file or directory: '(.*)'", last):
        last += _meant(missing[1])
    is_plain = isinstance(error, flags.Error | OSError)
    return last if is_plain else f"the config fails: {type(error).__name__}: {last}"
