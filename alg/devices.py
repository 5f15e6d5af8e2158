"""Devices: the mesh that lanes are divided over."""

import math
from collections.abc import Mapping

import jax
from jax.sharding import AxisType, Mesh


def lane_mesh(count: int, widths: Mapping[str, int]) -> Mesh:
    """Give a mesh of one axis, ``lanes``.

    Args:
      count: of devices; 0 for as many as divide all widths.
      widths: config key -> lanes that are trained side by side.

    Raises:
      ValueError: for more devices than there are, or a number that does not divide a width.

    >>> lane_mesh(1, {"generation.width": 32}).size
    1
    """
    available, width = jax.devices(), math.gcd(*widths.values())
    if not 0 <= count <= len(available) or (count and width % count):
        given = " and ".join(f"{name} ({lanes})" for name, lanes in widths.items())
        raise ValueError(
            f"devices is 0, or at most {len(available)} here and divides {given}, got {count}"
        )
    count = count or max(d for d in range(1, len(available) + 1) if width % d == 0)
    devices = available[:count]
    return jax.make_mesh((count,), ("lanes",), axis_types=(AxisType.Auto,), devices=devices)
