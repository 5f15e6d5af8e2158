"""What a phase keeps of long computations, so that a run that was killed does not repeat them.

A finished part is kept whole. Of a long training the state is kept now and then, with all that is
noted about it, and the training goes on from there to the same bits.
"""

import hashlib
import time
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, TypeVar

import numpy as np

from ..search.checkpoints import OtherState, pack_state, unpack_state

Arrays = Mapping[str, np.ndarray]
T = TypeVar("T")


class Kept(NamedTuple):
    """What is kept of a phase, by name, as arrays.

    ``save`` and ``offer`` may raise, if the user asked to stop; all is kept then.
    """

    load: Callable[[str], Arrays | None]  # a finished part, if it is there
    save: Callable[[str, Arrays], None]  # a finished part; its state is dropped
    resume: Callable[[str], Arrays | None]  # the last state of a part, if one is there
    offer: Callable[[str, Callable[[], Arrays]], None]  # a state, which is kept if it is time


NOTHING = Kept(
    load=lambda name: None,
    save=lambda name, arrays: None,
    resume=lambda name: None,
    offer=lambda name, make: None,
)
"""Keeps nothing."""


def keep_within(kept: Kept, *what: object) -> Kept:
    """Returns the same for names of one thing, such as a loss: other things have other names.

    Args:
      kept: where all is kept.
      what: what tells this thing from others, by ``repr``.
    """
    prefix = hashlib.sha256(repr(what).encode()).hexdigest()[:16]

    def rename(name: str) -> str:
        return f"{prefix}/{name}"

    return Kept(
        load=lambda name: kept.load(rename(name)),
        save=lambda name, arrays: kept.save(rename(name), arrays),
        resume=lambda name: kept.resume(rename(name)),
        offer=lambda name, make: kept.offer(rename(name), make),
    )


def do_once(kept: Kept, name: str, compute: Callable[[], T]) -> T:
    """Returns a tree of arrays that is kept, or computes and keeps it.

    Args:
      kept: where it is kept.
      name: of the part.
      compute: gives a dictionary of arrays, or of such dictionaries.

    Example:
      >>> parts = {}
      >>> kept = NOTHING._replace(load=parts.get, save=parts.__setitem__)
      >>> for number in (1, 2):
      ...     print(do_once(kept, "part", lambda: {"a": {"b": np.array(number)}}))
      {'a': {'b': array(1)}}
      {'a': {'b': array(1)}}
    """
    arrays = kept.load(name)
    if arrays is None:
        arrays = pack_state(compute())
        kept.save(name, arrays)
    tree: dict[str, Any] = {}
    for path, array in arrays.items():
        *above, last = path.split("/")
        place = tree
        for part in above:
            place = place.setdefault(part, {})
        place[last] = array
    return tree  # type: ignore[return-value]


def do_once_timed(
    kept: Kept, name: str, compute: Callable[[], Mapping[str, Any]]
) -> dict[str, Any]:
    """Returns a part that is kept, or computes and keeps it; with the ``seconds`` that it took."""

    def compute_timed() -> dict[str, Any]:
        start = time.monotonic()
        return {**compute(), "seconds": np.asarray(time.monotonic() - start)}

    return do_once(kept, name, compute_timed)


def go_on(kept: Kept, name: str, initial: T) -> T:
    """Returns the state that is kept of a part, or the initial one."""
    arrays = kept.resume(name)
    if arrays is None:
        return initial
    try:
        return unpack_state(initial, arrays)
    except OtherState:  # another number of devices: the part begins again
        return initial
