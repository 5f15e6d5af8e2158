"""The command line: which config, which changes to it, which folder."""

import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from absl import flags
from ml_collections import ConfigDict, config_flags

from autolossgen.suggest import did_you_mean

from . import base
from .old_keys import describe_old_key, rename_key
from .overrides import change_config, flatten_changes, read_overrides

# Files next to the configs.
NOT_CONFIGS = ("base", "command_line", "old_keys", "overrides", "presets")
CHOICES = ("policy", "filter", "optimizer")  # sections in which ``name`` chooses an option
DEFAULT = str(Path(__file__).resolve().parent / "ml100k.py")


class UsageError(Exception):
    """The command line is wrong."""


class CommandLine(NamedTuple):
    """What the command line asks for."""

    config: ConfigDict  # locked
    workdir: str  # folder of the run
    dry_run: bool  # whether only to check and to plan


def read_command_line(argv: list[str]) -> CommandLine:
    """Reads what the command line asks for.

    Args:
      argv: its words; the first is the program's name.

    Raises:
      UsageError: with one line that says what is wrong.
    """
    _check_no_old_flags(argv)
    argv = _locate_config(argv)
    known = flags.FlagValues()
    try:
        config_flags.DEFINE_config_file("config", DEFAULT, flag_values=known, sys_argv=argv)
        flags.DEFINE_string("workdir", "", "folder of the run", flag_values=known)
        flags.DEFINE_string("overrides", "", "file of changes to the config", flag_values=known)
        flags.DEFINE_boolean("dry_run", False, "check and plan, train nothing", flag_values=known)
        rest = known(argv)[1:]
        config = known.config
        _ = config.name  # it is read now: a file that fails does so here
    except Exception as error:  # a config is a Python file, and can fail in any way
        raise UsageError(_one_line(error)) from None
    if rest:
        raise UsageError(f"expected --config=... and --workdir=..., got {rest[0]!r}")
    _check_no_old_keys(config)
    changed = {key for key, _ in _config_flags(argv)}
    changed |= _override(config, known.overrides, changed)
    check_read(config, sorted(changed))
    default = str(Path("runs") / config.name)
    workdir = str(Path(known.workdir or default).expanduser())
    return CommandLine(config=config, workdir=workdir, dry_run=known.dry_run)


def _override(config: ConfigDict, path: str, given: Iterable[str]) -> set[str]:
    """Changes a config as a file says, but for keys that flags give; returns what it changed.

    Raises:
      UsageError: if the file cannot be read, or a key or a value is wrong.
    """
    before = config.to_dict()
    try:
        changes = read_overrides(path) if path else {}
        change_config(config, {key: changes[key] for key in changes.keys() - {*given}})
    except ValueError as error:
        raise UsageError(f"{error} (in {path})" if path not in str(error) else str(error)) from None
    old, new = dict(flatten_changes(before)), dict(flatten_changes(config.to_dict()))
    return {key for key in new if new[key] != old[key]}


def find_shipped_configs() -> dict[str, Path]:
    """Returns the files of the shipped configs, by name."""
    files = sorted(Path(DEFAULT).parent.glob("[!_]*.py"))
    return {file.stem: file for file in files if file.stem not in NOT_CONFIGS}


def locate_config(source: str) -> str:
    """Returns the path of a config, with its preset: of a file, or of a shipped config.

    A shipped one is found from any folder, by its name or as ``configs/NAME.py``.

    Example:
      >>> Path(locate_config("ml1m:smoke")).name, locate_config("no/such.py")
      ('ml1m.py:smoke', 'no/such.py')
    """
    match = re.search(r":\w*$", source)
    preset = match[0] if match else ""
    path = source.removesuffix(preset)
    name = path.removeprefix("configs/").removesuffix(".py")
    shipped = find_shipped_configs().get(name)
    return source if shipped is None or Path(path).is_file() else f"{shipped}{preset}"


def _locate_config(argv: list[str]) -> list[str]:
    """Returns the words of the command line, with the path of the config that they name."""
    words = list(argv)
    for place, word in enumerate(argv):
        if match := re.fullmatch(r"(--?config=)(.*)", word):
            words[place] = match[1] + locate_config(match[2])
        elif re.fullmatch("--?config", word) and place + 1 < len(argv):
            words[place + 1] = locate_config(argv[place + 1])
    return words


def _config_flags(argv: list[str]) -> Iterator[tuple[str, str]]:
    """Yields key and value of each ``--config.KEY=VALUE``; the value may be the next word."""
    for argument in argv[1:]:
        if flag := re.match(r"--?config\.([\w.]+)=?(.*)", argument):
            yield flag[1], flag[2]


def _check_no_old_flags(argv: list[str]) -> None:
    """Checks that no flag has a key of version 0.1."""
    keys = _leaves(base.get_config())
    for key, value in _config_flags(argv):
        if key not in keys and (what_became := describe_old_key(key)):
            new = rename_key(key)
            hint = f": give --config.{new}={value or '...'}" if new else ""
            raise UsageError(f"{what_became}{hint}")


def _check_no_old_keys(config: ConfigDict) -> None:
    """Checks that a config file of one's own sets no key of version 0.1."""
    for key in _leaves(config) - _leaves(base.get_config()):
        if what_became := describe_old_key(key):
            raise UsageError(f"the config sets an old key: {what_became}")


def _leaves(config: ConfigDict, prefix: str = "") -> set[str]:
    """Returns the keys of a config that are no sections, as ``section.key``."""
    keys = set()
    for name, value in config.items():
        key = f"{prefix}{name}"
        keys |= _leaves(value, f"{key}.") if isinstance(value, ConfigDict) else {key}
    return keys


def check_read(config: ConfigDict, changed: Iterable[str]) -> None:
    """Checks that no key was changed that the choice of another name leaves unread.

    ``config.policy.evolution`` is read only if ``config.policy.name`` is ``evolution``.

    Raises:
      UsageError: if one was.
    """
    for key in changed:
        section, _, rest = key.partition(".")
        option = rest.partition(".")[0]
        if "." not in rest or section not in CHOICES:
            continue
        if (chosen := config[section].name) != option:
            raise UsageError(
                f"--config.{key} would change nothing, as {section}.name is {chosen!r}: give "
                f"--config.{section}.name={option}, too, or leave it out"
            )


def _one_line(error: BaseException) -> str:
    r"""Returns the one line that says what is wrong, of an error in a flag or a config.

    Example:
      >>> _one_line(KeyError("'serch'\nDid you mean \"search\" instead of \"serch\"?"))
      "the config has no key 'serch' (did you mean 'search'?)"
    """
    while error.args and isinstance(error.args[0], BaseException):
        error = error.args[0]
    text = str(error.args[0]) if isinstance(error, KeyError) and error.args else str(error)
    if what_became := find_old_key(text):
        return f"the config sets an old key: {what_became}"
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
        last += _nearest_config(missing[1])
    is_plain = isinstance(error, flags.Error | OSError)
    return last if is_plain else f"the config fails: {type(error).__name__}: {last}"


def find_old_key(message: str) -> str | None:
    """Returns what became of the key of version 0.1 that an error of ml_collections names, if any.

    Example:
      >>> find_old_key("Could not override field 'policy' (reference). evolution is of ...")
      'config.policy is now config.policy.name'
    """
    # As in config.policy = "evolution", or in config.reinforce.explore = 0.1.
    named = re.search(r"override field '(\w+)'|^\W*'(\w+)'", message)
    return describe_old_key(named[1] or named[2]) if named else None


def _nearest_config(path: str) -> str:
    """Returns a hint at the shipped config with a name like that of a missing file, or ""."""
    names = [f"configs/{file.name}" for file in find_shipped_configs().values()]
    return did_you_mean(f"configs/{Path(path).name}", names, otherwise="")
