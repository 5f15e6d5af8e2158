"""What a page shows of a tested loss beyond its results: formula, code and curves.

They need the loss as a function, which this part does not build: who writes a page brings them.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np


class LossCurves(NamedTuple):
    """A loss over one of its inputs, value and gradient."""

    axis: str  # what the input is
    inputs: Sequence[float]  # [n]
    values: Mapping[str, Sequence[float] | np.ndarray]  # case, such as "a like" -> [n]
    gradients: Mapping[str, Sequence[float] | np.ndarray]  # the same


class LossView(NamedTuple):
    """A tested loss, ready to be shown; what is empty cannot be."""

    latex: Mapping[str, str] = {}  # "" for the whole loss, "like" and "dislike" -> LaTeX
    code: Mapping[str, str] = {}  # language -> source that can be copied
    curves: LossCurves | None = None


Views = Mapping[tuple[str, str, str], LossView]
"""Model, data set and name of a tested loss -> what is shown of it."""
