"""Export: losses as stand-alone Python and PyTorch source, and as LaTeX."""

import importlib.util
import keyword
import math
import textwrap
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from .build import find_active_clips
from .families import POINTWISE, Family
from .inputs import LossFn, LossLike, LossSpec, read_loss
from .printing import check_size, describe_program, format_number
from .simplify import simplify


class _Dialect(NamedTuple):
    """How a library spells what is not an operator."""

    form: str  # the field of Op
    imports: str
    sigmoid: str
    widen: str
    ones: str  # of the shape and dtype of the scores
    mean: str
    clip: str  # the function of that name, with bounds


_JAX = _Dialect(
    form="python",
    imports="import jax\nimport jax.numpy as jnp\n",
    sigmoid="jax.nn.sigmoid(logit)",
    widen="jnp.broadcast_to(pos[..., None], neg.shape)",
    ones="jnp.ones_like({like})",
    mean="jnp.mean({value}, -1)",
    clip="""
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
    mean="torch.mean({value}, -1)",
    clip="""
    def clip(x):
        largest = torch.finfo(x.dtype).max  # of half precision it may be less than a bound
        return torch.clamp(x, max({low}, -largest), min({high}, largest))

""",
)
_TAKEN = ("jax", "jnp", "torch")  # what the source itself calls so


def _shortest(
    source: LossLike | LossFn,
    bounds: tuple[float, float] | None,
    family: str | Family | None,
    constants: Mapping[str, float],
) -> LossSpec:
    """Give what a source says, its program simplified."""
    if isinstance(source, LossFn) and source.inputs != "logits":
        raise ValueError(
            f"an export is a function of logits, the loss takes {source.inputs}: give loss.program"
        )
    program, family, bounds = read_loss(source, family=family, bounds=bounds, **constants)
    return LossSpec(simplify(program, bounds=bounds, family=family), family, bounds)


def _limit(bound: float) -> str:
    """Write a bound as an expression of Python."""
    return repr(bound) if math.isfinite(bound) else f'float("{bound}")'


def _lines(loss: LossSpec, dialect: _Dialect, clipped: Sequence[bool]) -> list[str]:
    """Give one line for each operand that is read and each result, and the answer's."""
    program, family, _ = loss
    is_pointwise = family.registers == POINTWISE.registers
    ones = dialect.ones.format(like="logit" if is_pointwise else "neg")
    names = [*family.registers[:2], "one"]
    operands = [dialect.sigmoid if is_pointwise else dialect.widen, None, ones]
    rows = list(zip(*program, clipped, strict=True))
    read = {r for number, lhs, rhs, *_ in rows for r in (lhs, rhs)[: family.table[number].arity]}
    lines = [f"{names[r]} = {operands[r]}" for r in (0, 2) if r in read]
    for i, (number, lhs, rhs, constant, is_clipped) in enumerate(rows):
        op = family.table[number]
        if op.name == "logit":
            names.append("logit")
            continue
        if op.name == "number":
            value = f"{format_number(constant)} * {ones}"
        else:
            arguments = [names[r] for r in (lhs, rhs)[: op.arity]]
            value = getattr(op, dialect.form).format(*arguments)
        names.append(f"r{len(family.registers) + i}")
        lines.append(f"{names[-1]} = {f'clip({value})' if is_clipped else value}")
    result = names[-1] if is_pointwise else dialect.mean.format(value=names[-1])
    return [*lines, f"return {result}"]


def _source(loss: LossSpec, dialect: _Dialect, name: str) -> str:
    if not (name.isidentifier() and name.isascii()) or keyword.iskeyword(name) or name in _TAKEN:
        raise ValueError(
            f"a function is named like a variable, and not {', '.join(_TAKEN)}, got {name!r}"
        )
    clipped = find_active_clips(loss.program, loss.bounds, loss.family)
    arguments = "logit, label" if loss.family.registers == POINTWISE.registers else "pos, neg"
    body = "\n".join(f"    {line}" for line in _lines(loss, dialect, clipped))
    low, high = map(_limit, loss.bounds)
    helper = dialect.clip.format(low=low, high=high) if any(clipped) else ""
    return (
        f"{dialect.imports}\n\ndef {name}({arguments}):\n"
        f'    """{_docstring(loss, is_clipped=any(clipped))}\n    """\n{helper}{body}\n'
    )


def _docstring(loss: LossSpec, *, is_clipped: bool) -> str:
    pointwise = loss.family.registers == POINTWISE.registers
    of = "of each logit" if pointwise else "[..., B] of pos [..., B] and neg [..., B, S]"
    clipped = f" Results that may leave {loss.bounds} are clipped to them." if is_clipped else ""
    text = f"Value {of} of the loss {describe_program(loss.program, loss.family)}.{clipped}"
    lines = textwrap.wrap(text, 92, subsequent_indent="    ", break_long_words=False)
    return "\n".join(lines)


def to_python(
    source: LossLike | LossFn,
    /,
    *,
    name: str = "loss",
    bounds: tuple[float, float] | None = None,
    family: str | Family | None = None,
    **constants: float,
) -> str:
    """Write a loss as the source of a function of logits and labels that needs JAX alone.

    One line gives one register; the function gives the values, not their mean, and works in the
    dtype of its arguments. Half precision rounds the protection of log and quotient and knows no
    number above its largest, where a built loss works in float32.

    Args:
      source: a ``LossFn``, which brings bounds and family; or a formula, tokens or a program, as
        ``build_loss`` takes it.
      name: of the function.
      bounds: intermediate results are clipped to them, ``SIGNED`` if left out. A clip that cannot
        act on logits up to 10,000 and labels up to 5, of either sign, is not written.
      family: the language of the loss, pointwise if left out: a program of another family has to
        come with it. A pairwise function takes ``pos`` and ``neg``.
      **constants: values of names in the formula.

    Raises:
      ValueError: if the source is not a loss or one of probabilities, if it is a ``LossFn`` of
        other bounds or another family than told, or if the name is not a variable's.

    >>> print(to_python("square(label - pred)").split('\"\"\"')[2].strip())
    pred = jax.nn.sigmoid(logit)
        r3 = label - pred
        r4 = jnp.square(r3)
        return r4
    """
    return _source(_shortest(source, bounds, family, constants), _JAX, name)


def to_torch(
    source: LossLike | LossFn,
    /,
    *,
    name: str = "loss",
    bounds: tuple[float, float] | None = None,
    family: str | Family | None = None,
    **constants: float,
) -> str:
    """Write a loss as the source of a function of logits and labels that needs PyTorch alone.

    Arguments and errors are those of ``to_python``; logits and labels are floating tensors.

    >>> from autolossgen import named_loss
    >>> print(to_torch(named_loss("bpr")).split('\"\"\"')[2].strip())
    pos = pos.unsqueeze(-1).expand_as(neg)
        r3 = neg - pos
        r4 = torch.logaddexp(r3, torch.zeros_like(r3))
        return torch.mean(r4, -1)
    """
    return _source(_shortest(source, bounds, family, constants), _TORCH, name)


def to_latex(
    source: LossLike | LossFn,
    /,
    *,
    bounds: tuple[float, float] | None = None,
    family: str | Family | None = None,
    **constants: float,
) -> str:
    r"""Write a loss as LaTeX, simplified by SymPy where the values on the grid stay the same.

    What SymPy would take long to simplify, as a high power of a sum, is written as it is.

    Prediction, label and logit are :math:`\hat{y}`, :math:`y` and :math:`z`; the logits of the
    positive and its negatives :math:`s^{+}` and :math:`s^{-}_{j}`. Neither clips nor the protection
    of log, root and quotient at zero are written.

    Args:
      source: a ``LossFn``, which brings bounds and family; or a formula, tokens or a program, as
        ``build_loss`` takes it.
      bounds: those under which the program is simplified before; ``SIGNED`` if left out.
      family: the language of the loss; pointwise if left out.
      **constants: values of names in the formula.

    Raises:
      ImportError: without SymPy; ``pip install autolossgen[symbolic]`` brings it.
      ValueError: as ``to_python``, or if the formula is too long to write.

    >>> print(to_latex("square(label - pred) / s", s=2))
    \frac{\left(y - \hat{y}\right)^{2}}{2}
    """
    if importlib.util.find_spec("sympy") is None:
        raise ImportError("to_latex needs SymPy: pip install 'autolossgen[symbolic]'")
    from .sympy_latex import write_latex

    program, family, _ = _shortest(source, bounds, family, constants)
    check_size(program, family)
    return write_latex(program, family)
