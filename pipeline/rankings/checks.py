"""Checks of a run of rankings, before anything trains: keys that nothing reads, and memory."""

from operator import attrgetter

import jax
import numpy as np
from jax.sharding import Mesh
from ml_collections import ConfigDict

from autolossgen.configs.topk import get_config
from autolossgen.interfaces import RankingData
from autolossgen.ranking.trainer import MAX_CELLS
from autolossgen.training.memory_budget import free_memory

UNREAD = {  # a key and its value -> keys that are read with other values alone
    ("model.name", "mf"): ("model.layers",),
    ("train.negatives", "all"): (
        *("train.num_negatives", "train.popularity_power", "train.correct_popularity"),
    ),
    ("train.negatives", "in_batch"): ("train.num_negatives", "train.popularity_power"),
}


def check_unread(config: ConfigDict) -> None:
    """Checks that keys which nothing would read are left at their defaults.

    Raises:
      ValueError: for the first that is not.
    """
    defaults = get_config()
    for (key, value), unread in UNREAD.items():
        if attrgetter(key)(config) != value:
            continue
        for name in unread:
            given, default = attrgetter(name)(config), attrgetter(name)(defaults)
            if given != default:
                raise ValueError(
                    f"{name}={given!r} is not read with {key}={value!r}: leave it at {default!r}, "
                    f"or change {key}"
                )


def count_mask_bytes(data: RankingData) -> int:
    """Returns the bytes of the masks of known items that a test holds at once.

    Each is a byte for a user and an item: of all users for training, of those of validation, both
    once more for the training on train and validation, and of the users of the test.
    """
    on_valid, on_test = (int((part.counts > 0).sum()) for part in (data.valid, data.test))
    return (2 * (data.num_users + on_valid) + on_test) * data.num_items


def check_masks(data: RankingData, config: ConfigDict) -> None:
    """Checks that the masks of known items fit in memory.

    Raises:
      ValueError: if they do not.
    """
    need = count_mask_bytes(data)
    free = free_memory(Mesh(np.array(jax.local_devices()[:1]), "device"))
    if (cells := data.num_users * data.num_items) > MAX_CELLS:
        why = f"are {cells:,} pairs, and at most {MAX_CELLS:,} are ranked"
    elif free is not None and need > free:
        why = f"need masks of {need / 1e9:.3g} GB, and {free / 1e9:.3g} GB are free"
    else:
        return
    # A folder's own split has no core.
    split = "--config.data.split=by_user " if config.data.split in ("", "files") else ""
    raise ValueError(
        f"{data.num_users:,} users times {data.num_items:,} items {why}. Leave out users and items "
        f"with few likes: {split}--config.data.core={max(5, 2 * config.data.core)}"
    )
