"""LaTeX of programs, by the templates of their operators."""

import re
from collections.abc import Sequence
from typing import NamedTuple

from .families import Family, get_load
from .operators import Op
from .printing import format_number, is_copy
from .programs import Program

_SYMBOLS = {
    "pred": r"\hat{y}",
    "label": "y",
    "logit": "z",
    "pos": "s^{+}",
    "neg": "s^{-}_{j}",
    "1": "1",
    "num_negatives": "S",
}
_SUM, _PRODUCT, _SIGN, _CALL, _SYMBOL = 1, 2, 3, 4, 5  # precedences, as ``Op.precedence``


class _Latex(NamedTuple):
    """A part of a formula."""

    text: str
    precedence: int = _SYMBOL


def write_latex(program: Program, family: Family) -> str:
    """Writes a static program as LaTeX, each operator by its template.

    Args:
      program: of the loss; its formula must not be too long to write, see ``check_size``.
      family: its language.
    """
    loads = {get_load(family, load.name): load.name for load in family.loads}
    parts = [_Latex(_SYMBOLS[name]) for name in family.registers]
    divisors: dict[int, str] = {}  # of reciprocals, by their registers
    for i, (number, lhs, rhs, constant) in enumerate(zip(*program, strict=True)):
        op = family.table[number]
        if op.name == "number":
            parts.append(_write_number(constant))
        elif op.arity == 0:
            parts.append(_Latex(op.latex))
        elif loads.get((number, lhs, rhs)) in _SYMBOLS:
            parts.append(_Latex(_SYMBOLS[loads[number, lhs, rhs]]))
        elif is_copy(program, i):
            parts.append(parts[lhs])
        else:
            arguments = [parts[register] for register in (lhs, rhs)[: op.arity]]
            parts.append(_write_call(op, arguments))
            if op.name == "reciprocal":
                divisors[len(parts) - 1] = arguments[0].text
            elif op.name == "mul" and (rhs in divisors or lhs in divisors):
                factor, one = (lhs, rhs) if rhs in divisors else (rhs, lhs)
                parts[-1] = _Latex(rf"\frac{{{parts[factor].text}}}{{{divisors[one]}}}", _CALL)
    return parts[-1].text


def _write_number(value: float) -> _Latex:
    mantissa, _, exponent = format_number(value).partition("e")
    precedence = _SYMBOL if value >= 0 else _SIGN
    if not exponent:
        return _Latex(mantissa, precedence)
    power = f"10^{{{int(exponent)}}}"
    if mantissa in ("1", "-1"):
        return _Latex(mantissa[:-1] + power, precedence)
    return _Latex(rf"{mantissa} \cdot {power}", _PRODUCT)


def _write_call(op: Op, arguments: Sequence[_Latex]) -> _Latex:
    """Writes an operator with its arguments, in brackets where its template has none."""
    template, precedence = op.latex, op.precedence
    if template.startswith(r"\left({0}\right)^") and arguments[0].precedence == _SYMBOL:
        template = template.replace(r"\left({0}\right)", "{0}")  # a power of a symbol
    texts, is_delimited = [], True
    for position, argument in enumerate(arguments):
        has_own = _has_brackets(template, position)
        is_delimited &= has_own
        least = precedence + position if precedence < _CALL else _SYMBOL
        # A product needs no brackets on the right of another, or behind a sign.
        least = min(least, _PRODUCT) if op.name in ("mul", "neg") else least
        needs = not has_own and argument.precedence < least and op.name != "id"
        needs |= position > 0 and not has_own and argument.text.startswith("-")
        texts.append(rf"\left({argument.text}\right)" if needs else argument.text)
    return _Latex(template.format(*texts), _CALL if is_delimited else precedence)


def _has_brackets(template: str, position: int) -> bool:
    """Whether a template delimits an argument: by brackets, bars, or the braces of a command."""
    return re.search(rf"[({{\[|,]\s*\{{{position}\}}", template) is not None
