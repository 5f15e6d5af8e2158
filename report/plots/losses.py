"""The plot of losses as functions."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ..formatting import shorten, to_one_line
from ..views import LossCurves
from .drawing import DASHES, Palette, make_figure, make_plot

Curve = Sequence[float] | np.ndarray
_SHADES = (1.0, 0.65, 0.4)
_BASELINE_DASHES: tuple[Any, ...] = (DASHES, (0, (1, 1.5)), (0, (6, 2, 1, 2)))


@make_plot
def plot_curves(
    palette: Palette, found: Mapping[str, LossCurves], baselines: Mapping[str, LossCurves]
) -> Figure | None:
    """Draws value and gradient of losses; found ones have whole lines, baselines broken ones.

    Adding a constant to a loss changes nothing in training, nor does a factor, as the test gives
    each loss its own learning rate. So each value begins at 0, and the mean gradient is 1.

    Args:
      palette: of the figure.
      found: name -> curves, the first is drawn strongest.
      baselines: the same.
    """
    curves = [*found.values(), *baselines.values()]
    if not curves:
        return None
    cases = list(curves[0].values)
    if len(cases) > 1:
        figure, panels = make_figure(4.6, 2, len(cases), sharex=True, squeeze=False)
    else:  # side by side
        figure, panels = make_figure(3.2, 1, 2, squeeze=False)
        panels = panels.T
    styled = [
        (name, _scale(one), _style(palette.baseline, number, _BASELINE_DASHES[number % 3]))
        for number, (name, one) in enumerate(baselines.items())
    ] + [
        (name, _scale(one), _style(palette.found, number, "-"))
        for number, (name, one) in reversed([*enumerate(found.items())])
    ]
    for column, case in enumerate(cases):
        for row, kind in enumerate(("values", "gradients")):
            axes = panels[row, column]
            for name, one, style in styled:
                axes.plot(
                    one.inputs,
                    getattr(one, kind)[case],
                    label=shorten(to_one_line(name), 22),
                    **style,
                )
            _set_limits(axes, [getattr(one, kind)[case] for _, one, _ in styled])
            axes.grid(alpha=0.7)
            axes.axhline(0.0, color=palette.line, linewidth=1)
        panels[0, column].set_title(case, loc="left")
        for axes in figure.axes[-2:]:
            axes.set_xlabel(curves[0].axis)
    panels[0, 0].set_ylabel("value")
    panels[1, 0].set_ylabel("gradient")
    handles, labels = panels[0, 0].get_legend_handles_labels()
    figure.legend(handles[::-1], labels[::-1], loc="outside upper center", ncols=4)
    return figure


def _style(color: str, number: int, linestyle: Any) -> dict[str, Any]:
    alpha = _SHADES[min(number, len(_SHADES) - 1)]
    return {"color": color, "linestyle": linestyle, "linewidth": 2 * alpha + 0.4, "alpha": alpha}


def _scale(curves: LossCurves) -> LossCurves:
    """Returns curves whose values begin at 0 and whose mean gradient is 1."""
    sizes = np.abs(_finite(curves.gradients.values()))
    # A pole must not make all else flat.
    size = float(np.minimum(sizes, np.quantile(sizes, 0.95)).mean()) if sizes.size else 0.0
    size = size or 1.0

    def shift(values: Curve) -> np.ndarray:
        known = _finite([values])
        return (np.asarray(values) - (known.min() if known.size else 0.0)) / size

    return curves._replace(
        values={case: shift(values) for case, values in curves.values.items()},
        gradients={case: np.asarray(one) / size for case, one in curves.gradients.items()},
    )


def _finite(curves: Iterable[Curve]) -> np.ndarray:
    values = np.concatenate([np.asarray(one, float) for one in curves])
    return values[np.isfinite(values)]


def _set_limits(axes: Axes, curves: Iterable[Curve]) -> None:
    """Sets limits that show all curves but for poles."""
    known = [values for one in curves if (values := _finite([one])).size]
    if not known:
        return
    low = min(float(np.quantile(values, 0.02)) for values in known)
    high = max(float(np.quantile(values, 0.98)) for values in known)
    margin = 0.08 * (high - low) or 0.5
    axes.set_ylim(low - margin, high + margin)
