"""Export: losses as stand-alone Python and PyTorch source, and as LaTeX."""

import importlib.util
import keyword
import math
import textwrap
from collections.abc import Mapping
from typing import NamedTuple

from .build import UNBOUNDED, Source, as_program
from .canonical import simplify
from .families import POINTWISE, Family, as_family
from .formulas import described, number_text
from .operators import SIGNED, as_bounds
from .programs import Program


class _Dialect(NamedTuple):
    """How a library spells what is not an operator."""

    form: str  # the field of Op
    imports: str
    sigmoid: str
    widen: str
    ones: str
    full: str
    mean: str
    clip: str  # of a value, with bounds
    helper: str  # defined in the function if clip needs it


_JAX = _Dialect(
    form="python",
    imports="import jax\nimport jax.numpy as jnp\n",
    sigmoid="jax.nn.sigmoid(logit)",
    widen="jnp.broadcast_to(pos[..., None], neg.shape)",
    ones="jnp.ones_like({like})",
    full="jnp.full_like({like}, {value})",
    mean="jnp.mean({value}, -1)",
    clip="clip({value})",
    helper="""
    def clip(x):  # unlike with jnp.clip alone, the whole gradient passes on a bound
        return jnp.where((x >= {low}) & (x <= {high}), x, jnp.clip(x, {low}, {high}))

""",
)
_TORCH = _Dialect(
    form="torch",
    imports="import torch\n",
    sigmoid="torch.sigmoid(logit)",
    widen="pos.unsqueeze(-1).expand_as(neg)",
    ones="torch.ones_like({like})",
    full="torch.full_like({like}, {value})",
    mean="torch.mean({value}, -1)",
    clip="torch.clamp({value}, {low}, {high})",
    helper="",
)


def _shortest(
    source: Source,
    bounds: tuple[float, float],
    family: str | Family,
    constants: Mapping[str, float],
) -> Program:
    """Give the simplified program of a source."""
    program = as_program(source, family=family, **constants)
    return simplify(program, bounds=as_bounds(bounds), family=family)


def _limit(bound: float) -> str:
    """Write a bound as an expression of Python."""
    return repr(bound) if math.isfinite(bound) else f'float("{bound}")'


def _lines(
    program: Program, dialect: _Dialect, bounds: tuple[float, float], family: Family
) -> list[str]:
    """Give one line for each register, and the result's."""
    is_pointwise = family.registers == POINTWISE.registers
    like = "pred" if is_pointwise else "neg"
    names = [*family.registers[:2], "one"]
    read = {register for row in (program.lhs, program.rhs) for register in row.tolist()}
    lines = []
    if not is_pointwise:
        lines.append(f"pos = {dialect.widen}")
    else:
        lines.append(f"pred = {dialect.sigmoid}")
    if 2 in read:
        lines.append(f"one = {dialect.ones.format(like=like)}")
    low, high = map(_limit, bounds)
    for i, (number, lhs, rhs, constant) in enumerate(zip(*program, strict=True)):
        op = family.table[number]
        names.append(f"r{len(family.registers) + i}")
        if op.name == "number":
            value = dialect.full.format(like=like, value=number_text(constant))
        elif op.name == "logit":
            value = "logit"
        else:
            arguments = [names[r] for r in (lhs, rhs)[: op.arity]]
            value = getattr(op, dialect.form).format(*arguments)
            if bounds != UNBOUNDED:
                value = dialect.clip.format(value=value, low=low, high=high)
        lines.append(f"{names[-1]} = {value}")
    result = names[-1] if is_pointwise else dialect.mean.format(value=names[-1])
    return [*lines, f"return {result}"]


def _source(
    program: Program, dialect: _Dialect, name: str, bounds: tuple[float, float], family: Family
) -> str:
    if not (name.isidentifier() and name.isascii()) or keyword.iskeyword(name):
        raise ValueError(f"a function is named like a variable, got {name!r}")
    is_pointwise = family.registers == POINTWISE.registers
    arguments = "logit, label" if is_pointwise else "pos, neg"
    body = "\n".join(f"    {line}" for line in _lines(program, dialect, bounds, family))
    low, high = map(_limit, bounds)
    helper = "" if bounds == UNBOUNDED else dialect.helper.format(low=low, high=high)
    return (
        f"{dialect.imports}\n\ndef {name}({arguments}):\n"
        f'    """{_docstring(program, bounds, family)}\n    """\n{helper}{body}\n'
    )


def _docstring(program: Program, bounds: tuple[float, float], family: Family) -> str:
    pointwise = family.registers == POINTWISE.registers
    of = "of each logit" if pointwise else "[..., B] of pos [..., B] and neg [..., B, S]"
    clipped = "" if bounds == UNBOUNDED else f" Intermediate results are clipped to {bounds}."
    text = f"Value {of} of the loss {described(program, family)}.{clipped}"
    lines = textwrap.wrap(text, 92, subsequent_indent="    ", break_long_words=False)
    return "\n".join(lines)


def to_python(
    source: Source,
    *,
    name: str = "loss",
    bounds: tuple[float, float] = SIGNED,
    family: str | Family = POINTWISE,
    **constants: float,
) -> str:
    """Write a loss as the source of a function of logits and labels that needs JAX alone.

    One line gives one register; the function gives the values, not their mean.

    Args:
      source: a formula, tokens or a program, as ``build_loss`` takes it.
      name: of the function.
      bounds: intermediate results are clipped to them.
      family: the language of the loss; a pairwise function takes ``pos`` and ``neg``.
      **constants: values of names in the formula.

    Raises:
      ValueError: if the source is not a loss, or the name not a variable's.

    >>> print(to_python("square(label - pred)").split('\"\"\"')[2].rstrip())  # doctest: +ELLIPSIS
    <BLANKLINE>
    ...
        pred = jax.nn.sigmoid(logit)
        r3 = clip(label - pred)
        r4 = clip(jnp.square(r3))
        return r4
    """
    program = _shortest(source, bounds, family, constants)
    return _source(program, _JAX, name, as_bounds(bounds), as_family(family))


def to_torch(
    source: Source,
    *,
    name: str = "loss",
    bounds: tuple[float, float] = SIGNED,
    family: str | Family = POINTWISE,
    **constants: float,
) -> str:
    """Write a loss as the source of a function of logits and labels that needs PyTorch alone.

    Arguments and errors are those of ``to_python``; logits and labels are floating tensors.

    >>> print(to_torch("square(label - pred)").split('\"\"\"')[2].rstrip())
    <BLANKLINE>
        pred = torch.sigmoid(logit)
        r3 = torch.clamp(label - pred, -100000.0, 100000.0)
        r4 = torch.clamp(torch.square(r3), -100000.0, 100000.0)
        return r4
    """
    program = _shortest(source, bounds, family, constants)
    return _source(program, _TORCH, name, as_bounds(bounds), as_family(family))


def to_latex(
    source: Source,
    *,
    bounds: tuple[float, float] = SIGNED,
    family: str | Family = POINTWISE,
    **constants: float,
) -> str:
    r"""Write a loss as LaTeX, simplified by SymPy where the values on the grid stay the same.

    Prediction, label and logit are :math:`\hat{y}`, :math:`y` and :math:`z`; the logits of the
    positive and its negatives :math:`s^{+}` and :math:`s^{-}_{j}`. Neither clips nor the protection
    of log, root and quotient at zero are written.

    Args:
      source: a formula, tokens or a program, as ``build_loss`` takes it.
      bounds: those under which the program is simplified before.
      family: the language of the loss.
      **constants: values of names in the formula.

    Raises:
      ImportError: without SymPy; ``pip install autolossgen[symbolic]`` brings it.
      ValueError: if the source is not a loss.

    >>> print(to_latex("square(label - pred) / s", s=2))
    \frac{\left(y - \hat{y}\right)^{2}}{2}
    """
    if importlib.util.find_spec("sympy") is None:
        raise ImportError("to_latex needs SymPy: pip install 'autolossgen[symbolic]'")
    from .symbolic import latex

    return latex(_shortest(source, bounds, family, constants), as_family(family))
