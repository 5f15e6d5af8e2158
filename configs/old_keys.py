"""Keys of version 0.1 that have another name now, and keys that are no longer settings."""

from collections.abc import Mapping
from typing import Any

RENAMED = {  # a section stands for all keys in it
    "policy": "policy.name",
    "reinforce.width": "policy.reinforce.hidden_dim",
    "reinforce.baseline_decay": "policy.reinforce.moving_average_decay",
    "reinforce.below_baseline": "policy.reinforce.below_average",
    "reinforce": "policy.reinforce",
    "risk_seeking.width": "policy.risk_seeking.hidden_dim",
    "risk_seeking.baseline_decay": "policy.risk_seeking.moving_average_decay",
    "risk_seeking.below_baseline": "policy.risk_seeking.below_average",
    "risk_seeking": "policy.risk_seeking",
    "evolution": "policy.evolution",
    "filter": "filter.name",
    "graded": "filter.graded",
    "train.optimizer": "optimizer.name",
    "adagrad": "optimizer.adagrad",
    "model.width": "model.embedding_dim",
    "space.seeds": "space.initial_losses",
    "generation.width": "generation.num_lanes",
    "generation.memory": "generation.seen_losses",
    "promote.width": "promote.num_lanes",
    "promote.apart": "promote.distinct_tolerance",
}
"""Old key, without ``config.``, -> new key."""

REMOVED = {
    "risk_seeking.quantile": 0.997,
    "evolution.tournament": 8,
    "evolution.mutation": 0.1,
    "evolution.crossover": 0.25,
    "graded.probes": 32,
    "graded.min_gradient": 1e-4,
    "graded.min_direction": 0.6,
    "paper.probes": 20,
    "paper.min_gradient": 1e-4,
    "paper.tolerance": 1e-4,
    "paper.seed": 0,
    "generation.starts": 1,
    "generation.reference": None,
    "promote.keep": 0.25,
}
"""Old key -> the value that it always had, and has now without a key."""


ADDED = {"space.extra_operators": ""}
"""Key that version 0.1 did not have -> the value that means what version 0.1 did."""


def rename_key(key: str) -> str | None:
    """Returns the name that a key of version 0.1 has now; None if it is no such key.

    Example:
      >>> rename_key("policy"), rename_key("evolution.population"), rename_key("search.seconds")
      ('policy.name', 'policy.evolution.population', None)
    """
    if key in REMOVED:
        return None
    if key in RENAMED:
        return RENAMED[key]
    section, _, rest = key.partition(".")
    # A key under ``policy`` is of today, the string ``policy`` was of version 0.1.
    if rest and section in RENAMED and not RENAMED[section].endswith(".name"):
        return f"{RENAMED[section]}.{rest}"
    return None


def describe_old_key(key: str) -> str | None:
    """Returns what became of a key of version 0.1; None if it is no such key.

    Example:
      >>> describe_old_key("promote.width")
      'config.promote.width is now config.promote.num_lanes'
      >>> describe_old_key("promote.keep")
      'config.promote.keep is no longer a setting: it is always 0.25'
    """
    if key in REMOVED:
        value = "the task's own" if REMOVED[key] is None else REMOVED[key]
        return f"config.{key} is no longer a setting: it is always {value}"
    if key == "paper":
        return "config.paper is no longer a section: the paper's filter has no settings"
    new = rename_key(key)
    return None if new is None else f"config.{key} is now config.{new}"


def update_keys(config: Mapping[str, Any]) -> dict[str, Any]:
    """Returns a config of version 0.1, as ``config.json`` has it, with the keys of today.

    A config of today stays as it is.

    Example:
      >>> update_keys({"policy": "random", "promote": {"width": 64, "keep": 0.25}})
      {'policy': {'name': 'random'}, 'promote': {'num_lanes': 64}}
    """
    if "references" in config.get("contenders", {}):
        return dict(config)  # version 0.1 had no such rankings
    renamed: dict[str, Any] = {}
    for section, keys in config.items():
        if isinstance(keys, Mapping) and keys:
            for name, value in keys.items():
                _put(renamed, f"{section}.{name}", value)
        else:
            _put(renamed, section, keys)
    for key, value in ADDED.items():
        section, name = key.split(".")
        if section in renamed:
            renamed[section].setdefault(name, value)
    return renamed


def _put(config: dict[str, Any], key: str, value: Any) -> None:
    """Writes a value where its key belongs today, or nowhere if it is no longer a setting."""
    if key in REMOVED and value == REMOVED[key]:
        return
    *sections, name = (rename_key(key) or key).split(".")
    for section in sections:
        config = config.setdefault(section, {})
    config[name] = value
