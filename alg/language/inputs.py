"""Sources: what a loss is given as, and the checked program behind each.

A program does not say which family it is of nor which bounds it is for: it is arrays, that search
and evaluators pass through ``jit``. A ``LossFn`` says both.
"""

import operator
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple, Protocol, runtime_checkable

import jax.numpy as jnp
import numpy as np

from ..interfaces import Array
from .families import (
    POINTWISE,
    Family,
    as_family,
    get_load,
    get_operands,
    get_operators,
    is_in_family,
)
from .grammar import encode_tokens, make_vocabulary, parse_number
from .operators import DEFAULT_BOUNDS, NUMBER_OF, as_bounds
from .parser import MAX_NUMBER, Emitter, parse
from .programs import Program

LossLike = str | Sequence[int] | Sequence[str] | Program


@runtime_checkable
class LossFn(Protocol):
    """A loss over a batch, as ``build_loss`` and ``named_loss`` give it.

    It knows what it was built from, so exports, ``to_text`` and the like need nothing else.

    >>> import jax.numpy as jnp
    >>> from autolossgen import build_loss
    >>> loss = build_loss("square(label - pred)", inputs="probabilities")
    >>> pred, label = jnp.array([0.5, 0.0, 0.5]), jnp.array([1.0, 1.0, 0.0])
    >>> print(loss(pred, label, where=jnp.array([True, True, False]), reduce_fn=None))
    [0.25 1.   0.  ]
    >>> print(loss(pred, label, weights=jnp.array([1.0, 0.0, 3.0]), reduce_fn=jnp.sum))
    1.0
    >>> loss.family.name, loss.bounds
    ('pointwise', (-100000.0, 100000.0))
    """

    program: Program
    family: Family
    bounds: tuple[float, float]
    inputs: str  # "logits" or "probabilities"

    def __call__(
        self,
        scores: Array,
        labels: Array,
        *,
        where: Array | None = None,
        weights: Array | None = None,
        reduce_fn: Callable[..., Array] | None = jnp.mean,
    ) -> Array:
        """Give the reduced loss of scores [..., B]; the other arrays broadcast to them.

        Values are multiplied by ``weights``; then ``reduce_fn`` reduces those ``where`` says count,
        so that weights scale the loss and do not enter the mean's denominator, as in rax and optax.
        It is called as ``reduce_fn(values)``, or with ``where=`` too if a mask is given.
        ``reduce_fn=None`` gives the values [..., B], 0 where they do not count. If nothing counts,
        a mean is 0. A ``pairwise`` loss takes ``pos`` [..., B] and ``neg`` [..., B, S] in place of
        scores and labels; its ``where`` has the shape of either, its ``weights`` that of ``pos``.

        Raises:
          ValueError: if labels, mask or weights do not broadcast to the scores, which never
            broadcast themselves; if ``neg`` has no axis more than ``pos``; for complex numbers.
        """
        ...


def as_static(program: Program, family: str | Family = POINTWISE) -> Program:
    """Give a program of NumPy arrays, checked: every register read is written before.

    Raises:
      ValueError: if its parts do not fit; with the instruction, if one reads what is not there or
        names no operator.
    """
    family = as_family(family)
    base = len(family.registers)
    op, lhs, rhs = (np.atleast_1d(np.asarray(part)).astype(np.int32) for part in program[:3])
    constant = np.asarray(program.constant, np.float64)
    constant = constant if constant.size else np.zeros(op.shape)
    if op.ndim != 1 or not op.shape == lhs.shape == rhs.shape == constant.shape or not op.size:
        shapes = ", ".join(str(part.shape) for part in (op, lhs, rhs, constant))
        raise ValueError(f"a program has op, lhs, rhs and constant of one length, got {shapes}")
    allowed = {number for number, op in enumerate(family.table) if is_in_family(family, op)}
    allowed |= {NUMBER_OF["number"], *(get_load(family, load.name)[0] for load in family.loads)}
    for i, (number, *registers, value) in enumerate(zip(op, lhs, rhs, constant, strict=True)):
        if number not in allowed:
            raise ValueError(
                f"instruction {i}: {number} is no operator of the {family.name} family"
            )
        row = family.table[number]
        read = [int(register) for register in registers[: row.arity]]
        if any(not 0 <= register < base + i for register in read):
            raise ValueError(
                f"instruction {i}: {row.name} reads registers {read}, "
                f"only 0 to {base + i - 1} exist"
            )
        if not abs(value) <= MAX_NUMBER:
            raise ValueError(f"instruction {i}: float32 does not hold the constant {value}")
    return Program(op, lhs, rhs, constant)


def _name_of(position: int, token: int, names: Sequence[str]) -> str:
    try:
        number = operator.index(token)
    except TypeError:
        number = -1
    if not 0 <= number < len(names):
        raise ValueError(f"token {position} is {token}, expected 0 to {len(names) - 1}")
    return names[number]


def _program_of_tokens(tokens: Sequence[int] | Sequence[str], family: Family) -> Program:
    """Assemble tokens outside ``jit``, where ``assemble`` would compile for each length."""
    names = list(tokens)
    if not all(isinstance(token, str) for token in names):
        known = make_vocabulary(family=family).names
        names = [_name_of(position, token, known) for position, token in enumerate(names)]
    operands = (*get_operands(family), "1")
    operators = tuple(get_operators(family))
    numbers = {name for name in names if parse_number(name) is not None} - {"1"}
    vocab = make_vocabulary(operators, (*operands, *sorted(numbers)), family=family)
    emit, stack = Emitter(family), []
    for token in encode_tokens(names, vocab):
        if vocab.arity[token] > 0:
            arguments = [stack.pop() for _ in range(vocab.arity[token])][::-1]
            stack.append(emit(int(vocab.op[token]), *arguments))
        elif vocab.register[token] >= 0:
            stack.append(int(vocab.register[token]))
        elif vocab.arity[token] == 0:
            reads, constant = vocab.reads[token].tolist(), float(vocab.constant[token])
            stack.append(emit(int(vocab.op[token]), *reads, constant))
    return emit.program(stack[0])


def as_program(
    source: LossLike, /, *, family: str | Family = POINTWISE, **constants: float
) -> Program:
    """Give the static program of a formula, of postfix tokens, or of a program.

    Tokens are names, or numbers of tokens of ``vocabulary(family=family)``.

    Raises:
      ValueError: with the position, if the source is not a loss.
    """
    family = as_family(family)
    if isinstance(source, LossFn):
        raise ValueError("the source is a loss already; build others from loss.program")
    if isinstance(source, str):
        return as_static(parse(source, family=family, **constants), family)
    if constants:
        what = type(source).__name__
        raise ValueError(f"constants {sorted(constants)} are for formulas, the source is a {what}")
    if isinstance(source, Program):
        return as_static(source, family)
    if not np.iterable(source):
        raise ValueError(f"a loss is a formula, tokens or a program, got {type(source).__name__}")
    return as_static(_program_of_tokens(source, family), family)


class LossSpec(NamedTuple):
    """A loss with all that says which one it is."""

    program: Program  # static
    family: Family
    bounds: tuple[float, float]


def read_loss(
    source: LossLike | LossFn,
    /,
    *,
    family: str | Family | None = None,
    bounds: tuple[float, float] | None = None,
    **constants: float,
) -> LossSpec:
    """Give program, family and bounds of a source.

    A ``LossFn`` brings its own. Otherwise they are as told, pointwise and ``DEFAULT_BOUNDS`` if they are
    not: a program of another family has to be given with it.

    Raises:
      ValueError: if the source is not a loss, or a ``LossFn`` is not what is told.
    """
    if isinstance(source, LossFn):
        return _of_loss(source, family, bounds, constants)
    family = as_family(POINTWISE if family is None else family)
    bounds = as_bounds(DEFAULT_BOUNDS if bounds is None else bounds)
    return LossSpec(as_program(source, family=family, **constants), family, bounds)


def _of_loss(
    loss: LossFn,
    family: str | Family | None,
    bounds: tuple[float, float] | None,
    constants: Mapping[str, float],
) -> LossSpec:
    """Give what a loss says of itself; what is told besides has to be the same."""
    if family is not None and as_family(family) != loss.family:
        told = as_family(family).name
        raise ValueError(f"the loss is of the {loss.family.name} family, not {told}: leave it out")
    if bounds is not None and as_bounds(bounds) != loss.bounds:
        raise ValueError(
            f"the bounds of the loss are {loss.bounds}, not {bounds!r}: leave them out, or give "
            "loss.program with others"
        )
    if constants:
        raise ValueError(f"constants {sorted(constants)} are for formulas, not for a built loss")
    return LossSpec(loss.program, loss.family, loss.bounds)
