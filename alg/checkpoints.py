"""Checkpoints of a search, by Orbax: a killed run goes on from the last one."""

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import orbax.checkpoint as ocp

from .search import SearchState


class CheckpointError(ValueError):
    """A checkpoint cannot be read: says where it is and how to go on."""


class Checkpoints(NamedTuple):
    """The checkpoints of one folder."""

    latest: Callable[[], int | None]  # generation of the last one
    restore: Callable[[SearchState], SearchState]  # into the shapes of a fresh state
    save: Callable[[SearchState], None]


def checkpoints(folder: Path, *, keep: int = 2) -> Checkpoints:
    """Open the checkpoints in ``folder`` (made if missing), of which the last ``keep`` stay."""
    options = ocp.CheckpointManagerOptions(max_to_keep=keep)
    manager = ocp.CheckpointManager(folder.absolute(), options=options)

    def restore(fresh: SearchState) -> SearchState:
        try:
            return manager.restore(manager.latest_step(), args=ocp.args.StandardRestore(fresh))
        except Exception as error:  # Orbax fails in many ways
            raise CheckpointError(
                f"{folder} cannot be read: {type(error).__name__}. Remove "
                "that folder to search anew"
            ) from error

    def save(state: SearchState) -> None:
        generation = int(state.generation)
        if generation != manager.latest_step():
            manager.save(generation, args=ocp.args.StandardSave(state))
            manager.wait_until_finished()

    return Checkpoints(manager.latest_step, restore, save)
