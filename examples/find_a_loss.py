"""Finds a loss for a frame of ratings, and recommends with the model that it trained."""

import numpy as np
import polars as pl

from autolossgen import find_loss

rng = np.random.default_rng(0)
taste = rng.standard_normal((80, 2)) @ rng.standard_normal((2, 40))  # of 80 readers for 40 books
reader, book = rng.permutation(np.argwhere(rng.random(taste.shape) < 0.5)).T
stars = np.clip(np.round(3 + 1.5 * taste[reader, book]), 1, 5)
books = [f"book {number}" for number in book]
ratings = pl.DataFrame({"reader": reader, "book": books, "stars": stars})

run = find_loss(ratings, user="reader", item="book", rating="stars", threshold=3, preset="smoke")
print(run.best.formula)
print(run.recommend([3, 14], k=5))
