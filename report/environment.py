"""What a run was computed with."""

import importlib.metadata
import platform
from collections.abc import Sequence
from typing import Any

import jax

PACKAGES = ("jax", "jaxlib", "flax", "optax", "numpy")


def environment(notes: Sequence[str]) -> dict[str, Any]:
    """Give the ``environment`` of ``results.json``; ``notes`` are on the data.

    >>> environment(["source: generated"])["data"]
    ['source: generated']
    """
    return {
        "python": platform.python_version(),
        **{name: importlib.metadata.version(name) for name in PACKAGES},
        "platform": platform.platform(),
        "device": f"{len(jax.devices())} x {jax.devices()[0].device_kind}",
        "data": list(notes),
    }
