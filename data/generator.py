"""Interactions like ML-100K's whose true preferences are known. Letters: ``n`` interactions."""

from typing import NamedTuple

import numpy as np

from .splitting import SplitRule, check_rule, make_dataset, split_rows
from .types import DataError, Dataset, Interactions

LATENT_DIM = 4  # latent factors of the true preferences
# Chosen so that, as on ML-100K, 55 % of interactions are positive and popular items are liked more.
BASE, USER_SD, ITEM_SD, TASTE_SD, POPULAR_IS_LIKED = -0.4, 0.6, 0.6, 1.6, 0.5
ACTIVITY_SD, POPULARITY_SD = 0.9, 1.4  # log-normal, as the counts of ML-100K roughly are


class Preferences(NamedTuple):
    """What users truly like; rows are ids, from 1 (row 0 is unused)."""

    user: np.ndarray  # float64[num_users + 1, WIDTH]
    item: np.ndarray  # float64[num_items + 1, WIDTH]
    user_bias: np.ndarray  # float64[num_users + 1]
    item_bias: np.ndarray  # float64[num_items + 1]
    # float64[num_items + 1], log of how often an item is met, up to a constant
    popularity: np.ndarray


def make_preferences(*, num_users: int, num_items: int, seed: int) -> Preferences:
    """Draws the true preferences behind ``make_synthetic`` with the same arguments."""
    rng = np.random.default_rng([seed, 0])
    popularity = POPULARITY_SD * rng.standard_normal(num_items + 1)
    item_bias = ITEM_SD * rng.standard_normal(num_items + 1) + POPULAR_IS_LIKED * popularity
    return Preferences(
        user=rng.standard_normal((num_users + 1, LATENT_DIM)) * TASTE_SD / np.sqrt(LATENT_DIM),
        item=rng.standard_normal((num_items + 1, LATENT_DIM)),
        user_bias=BASE + USER_SD * rng.standard_normal(num_users + 1),
        item_bias=item_bias,
        popularity=popularity,
    )


def compute_preference_logits(truth: Preferences, ids: dict[str, np.ndarray]) -> np.ndarray:
    """Computes true log-odds float64[n] that users of ``ids`` (field -> int[n]) like the items."""
    user, item = ids["user"], ids["item"]
    taste = np.sum(truth.user[user] * truth.item[item], axis=-1)
    return taste + truth.user_bias[user] + truth.item_bias[item]


def make_synthetic(
    *,
    num_users: int = 943,
    num_items: int = 1682,
    num_interactions: int = 100_000,
    seed: int = 0,
    split: str = "leave_one_out",
    shares: tuple[float, float] = (0.1, 0.1),
    min_interactions: int = 5,
    reward_split: str = "leave_one_out",
) -> Dataset:
    """Generates a data set of exactly ``num_interactions`` distinct pairs, split like a real one.

    Users differ in activity, items in popularity; a label is a coin with the true preference as
    its odds, so the best possible AUC is that of ``compute_preference_logits``. See
    ``data/splitting.py`` for the splits.

    Raises:
      DataError: if the counts cannot be met.

    Example:
      >>> tiny = make_synthetic(num_users=50, num_items=40, num_interactions=1000, seed=1)
      >>> sum(s.label.size for s in (tiny.train, tiny.reward, tiny.valid, tiny.test))
      1000
    """
    rule = check_rule(
        SplitRule(
            split=split,
            shares=shares,
            seed=max(seed, 0),
            min_interactions=min_interactions,
            reward_split=reward_split,
        )
    )
    rows = draw_interactions(
        num_users=num_users, num_items=num_items, num_interactions=num_interactions, seed=seed
    )
    train, valid, test = split_rows(rows, rule)
    return make_dataset(
        name="synthetic",
        source=f"generated, {seed=}",
        train=train,
        valid=valid,
        test=test,
        rule=rule,
        notes=(),
        sizes={"user": num_users + 1, "item": int(rows.ids["item"].max()) + 1},
        sides={},
    )


def draw_interactions(
    *, num_users: int, num_items: int, num_interactions: int, seed: int
) -> Interactions:
    """Draws distinct pairs in time order, with labels, by the preferences of these arguments.

    Raises:
      DataError: if the counts cannot be met.
    """
    pairs = num_users * num_items
    if min(num_users, num_items) < 1 or seed < 0 or not num_users <= num_interactions <= pairs:
        raise DataError(
            f"synthetic data needs num_users >= 1, num_items >= 1, seed >= 0 and num_users <= "
            f"num_interactions <= num_users * num_items, got {num_users=}, {num_items=}, "
            f"{num_interactions=}, {seed=}"
        )
    truth = make_preferences(num_users=num_users, num_items=num_items, seed=seed)
    rng = np.random.default_rng([seed, 1])
    ids = _draw_meetings(rng, truth.popularity[1:], users=num_users, interactions=num_interactions)
    liked = rng.random(num_interactions) < 1 / (1 + np.exp(-compute_preference_logits(truth, ids)))
    return Interactions(ids, liked.astype(np.float32))


def _draw_meetings(
    rng: np.random.Generator, popularity: np.ndarray, *, users: int, interactions: int
) -> dict[str, np.ndarray]:
    """Draws who meets what, int32[n] in time order: popular items more often, no pair twice."""
    items = popularity.size
    # Each user meets one item at least; the rest is shared out by activity, with room for all.
    activity = np.exp(ACTIVITY_SD * rng.standard_normal(users))
    count = np.ones(users, np.int64)
    while (left := interactions - count.sum()) > 0:
        open_share = np.where(count < items, activity, 0.0)
        count += rng.multinomial(left, open_share / open_share.sum())
        count = np.minimum(count, items)
    # Sampling without replacement by weight is the top of the log-weights plus Gumbel noise.
    keys = popularity.astype(np.float32) + rng.gumbel(size=(users, items)).astype(np.float32)
    ranked = np.argsort(-keys, axis=1)
    user_row, rank = np.nonzero(np.arange(items) < count[:, None])
    # Users arrive at any time and stay for a while, as on MovieLens.
    time = rng.random(users)[user_row] + 0.1 * rng.random(interactions)
    in_time = np.argsort(time, kind="stable")
    user = (user_row + 1)[in_time].astype(np.int32)
    item = (ranked[user_row, rank] + 1)[in_time].astype(np.int32)
    return {"user": user, "item": item}
