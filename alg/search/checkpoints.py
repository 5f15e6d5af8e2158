"""Checkpoints of a search: a search that was killed resumes from the last one.

A checkpoint is one file, written whole or not at all, whose checksums tell if it is damaged later.
The one before is kept, too.
"""

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import jax
import jax.numpy as jnp
import numpy as np

from ..files import DamagedFile, read_arrays, write_arrays
from .generation import SearchState

T = TypeVar("T")


class CheckpointError(ValueError):
    """A checkpoint that cannot be used; the message says where it is and how to go on."""


class OtherState(ValueError):
    """Arrays that are of a state of another form."""


class Checkpoints(NamedTuple):
    """The checkpoints in one folder."""

    restore: Callable[[SearchState], SearchState | None]  # into the shapes of an initial state
    save: Callable[[SearchState], None]


def open_checkpoints(
    folder: Path,
    *,
    version: str,
    keep: int = 2,
    writes: bool = True,
    warn: Callable[[str], None] = lambda line: None,
) -> Checkpoints:
    """Returns the checkpoints in a folder, which is made with the first one.

    Args:
      folder: of the checkpoints.
      version: of the program: another one's may mean something else.
      keep: how many are kept, the last ones.
      writes: whether this process writes: of several, the first one does.
      warn: called with a line about a damaged checkpoint, if there is one before it.
    """

    def list_files() -> list[Path]:
        """Returns the files, the last generation first."""
        files = folder.iterdir() if folder.is_dir() else iter(())
        return sorted(file for file in files if re.fullmatch(r"\d{9}\.npz", file.name))[::-1]

    def restore(initial: SearchState) -> SearchState | None:
        """Returns the state of the newest checkpoint that is whole; None if there is none."""
        if folder.is_dir() and any(file.is_dir() for file in folder.iterdir()):
            raise CheckpointError(_refuse(folder, "they are of another version", version))
        damaged = []
        for file in list_files():
            try:
                arrays, about = read_arrays(file)
                if about.get("version") != version:
                    written = f"written by version {about.get('version', 'unknown')}"
                    raise CheckpointError(_refuse(folder, written, version))
                state = unpack_state(initial, arrays)
            except OtherState as error:
                raise CheckpointError(_refuse(folder, str(error), version)) from None
            except (DamagedFile, OSError) as error:
                damaged.append(f"{file} is damaged: {error}")
                continue
            for line in damaged:
                warn(f"WARNING: {line}. The search goes on from generation {int(file.stem)}")
            return state
        if damaged:
            raise CheckpointError(
                f"{folder} cannot be read, none of its files: {damaged[0]}. Remove that folder to "
                "start the search again"
            )
        return None

    def save(state: SearchState) -> None:
        if not writes:
            return
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / f"{int(state.generation):09d}.npz"
        write_arrays(path, pack_state(state), {"version": version})
        later = [file for file in list_files() if file.name > path.name]  # damaged
        for file in [*later, *list_files()[len(later) + keep :]]:
            file.unlink()

    return Checkpoints(restore=restore, save=save)


def _refuse(folder: Path, why: str, version: str) -> str:
    return (
        f"the checkpoints in {folder} cannot be used: {why}, and this is version {version}. Go on "
        "with that version, choose another --workdir, or remove that folder to start again"
    )


def pack_state(state: Any) -> dict[str, np.ndarray]:
    """Returns the arrays of a tree by their names.

    Example:
      >>> pack_state({"a": (np.ones(2), np.zeros(1))}).keys()
      dict_keys(['a/0', 'a/1'])
    """
    leaves = jax.tree_util.tree_leaves_with_path(jax.tree.map(_to_numbers, state))
    return {_name(path): np.asarray(leaf) for path, leaf in leaves}


def unpack_state(initial: T, arrays: Mapping[str, np.ndarray]) -> T:
    """Returns a tree of the arrays that ``pack_state`` gave.

    Args:
      initial: a tree of the same form, whose arrays lie on the same devices; or shapes of arrays.
      arrays: by their names.

    Raises:
      OtherState: if they are of a tree of another form.
    """

    def restore(path: Any, leaf: Any) -> Any:
        name, wanted = _name(path), _to_numbers(leaf)
        array = arrays.get(name)
        if array is None or (array.shape, array.dtype) != (wanted.shape, wanted.dtype):
            there = "missing" if array is None else f"{array.dtype}{list(array.shape)}"
            raise OtherState(f"{name} is {wanted.dtype}{list(wanted.shape)} here and {there} there")
        if isinstance(leaf, jax.ShapeDtypeStruct):
            return jnp.asarray(array)
        if not isinstance(leaf, jax.Array):
            return array.copy()
        is_key = jax.dtypes.issubdtype(leaf.dtype, jax.dtypes.prng_key)
        if is_key:
            key = jax.random.wrap_key_data(jnp.asarray(array), impl=jax.random.key_impl(leaf))
            return jax.device_put(key, leaf.sharding)
        return jax.device_put(array, leaf.sharding)

    return jax.tree_util.tree_map_with_path(restore, initial)


def _to_numbers(leaf: Any) -> Any:
    """Returns an array of numbers for any leaf: a random key is some."""
    is_key = isinstance(leaf, jax.Array) and jax.dtypes.issubdtype(leaf.dtype, jax.dtypes.prng_key)
    return jax.random.key_data(leaf) if is_key else leaf


def _name(path: Any) -> str:
    return jax.tree_util.keystr(path, simple=True, separator="/")
