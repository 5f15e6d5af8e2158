"""Tuning: the same number of trials for every loss, over its learning rate, decay and constants.

The first round fills the whole box evenly (a Latin hypercube: with so few trials a grid would try
three values of each number), with the constants that a loss was published with in half of the
trials. Each later round fills a smaller box around the best so far.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from scipy.stats import qmc

SHRINKING = 0.4
"""What the sides of the box are multiplied by from round to round."""


class Range(NamedTuple):
    """Values that are tried of one number."""

    low: float
    high: float
    log: bool = True  # spread evenly over the logarithm

    def from_unit(self, unit: np.ndarray) -> np.ndarray:
        """Returns the values at places from 0 to 1."""
        if self.log:
            return np.exp(np.log(self.low) + unit * np.log(self.high / self.low))
        return self.low + unit * (self.high - self.low)

    def to_unit(self, value: float) -> float:
        """Returns the place of a value; the nearest edge if it lies outside."""
        if self.low == self.high:
            return 0.0
        if self.log:
            place = np.log(max(value, self.low) / self.low) / np.log(self.high / self.low)
        else:
            place = (value - self.low) / (self.high - self.low)
        return float(np.clip(place, 0, 1))


class Trials(NamedTuple):
    """Settings that are tried, and how good they were."""

    names: tuple[str, ...]
    units: np.ndarray  # [n, len(names)], places from 0 to 1 in the ranges
    scores: np.ndarray  # [n]; NaN counts as worst


def propose(
    ranges: Mapping[str, Range],
    count: int,
    *,
    number: int,
    seed: int,
    before: Trials | None,
    published: Mapping[str, float] | None = None,
) -> np.ndarray:
    """Returns places from 0 to 1, [count, len(ranges)], of the trials of a round.

    Args:
      ranges: name -> values that are tried.
      count: trials of the round.
      number: of the round, from 0.
      seed: of the hypercube.
      before: the trials of earlier rounds; None in the first.
      published: name -> value that half of the first round's trials have.

    Example:
      >>> ranges = {"temperature": Range(0.05, 0.5)}
      >>> units = propose(ranges, 4, number=0, seed=0, before=None)
      >>> np.sort(units[:, 0] * 4).astype(int).tolist()
      [0, 1, 2, 3]
    """
    units = qmc.LatinHypercube(len(ranges), rng=np.random.default_rng([seed, number])).random(count)
    if before is None:
        names = list(ranges)
        for name, value in (published or {}).items():
            units[: count // 2, names.index(name)] = ranges[name].to_unit(value)
        return units
    side = SHRINKING**number
    best = before.units[find_best(before)]
    low = np.clip(best - side / 2, 0, 1 - side)  # the box is moved into the ranges, not cut
    return low + side * units


def find_best(trials: Trials) -> int:
    """Returns the number of the best trial."""
    return int(np.argmax(np.nan_to_num(trials.scores, nan=-np.inf)))


def add_trials(before: Trials | None, new: Trials) -> Trials:
    """Returns the trials of all rounds."""
    if before is None:
        return new
    return Trials(
        names=before.names,
        units=np.concatenate([before.units, new.units]),
        scores=np.concatenate([before.scores, new.scores]),
    )


def to_settings(ranges: Mapping[str, Range], units: np.ndarray) -> dict[str, np.ndarray]:
    """Returns name -> values [n] at places [n, len(ranges)]."""
    return {name: range_.from_unit(units[:, i]) for i, (name, range_) in enumerate(ranges.items())}


def find_edges(trials: Trials, *, share: float = 0.02, harmless: Sequence[str] = ()) -> list[str]:
    """Returns which numbers of the best trial lie at an edge of their range.

    Args:
      trials: of all rounds.
      share: of a range that counts as its edge.
      harmless: numbers whose low edge means none at all, such as a weight decay.

    Example:
      >>> trials = Trials(("a", "b"), np.array([[0.5, 0.5], [0.99, 0.0]]), np.array([0.1, 0.2]))
      >>> find_edges(trials, harmless=("b",))
      ['a at its highest']
    """
    edges = []
    for name, place in zip(trials.names, trials.units[find_best(trials)], strict=True):
        if place < share and name not in harmless:
            edges.append(f"{name} at its lowest")
        if place > 1 - share:
            edges.append(f"{name} at its highest")
    return edges
