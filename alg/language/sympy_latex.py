"""Programs as SymPy expressions; needs SymPy, which nothing else here does."""

import math
import re

import jax
import jax.numpy as jnp
import numpy as np
import sympy
from sympy.core.function import AppliedUndef
from sympy.printing.latex import LatexPrinter
from sympy.printing.precedence import PRECEDENCE

from .build import UNBOUNDED, evaluate
from .equivalence import is_close, make_comparison_grid
from .families import POINTWISE, Family
from .operator_checks import use_float64
from .printing import format_number
from .programs import Program

MAX_TERMS, MAX_PARTS = 500, 300
"""Larger expressions are written as they are: SymPy would take minutes to simplify them."""

_SYMBOLS = {
    "pred": r"\hat{y}",
    "label": "y",
    "logit": "z",
    "pos": "s^{+}",
    "neg": "s^{-}_{j}",
}


def _number(value: float) -> sympy.Expr:
    if value == int(value) and abs(value) < 1e6:
        return sympy.Integer(int(value))
    return sympy.Float(format_number(value), 15)


def _expression(program: Program, family: Family, *, divide: bool) -> sympy.Expr:
    """Give the expression; operators that SymPy has no exact word for are functions to it.

    With ``divide`` a quotient is SymPy's, so that it cancels, which is not exact near zero.
    """
    exact = {
        "add": lambda x, y: x + y,
        "sub": lambda x, y: x - y,
        "mul": lambda x, y: x * y,
        "neg": lambda x: -x,
        "square": lambda x: x**2,
        "id": lambda x: x,
    }
    if divide:
        exact["div"] = lambda x, y: x / y
    symbols = {name: sympy.Symbol(latex, real=True) for name, latex in _SYMBOLS.items()}
    values = [*(symbols[name] for name in family.registers[:2]), sympy.Integer(1)]
    for number, lhs, rhs, constant in zip(*program, strict=True):
        op = family.table[number]
        if op.name == "number":
            values.append(_number(constant))
        elif op.name == "logit":
            values.append(symbols["logit"])
        else:
            function = exact.get(op.name, sympy.Function(op.name))
            values.append(function(*(values[r] for r in (lhs, rhs)[: op.arity])))
    return values[-1]


def _operands(family: Family) -> dict[str, jax.Array]:
    """Give the values on the grid of what symbols stand for, by their LaTeX."""
    first, second = map(jnp.asarray, make_comparison_grid(family))
    if family.registers == POINTWISE.registers:
        named = {"pred": jax.nn.sigmoid(first), "label": second, "logit": first}
    else:
        named = {"pos": jnp.broadcast_to(first[:, None], second.shape), "neg": second}
    return {_SYMBOLS[name]: value for name, value in named.items()}


def _values(expression: sympy.Expr, operands: dict[str, jax.Array], family: Family) -> jax.Array:
    """Evaluate an expression on arrays."""
    if expression.is_Symbol:
        return operands[expression.name]
    arguments = [_values(part, operands, family) for part in expression.args]
    if isinstance(expression, AppliedUndef):
        op = next(op for op in family.table if op.name == expression.func.__name__)
        return op.function(*arguments)
    like = next(iter(operands.values()))
    if expression.is_Number:
        return jnp.full_like(like, float(expression))
    if not arguments:
        return jnp.full_like(like, jnp.nan)  # SymPy's infinity of division by zero
    result = arguments[0]
    for argument in arguments[1:]:
        if expression.is_Add:
            result = result + argument
        elif expression.is_Mul:
            result = result * argument
        elif expression.is_Pow:
            result = result**argument
        else:
            return jnp.full_like(like, jnp.nan)  # a function that the language does not have
    return result


def _is_same(expression: sympy.Expr, program: Program, family: Family) -> bool:
    with use_float64():
        operands = _operands(family)
        registers = [operands[_SYMBOLS[name]] for name in family.registers[:2]]
        logit = operands.get(_SYMBOLS["logit"])
        registers.append(jnp.ones_like(registers[0]))
        wanted = evaluate(program, registers, logit=logit, bounds=UNBOUNDED, family=family)
        return is_close(np.asarray(_values(expression, operands, family)), np.asarray(wanted))


class _Printer(LatexPrinter):
    """Prints the language's operators by the templates of their rows."""

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


def _terms(expression: sympy.Expr) -> tuple[int, int]:
    """Give how many terms numerator and denominator have at most, if written out."""
    if expression.is_Pow and expression.exp.is_Integer:
        sizes = [_power(terms, abs(int(expression.exp))) for terms in _terms(expression.base)]
        return tuple(sizes if expression.exp > 0 else sizes[::-1])
    if not (expression.is_Add or expression.is_Mul):
        return 1, 1
    sizes = [_terms(part) for part in expression.args]
    below = math.prod(bottom for _, bottom in sizes)
    if expression.is_Mul:
        return math.prod(top for top, _ in sizes), below
    return sum(top * below // bottom for top, bottom in sizes), below


def _power(terms: int, exponent: int) -> int:
    return 1 if terms == 1 else math.comb(terms + exponent - 1, exponent)


def _is_small(expression: sympy.Expr) -> bool:
    """Say if SymPy, which writes sums out to simplify them, is done with it in a second or two."""
    parts = list(sympy.postorder_traversal(expression))
    return len(parts) <= MAX_PARTS and all(max(_terms(part)) <= MAX_TERMS for part in parts)


def write_latex(program: Program, family: Family) -> str:
    """Give the shortest LaTeX that SymPy finds and that has the program's values on the grid."""
    divided = _expression(program, family, divide=True)
    found = [divided, sympy.factor_terms(divided)]
    if _is_small(divided):
        found.append(sympy.simplify(divided))
    for expression in sorted(found, key=sympy.count_ops):
        if _is_same(expression, program, family):
            return _Printer(family).doprint(expression)
    return _Printer(family).doprint(_expression(program, family, divide=False))
