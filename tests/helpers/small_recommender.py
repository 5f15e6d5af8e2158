"""A recommender of four users and five items, as a run would leave it."""

import numpy as np
import polars as pl

from autolossgen.interfaces import ItemSets
from autolossgen.pipeline.finished.recommender import Recommender


def make_recommender(rng, *, words=True):
    """Returns one of two tables, in which some rows belong to nobody and to nothing."""
    users, items = np.array([0, 2, 3, 5]), np.array([1, 2, 4, 6, 7])
    pairs = rng.random((users.size, items.size)) < 0.4
    user, item = np.nonzero(pairs)
    own = [f"u{row}" if words else int(10**12 + row) for row in users]
    return Recommender(
        about={"kind": "tables"},
        weights={
            "user": rng.integers(-3, 4, (6, 2)).astype(np.float32),  # so that there are ties
            "item": rng.integers(-3, 4, (8, 2)).astype(np.float32),
        },
        ids={
            "user": pl.DataFrame({"id": own, "row": users}),
            "item": pl.DataFrame({"id": [f"i{row}" for row in items], "row": items}),
        },
        seen=ItemSets.of_pairs(users[user], items[item], num_users=6),
    )
