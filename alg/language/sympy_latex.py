"""LaTeX of programs, by way of SymPy expressions; nothing else here needs SymPy."""

import functools
import math
import operator
import re
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
import sympy
from sympy.core.function import AppliedUndef
from sympy.printing.latex import LatexPrinter
from sympy.printing.precedence import PRECEDENCE

from .build import UNBOUNDED, evaluate
from .equivalence import is_close, make_comparison_grid, make_thresholds
from .families import Family
from .operator_checks import use_float64
from .printing import format_number
from .programs import Program

MAX_TERMS, MAX_PARTS = 500, 300
"""Limits above which SymPy does not simplify an expression; it would take minutes."""

_SYMBOLS = {
    "pred": r"\hat{y}",
    "label": "y",
    "logit": "z",
    "pos": "s^{+}",
    "neg": "s^{-}_{j}",
    "threshold": "b_{u}",
}


def _number(value: float) -> sympy.Expr:
    if value == int(value) and abs(value) < 1e6:
        return sympy.Integer(int(value))
    return sympy.Float(format_number(value), 15)


_EXACT: dict[str, Callable[..., sympy.Expr]] = {
    "add": lambda x, y: x + y,
    "sub": lambda x, y: x - y,
    "mul": lambda x, y: x * y,
    "neg": lambda x: -x,
    "square": lambda x: x**2,
    "id": lambda x: x,
}
"""Operators that SymPy can simplify; the others are unknown functions to it."""


def _make_expression(program: Program, family: Family, *, divide: bool) -> sympy.Expr:
    """Builds the expression of a program.

    With ``divide``, a quotient is SymPy's, so it cancels; that is not exact near zero.
    """
    exact = {**_EXACT, "div": lambda x, y: x / y} if divide else _EXACT
    symbols = {name: sympy.Symbol(latex, real=True) for name, latex in _SYMBOLS.items()}
    values = [*(symbols[name] for name in family.registers[:2]), sympy.Integer(1)]
    for number, lhs, rhs, constant in zip(*program, strict=True):
        op = family.table[number]
        if op.name == "number":
            values.append(_number(constant))
        elif op.arity == 0:
            values.append(symbols[op.name])
        else:
            function = exact.get(op.name, sympy.Function(op.name))
            values.append(function(*(values[r] for r in (lhs, rhs)[: op.arity])))
    return values[-1]


def _make_operands(family: Family) -> dict[str, jax.Array]:
    """Returns the values of the symbols on the grid, by their LaTeX."""
    first, second = map(jnp.asarray, make_comparison_grid(family))
    if family.is_pairwise:
        named = {"pos": first, "threshold": jnp.asarray(make_thresholds(np.asarray(first)))}
        named = {name: jnp.broadcast_to(x[:, None], second.shape) for name, x in named.items()}
        named["neg"] = second
    else:
        named = {"pred": jax.nn.sigmoid(first), "label": second, "logit": first}
    return {_SYMBOLS[name]: value for name, value in named.items()}


def _evaluate(expression: sympy.Expr, operands: dict[str, jax.Array], family: Family) -> jax.Array:
    """Evaluates an expression on arrays; NaN where it has no value in the language."""
    if expression.is_Symbol:
        return operands[expression.name]
    arguments = [_evaluate(part, operands, family) for part in expression.args]
    if isinstance(expression, AppliedUndef):
        op = next(op for op in family.table if op.name == expression.func.__name__)
        return op.function(*arguments)
    ones = jnp.ones_like(next(iter(operands.values())))
    if expression.is_Number:
        return float(expression) * ones
    for is_kind, combine in (
        (expression.is_Add, operator.add),
        (expression.is_Mul, operator.mul),
        (expression.is_Pow, operator.pow),
    ):
        if is_kind:
            return functools.reduce(combine, arguments)
    # SymPy's infinity of a division by zero, or a function that the language does not have.
    return jnp.nan * ones


def _has_values_of(expression: sympy.Expr, program: Program, family: Family) -> bool:
    """Whether an expression has the values of a program on the grid."""
    with use_float64():
        operands = _make_operands(family)
        registers = [operands[_SYMBOLS[name]] for name in family.registers[:2]]
        loads = {
            load.name: operands[symbol]
            for load in family.loads
            if (symbol := _SYMBOLS.get(load.name)) in operands
        }
        registers.append(jnp.ones_like(registers[0]))
        expected = evaluate(program, registers, loads=loads, bounds=UNBOUNDED, family=family)
        return is_close(np.asarray(_evaluate(expression, operands, family)), np.asarray(expected))


class _Printer(LatexPrinter):
    """Printer of SymPy that writes operators by their templates."""

    def __init__(self, family: Family):
        super().__init__()
        self.templates = {op.name: op.latex for op in family.table}

    def _as_ordered_terms(self, expr, order=None):
        terms = super()._as_ordered_terms(expr, order)
        return sorted(terms, key=lambda term: term.could_extract_minus_sign())  # y - x, not -x + y

    def _print_Function(self, expr, exp=None):
        template = self.templates[expr.func.__name__]
        arguments = [
            self._print(argument)
            if re.search(rf"[({{\[|,]\s*\{{{position}\}}", template)
            else self.parenthesize(argument, PRECEDENCE["Func"])
            for position, argument in enumerate(expr.args)
        ]
        text = template.format(*arguments)
        return text if exp is None else rf"\left({text}\right)^{{{exp}}}"

    def _print_Float(self, expr):
        mantissa, _, exponent = format_number(float(expr)).partition("e")
        if not exponent:
            return mantissa
        power = f"10^{{{int(exponent)}}}"
        return power if mantissa == "1" else rf"{mantissa} \cdot {power}"


def _count_terms(expression: sympy.Expr) -> tuple[int, int]:
    """Returns how many terms numerator and denominator have at most once multiplied out."""
    if expression.is_Pow and expression.exp.is_Integer:
        exponent = int(expression.exp)
        top, bottom = (
            _count_terms_of_power(terms, abs(exponent)) for terms in _count_terms(expression.base)
        )
        return (top, bottom) if exponent > 0 else (bottom, top)
    if not (expression.is_Add or expression.is_Mul):
        return 1, 1
    counts = [_count_terms(part) for part in expression.args]
    denominator = math.prod(bottom for _, bottom in counts)
    if expression.is_Mul:
        return math.prod(top for top, _ in counts), denominator
    return sum(top * denominator // bottom for top, bottom in counts), denominator


def _count_terms_of_power(terms: int, exponent: int) -> int:
    return 1 if terms == 1 else math.comb(terms + exponent - 1, exponent)


def _is_small(expression: sympy.Expr) -> bool:
    """Whether SymPy, which multiplies sums out, simplifies an expression in a second or two."""
    parts = list(sympy.postorder_traversal(expression))
    return len(parts) <= MAX_PARTS and all(max(_count_terms(part)) <= MAX_TERMS for part in parts)


def write_latex(program: Program, family: Family) -> str:
    """Writes the shortest LaTeX that SymPy finds and that has the program's values on the grid."""
    divided = _make_expression(program, family, divide=True)
    candidates = [divided, sympy.factor_terms(divided)]
    if _is_small(divided):
        candidates.append(sympy.simplify(divided))
    for expression in sorted(candidates, key=sympy.count_ops):
        if _has_values_of(expression, program, family):
            return _Printer(family).doprint(expression)
    return _Printer(family).doprint(_make_expression(program, family, divide=False))
