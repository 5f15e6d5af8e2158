"""How numbers, durations and formulas are written, the same in the terminal and on the page."""

import re

MISSING = "-"
_LINE_BREAKS = re.compile(r"[\r\n\t\v\f]+")
_ASCII = str.maketrans({"…": "...", "±": "+/-", "–": "-", "−": "-", "·": "*", "×": "x"})


def format_score(value: float | None, *, signed: bool = False) -> str:
    """Returns a metric or a reward with four decimals, ``"-"`` if it is unknown.

    Example:
      >>> format_score(0.80312), format_score(0.0026, signed=True), format_score(None)
      ('0.8031', '+0.0026', '-')
    """
    if value is None:
        return MISSING
    # Rewards of rejected candidates are unbounded below; four decimals would not help there.
    if abs(value) >= 1000:
        return f"{value:+.3g}" if signed else f"{value:.3g}"
    return f"{value:+.4f}" if signed else f"{value:.4f}"


def format_hyper_parameter(value: float | None) -> str:
    """Returns a hyper-parameter in its shortest form, ``"-"`` if it is unknown.

    Example:
      >>> [format_hyper_parameter(value) for value in (0.01, 1e-05, 40, None)]
      ['0.01', '1e-05', '40', '-']
    """
    return MISSING if value is None else f"{value:.4g}"


def format_count(value: float | None) -> str:
    """Returns a number of candidates with thousands separators, ``"-"`` if it is unknown.

    Example:
      >>> format_count(12288)
      '12,288'
    """
    return MISSING if value is None else f"{value:,.0f}"


def format_duration(seconds: float | None) -> str:
    """Returns seconds as minutes:seconds or hours:minutes:seconds, ``"-"`` if they are unknown.

    Example:
      >>> format_duration(42.4), format_duration(3723), format_duration(None)
      ('0:42', '1:02:03', '-')
    """
    if seconds is None:
        return MISSING
    minutes, rest = divmod(round(max(seconds, 0.0)), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


def to_one_line(text: str, *, ascii_only: bool = False) -> str:
    r"""Removes line breaks and control characters from a text, and on request all but ASCII.

    A formula comes from a file: an escape sequence in it must not reach the terminal.

    Example:
      >>> to_one_line("log(pred)\x1b[2J\n"), to_one_line("0.80 ± 0.01", ascii_only=True)
      ('log(pred)[2J ', '0.80 +/- 0.01')
    """
    text = _LINE_BREAKS.sub(" ", text)
    text = "".join(character for character in text if character.isprintable())
    if ascii_only:
        text = text.translate(_ASCII).encode("ascii", "replace").decode("ascii")
    return text


def shorten(formula: str, width: int, *, ascii_only: bool = False) -> str:
    """Cuts a formula to at most ``width`` characters, between words and not inside one.

    Example:
      >>> shorten("max(label, 1 / pred) - log(pred)", 16)
      'max(label, 1 / …'
      >>> shorten("mean(logit)", 20), shorten("  sampled_softmax", 14)
      ('mean(logit)', '  sampled_sof…')
    """
    if len(formula) <= width:
        return formula
    ellipsis = "..." if ascii_only else "…"
    room = width - len(ellipsis)
    if room < 1:
        return ellipsis[: max(width, 0)]
    cut = room
    while cut > 0 and _is_inside_word(formula, cut):
        cut -= 1
    # A first word longer than the room has no better place to be cut.
    return formula[: cut if formula[:cut].strip() else room] + ellipsis


def _is_inside_word(text: str, position: int) -> bool:
    before, after = text[position - 1], text[position]
    return (before.isalnum() or before in "._") and (after.isalnum() or after in "._")
