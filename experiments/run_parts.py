"""The parts of a run that experiments work with: all that they use of the pipeline is here."""

from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from typing import Any

import jax
from ml_collections import ConfigDict
from rich.console import Console

from autolossgen import data
from autolossgen.configs.command_line import read_command_line
from autolossgen.interfaces import Batch
from autolossgen.pipeline.run import Run, make_run
from autolossgen.pipeline.search import next_generation, next_round
from autolossgen.pipeline.setup import Setup, make_setup
from autolossgen.pipeline.shortlist import choose_promotion_splits
from autolossgen.pipeline.test import compare_losses
from autolossgen.search.generation import SearchState
from autolossgen.training.devices import configure_jax
from autolossgen.training.random_keys import SEARCH

__all__ = [
    "Run",
    "Setup",
    "build_run",
    "build_setup",
    "compare_losses",
    "get_promotion_splits",
    "iterate_generations",
    "read_config",
]


def read_config(flags: Sequence[str]) -> ConfigDict:
    """Reads the flags of ``run.py`` and sets JAX up as it does."""
    config = read_command_line(["run.py", *flags]).config
    _configure_jax()
    return config


@cache  # JAX takes its devices only once
def _configure_jax() -> None:
    configure_jax(data.get_cache_folder() / "compiled")


def build_run(config: ConfigDict) -> Run:
    """Builds the phases of a run that prints nothing."""
    return make_run(config, Console(quiet=True))


def build_setup(config: ConfigDict, tested: Mapping[str, int]) -> Setup:
    """Builds what the phases of a run share, for a run that prints nothing.

    Args:
      config: of the run.
      tested: name -> number of losses that are tested next to the baselines.
    """
    return make_setup(config, Console(quiet=True), tested)


def get_promotion_splits(setup: Setup) -> list[Batch]:
    """Returns the splits that promotion evaluates on."""
    return choose_promotion_splits(setup)


def iterate_generations(
    run: Run, seed: int, max_generations: int
) -> Iterator[tuple[SearchState, dict[str, Any]]]:
    """Searches, and yields after each generation the state and the log record.

    Args:
      run: the parts of the run; its checkpoints and limits are not used.
      seed: of the search, in place of the config's.
      max_generations: how many there are.
    """
    phase = run.search
    key = jax.random.fold_in(jax.random.key(seed), SEARCH)
    state, record = phase.search.init(key, phase.reward_split), None
    for _ in range(max_generations):
        state, record = next_generation(phase, state, key, record)
        yield state, record
        state = next_round(phase, state, key)
