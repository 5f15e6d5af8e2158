"""Plots of a run, for its page, for notebooks and as files.

They need matplotlib, which takes half a second to import: nothing but a page or a plot does.
"""

from .comparison import plot_courses, plot_differences, plot_sensitivity
from .drawing import LIGHT, PAGE, Palette, Plot
from .losses import plot_curves
from .search import plot_front, plot_rewards

__all__ = [
    "LIGHT",
    "PAGE",
    "Palette",
    "Plot",
    "plot_courses",
    "plot_curves",
    "plot_differences",
    "plot_front",
    "plot_rewards",
    "plot_sensitivity",
]
