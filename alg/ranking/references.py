"""Recommenders without a loss in the test: tuned, fitted and measured as the losses are."""

import itertools
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from ..interfaces import Array, RankingData, ScoreFn
from .fair_test import RankResult
from .metrics import compute_list_metrics, compute_user_metrics, rank_top
from .settings import RankTestSettings
from .trainer import EvalSplit, Evaluation, make_eval_split

BLOCK = 512
"""Users that are scored together."""

COARSE = slice(1, None, 2)
"""Values of a grid that are tried first: every other one, without the lowest."""

CLIMBED = 2
"""Best points of a grid whose neighbours are tried: the first may not be on the highest hill."""

CANNOT_FIT = (ValueError, MemoryError)
"""What a fit raises whose settings do not suit the data, or that does not fit in memory."""

_rank_top = jax.jit(rank_top, static_argnums=2)


class ReferenceFailed(Exception):
    """A recommender without a loss cannot be fitted to these data."""


class _Fitted(NamedTuple):
    """What was fitted to train."""

    score: ScoreFn
    valid: Mapping[str, Array]  # metric -> value of each user of validation


_Place = tuple[int, ...]
"""Of a point of a grid: the index of each setting's value."""


def run_reference(
    name: str,
    fit: Callable[..., ScoreFn],
    grid: Mapping[str, Sequence[Any]],
    data: RankingData,
    settings: RankTestSettings,
    say: Callable[[str], None] = lambda _: None,
) -> RankResult:
    """Tunes a recommender without a loss on validation, and tests it as losses are tested.

    A few points of the grid are tried, then the neighbours of the best two while these change.

    Args:
      name: of the recommender.
      fit: what users liked, number of items, settings of the grid -> scores.
      grid: name of a setting -> values in ascending order.
      data: train, validation and test.
      settings: of the test; those of trainings are not read.
      say: is told of settings that cannot be fitted.

    Raises:
      ReferenceFailed: if no settings can be fitted, or the best cannot be fitted again.

    Example:
      >>> from ..interfaces import ItemSets
      >>> def fit(liked, num_items, *, sign):
      ...     counts = sign * np.bincount(liked.items, minlength=num_items)
      ...     return lambda users: np.tile(counts.astype(np.float32), (len(users), 1))
      >>> def sets(users, items):
      ...     return ItemSets.of_pairs(np.array(users), np.array(items), num_users=3)
      >>> train = sets([0, 1, 2], [0, 0, 1])
      >>> data = RankingData("tiny", 3, 4, train, valid=sets([2], [0]), test=sets([1], [1]))
      >>> settings = RankTestSettings(metric="ndcg@1", cutoffs=(1,))
      >>> result = run_reference("popular", fit, {"sign": (-1.0, 1.0)}, data, settings)
      >>> result.settings, result.test["train"]["ndcg@1"].tolist()
      ({'sign': 1.0}, [[1.0]])
    """
    start = time.monotonic()
    on_valid = make_eval_split(data.valid, data.mask(data.train), data.num_items)

    def attempt(**chosen: Any) -> _Fitted:
        score = fit(data.train, data.num_items, **chosen)
        return _Fitted(score, evaluate_scores(score, on_valid, settings.cutoffs).users)

    place, held_out, tried = _tune(name, attempt, grid, settings.metric, say)
    chosen, known = _to_settings(grid, place), data.train.union(data.valid)
    try:
        again = fit(known, data.num_items, **chosen)
    except CANNOT_FIT as error:
        why = f"{_describe(chosen)} cannot be fitted to train and validation"
        raise ReferenceFailed(f"{name} with {why}: {_explain(error)}") from error
    tested = {}
    for mask, score, seen in (("train", held_out.score, data.train), ("train+valid", again, known)):
        split = make_eval_split(data.test, data.mask(seen), data.num_items)
        tested[mask] = evaluate_scores(score, split, settings.cutoffs)
    return RankResult(
        name=name,
        formula="",
        score="",
        found=False,
        settings={key: float(value) for key, value in chosen.items()},
        epochs=0,
        edges=_find_edges(grid, place),
        trials=None,
        valid=_as_one_seed(held_out.valid),
        test={mask: _as_one_seed(found.users) for mask, found in tested.items()},
        lists={mask: _as_one_seed(found.lists) for mask, found in tested.items()},
        num_trainings=len(tried) + 1,
        num_epochs=0,
        seconds=time.monotonic() - start,
        tuning=[{**_to_settings(grid, one), "valid": valid} for one, valid in tried.items()],
    )


def evaluate_scores(score: ScoreFn, split: EvalSplit, cutoffs: Sequence[int]) -> Evaluation:
    """Computes the metrics of one recommender, block of users by block.

    Args:
      score: users [n] -> scores [n, num_items].
      split: items that are to be found, and those that are masked.
      cutoffs: places that count.

    Returns:
      Metrics of each user [E], and of all lists together.
    """
    relevant, cutoffs = split.relevant, tuple(sorted(cutoffs))
    num_users, num_items = split.masked.shape
    hits: list[Array] = []
    items: list[Array] = []
    for first in range(0, num_users, BLOCK):
        block = slice(first, first + BLOCK)
        scores = jnp.asarray(score(np.asarray(relevant.users[block])), jnp.float32)
        scores = jnp.where(split.masked[block], -jnp.inf, scores)
        found = _rank_top(scores, relevant.items[block], cutoffs[-1])
        hits.append(found.hit)
        items.append(found.items)
    users = compute_user_metrics(jnp.concatenate(hits), relevant.counts, cutoffs)
    lists = compute_list_metrics(jnp.concatenate(items), cutoffs, num_items)
    return Evaluation(users=users, lists=lists)


def _tune(
    name: str,
    attempt: Callable[..., _Fitted],
    grid: Mapping[str, Sequence[Any]],
    metric: str,
    say: Callable[[str], None],
) -> tuple[_Place, _Fitted, dict[_Place, float]]:
    """Returns the place of the best settings in the grid, what was fitted, and all metrics."""
    tried: dict[_Place, float] = {}
    best: tuple[_Place, _Fitted] | None = None
    indices = [range(len(values))[COARSE] or range(len(values)) for values in grid.values()]
    places = list(itertools.product(*indices))
    while places:
        for place in places:
            settings = _to_settings(grid, place)
            try:
                fitted = attempt(**settings)
            except CANNOT_FIT as error:
                tried[place] = np.nan
                failed = f"{name} with {_describe(settings)} cannot be fitted: {_explain(error)}"
                say(failed)
                continue
            tried[place] = float(jnp.mean(fitted.valid[metric]))
            if best is None or tried[place] > tried[best[0]]:
                best = place, fitted
        if best is None:
            raise ReferenceFailed(failed)
        first = sorted(tried, key=lambda place: -np.nan_to_num(tried[place], nan=-np.inf))[:CLIMBED]
        near = dict.fromkeys(itertools.chain(*(_list_neighbours(grid, place) for place in first)))
        places = [place for place in near if place not in tried]
    assert best is not None
    return *best, tried


def _list_neighbours(grid: Mapping[str, Sequence[Any]], place: _Place) -> list[_Place]:
    """Returns the places one step away from another; settings move together, for ridges do."""
    steps = (
        range(max(index - 1, 0), min(index + 2, len(values)))
        for index, values in zip(place, grid.values(), strict=True)
    )
    return [near for near in itertools.product(*steps) if near != place]


def _to_settings(grid: Mapping[str, Sequence[Any]], place: _Place) -> dict[str, Any]:
    return {name: values[i] for (name, values), i in zip(grid.items(), place, strict=True)}


def _describe(settings: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} {value:g}" for name, value in settings.items()) or "no settings"


def _explain(error: Exception) -> str:
    return str(error) or "not enough memory"  # MemoryError may have no text


def _as_one_seed(values: Mapping[str, Array]) -> dict[str, np.ndarray]:
    return {name: np.asarray(value)[None] for name, value in values.items()}


def _find_edges(grid: Mapping[str, Sequence[Any]], place: _Place) -> list[str]:
    """Returns which settings of a place are the lowest or highest; nothing is below 0."""
    edges = []
    for (name, values), index in zip(grid.items(), place, strict=True):
        if len(values) > 1 and index == 0 and values[0] != 0:
            edges.append(f"{name} at its lowest")
        if len(values) > 1 and index == len(values) - 1:
            edges.append(f"{name} at its highest")
    return edges
