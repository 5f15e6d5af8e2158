"""Recommenders without a loss in the test: tuned, fitted and measured as the losses are."""

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ..interfaces import Array, RankingData
from .fair_test import RankResult, RankTestSettings
from .metrics import compute_list_metrics, compute_user_metrics, rank_top
from .trainer import EvalSplit, Evaluation, make_eval_split

BLOCK = 512
"""Users that are scored together."""

_rank_top = jax.jit(rank_top, static_argnums=2)

ScoreFn = Callable[[np.ndarray], np.ndarray]
"""Users [n] -> scores of all items [n, num_items]."""


def run_reference(
    name: str,
    fit: Callable[..., ScoreFn],
    grid: Sequence[Mapping[str, Any]],
    data: RankingData,
    settings: RankTestSettings,
) -> RankResult:
    """Tunes a recommender without a loss on validation, and tests it as losses are tested.

    Args:
      name: of the recommender.
      fit: what users liked, number of items, settings of the grid -> scores.
      grid: settings that are tried.
      data: train, validation and test.
      settings: of the test; those of trainings are not read.

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
      >>> result = run_reference("popular", fit, ({"sign": -1.0}, {"sign": 1.0}), data, settings)
      >>> result.settings, result.test["train"]["ndcg@1"].tolist()
      ({'sign': 1.0}, [[1.0]])
    """
    start = time.monotonic()
    valid = make_eval_split(data.valid, data.mask(data.train), data.num_items)
    scores = []
    for one in grid:
        found = evaluate_scores(fit(data.train, data.num_items, **one), valid, settings.cutoffs)
        scores.append(float(jnp.mean(found.users[settings.metric])))
    best = int(np.argmax(scores))
    known = data.train.union(data.valid)
    held_out = fit(data.train, data.num_items, **grid[best])
    again = fit(known, data.num_items, **grid[best])
    splits = {
        "train": (held_out, make_eval_split(data.test, data.mask(data.train), data.num_items)),
        "train+valid": (again, make_eval_split(data.test, data.mask(known), data.num_items)),
    }
    tested = {
        mask: evaluate_scores(score, split, settings.cutoffs)
        for mask, (score, split) in splits.items()
    }
    return RankResult(
        name=name,
        formula="",
        score="",
        found=False,
        settings={key: float(value) for key, value in grid[best].items()},
        epochs=0,
        edges=_find_edges(grid, best),
        trials=None,
        valid=_as_one_seed(evaluate_scores(held_out, valid, settings.cutoffs).users),
        test={mask: _as_one_seed(found.users) for mask, found in tested.items()},
        lists={mask: _as_one_seed(found.lists) for mask, found in tested.items()},
        num_trainings=len(grid) + 2,
        num_epochs=0,
        seconds=time.monotonic() - start,
        tuning=[{**one, "valid": score} for one, score in zip(grid, scores, strict=True)],
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


def _as_one_seed(values: Mapping[str, Array]) -> dict[str, np.ndarray]:
    return {name: np.asarray(value)[None] for name, value in values.items()}


def _find_edges(grid: Sequence[Mapping[str, Any]], best: int) -> list[str]:
    """Returns which settings of the best point are the smallest or largest that were tried."""
    edges = []
    for name, value in grid[best].items():
        tried = {one[name] for one in grid}
        if len(tried) > 1 and value in (min(tried), max(tried)):
            edges.append(f"{name} at its {'lowest' if value == min(tried) else 'highest'}")
    return edges
