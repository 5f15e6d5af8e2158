"""What all plots share: colours, style, and how a figure becomes SVG, PNG or part of a page."""

import io
import re
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any, NamedTuple

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure

INCHES = 7.6
"""Width of a figure."""

DASHES = (0, (4, 3))


class Palette(NamedTuple):
    """The colours of a figure."""

    text: str
    muted: str
    line: str
    found: str
    baseline: str
    back: str


LIGHT = Palette("#1d2330", "#5c6576", "#d5d9e0", "#c2410c", "#3b6fb6", "#ffffff")
PAGE = Palette("#010101", "#020202", "#030303", "#040404", "#050505", "none")
"""Stand-ins: the SVG then names the page's variables instead, so that one picture suits a light and
a dark page."""


def _make_style(palette: Palette) -> dict[Any, Any]:
    return {
        "svg.fonttype": "none",
        "text.parse_math": False,  # a "$" in a formula is a character
        "font.size": 10,
        "text.color": palette.text,
        "figure.facecolor": palette.back,
        "axes.facecolor": palette.back,
        "axes.edgecolor": palette.line,
        "axes.labelcolor": palette.muted,
        "axes.titlecolor": palette.text,
        "axes.titlesize": 10,
        "xtick.color": palette.line,
        "ytick.color": palette.line,
        "xtick.labelcolor": palette.muted,
        "ytick.labelcolor": palette.text,
        "grid.color": palette.line,
        "grid.linewidth": 0.6,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.axisbelow": True,
        "axes.formatter.useoffset": False,
        "legend.frameon": False,
        "legend.labelcolor": palette.text,
        "legend.fontsize": 9,
    }


class Plot:
    """A plot: notebooks show it, and ``save`` writes it as SVG or PNG.

    Attributes:
      figure: of matplotlib, for changes of one's own.
    """

    def __init__(self, figure: Figure, palette: Palette):
        self.figure, self._style = figure, _make_style(palette)

    def save(self, path: str | Path) -> Path:
        """Writes the plot; the ending of the name says how: ``.svg``, ``.png`` or ``.pdf``.

        Raises:
          ValueError: for another ending.
          OSError: if the file cannot be written.
        """
        path = Path(path)
        if path.suffix not in (".svg", ".png", ".pdf"):
            raise ValueError(f"a plot is saved as .svg, .png or .pdf, got {path.name!r}")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(self._render(path.suffix[1:]))
        return path

    def _repr_png_(self) -> bytes:
        """Returns the picture that a notebook shows."""
        return self._render("png")

    def _render(self, kind: str) -> bytes:
        data = io.BytesIO()
        # The salt and the missing date make the same run give the same file.
        metadata = None if kind == "png" else {"Date" if kind == "svg" else "CreationDate": None}
        with matplotlib.rc_context({**self._style, "svg.hashsalt": "plot"}):
            self.figure.savefig(data, format=kind, dpi=150, metadata=metadata)
        return data.getvalue()

    def to_page(self, key: str) -> str:
        """Returns the plot, drawn in the colours of ``PAGE``, as an SVG element for a page.

        Args:
          key: letters that make the identifiers in this SVG differ from those of other plots.
        """
        text = io.StringIO()
        with matplotlib.rc_context({**self._style, "svg.hashsalt": key}):
            self.figure.savefig(text, format="svg", transparent=True, metadata={"Date": None})
        svg = text.getvalue()
        svg = svg[svg.index("<svg") :]
        svg = re.sub(r"<metadata>.*?</metadata>|<style .*?</style>|<!--.*?-->", "", svg, flags=re.S)
        svg = re.sub(r"font: ([\d.]+px) [^;\"]*", r"font-size: \1", svg)
        svg = re.sub(r'(\bid="|href="#|url\(#)', rf"\g<1>{key}-", svg)
        size = r'width="[\d.]+pt" height="[\d.]+pt" |height="[\d.]+pt" width="[\d.]+pt" '
        svg = re.sub(size, "", svg)
        # The name of what holds it says what it shows.
        svg = svg.replace("<svg ", '<svg aria-hidden="true" ', 1)
        for name in ("text", "muted", "line", "found", "baseline"):
            svg = svg.replace(getattr(PAGE, name), f"var(--{name})")
        return svg


Draw = Callable[..., Figure | None]


def make_plot(draw: Draw) -> Callable[..., Plot | None]:
    """Wraps a function that draws in a palette, its first argument, so that it returns a plot.

    The palette is then the keyword ``palette``, ``LIGHT`` if left out. Without anything to draw the
    plot is None.
    """

    @wraps(draw)
    def plot(*arguments: Any, palette: Palette = LIGHT) -> Plot | None:
        with matplotlib.rc_context(_make_style(palette)):
            figure = draw(palette, *arguments)
        return None if figure is None else Plot(figure, palette)

    return plot


def make_figure(height: float, rows: int = 1, columns: int = 1, **options: Any) -> tuple[Any, Any]:
    """Returns a figure of the usual width and its axes."""
    figure = Figure(figsize=(INCHES, height), layout="constrained")
    return figure, figure.subplots(rows, columns, **options)


def add_legend(axes: Axes, columns: int = 4) -> None:
    """Puts a legend above the axes."""
    axes.legend(loc="lower left", bbox_to_anchor=(0, 1.0), ncols=columns, borderaxespad=0.2)
