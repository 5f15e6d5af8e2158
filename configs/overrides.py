"""Changes to a config: from the keywords of a call, or from a file in YAML or JSON."""

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml
from ml_collections import ConfigDict

from autolossgen.suggest import did_you_mean

from .old_keys import describe_old_key

WHOLE = ("model.options",)
"""Keys whose value is a mapping, and no section."""


def read_overrides(path: str | Path) -> dict[str, Any]:
    r"""Reads changes from a file: sections that hold keys, or whole keys such as ``test.seeds``.

    Args:
      path: of a file in YAML, of which JSON is a part.

    Returns:
      Key as ``section.key`` -> value.

    Raises:
      ValueError: if the file cannot be read or is no mapping.

    Example:
      >>> import tempfile
      >>> with tempfile.TemporaryDirectory() as folder:
      ...     file = Path(folder) / "mine.yaml"
      ...     _ = file.write_text("seed: 1\nsearch: {generations: 5}\npromote.epochs: [6, 20]")
      ...     read_overrides(file)
      {'seed': 1, 'search.generations': 5, 'promote.epochs': (6, 20)}
    """
    file = Path(path).expanduser()
    try:
        text = file.read_text(encoding="utf-8")
        read = json.loads(text) if file.suffix == ".json" else yaml.safe_load(text)
    except OSError as error:
        why = error.strerror or error
        raise ValueError(f"--overrides={path} cannot be read: {why}") from None
    except (ValueError, yaml.YAMLError) as error:
        why = " ".join(str(error).split())
        raise ValueError(f"--overrides={path} is neither YAML nor JSON: {why}") from None
    if not isinstance(read, Mapping):
        what = type(read).__name__
        raise ValueError(
            f"--overrides={path} holds keys with values, as in 'search: {{generations: 20}}', "
            f"got {what}"
        )
    return {key: _read_value(value) for key, value in flatten_changes(read)}


def _read_value(value: Any) -> Any:
    """Returns a value with tuples for lists, and numbers such as 1e-4, words in YAML."""
    if isinstance(value, list):
        return tuple(map(_read_value, value))
    is_number = isinstance(value, str) and re.fullmatch(r"[+-]?\d+(\.\d*)?[eE][+-]?\d+", value)
    return float(value) if is_number else value


def flatten_changes(changes: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yields key and value of all changes, keys as ``section.key``."""
    for name, value in changes.items():
        key = f"{prefix}{name}"
        if isinstance(value, Mapping) and key not in WHOLE:
            yield from flatten_changes(value, f"{key}.")
        else:
            yield key, value


def change_config(
    config: ConfigDict, changes: Mapping[str, Any], *, others: Iterable[str] = ()
) -> None:
    """Changes keys of a config.

    Args:
      config: to change.
      changes: key as ``section.key`` -> value.
      others: what else a wrong name may have meant.

    Raises:
      ValueError: for a key that the config does not have, or a value of another type.
    """
    for key, value in changes.items():
        *sections, name = key.split(".")
        section: Any = config
        for part in sections:
            section = section.get(part) if isinstance(section, ConfigDict) else None
        if not isinstance(section, ConfigDict) or name not in section:
            raise ValueError(_explain_unknown(key, config, others))
        if isinstance(section[name], ConfigDict):
            keys = ", ".join(section[name])
            raise ValueError(
                describe_old_key(key)
                or f"{key} is a section, with {keys}: give one of them, got {value!r}"
            )
        try:
            section[name] = tuple(value) if isinstance(value, list) else value
        except (TypeError, ValueError):
            kind = type(section[name])
            what = f"a sequence, as in {[value]}" if kind is tuple else f"of type {kind.__name__}"
            raise ValueError(f"{key} is {what}, got {value!r}") from None


def _explain_unknown(key: str, config: ConfigDict, others: Iterable[str]) -> str:
    """Returns what is wrong with a key that the config does not have, and what it may mean."""
    if what_became := describe_old_key(key):
        return what_became
    known = list(dict(flatten_changes(config.to_dict())))
    of_name = [other for other in known if other.rpartition(".")[2] == key]
    if of_name:
        section, _, name = of_name[0].rpartition(".")
        return f"{key!r} is a key of the section {section}: give {section}={{{name!r}: ...}}"
    options = {*known, *config, *others}
    hint = did_you_mean(key, sorted(options), otherwise="; docs/settings.md has all keys")
    return f"there is no keyword and no key of the config called {key!r}{hint}"
