"""Layouts of lanes against loops."""

import numpy as np
import pytest

from autolossgen.evaluation.lane_layout import layout_in_blocks, layout_in_turns


@pytest.mark.parametrize(
    ("num_seeds", "num_settings", "num_losses", "num_devices"),
    [(1, 4, 3, 1), (1, 3, 2, 2), (1, 1, 3, 4), (4, 1, 2, 4), (1, 5, 1, 2)],
)
def test_every_seed_setting_and_loss_comes_back_from_its_lane(
    num_seeds, num_settings, num_losses, num_devices
):
    layout = layout_in_turns(
        num_seeds=num_seeds,
        num_settings=num_settings,
        num_losses=num_losses,
        num_devices=num_devices,
    )
    # Whole turns of the losses on every device, as compiled losses need them.
    assert layout.num_lanes % (num_losses * num_devices) == 0
    np.testing.assert_array_equal(layout.loss, np.arange(layout.num_lanes) % num_losses)
    values = 10 * np.arange(num_settings)[:, None] + np.arange(num_losses)
    of_lanes = 100 * layout.seed + layout.flatten(values)
    expected = 100 * np.arange(num_seeds)[:, None, None] + values
    np.testing.assert_array_equal(layout.unflatten(of_lanes), expected)
    # With axes that follow the lanes', and the first of lanes that train the same.
    pairs = np.stack([of_lanes, np.arange(layout.num_lanes)], axis=1)
    returned = layout.unflatten(pairs)
    np.testing.assert_array_equal(returned[..., 0], expected)
    assert returned[..., 1].max() == num_seeds * num_settings * num_losses - 1


def test_several_seeds_share_a_layout_only_one_on_each_device():
    with pytest.raises(AssertionError):
        layout_in_turns(num_seeds=3, num_settings=1, num_losses=2, num_devices=2)


def test_blocks_repeat_from_the_first_and_the_best_of_them_counts():
    layout = layout_in_blocks([2, 3, 3], num_losses=5, num_settings=2, num_lanes=8)
    assert layout.loss.tolist() == [2, 2, 3, 3, 3, 3, 2, 2]
    assert layout.setting.tolist() == [0, 1] * 4
    best = layout.max_by_loss(np.arange(8.0))
    np.testing.assert_array_equal(best[:, 2:4], [[6, 4], [7, 5]])
    assert np.isneginf(best[:, [0, 1, 4]]).all()
