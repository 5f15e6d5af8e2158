"""What a loss can be given as (formula, tokens, program, function), and its checked program.

A program is only arrays, which search and evaluators pass through ``jit``; its family and bounds
are given with it. A ``LossFn`` knows its own.
"""

import operator
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple, Protocol, runtime_checkable

import jax.numpy as jnp
import numpy as np

from ..interfaces import AnyArray, Array
from .families import (
    POINTWISE,
    Family,
    as_family,
    get_load,
    get_operands,
    get_operators,
    is_in_family,
)
from .grammar import FREE, FREE_RATIO, encode_tokens, make_vocabulary, parse_number
from .operators import DEFAULT_BOUNDS, NUMBER_OF, as_bounds
from .parser import MAX_NUMBER, Emitter, Template, parse_template
from .programs import Program

LossLike = str | Sequence[int] | Sequence[str] | Program


@runtime_checkable
class LossFn(Protocol):
    """A loss over a batch, as ``build_loss`` and ``named_loss`` return it.

    It keeps what it was built from, so exports, ``to_text`` and the like need nothing else.

    Example:
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
    constants: Mapping[str, float]  # the named constants of its formula
    reads_threshold: bool  # whether a pairwise loss needs the users' thresholds

    def __call__(
        self,
        scores: AnyArray,
        labels: AnyArray,
        *,
        where: AnyArray | None = None,
        weights: AnyArray | None = None,
        constants: Mapping[str, AnyArray] | None = None,
        reduce_fn: Callable[..., Array] | None = jnp.mean,
    ) -> Array:
        """Computes the reduced loss.

        A pairwise loss takes ``pos`` [..., B] and ``neg`` [..., B, num_negatives] for scores and
        labels; its ``where`` has the shape of either, its ``weights`` that of ``pos``. If it reads
        the users' thresholds, it also takes ``threshold``, of the shape of ``pos``. With
        ``neg_weights``, which broadcast to ``neg``, a negative counts as so many in sums, means and
        log-sum-exps: 1 / q, if it was drawn with chance q, stands for the whole catalogue.

        Args:
          scores: logits or probabilities [..., B]; the other arrays broadcast to them.
          labels: 0 or 1, or anything between. Others are not refused, as ``square(label - logit)``
            may take ratings; but of a loss of likes they make nonsense: that of bce with label 5
            has no lowest value. Ratings become likes by a threshold, ``labels > 3``.
          where: mask of the entries that count; None for all.
          weights: factors of the values. As in rax and optax, they scale the loss and do not enter
            the denominator of a mean.
          constants: new values of named constants of the formula; they may be traced, so another
            value is no other compilation.
          reduce_fn: called as ``reduce_fn(values)``, with ``where=`` too if a mask is given; None
            for the values themselves, 0 where they do not count.

        Returns:
          The reduced loss; a mean over nothing is 0.

        Raises:
          ValueError: if labels, mask or weights do not broadcast to the scores (scores never
            broadcast to them); if ``neg`` does not have one axis more than ``pos``; for complex
            numbers.
        """
        ...


def as_static(program: Program, family: str | Family = POINTWISE) -> Program:
    """Returns a program as NumPy arrays, after checking it.

    Raises:
      ValueError: if its parts do not fit, or an instruction names no operator of the family, reads
        a register that is not written before, or has a constant that is not finite.
    """
    family = as_family(family)
    op, lhs, rhs = (np.atleast_1d(np.asarray(part)).astype(np.int32) for part in program[:3])
    constant = np.asarray(program.constant, np.float64)
    constant = constant if constant.size else np.zeros(op.shape)
    if op.ndim != 1 or not op.shape == lhs.shape == rhs.shape == constant.shape or not op.size:
        shapes = ", ".join(str(part.shape) for part in (op, lhs, rhs, constant))
        raise ValueError(f"a program has op, lhs, rhs and constant of one length, got {shapes}")
    program = Program(op=op, lhs=lhs, rhs=rhs, constant=constant)
    _check_instructions(program, family)
    return program


def _check_instructions(program: Program, family: Family) -> None:
    allowed = {number for number, op in enumerate(family.table) if is_in_family(family, op)}
    allowed |= {NUMBER_OF["number"], *(get_load(family, load.name)[0] for load in family.loads)}
    for i, (number, *registers, value) in enumerate(zip(*program, strict=True)):
        if number not in allowed:
            raise ValueError(
                f"instruction {i}: {number} is no operator of the {family.name} family"
            )
        op = family.table[number]
        num_registers = len(family.registers) + i
        arguments = [int(register) for register in registers[: op.arity]]
        if any(not 0 <= register < num_registers for register in arguments):
            raise ValueError(
                f"instruction {i}: {op.name} reads registers {arguments}, "
                f"only 0 to {num_registers - 1} exist"
            )
        if not abs(value) <= MAX_NUMBER:
            raise ValueError(f"instruction {i}: float32 does not hold the constant {value}")


def _decode_token(position: int, token: int | str, names: Sequence[str]) -> str:
    """Returns the name of a token's number."""
    try:
        number = -1 if isinstance(token, str) else operator.index(token)
    except TypeError:
        number = -1
    if not 0 <= number < len(names):
        raise ValueError(f"token {position} is {token}, expected 0 to {len(names) - 1}")
    return names[number]


def _assemble_names(tokens: Sequence[int | str], family: Family) -> Template:
    """Assembles tokens outside ``jit``; ``assemble`` would compile for each length.

    Free constants are called ``c0``, ``c1``, ..., in the order of their tokens.
    """
    tokens = list(tokens)
    names = [token for token in tokens if isinstance(token, str)]
    if len(names) < len(tokens):
        known = make_vocabulary(family=family).names
        names = [_decode_token(position, token, known) for position, token in enumerate(tokens)]
    operands = (*get_operands(family), "1", FREE)
    operators = tuple(get_operators(family))
    numbers = {name for name in names if parse_number(name) is not None} - {"1"}
    vocab = make_vocabulary(operators, (*operands, *sorted(numbers)), family=family)
    emit, num_free = Emitter(family), 0
    stack: list[int] = []
    for token in encode_tokens(names, vocab):
        if vocab.arity[token] > 0:
            arguments = [stack.pop() for _ in range(vocab.arity[token])][::-1]
            stack.append(emit(int(vocab.op[token]), *arguments))
        elif vocab.register[token] >= 0:
            stack.append(int(vocab.register[token]))
        elif vocab.arity[token] == 0:
            (lhs, rhs), constant = vocab.reads[token].tolist(), float(vocab.constant[token])
            name = ""
            if vocab.names[token] == FREE:
                name, constant = f"c{num_free}", constant * FREE_RATIO**num_free
                num_free += 1
            stack.append(emit(int(vocab.op[token]), lhs, rhs, constant, name=name))
    program = emit.program(stack[0])
    return Template(program=program, slots=emit.slots())


def as_program(
    source: LossLike, /, *, family: str | Family = POINTWISE, **constants: float
) -> Program:
    """Returns the static program of a formula, of postfix tokens, or of a program.

    Tokens are names, or token numbers of ``make_vocabulary(family=family)``.

    Raises:
      ValueError: if the source is not a loss; the message names the position.
    """
    return as_template(source, family=family, **constants).program


def _split_tokens(text: str, family: Family) -> list[str]:
    """Returns the tokens of a text such as ``label pred sub``; none if it is a formula."""
    words = text.split()
    are_tokens = all(word.isidentifier() or parse_number(word) is not None for word in words)
    is_postfix = len(words) > 1 and are_tokens and words[-1] in get_operators(family)
    return words if is_postfix else []


def as_template(
    source: LossLike, /, *, family: str | Family = POINTWISE, **constants: float
) -> Template:
    """Returns the static program of a source as ``as_program`` does, and its named constants.

    A formula has the names that ``constants`` give values to, tokens have their free constants.
    """
    family = as_family(family)
    if isinstance(source, LossFn):
        raise ValueError("the source is already a loss; build others from loss.program")
    if constants and not isinstance(source, str):
        what = type(source).__name__
        raise ValueError(f"constants {sorted(constants)} are for formulas, the source is a {what}")
    if isinstance(source, str):
        tokens = _split_tokens(source, family)
        if tokens and not constants:
            template = _assemble_names(tokens, family)
        else:
            template = parse_template(source, family, constants)
    elif isinstance(source, Program):
        template = Template(source, ())
    elif np.iterable(source):
        template = _assemble_names(source, family)
    else:
        raise ValueError(f"a loss is a formula, tokens or a program, got {type(source).__name__}")
    return template._replace(program=as_static(template.program, family))


class LossSpec(NamedTuple):
    """Everything that determines a loss."""

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
    """Returns program, family and bounds of a source.

    A ``LossFn`` brings its own. For other sources, the defaults are pointwise and
    ``DEFAULT_BOUNDS``; the program of a pairwise loss needs ``family="pairwise"``.

    Raises:
      ValueError: if the source is not a loss, or a ``LossFn`` has another family or other bounds
        than those given.
    """
    if isinstance(source, LossFn):
        return _read_loss_fn(source, family, bounds, constants)
    family = as_family(POINTWISE if family is None else family)
    bounds = as_bounds(DEFAULT_BOUNDS if bounds is None else bounds)
    return LossSpec(as_program(source, family=family, **constants), family, bounds)


def _read_loss_fn(
    loss: LossFn,
    family: str | Family | None,
    bounds: tuple[float, float] | None,
    constants: Mapping[str, float],
) -> LossSpec:
    """Returns what a loss was built from; a given family or bounds must be the same."""
    if family is not None and as_family(family) != loss.family:
        raise ValueError(
            f"the loss is of the {loss.family.name} family, not {as_family(family).name}: "
            "leave family out"
        )
    if bounds is not None and as_bounds(bounds) != loss.bounds:
        raise ValueError(
            f"the bounds of the loss are {loss.bounds}, not {bounds!r}: leave them out, or give "
            "loss.program with others"
        )
    if constants:
        raise ValueError(f"constants {sorted(constants)} are for formulas, not for a built loss")
    return LossSpec(loss.program, loss.family, loss.bounds)
