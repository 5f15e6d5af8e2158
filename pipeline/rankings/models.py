"""The recommenders of rankings that are trained."""

import hashlib
from functools import partial

from ml_collections import ConfigDict

from autolossgen.interfaces import EmbeddingModel, ItemSets, RankingData
from autolossgen.models.lightgcn import make_lightgcn
from autolossgen.models.matrix_factorization import make_matrix_factorization
from autolossgen.ranking.fair_test import MakeModel

from ..setup import look_up


def choose_model(section: ConfigDict, data: RankingData) -> MakeModel:
    """Returns what builds the recommender from what is known of each user.

    All losses get the same one, so that what no loss is part of compiles once.

    Args:
      section: of the config.
      data: of the run.

    Raises:
      ValueError: for an unknown name or values out of range.
    """
    if min(section.embedding_dim, section.layers) < 1:
        raise ValueError(
            f"model.embedding_dim and model.layers are at least 1, got {section.embedding_dim} and "
            f"{section.layers}"
        )
    sizes = {"embedding_dim": section.embedding_dim, "init_scale": section.init_scale}
    factorization = make_matrix_factorization(data.num_users, data.num_items, **sizes)
    models: dict[str, MakeModel] = {
        "mf": lambda known: factorization,
        "lightgcn": make_once(
            partial(make_lightgcn, num_items=data.num_items, layers=section.layers, **sizes)
        ),
    }
    return look_up("model.name", section.name, models)


def make_once(make: MakeModel) -> MakeModel:
    """Returns what builds one model for each graph.

    A compiled program holds its graph and belongs to one model. With a model for each loss, what no
    loss is part of would compile again for each of them.

    Example:
      >>> import numpy as np
      >>> graphs = [ItemSets.of_pairs(np.array([0]), np.array([item]), 1) for item in (0, 0, 1)]
      >>> first, same, other = map(make_once(partial(make_lightgcn, num_items=2)), graphs)
      >>> first is same, first is other
      (True, False)
    """
    models: dict[bytes, EmbeddingModel] = {}

    def make_or_take(known: ItemSets) -> EmbeddingModel:
        graph = hashlib.sha256(known.start.tobytes() + known.items.tobytes()).digest()
        if graph not in models:
            models[graph] = make(known)
        return models[graph]

    return make_or_take
