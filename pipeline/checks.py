"""Checks before a run begins: numbers that no builder takes, and memory."""

from collections.abc import Mapping
from numbers import Real
from operator import attrgetter

import numpy as np
from jax.sharding import Mesh
from ml_collections import ConfigDict

from autolossgen.evaluation.trainings import count_seeds_together
from autolossgen.interfaces import Data
from autolossgen.training.chunks import compute_subsample_size, get_max_chunk_rows
from autolossgen.training.memory_budget import MemoryNeed, check_memory

MINIMA = {
    "contenders.found": 0,
    "search.generations": 0,
    "search.checkpoint_every": 1,
    "search.candidates": 0,
    "search.seconds": 0,
}
LANE_MINIMA = {"search.round_generations": 1, "train.decay_interactions": 0}  # not of rankings

# Sizes beyond all use: programs of them compile for minutes, or need more memory than there is.
MAXIMA = {
    "model.embedding_dim": 8_192,
    "model.layers": 64,
    "train.num_negatives": 1_000_000,
    "train.negatives": 10_000,
    "implicit.candidates": 1_000_000,
    "space.length": 256,
    "generation.num_lanes": 16_384,
    "generation.samples": 1_000_000,
    "generation.hall": 65_536,
    "generation.seen_losses": 1_000_000,
    "promote.num_lanes": 16_384,
    "policy.reinforce.hidden_dim": 4_096,
    "policy.risk_seeking.hidden_dim": 4_096,
    "policy.evolution.population": 1_000_000,
}

TUPLES = {  # key -> how many numbers the tuple has, or 0 for any number of them
    "space.bounds": 2,
    "space.length_prior": 2,
    "promote.learning_rates": 0,
    "promote.weight_decays": 0,
    "promote.epochs": 0,
    "test.learning_rates": 0,
    "test.weight_decays": 0,
}


def check_numbers(config: ConfigDict) -> None:
    """Checks that numbers are numbers, and that those that no builder takes are in range.

    Raises:
      ValueError: for the first that is not.
    """
    for key, count in TUPLES.items():
        values, kind = attrgetter(key)(config), int if key == "promote.epochs" else Real
        if values is None:
            continue
        if len(values) != (count or len(values)) or not all(isinstance(x, kind) for x in values):
            what = "whole numbers" if kind is int else "numbers"
            raise ValueError(f"{key} is a tuple of {count or 'some'} {what}, got {tuple(values)!r}")
    check_minima(config, MINIMA | LANE_MINIMA)


def check_minima(config: ConfigDict, minima: Mapping[str, int]) -> None:
    """Checks key -> the least value that it may have, and the target of a search.

    Raises:
      ValueError: for the first that is out of range.
    """
    for key, minimum in minima.items():
        if not (value := attrgetter(key)(config)) >= minimum:  # NaN is not, either
            raise ValueError(f"{key} is at least {minimum}, got {value}")
    if (target := config.search.target) is not None and not 0 <= target <= 1:
        raise ValueError(f"search.target is a reward, from 0 to 1, or None, got {target}")


def check_sizes(config: ConfigDict) -> None:
    """Checks that sizes are not beyond all use, at once: programs of them compile for minutes.

    Raises:
      ValueError: for the first that is.
    """
    values = {
        f"model.options[{name!r}]": size
        for name, option in dict(config.model.get("options") or {}).items()
        for size in (option if isinstance(option, tuple | list) else (option,))
    }
    limits = dict.fromkeys(values, MAXIMA["model.embedding_dim"])
    for key, most in MAXIMA.items():
        section, *names = key.split(".")
        value = config.get(section)
        for name in names:
            value = None if value is None else value.get(name)
        values[key], limits[key] = value, most
    for key, value in values.items():
        if isinstance(value, int) and value > limits[key]:
            raise ValueError(f"{key} is at most {limits[key]:,}, got {value:,}")


def describe_short_rankings(
    metric: str, split: str, candidates: np.ndarray, relevant: np.ndarray | int = 1
) -> list[str]:
    """Returns a warning if a metric at k cuts most rankings nowhere.

    Args:
      metric: its name, such as ndcg@10; one without @ cuts nowhere on purpose.
      split: name of the split.
      candidates: how many items are in each ranking [n].
      relevant: how many of them are to be found [n].

    Raises:
      ValueError: if it is 1 for every loss, as the hit rate at 10 among 10 items.

    Example:
      >>> describe_short_rankings("ndcg@10", "test", np.array([200, 300]))
      []
    """
    name, _, rank = metric.partition("@")
    if candidates.size and np.all(candidates <= relevant):
        raise ValueError(
            f"{metric} is 1 for every loss: the rankings of the {split} split have no item but "
            "those that are to be found. Choose another data.split, or take more data"
        )
    if not rank or not candidates.size:
        return []
    share = float(np.mean(candidates <= int(rank)))
    whose = f"of the rankings of the {split} split have no more than {rank} candidates"
    go_on = f"Choose a smaller number, such as {name}@{max(1, int(np.median(candidates)) // 3)}"
    is_one = name in ("hit", "recall")
    if is_one and share == 1:
        raise ValueError(f"{metric} is 1 for every loss: all {whose}. {go_on}")
    if share <= 0.5:
        return []
    says = "is 1 there for every loss" if is_one else "cuts nothing off there"
    return [f"WARNING: {100 * share:.0f} % {whose}: {metric} {says}. {go_on}"]


def max_examples_at_once(config: ConfigDict, train: Data, full_train: Data) -> int:
    """Returns how many interactions, or positives, are cut into batches at once, at most.

    A search cuts all epochs of its candidates, a test one epoch.
    """
    if config.transfer.losses:  # nothing is searched
        return get_max_chunk_rows(full_train)
    of_candidate = config.generation.epochs * compute_subsample_size(
        train, config.train.interactions
    )
    return max(get_max_chunk_rows(full_train), of_candidate)


def check_fits_memory(
    config: ConfigDict,
    need: MemoryNeed,
    num_lanes: Mapping[str, int],
    mesh: Mesh,
    contenders: Mapping[str, int],
    streamed: bool,
) -> None:
    """Checks that the lanes of search, promotion and fair test fit the devices.

    Args:
      config: of the run.
      need: bytes of a lane.
      num_lanes: config key -> lanes that train next to each other.
      mesh: of the devices.
      contenders: config key -> losses that are tested.
      streamed: whether the data are streamed.

    Raises:
      ValueError: for more lanes than fit.
    """
    check_memory(need, num_lanes, mesh)
    # A search also copies its lanes from the base model.
    searching = {key: lanes for key, lanes in num_lanes.items() if key.startswith("generation.")}
    check_memory(need, searching, mesh, searching=True)
    section, num_losses = config.test, sum(contenders.values())
    losses = f"{num_losses} losses ({' and '.join(contenders)})"
    num_settings = len(section.learning_rates) * len(section.weight_decays)
    settings = f"{num_settings} settings (test.learning_rates times test.weight_decays)"
    stages = {  # of the fair test: lanes of what, variants of each loss, the key of its seeds
        "tuning": (f"{losses} at {settings}", num_settings, "tuning_seeds"),
        "testing": (f"{losses} on each of {mesh.size} devices", 1, "seeds"),
    }
    for stage, (what, variants, seeds) in stages.items():
        together = count_seeds_together(variants, mesh.size, streamed=streamed)
        name = (
            f"the number of lanes of the fair test's {stage}, {what}, for every {together} of "
            f"test.{seeds},"
        )
        lanes = num_losses * (variants + -variants % mesh.size)
        waiting = -(-section[seeds] // together) - 1
        check_memory(need, {name: lanes}, mesh, waiting=waiting)
