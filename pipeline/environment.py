"""The packages, the machine and the data that a run was computed with."""

import importlib.metadata
import platform
from collections.abc import Sequence
from typing import Any

import jax

PACKAGES = ("jax", "jaxlib", "flax", "optax", "numpy")


def describe_environment(data_notes: Sequence[str]) -> dict[str, Any]:
    """Returns the ``environment`` of ``results.json``.

    Args:
      data_notes: what the data set's reader says of its source and splits.

    Example:
      >>> describe_environment(["source: generated"])["data"]
      ['source: generated']
    """
    return {
        "python": platform.python_version(),
        **{name: importlib.metadata.version(name) for name in PACKAGES},
        "platform": platform.platform(),
        "device": f"{len(jax.devices())} x {jax.devices()[0].device_kind}",
        "data": list(data_notes),
    }
