"""Formulas on a page: as code, and typeset."""

import re
from collections.abc import Mapping
from xml.etree import ElementTree

from latex2mathml.converter import convert
from markupsafe import Markup, escape

from .parts import FormulaLine

_LONG_NUMBER = re.compile(r"\d+\.\d{5,}")
_SMALLER = 0.72  # letters of an exponent or an index
_EM = 0.62  # width of a letter


def format_formula(text: str) -> Markup:
    """Returns a formula as code; a long one breaks after a parenthesis, not inside a name.

    Example:
      >>> format_formula("log(1 < 2)")
      Markup('<code>log(<wbr>1 &lt; 2)</code>')
    """
    return Markup("<code>{}</code>").format(Markup(escape(text).replace("(", Markup("(<wbr>"))))


def typeset(latex: str) -> Markup | None:
    r"""Returns LaTeX as MathML, with about how wide it is; None if it cannot be.

    Example:
      >>> "<mfrac>" in typeset(r"\frac{1}{2}")
      True
    """
    latex = _LONG_NUMBER.sub(lambda number: _round(number[0]), latex)
    try:
        mathml = convert(latex, display="block")
        width = _measure(ElementTree.fromstring(mathml))
    except Exception:  # its errors share no base; a formula is also shown as text
        return None
    style = f'<math style="--ems: {max(width, 1.0):.1f}" '
    return Markup(mathml.replace("<math ", style, 1))


def typeset_lines(
    latex: Mapping[str, str], formula: str, by_label: Mapping[str, str]
) -> list[FormulaLine]:
    """Returns a loss and, if it has them, its forms for a like and for a dislike, typeset.

    Args:
      latex: "" for the whole loss, "like" and "dislike" -> LaTeX.
      formula: of the loss, as text.
      by_label: "like" and "dislike" -> formula.
    """
    lines = []
    for label, text in latex.items():
        mathml = typeset(text)
        if mathml is not None:
            spoken = by_label.get(label, formula) if label else formula
            lines.append(FormulaLine(mathml, spoken, f"for a {label}" if label else ""))
    return lines


def _round(number: str) -> str:
    """Returns a number with at most five digits, if it needs no exponent then."""
    rounded = f"{float(number):.5g}"
    return number if "e" in rounded else rounded


def _measure(element: ElementTree.Element) -> float:
    """Returns about how many ems an element of MathML is wide."""
    tag, widths = element.tag.rpartition("}")[2], [_measure(child) for child in element]
    if not widths:
        text = element.text or ""
        return _EM * len(text) + (0.5 if tag == "mo" and text not in "()[]|,-−" else 0.0)
    if tag == "mfrac":
        return max(widths) + 0.2
    if tag in ("msup", "msub", "msubsup"):
        return widths[0] + _SMALLER * max(widths[1:])
    if tag in ("mover", "munder", "munderover"):
        return max(widths)
    return sum(widths)
