"""What this package hands out. Letters: ``n`` interactions, ``r`` of them in the reward split."""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import NamedTuple

import numpy as np
import polars as pl

from autolossgen.interfaces import Side


class DataError(ValueError):
    """Data that cannot be used: says what was expected, what came, where, and how to go on."""


class Interactions(NamedTuple):
    """Which user met which item, and whether they liked it; rows are in time (or file) order."""

    ids: dict[str, np.ndarray]  # field -> int32[n]; "user", "item" and what else an interaction has
    label: np.ndarray  # float32[n], 0 or 1


class Streamed(NamedTuple):
    """Interactions to train on that are read when they are needed."""

    rows: int  # of an epoch
    chunk_rows: int  # to be read together, at most
    # Of all epochs, one after the other: the first place, how many -> interactions [n].
    draw: Callable[[int, int], Interactions]
    # field or "label" -> its pieces, one after the other, held-out rows among them
    columns: Mapping[str, tuple[np.ndarray, ...]]


class Dataset(NamedTuple):
    """One data set in splits.

    The reward split is either cut out of the training rows, so that neither validation nor test
    has what the search is rewarded on, or it is the validation split itself.
    """

    name: str
    train: Interactions | Streamed  # for training during the search, no row of ``reward``
    reward: Interactions  # what rewards the search
    valid: Interactions  # model selection
    test: Interactions
    # int64[r], where ``reward`` goes in full_train; empty if it is ``valid``
    reward_rows: np.ndarray
    sizes: dict[str, int]  # categorical field or side -> rows of its table (largest id + 1)
    notes: tuple[str, ...]  # what was read, dropped and put where, for people
    sides: Mapping[str, Side] = MappingProxyType({})  # features of users and items
    # "user" and "item" -> people's own id of each row of the table; one that is missing is its own
    ids: Mapping[str, pl.Series] = MappingProxyType({})


def take(interactions: Interactions, rows: np.ndarray) -> Interactions:
    """Returns the interactions at ``rows`` (int[m] or bool[n]), in that order.

    Example:
      >>> three = Interactions({"user": np.array([5, 6, 7])}, np.array([1.0, 0.0, 1.0]))
      >>> take(three, np.array([2, 0])).ids["user"].tolist()
      [7, 5]
    """
    ids = {field: values[rows] for field, values in interactions.ids.items()}
    return Interactions(ids, interactions.label[rows])


def merge_reward_rows(dataset: Dataset) -> Interactions | Streamed:
    """Returns train with the held-out reward rows put back in their original places.

    Interactions [n], n = train + r rows; just ``train`` where reward rows are none of
    training's: the reward split is validation, or train is read from a file.

    Example:
      >>> def rows(*users):
      ...     return Interactions({"user": np.array(users)}, np.zeros(len(users)))
      >>> none = rows()
      >>> dataset = Dataset(
      ...     name="d",
      ...     train=rows(1, 3),
      ...     reward=rows(2),
      ...     valid=none,
      ...     test=none,
      ...     reward_rows=np.array([1]),
      ...     sizes={"user": 4},
      ...     notes=(),
      ... )
      >>> merge_reward_rows(dataset).ids["user"].tolist()
      [1, 2, 3]
    """
    train, reward, reward_rows = dataset.train, dataset.reward, dataset.reward_rows
    if reward_rows.size == 0 or isinstance(train, Streamed):
        return train
    is_reward = np.zeros(train.label.size + reward_rows.size, bool)
    is_reward[reward_rows] = True

    def merge(trained: np.ndarray, held_out: np.ndarray) -> np.ndarray:
        merged = np.empty(is_reward.size, trained.dtype)
        merged[is_reward], merged[~is_reward] = held_out, trained
        return merged

    ids = {field: merge(train.ids[field], reward.ids[field]) for field in train.ids}
    return Interactions(ids, merge(train.label, reward.label))
