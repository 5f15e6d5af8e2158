"""Losses as stand-alone Python and PyTorch source, and as LaTeX."""

import keyword
import math
import textwrap
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from .build import find_active_clips
from .families import Family
from .inputs import LossFn, LossLike, LossSpec, read_loss
from .latex import write_latex
from .operators import NUMBER_OF
from .printing import check_size, describe_program, format_number
from .simplify import simplify


class _Dialect(NamedTuple):
    """How a library writes what is not an operator."""

    form: str  # the field of Op that has the operators
    imports: str
    sigmoid: str
    widen: str  # a value of each positive, to the shape of the negatives
    ones: str  # of the shape and dtype of the scores
    mean: str
    clip: str  # definition of the function ``clip``, a template of the bounds


_JAX = _Dialect(
    form="python",
    imports="import jax\nimport jax.numpy as jnp\n",
    sigmoid="jax.nn.sigmoid(logit)",
    widen="jnp.broadcast_to({0}[..., None], neg.shape)",
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
    widen="{0}.unsqueeze(-1).expand_as(neg)",
    ones="torch.ones_like({like})",
    mean="torch.mean({value}, -1)",
    clip="""
    def clip(x):
        largest = torch.finfo(x.dtype).max  # of half precision it may be less than a bound
        return torch.clamp(x, max({low}, -largest), min({high}, largest))

""",
)
_RESERVED_NAMES = ("jax", "jnp", "torch")  # the source uses them


def _read_simplified(
    source: LossLike | LossFn,
    bounds: tuple[float, float] | None,
    family: str | Family | None,
    constants: Mapping[str, float],
) -> LossSpec:
    """Reads a source and simplifies its program."""
    if isinstance(source, LossFn) and source.inputs != "logits":
        raise ValueError(
            f"an export is a function of logits, the loss takes {source.inputs}: give loss.program"
        )
    program, family, bounds = read_loss(source, family=family, bounds=bounds, **constants)
    return LossSpec(simplify(program, bounds=bounds, family=family), family, bounds)


def _write_bound(bound: float) -> str:
    """Writes a bound as a Python expression."""
    return repr(bound) if math.isfinite(bound) else f'float("{bound}")'


def _write_body(loss: LossSpec, dialect: _Dialect, clipped: Sequence[bool]) -> list[str]:
    """Returns a line for each operand that is read and for each instruction, and the return."""
    program, family, _ = loss
    ones = dialect.ones.format(like="neg" if family.is_pairwise else "logit")
    names = [*family.registers[:2], "one"]
    rows = list(zip(*program, clipped, strict=True))
    lines = _write_operands(loss, dialect, ones)
    for i, (number, lhs, rhs, constant, is_clipped) in enumerate(rows):
        op = family.table[number]
        if op.arity == 0 and op.name != "number":
            names.append(op.name)
            continue
        if op.name == "number":
            value = f"{format_number(constant)} * {ones}"
        else:
            arguments = [names[r] for r in (lhs, rhs)[: op.arity]]
            value = getattr(op, dialect.form).format(*arguments)
        names.append(f"r{len(family.registers) + i}")
        lines.append(f"{names[-1]} = {f'clip({value})' if is_clipped else value}")
    result = dialect.mean.format(value=names[-1]) if family.is_pairwise else names[-1]
    return [*lines, f"return {result}"]


def _write_operands(loss: LossSpec, dialect: _Dialect, ones: str) -> list[str]:
    """Returns the lines that compute registers 0 and 2, and thresholds, where they are read."""
    program, family, _ = loss
    is_read = {
        register
        for number, lhs, rhs, _ in zip(*program, strict=True)
        for register in (lhs, rhs)[: family.table[number].arity]
    }
    first = dialect.widen.format("pos") if family.is_pairwise else dialect.sigmoid
    lines = {0: f"{family.registers[0]} = {first}", 2: f"one = {ones}"}
    read = [line for register, line in lines.items() if register in is_read]
    if _reads_threshold(loss):
        read.append(f"threshold = {dialect.widen.format('threshold')}")
    return read


def _reads_threshold(loss: LossSpec) -> bool:
    return NUMBER_OF["threshold"] in loss.program.op


def _write_source(loss: LossSpec, dialect: _Dialect, name: str) -> str:
    """Returns the source of a module with one function."""
    is_variable = name.isidentifier() and name.isascii() and not keyword.iskeyword(name)
    if not is_variable or name in _RESERVED_NAMES:
        raise ValueError(
            f"a function is named like a variable, and not {', '.join(_RESERVED_NAMES)}, "
            f"got {name!r}"
        )
    clipped = find_active_clips(loss.program, loss.bounds, loss.family)
    arguments = "pos, neg" if loss.family.is_pairwise else "logit, label"
    arguments += ", threshold" if _reads_threshold(loss) else ""
    body = "\n".join(f"    {line}" for line in _write_body(loss, dialect, clipped))
    low, high = map(_write_bound, loss.bounds)
    helper = dialect.clip.format(low=low, high=high) if any(clipped) else ""
    return (
        f"{dialect.imports}\n\ndef {name}({arguments}):\n"
        f'    """{_write_docstring(loss, is_clipped=any(clipped))}\n    """\n{helper}{body}\n'
    )


def _write_docstring(loss: LossSpec, *, is_clipped: bool) -> str:
    shape = (
        "[..., B] of pos [..., B] and neg [..., B, num_negatives]"
        if loss.family.is_pairwise
        else "of each logit"
    )
    clips = f" Results that may leave {loss.bounds} are clipped to them." if is_clipped else ""
    text = f"Value {shape} of the loss {describe_program(loss.program, loss.family)}.{clips}"
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
    """Writes a loss as the source of a function of logits and labels that needs JAX alone.

    Each line computes one register. The function returns the values, not their mean, in the dtype
    of its arguments. A built loss computes in float32 at least; in half precision, the source
    rounds the protection of log and quotient, and large results become infinite.

    Args:
      source: a ``LossFn``, which brings bounds and family; or a formula, tokens or a program, as
        ``build_loss`` takes it.
      name: name of the function.
      bounds: intermediate results are clipped to them; ``DEFAULT_BOUNDS`` if left out. A clip that
        cannot act on logits up to 10,000 and labels up to 5, positive or negative, is not written.
      family: language of the loss; pointwise if left out. A program of another family needs it. A
        pairwise function takes ``pos`` and ``neg``, and ``threshold`` [..., B] if the loss reads
        it, which no gradient should reach.
      **constants: values of names in the formula.

    Raises:
      ValueError: if the source is not a loss, or one of probabilities; if a ``LossFn`` has other
        bounds or another family than those given; or if the name is not that of a variable.

    Example:
      >>> print(to_python("square(label - pred)").split('\"\"\"')[2].strip())
      pred = jax.nn.sigmoid(logit)
          r3 = label - pred
          r4 = jnp.square(r3)
          return r4
    """
    return _write_source(_read_simplified(source, bounds, family, constants), _JAX, name)


def to_torch(
    source: LossLike | LossFn,
    /,
    *,
    name: str = "loss",
    bounds: tuple[float, float] | None = None,
    family: str | Family | None = None,
    **constants: float,
) -> str:
    """Writes a loss as the source of a function of logits and labels that needs PyTorch alone.

    Arguments and errors are those of ``to_python``; logits and labels are floating-point tensors.

    Example:
      >>> from autolossgen import named_loss
      >>> print(to_torch(named_loss("bpr")).split('\"\"\"')[2].strip())
      pos = pos.unsqueeze(-1).expand_as(neg)
          r3 = neg - pos
          r4 = torch.logaddexp(r3, torch.zeros_like(r3))
          return torch.mean(r4, -1)
    """
    return _write_source(_read_simplified(source, bounds, family, constants), _TORCH, name)


def to_latex(
    source: LossLike | LossFn,
    /,
    *,
    bounds: tuple[float, float] | None = None,
    family: str | Family | None = None,
    **constants: float,
) -> str:
    r"""Writes a loss as LaTeX: the formula that ``to_text`` writes of the simplified loss.

    Prediction, label and logit are :math:`\hat{y}`, :math:`y` and :math:`z`; the logits of the
    positive and its negatives are :math:`s^{+}` and :math:`s^{-}_{j}`. Clips and the protection of
    log, root and quotient at zero are not written.

    Args:
      source: a ``LossFn``, which brings bounds and family; or a formula, tokens or a program, as
        ``build_loss`` takes it.
      bounds: the program is simplified under them; ``DEFAULT_BOUNDS`` if left out.
      family: language of the loss; pointwise if left out.
      **constants: values of names in the formula.

    Raises:
      ValueError: as ``to_python``, or if the formula is too long to write.

    Example:
      >>> print(to_latex("square(label - pred) / s", s=2))
      \frac{\left(y - \hat{y}\right)^{2}}{2}
    """
    program, family, _ = _read_simplified(source, bounds, family, constants)
    check_size(program, family)
    return write_latex(program, family)
