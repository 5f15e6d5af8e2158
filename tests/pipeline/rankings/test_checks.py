"""Keys of a run of rankings that nothing reads, and masks that do not fit."""

import pytest

from autolossgen.configs.topk import get_config
from autolossgen.pipeline.rankings import checks
from autolossgen.pipeline.rankings.checks import check_masks, check_unread, count_mask_bytes
from tests.helpers.ranking_sets import make_two_groups

DATA = make_two_groups()


def set_keys(**values):
    config = get_config()
    for key, value in values.items():
        section, name = key.split("__")
        config[section][name] = value
    return config


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"model__layers": 3}, "model.layers=3 is not read with model.name='mf': leave it at 2"),
        ({"train__num_negatives": 9}, "num_negatives=9 .* 1000, or change train.negatives"),
        ({"train__popularity_power": 0.5}, "popularity_power=0.5 is not read"),
        ({"train__correct_popularity": True}, "correct_popularity=True is not read"),
        ({"train__negatives": "in_batch", "train__num_negatives": 9}, "negatives='in_batch'"),
        ({"train__negatives": "in_batch", "train__popularity_power": 1.0}, "leave it at 0.0"),
    ],
)
def test_keys_that_nothing_reads_are_refused(values, message):
    with pytest.raises(ValueError, match=message):
        check_unread(set_keys(**values))


@pytest.mark.parametrize(
    "values",
    [
        {},
        {"model__name": "lightgcn", "model__layers": 3},
        {"train__negatives": "in_batch", "train__correct_popularity": True},
        {"train__negatives": "shared", "train__num_negatives": 9, "train__popularity_power": 0.5},
    ],
)
def test_keys_that_are_read_are_not_refused(values):
    check_unread(set_keys(**values))


def test_masks_that_do_not_fit_are_refused_with_a_command(monkeypatch):
    check_masks(DATA, get_config())
    monkeypatch.setattr(checks, "free_memory", lambda _: count_mask_bytes(DATA) - 1)
    with pytest.raises(ValueError, match=r"16 users times 20 items need .*split=by_user .*core=5"):
        check_masks(DATA, get_config())
    config = set_keys(data__split="by_time", data__core=4)
    with pytest.raises(ValueError, match=r"few likes: --config\.data\.core=8$"):
        check_masks(DATA, config)
    monkeypatch.setattr(checks, "free_memory", lambda _: None)
    check_masks(DATA, config)
    monkeypatch.setattr(checks, "MAX_CELLS", 16 * 20 - 1)
    with pytest.raises(ValueError, match="are 320 pairs, and at most 319 are ranked"):
        check_masks(DATA, config)
