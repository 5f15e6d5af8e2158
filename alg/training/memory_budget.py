"""Memory: how many lanes fit a device, known before anything is compiled.

An epoch holds, for every lane, its tables and other parameters twice, before and after a step, and
what the backward pass needs of one batch, or evaluation needs of the whole split.
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
"""Bytes of a lane for each row of a split: scores, sorted with labels and weights."""

_AVAILABLE, _ALLOWED = Path("/proc/meminfo"), Path("/sys/fs/cgroup/memory.max")


class MemoryNeed(NamedTuple):
    """Bytes that lanes take on a device."""

    state: int  # of a lane: tables, other parameters, and optimizer state
    step: int  # of a lane: what a training step holds in addition to the state
    data: int  # however many lanes there are
    evaluation: int = 0  # of a lane: what its metric holds instead of a step

    def compute_bytes(self, lanes: int, *, searching: bool = False, waiting: int = 0) -> int:
        """Computes the peak for a number of lanes: their states, and a step or one lane's drawing.

        Lanes draw their initial weights one after the other, with as many random bits.

        Args:
          lanes: on the device.
          searching: whether a base model, which every device has whole, is copied to the lanes.
          waiting: trainings of as many lanes that take turns with this one.
        """
        double_buffer = 2 * lanes  # before and after a step
        base_copies = 4 if searching else 0  # before, after, trained, and with new weights
        waiting_states = waiting * lanes
        states = max(double_buffer, lanes + base_copies) + waiting_states
        working = max(self.step * lanes, self.evaluation * lanes, 2 * self.state)
        return self.data + states * self.state + working

    def compute_max_lanes(self, free: int, *, searching: bool = False, waiting: int = 0) -> int:
        """Computes how many lanes fit into ``free`` bytes."""
        lanes = range(1, free // self.state + 1)
        peak = partial(self.compute_bytes, searching=searching, waiting=waiting)
        return bisect_right(lanes, free, key=peak)


def estimate_memory(
    recommender: Recommender,
    init: Callable[[jax.Array], Any],
    batch: int,
    examples: int,
    *,
    sums: bool,
    eval_rows: int = 0,
    devices: int = 1,
) -> MemoryNeed:
    """Estimates the bytes that an epoch takes, without running or compiling anything.

    Args:
      recommender: that is trained.
      init: of its lanes, keys [K] to their state, optimizer state included.
      batch: examples of a step, B, each positive's negatives included.
      examples: that are cut into batches together, of one epoch or more, negatives included.
      sums: whether the optimizer adds a row's gradients up over its occurrences in a batch, as
        clipping and Adagrad need it.
      eval_rows: interactions or groups of the largest split that lanes are evaluated on.
      devices: that ``init`` divides lanes over.

    Example:
      >>> class Product(NamedTuple):  # of two vectors of 4 numbers
      ...     tables, sides = {"user": (10, 4), "item": (20, 4)}, {}
      ...     init = lambda self, key: (
      ...         {"bias": jax.numpy.zeros(())}, {},
      ...         {name: jax.numpy.ones(shape) for name, shape in self.tables.items()})
      ...     apply = lambda self, dense, statistics, rows, numbers, **_: (
      ...         (rows["user"] * rows["item"]).sum(-1), statistics)
      >>> from .lanes import make_lanes
      >>> init = make_lanes(Product(), None).init
      >>> need = estimate_memory(Product(), init, batch=8, examples=99, sums=False)
      >>> need
      MemoryNeed(state=488, step=384, data=3168, evaluation=0)
      >>> need.compute_bytes(10), need.compute_max_lanes(need.compute_bytes(10))
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
        step=_size(_residuals(recommender, batch)) + gradients,
        data=2 * 4 * columns * examples,  # as they come, and cut into batches
        evaluation=EVAL_BYTES * eval_rows,
    )


def _categories(recommender: Recommender, table: str) -> int:
    """Returns how many rows of a table are averaged for an example; 0 where it looks one up."""
    return recommender.sides[table].values.shape[1] if table in recommender.sides else 0


def _residuals(recommender: Recommender, batch: int) -> Any:
    """Returns the shapes of what one lane's forward pass keeps for its backward pass."""

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
    need: MemoryNeed,
    num_lanes: Mapping[str, int],
    mesh: Mesh,
    *,
    searching: bool = False,
    waiting: int = 0,
) -> None:
    """Checks that lanes fit the devices that they are divided over.

    Args:
      need: of an epoch.
      num_lanes: config key -> lanes that are trained side by side.
      mesh: of the devices.
      searching: whether a base model is copied to the lanes.
      waiting: trainings of as many lanes that take turns with one.

    Raises:
      ValueError: for more lanes than fit; it names the largest number that does.
    """
    free = free_memory(mesh)
    if free is None:
        return
    for name, lanes in num_lanes.items():
        needed = need.compute_bytes(-(-lanes // mesh.size), searching=searching, waiting=waiting)
        if needed <= free:
            continue
        most = mesh.size * need.compute_max_lanes(free, searching=searching, waiting=waiting)
        raise ValueError(
            f"{name} is {lanes}, which takes {needed / 1e9:.3g} GB of each of {mesh.size} devices, "
            f"where {free / 1e9:.3g} GB are free: at most {most} lanes fit. A smaller "
            "model.embedding_dim, train.batch_size or data set, or fewer generation.epochs, take "
            "less"
        )


def free_memory(mesh: Mesh) -> int | None:
    """Returns the free bytes of each device, or None where they are not known.

    The devices of a CPU share what the machine can give, or its container; so do processes on one
    machine, each of which sees all of it.
    """
    devices = mesh.local_devices  # of this process, which sees no others' memory
    stats = [device.memory_stats() for device in devices]
    if all(each and "bytes_limit" in each for each in stats):
        return min(each["bytes_limit"] - each["bytes_in_use"] for each in stats)
    if any(device.platform != "cpu" for device in devices):
        return None
    limits = [*_available(), *_allowed()]
    return min(limits) // len(devices) if limits else None


def _available() -> list[int]:
    """Returns the bytes that the machine has left, or has, in a list; empty if not known."""
    if _AVAILABLE.exists():
        lines = dict(line.split(":") for line in _AVAILABLE.read_text().splitlines())
        return [1024 * int(lines["MemAvailable"].split()[0])]
    if "SC_PHYS_PAGES" in getattr(os, "sysconf_names", {}):
        return [os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")]
    return []


def _allowed() -> list[int]:
    """Returns the bytes that the container may still use, in a list; empty if not limited."""
    limit = _ALLOWED.read_text().strip() if _ALLOWED.exists() else "max"
    if limit == "max":
        return []
    current, kinds = _ALLOWED.with_name("memory.current"), _ALLOWED.with_name("memory.stat")
    used = int(current.read_text()) if current.exists() else 0
    lines = kinds.read_text().splitlines() if kinds.exists() else []
    given_back = dict(line.split() for line in lines).get("inactive_file", 0)  # files' pages
    return [max(0, int(limit) - used + int(given_back))]
