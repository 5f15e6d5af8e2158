"""Memory: how many lanes fit a device, known before anything is compiled.

An epoch holds, for every lane, its tables and other parameters twice, as they were and as they
become, and what the backward pass needs of one batch, or judging after it of all that is judged.
``docs/performance.md`` has the formula.
"""

import os
from bisect import bisect_right
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import jax
from jax.sharding import Mesh

from ..interfaces import Recommender

EVAL_BYTES = 36
"""Bytes of a lane for each interaction that is judged: scores, sorted with labels and weights."""

_AVAILABLE, _ALLOWED = Path("/proc/meminfo"), Path("/sys/fs/cgroup/memory.max")


class MemoryNeed(NamedTuple):
    """Bytes that lanes take on a device."""

    state: int  # of a lane: tables, other parameters, and what optimizers keep
    step: int  # of a lane: what a training step holds beside the state
    data: int  # however many lanes there are
    judging: int = 0  # of a lane: what its metric holds in place of a step

    def of(self, lanes: int, starts: int = 0, waiting: int = 0) -> int:
        """Give the bytes for ``lanes`` lanes: all states twice, and a step or one lane's drawing.

        Lanes draw their initial weights one after the other, and the random bits are as many. A
        search holds its lanes once, and four times the ``starts`` that it copies them from, which
        every device has whole: as they were, become, were trained and are drawn afresh. Beside
        each lane that trains, ``waiting`` others wait for their turn.
        """
        states = max(2 * lanes, lanes + 4 * starts) + waiting * lanes
        working = max(self.step * lanes, self.judging * lanes, 2 * self.state)
        return self.data + states * self.state + working

    def fit(self, free: int, starts: int = 0, waiting: int = 0) -> int:
        """Give the lanes that fit into ``free`` bytes."""
        lanes = range(1, free // self.state + 1)
        return bisect_right(lanes, free, key=partial(self.of, starts=starts, waiting=waiting))


def estimate_memory(
    recommender: Recommender,
    init: Callable[[jax.Array], Any],
    batch: int,
    examples: int,
    *,
    sums: bool,
    judged: int = 0,
    devices: int = 1,
) -> MemoryNeed:
    """Give the bytes that an epoch takes; nothing is run or compiled for it.

    Args:
      recommender: that is trained.
      init: of its lanes, keys [K] to their state, what optimizers keep included.
      batch: examples of a step, B, each positive's negatives included.
      examples: that are cut into batches together, of one epoch or more, likewise.
      sums: whether the optimizer adds a row's gradients up over its occurrences in a batch, as
        clipping and Adagrad need it.
      judged: interactions or groups of the largest split that lanes are judged on.
      devices: that ``init`` divides lanes over.

    >>> class Product(NamedTuple):  # of two vectors of 4 numbers
    ...     tables, sides = {"user": (10, 4), "item": (20, 4)}, {}
    ...     init = lambda self, key: (
    ...         {"bias": jax.numpy.zeros(())}, {},
    ...         {name: jax.numpy.ones(shape) for name, shape in self.tables.items()})
    ...     apply = lambda self, dense, statistics, rows, numbers, **_: (
    ...         (rows["user"] * rows["item"]).sum(-1), statistics)
    >>> from .lanes import make_lanes
    >>> takes = estimate_memory(Product(), make_lanes(Product(), None).init, batch=8, examples=99, sums=False)
    >>> takes
    Need(state=488, step=384, data=3168, judging=0)
    >>> takes.of(10), takes.fit(takes.of(10))
    (16768, 10)
    """
    states = jax.eval_shape(lambda: init(jax.random.split(jax.random.key(0), devices)))
    # A step keeps one table's gradient; with sums also these, the steps and the rows themselves.
    widths = {name: width for name, (_, width) in recommender.tables.items()}
    gradients = 4 * batch * max(widths.values()) * (4 if sums else 1)
    # Of several categories each has a row and a gradient, of which XLA fuses about so many away.
    lists = [width * _categories(recommender, name) for name, width in widths.items()]
    gradients += int(4 * batch * max(lists) * (1.5 if sums else 0.5))
    columns = 2 + len(recommender.tables.keys() - recommender.sides)  # label, weight and ids
    return MemoryNeed(
        state=_size(states) // devices,
        step=_size(_kept_for_backward(recommender, batch)) + gradients,
        data=2 * 4 * columns * examples,  # as they come, and cut into batches
        judging=EVAL_BYTES * judged,
    )


def _categories(recommender: Recommender, table: str) -> int:
    """Give how many rows of a table are averaged for an example; 0 where it looks one up."""
    return recommender.sides[table].values.shape[1] if table in recommender.sides else 0


def _kept_for_backward(recommender: Recommender, batch: int) -> Any:
    """Give the shapes of what one lane's forward pass leaves to the backward pass of a batch."""

    def forward(key: jax.Array) -> Any:
        dense, statistics, tables = recommender.init(key)
        rows = {name: table[:1].repeat(batch, axis=0) for name, table in tables.items()}
        ones = jax.numpy.ones(batch)
        numbers = {name: ones for name in recommender.sides.keys() - recommender.tables.keys()}
        apply = partial(recommender.apply, train=True, weight=ones, key=key)

        def logits(dense: Any, rows: Any) -> tuple[jax.Array, Any]:
            return apply(dense, statistics, rows, numbers)

        return jax.vjp(logits, dense, rows, has_aux=True)[1]

    return jax.eval_shape(forward, jax.random.key(0))


def _size(tree: Any) -> int:
    return sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(tree))


def check_memory(
    need: MemoryNeed, widths: Mapping[str, int], mesh: Mesh, *, starts: int = 0, waiting: int = 0
) -> None:
    """See that lanes fit the devices that they are divided over.

    Args:
      need: of an epoch.
      widths: config key -> lanes that are trained side by side.
      mesh: of the devices.
      starts: recommenders that a search copies its lanes from.
      waiting: trainings of as many lanes that take turns with one.

    Raises:
      ValueError: for more lanes than fit; it names the largest number that does.
    """
    free = free_memory(mesh)
    if free is None:
        return
    for name, width in widths.items():
        takes = need.of(-(-width // mesh.size), starts, waiting)
        if takes <= free:
            continue
        fit = mesh.size * need.fit(free, starts, waiting)
        raise ValueError(
            f"{name} is {width}, which takes {takes / 1e9:.3g} GB of each of {mesh.size} devices, "
            f"where {free / 1e9:.3g} GB are free: at most {fit} lanes fit. A smaller model.embedding_dim, "
            "train.batch_size or data set, or fewer generation.epochs, take less"
        )


def free_memory(mesh: Mesh) -> int | None:
    """Give the free bytes of each device, None where nobody tells.

    The devices of a CPU share what the machine can give, or its container; so do processes on one
    machine, each of which is told of all of it.
    """
    devices = mesh.local_devices  # of this process, which sees no others' memory
    stats = [device.memory_stats() for device in devices]
    if all(each and "bytes_limit" in each for each in stats):
        return min(each["bytes_limit"] - each["bytes_in_use"] for each in stats)
    if any(device.platform != "cpu" for device in devices):
        return None
    told = [*_available(), *_allowed()]
    return min(told) // len(devices) if told else None


def _available() -> list[int]:
    """Give what the machine has left, or has, in a list; an empty one where it does not say."""
    if _AVAILABLE.exists():
        lines = dict(line.split(":") for line in _AVAILABLE.read_text().splitlines())
        return [1024 * int(lines["MemAvailable"].split()[0])]
    if "SC_PHYS_PAGES" in getattr(os, "sysconf_names", {}):
        return [os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")]
    return []


def _allowed() -> list[int]:
    """Give what the container has left of what it may use, likewise."""
    limit = _ALLOWED.read_text().strip() if _ALLOWED.exists() else "max"
    if limit == "max":
        return []
    used, kinds = _ALLOWED.with_name("memory.current"), _ALLOWED.with_name("memory.stat")
    used = int(used.read_text()) if used.exists() else 0
    lines = kinds.read_text().splitlines() if kinds.exists() else []
    given_back = dict(line.split() for line in lines).get("inactive_file", 0)  # files' pages
    return [max(0, int(limit) - used + int(given_back))]
