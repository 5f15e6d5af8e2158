"""What is seen to before a run begins: numbers that no builder takes, and memory."""

from collections.abc import Mapping
from numbers import Real
from operator import attrgetter

from jax.sharding import Mesh
from ml_collections import ConfigDict

from autolossgen.evaluation.fair_test import seeds_together
from autolossgen.interfaces import Data
from autolossgen.training.chunks import max_chunk_rows, subsample_size
from autolossgen.training.memory_budget import MemoryNeed, check_memory

LEAST = {"contenders.found": 0, "search.generations": 0}
LEAST |= {"search.round_generations": 1, "search.checkpoint_every": 1}
LEAST |= {"search.candidates": 0, "search.seconds": 0}


NUMBERS = {  # in a tuple; how many, or 0 for any number of them
    "space.bounds": 2,
    "space.length_prior": 2,
    **dict.fromkeys(("promote.learning_rates", "promote.weight_decays", "promote.epochs"), 0),
    **dict.fromkeys(("test.learning_rates", "test.weight_decays"), 0),
}


def check_numbers(config: ConfigDict) -> None:
    """See that what should be numbers is, and that those that no builder takes are in range.

    Raises:
      ValueError: for the first that is not.
    """
    for key, count in NUMBERS.items():
        values, kind = attrgetter(key)(config), int if key == "promote.epochs" else Real
        if values is None:
            continue
        if len(values) != (count or len(values)) or not all(isinstance(x, kind) for x in values):
            what = "whole numbers" if kind is int else "numbers"
            raise ValueError(f"{key} is a tuple of {count or 'some'} {what}, got {tuple(values)!r}")
    for key, least in LEAST.items():
        if not (value := attrgetter(key)(config)) >= least:  # NaN is not, either
            raise ValueError(f"{key} is at least {least}, got {value}")
    if (target := config.search.target) is not None and not 0 <= target <= 1:
        raise ValueError(f"search.target is a reward, from 0 to 1, or None, got {target}")


def max_examples_at_once(config: ConfigDict, train: Data, full_train: Data) -> int:
    """Give how many interactions, or positives, are cut into batches at once, at most.

    A search cuts all epochs of its candidates, a test one epoch.
    """
    if config.transfer.losses:  # nothing is searched
        return max_chunk_rows(full_train)
    of_candidate = config.generation.epochs * subsample_size(train, config.train.interactions)
    return max(max_chunk_rows(full_train), of_candidate)


def check_fits_memory(
    config: ConfigDict,
    takes: MemoryNeed,
    widths: Mapping[str, int],
    mesh: Mesh,
    contenders: Mapping[str, int],
    streamed: bool,
) -> None:
    """See that the lanes of search, promotion and fair test fit.

    Args:
      config: of the run.
      takes: bytes of a lane.
      widths: config key -> lanes that are trained side by side.
      mesh: of the devices.
      contenders: config key -> losses that are tested.
      streamed: whether data are a source.

    Raises:
      ValueError: for more lanes than fit.
    """
    check_memory(takes, widths, mesh)
    searched = {"generation.width": config.generation.width}
    check_memory(takes, searched, mesh, starts=config.generation.starts)
    losses, section = sum(contenders.values()), config.test
    who = f"{losses} losses ({' and '.join(contenders)})"
    settings = len(section.learning_rates) * len(section.weight_decays)
    tuned = f"{who} at {settings} settings (test.learning_rates times test.weight_decays)"
    tested = f"{who} on each of {mesh.size} devices"
    for stage, which, variants, seeds in (
        ("tuning", tuned, settings, "tuning_seeds"),
        ("testing", tested, 1, "seeds"),
    ):
        lanes = losses * (variants + -variants % mesh.size)
        together = seeds_together(variants, mesh.size, streamed=streamed)
        what = f"the number of lanes of the fair test's {stage}, {which}, for every {together} of"
        waiting = -(-section[seeds] // together) - 1
        check_memory(takes, {f"{what} test.{seeds},": lanes}, mesh, waiting=waiting)
