"""What the sections of a page are made of; ``report.html.j2`` says how each part looks."""

from collections.abc import Sequence
from typing import NamedTuple

from markupsafe import Markup

from ..plots import Plot


class Cell(str):
    """The text of a table's cell that has a style of its own."""

    style = ""

    def __new__(cls, text: str, style: str) -> "Cell":
        """Returns the text; the style is one that this package wrote itself."""
        cell = super().__new__(cls, text)
        cell.style = style
        return cell


class Text(NamedTuple):
    """A paragraph."""

    text: str
    is_note: bool = False


class Heading(NamedTuple):
    """A heading within a section."""

    text: str


class Code(NamedTuple):
    """Lines to copy."""

    title: str
    text: str


class Row(NamedTuple):
    """A row of a table; its first cell is its heading."""

    cells: Sequence[str]
    css_class: str = ""


class Table(NamedTuple):
    """A table, which scrolls by itself on a narrow screen."""

    caption: str
    columns: Sequence[str]
    rows: Sequence[Row]
    right: Sequence[int] = ()  # columns that are aligned to the right
    css_class: str = ""
    hides_caption: bool = True  # for those who see the heading above


class Folded(NamedTuple):
    """A table that opens on request."""

    summary: str
    table: Table
    is_open: bool = False


class Figure(NamedTuple):
    """A plot with its caption, or why there is none."""

    svg: Markup | None
    caption: str
    missing: str


class FormulaLine(NamedTuple):
    """A typeset formula."""

    mathml: Markup
    text: str  # for who hears it
    label: str = ""


class Formulas(NamedTuple):
    """Typeset formulas below a heading."""

    title: str
    lines: Sequence[FormulaLine]


class Link(NamedTuple):
    """A file next to the page."""

    name: str
    address: str
    note: str = ""


class Links(NamedTuple):
    """A list of files."""

    links: Sequence[Link]


class Option(NamedTuple):
    """One of the tables that are switched."""

    title: str
    table: Table


class Switch(NamedTuple):
    """Tables of which one is seen."""

    key: str  # letters that no other switch has
    title: str
    options: Sequence[Option]
    chosen: int = 0


Part = Text | Heading | Code | Table | Folded | Figure | Formulas | Links | Switch


class Section(NamedTuple):
    """A section of the page."""

    id: str
    title: str
    parts: Sequence[Part]


def make_note(text: str) -> Text:
    """Returns a paragraph that explains what is above."""
    return Text(text, is_note=True)


def make_figure(plot: Plot | None, key: str, caption: str, missing: str) -> Figure:
    """Returns a plot as a part of the page.

    Args:
      plot: drawn in the colours of the page; None if there is nothing to draw.
      key: letters that no other plot of the page has.
      caption: that says what the plot shows, to those who do not see it, too.
      missing: what is said without a plot.
    """
    return Figure(None if plot is None else Markup(plot.to_page(key)), caption, missing)
