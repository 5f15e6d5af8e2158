"""The limits that a user sets on a search, besides its number of generations."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from .hall_of_fame import HallOfFame


class Limits(NamedTuple):
    """What is enough: a search ends after the generation that reaches one of the limits."""

    candidates: int = 0  # trained; 0 for no limit
    seconds: float = 0.0  # of the whole search; 0 for no limit
    target: float | None = None  # a reward; None for no limit


def find_stop_reason(limits: Limits, record: Mapping[str, Any], hall: HallOfFame) -> str | None:
    """Finds which limit a search has reached, if any.

    It is read off what is saved, so that a resumed search agrees.

    Args:
      limits: of the search.
      record: log record of the last generation.
      hall: after that generation. The row with the highest reward need not be the first, which
        has the highest gain.

    Example:
      >>> from .hall_of_fame import init_hall
      >>> record = {"trained_total": 40, "seconds": 12.3}
      >>> find_stop_reason(Limits(seconds=10.0), record, init_hall(rows=4, length=7, num_probes=8))
      'it took 12.3 seconds (search.seconds is 10.0)'
    """
    trained, seconds = record["trained_total"], record["seconds"]
    rewards = np.asarray(hall.reward)[np.isfinite(hall.gain)]
    best = rewards.max(initial=-np.inf)
    if limits.candidates and trained >= limits.candidates:
        return f"{trained} candidates are trained (search.candidates is {limits.candidates})"
    if limits.seconds and seconds >= limits.seconds:
        return f"it took {seconds:.1f} seconds (search.seconds is {limits.seconds})"
    if limits.target is not None and best >= limits.target:
        return f"a candidate has reward {best:.4f} (search.target is {limits.target})"
    return None
