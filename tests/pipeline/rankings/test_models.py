"""The recommenders of rankings: how often they are built, and so compiled."""

import pytest

from autolossgen import named_loss
from autolossgen.configs.topk import get_config
from autolossgen.pipeline.rankings.models import choose_model
from autolossgen.ranking.trainer import make_rank_trainer
from tests.helpers.ranking_sets import make_two_groups

DATA = make_two_groups()


@pytest.mark.parametrize("name", ["mf", "lightgcn"])
def test_what_no_loss_is_part_of_is_compiled_once_for_all_losses(name):
    """One graph has one model, however often its likes are put together."""
    config = get_config().model
    config.name = name
    make_model = choose_model(config, DATA)

    def make_init(loss, known):
        return make_rank_trainer(make_model(known), named_loss(loss)).init

    first = make_init("softmax", DATA.train.union(DATA.valid))
    assert make_init("bpr", DATA.train.union(DATA.valid)) is first
    assert (make_init("bpr", DATA.train) is first) == (name == "mf")
