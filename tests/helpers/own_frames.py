"""Frames of ratings and of likes with ids as people have them, and keys that keep runs small."""

import numpy as np
import polars as pl

USERS = [f"reader {k:02}" for k in range(80)]
BOOKS = [9_780_000_000_000 + 7 * k for k in range(40)]  # numbers that fill no table


def make_ratings():
    """Returns a frame with columns reader, book and stars, from 1 to 5.

    As many of them as in examples/find_a_loss.py, so that their runs share compiled programs.
    """
    rng = np.random.default_rng(0)
    taste = rng.standard_normal((80, 2)) @ rng.standard_normal((2, 40))
    user, book = rng.permutation(np.argwhere(rng.random(taste.shape) < 0.5)).T
    stars = np.clip(np.round(3 + 1.5 * taste[user, book]), 1, 5)
    return pl.DataFrame(
        {"reader": [USERS[u] for u in user], "book": [BOOKS[b] for b in book], "stars": stars}
    )


COLUMNS = {"user": "reader", "item": "book", "rating": "stars", "threshold": 3}
TINY_SEARCH = {  # as TINY of run_server.py, whose programs are of other tables
    "preset": "smoke",
    "devices": 1,
    "model": {"embedding_dim": 4},
    "train": {"batch_size": 256},
    "space": {"operators": ["add", "sub", "mul", "square"], "operands": ["pred", "label"]},
    "space.length": 7,
    "generation": {"seen_losses": 64, "hall": 3, "samples": 256, "num_lanes": 4},
    "generation.restart": "always",
    "promote": {"num_lanes": 4, "losses": 0},
    "space.initial_losses": (),
    "policy": {"name": "random"},
    "contenders": {"baselines": ["bce", "mse"]},
}
TINY_RANKING = {
    "preset": "smoke",
    "model": {"embedding_dim": 4},
    "train": {"batch_size": 64},
    "policy": {"name": "random"},
    "test": {"epochs": 2, "metric": "ndcg@5", "cutoffs": [5], "top": 5},
}
