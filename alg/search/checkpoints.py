"""Checkpoints of a search, by Orbax: a search that was killed resumes from the last one."""

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from .search import SearchState


class CheckpointError(ValueError):
    """A checkpoint that cannot be read; the message says where it is and how to go on."""


class Checkpoints(NamedTuple):
    """The checkpoints in one folder."""

    latest: Callable[[], int | None]  # generation of the last one, if any
    restore: Callable[[SearchState], SearchState]  # into the shapes of an initial state
    save: Callable[[SearchState], None]


def open_checkpoints(folder: Path, *, keep: int = 2) -> Checkpoints:
    """Returns the checkpoints in a folder, which is made with the first one.

    Args:
      folder: of the checkpoints.
      keep: how many are kept, the last ones.
    """

    @cache
    def orbax() -> tuple[Any, Any]:
        """Returns the manager of the folder, and Orbax's arguments."""
        import orbax.checkpoint as ocp  # takes half a second, which a new search pays later

        options = ocp.CheckpointManagerOptions(max_to_keep=keep)
        return ocp.CheckpointManager(folder.absolute(), options=options), ocp.args

    def latest() -> int | None:
        return orbax()[0].latest_step() if folder.exists() else None

    def restore(initial: SearchState) -> SearchState:
        manager, args = orbax()
        try:
            return manager.restore(manager.latest_step(), args=args.StandardRestore(initial))
        except Exception as error:  # Orbax fails in many ways
            raise CheckpointError(
                f"{folder} cannot be read: {type(error).__name__}. Remove "
                "that folder to start the search again"
            ) from error

    def save(state: SearchState) -> None:
        manager, args = orbax()
        generation = int(state.generation)
        if generation != manager.latest_step():
            manager.save(generation, args=args.StandardSave(state))
            manager.wait_until_finished()

    return Checkpoints(latest=latest, restore=restore, save=save)
