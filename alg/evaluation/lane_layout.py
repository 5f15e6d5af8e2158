"""How seeds, settings and losses become lanes.

Everything that is compared trains in lanes next to each other. A lane has one loss, one setting (a
learning rate with a weight decay) and one seed. A layout says which, and turns arrays over seeds,
settings and losses into arrays over lanes, and back.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import chex
import numpy as np

from ..interfaces import AnyArray


class LaneLayout(NamedTuple):
    """Which seed, setting and loss each of K lanes trains with."""

    seed: np.ndarray  # int [K]
    setting: np.ndarray  # int [K]
    loss: np.ndarray  # int [K]
    shape: tuple[int, int, int]  # S, num_settings, J

    @property
    def num_lanes(self) -> int:
        """The number of lanes, K."""
        return len(self.loss)

    def flatten(self, values: AnyArray) -> AnyArray:
        """Returns the values [num_settings, J] of all lanes, [K]."""
        chex.assert_shape(values, self.shape[1:])
        return values[self.setting, self.loss]

    def unflatten(self, values: AnyArray) -> np.ndarray:
        """Returns the values [K, ...] of lanes in turns as [S, num_settings, J, ...], a view.

        Only for ``layout_in_turns``, whose lanes are in this order; those that train the same as
        earlier ones come last.
        """
        values = np.asarray(values)
        return values[: math.prod(self.shape)].reshape(*self.shape, *values.shape[1:])

    def max_by_loss(self, values: np.ndarray) -> np.ndarray:
        """Returns the largest of the values [K] of lanes that train the same, [num_settings, J].

        It is -inf for what no lane trains.
        """
        largest = np.full(self.shape[1:], -np.inf)
        np.maximum.at(largest, (self.setting, self.loss), values)
        return largest


def layout_in_turns(
    *, num_settings: int, num_losses: int, num_devices: int, num_seeds: int = 1
) -> LaneLayout:
    """Returns a layout in which lanes take turns at the losses: lane k has loss k modulo J.

    Losses that are compiled in need it, see ``static_logit_grads``, and whole turns on every
    device. Lanes are divided over the devices in order. With one seed the settings are divided, and
    turns with setting 0 fill the last device up. With several seeds there is one setting, and each
    device trains another seed.

    Args:
      num_settings: of each loss.
      num_losses: J.
      num_devices: that lanes are divided over.
      num_seeds: S; 1, or one for each device.

    Example:
      >>> layout = layout_in_turns(num_settings=3, num_losses=2, num_devices=2)
      >>> layout.setting.tolist(), layout.loss.tolist()
      ([0, 0, 1, 1, 2, 2, 0, 0], [0, 1, 0, 1, 0, 1, 0, 1])
      >>> layout.unflatten(np.arange(8)).tolist()
      [[[0, 1], [2, 3], [4, 5]]]
    """
    num_turns = num_settings + -num_settings % num_devices
    if num_seeds == 1:
        seed, setting = np.zeros(num_turns, int), np.arange(num_turns)
        setting[num_settings:] = 0
    else:
        seed, setting = np.arange(num_seeds), np.zeros(num_turns, int)
        chex.assert_equal_shape([seed, setting])
    return LaneLayout(
        seed=np.repeat(seed, num_losses),
        setting=np.repeat(setting, num_losses),
        loss=np.tile(np.arange(num_losses), num_turns),
        shape=(num_seeds, num_settings, num_losses),
    )


def layout_in_blocks(
    losses: Sequence[int] | np.ndarray, *, num_losses: int, num_settings: int, num_lanes: int
) -> LaneLayout:
    """Returns a layout with a block of lanes for each loss, one lane for each setting.

    Lanes that are left over repeat the first blocks. It is for losses that are traced data, which
    may be in any lane, and for one seed.

    Args:
      losses: number of the loss of each block, below J; the same one may have several.
      num_losses: J.
      num_settings: of each loss.
      num_lanes: K.

    Example:
      >>> layout = layout_in_blocks([0, 1], num_losses=3, num_settings=2, num_lanes=5)
      >>> layout.setting.tolist(), layout.loss.tolist()
      ([0, 1, 0, 1, 0], [0, 0, 1, 1, 0])
    """
    losses, lane = np.asarray(losses), np.arange(num_lanes)
    return LaneLayout(
        seed=np.zeros(num_lanes, int),
        setting=lane % num_settings,
        loss=losses[lane // num_settings % len(losses)],
        shape=(1, num_settings, num_losses),
    )
