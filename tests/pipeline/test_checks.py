"""What a config or data are refused for, or warned of, before anything trains."""

import numpy as np
import pytest

from autolossgen.configs.base import get_config
from autolossgen.configs.command_line import find_shipped_configs, read_command_line
from autolossgen.pipeline.checks import MAXIMA, check_sizes, describe_short_rankings


@pytest.mark.parametrize("name", [*find_shipped_configs()])
def test_shipped_configs_have_sizes_of_use(name):
    check_sizes(read_command_line(["run.py", f"--config={name}"]).config)


@pytest.mark.parametrize("key", MAXIMA)
def test_sizes_beyond_all_use_are_refused_by_their_key(key):
    for name in ("base", "topk"):
        config = get_config() if name == "base" else read_command_line(["", "--config=topk"]).config
        try:
            config.update_from_flattened_dict({key: MAXIMA[key]})
        except (KeyError, ValueError):
            continue  # the other one has it
        check_sizes(config)
        config.update_from_flattened_dict({key: MAXIMA[key] + 1})
        with pytest.raises(ValueError, match=rf"{key} is at most {MAXIMA[key]:,}, got"):
            check_sizes(config)
        return
    pytest.fail(f"no config has {key}")


def test_a_metric_at_k_among_no_more_than_k_is_refused_or_warned_of():
    few, many = np.full(6, 8), np.full(5, 100)
    for name in ("hit", "recall"):
        told = rf"{name}@10 is 1 for every loss: all of the rankings of the test split .*{name}@2"
        with pytest.raises(ValueError, match=told):
            describe_short_rankings(f"{name}@10", "test", few)
        mixed = describe_short_rankings(f"{name}@10", "test", np.append(few, many))
        assert mixed[0].startswith("WARNING: 55 % of the rankings of the test split have no more")
    cut = describe_short_rankings("ndcg@10", "reward", few)
    assert "100 % of the rankings of the reward split" in cut[0]
    assert "ndcg@10 cuts nothing off there" in cut[0]
    assert describe_short_rankings("hit@7", "test", few) == []
    assert describe_short_rankings("hit@10", "test", np.append(many, few[:3])) == []
    assert describe_short_rankings("mrr", "test", few) == []


def test_rankings_of_nothing_but_what_is_to_be_found_are_refused():
    told = r"ndcg@10 is 1 for every loss: the rankings of the valid split have no item but"
    with pytest.raises(ValueError, match=told):
        describe_short_rankings("ndcg@10", "valid", np.array([3, 2]), np.array([3, 2]))
    with pytest.raises(ValueError, match="mrr is 1 for every loss"):
        describe_short_rankings("mrr", "valid", np.ones(4, int))
    some = describe_short_rankings("ndcg@2", "valid", np.array([3, 9]), np.array([3, 2]))
    assert some == []
