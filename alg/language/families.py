"""Families: what a loss is a function of, and hence which operands and operators its language has.

A family is a property of the search space. Programs, grammar, assembly, parser and evaluators are
the same for all; they read the family for the names of its operands and for its operators.
"""

from functools import lru_cache
from typing import NamedTuple

from ..suggest import did_you_mean
from .operators import NUMBER_OF, OPERATORS, PAPER_OPERATORS, Op

LARGEST_LOGIT, LARGEST_LABEL = 1e4, 5.0
"""Clips that act on larger operands only are left out of a built loss."""


class Load(NamedTuple):
    """An operand that an instruction brings into a register."""

    name: str
    op: str
    lhs: int
    rhs: int


class Family(NamedTuple):
    """The language of one kind of loss.

    Registers 0, 1 and 2 of its programs hold the operands named in ``registers``. ``operators`` and
    ``operands`` are those that a search uses unless told otherwise.
    """

    name: str
    registers: tuple[str, str, str]
    loads: tuple[Load, ...]
    operators: tuple[str, ...]
    operands: tuple[str, ...]
    aggregates: bool  # whether operators over all negatives belong to the language
    ranges: tuple[tuple[float, float], ...]  # of the registers, taken for granted
    table: tuple[Op, ...] = OPERATORS


POINTWISE = Family(
    name="pointwise",
    registers=("pred", "label", "1"),
    loads=(Load("logit", "logit", -1, -1),),
    operators=PAPER_OPERATORS,
    operands=("pred", "label", "1"),
    aggregates=False,
    ranges=((0.0, 1.0), (-LARGEST_LABEL, LARGEST_LABEL), (1.0, 1.0)),
)
"""Losses of a prediction and its label, elementwise."""

PAIRWISE = Family(
    name="pairwise",
    registers=("pos", "neg", "1"),
    loads=(Load("diff", "sub", 0, 1),),
    operators=(
        *(name for name in PAPER_OPERATORS if name != "neg"),
        "sub",
        "exp",
        "softplus",
        "relu",
        "sigmoid",
        "sum_neg",
        "mean_neg",
        "logsumexp_neg",
    ),
    operands=("pos", "neg", "diff", "1"),
    aggregates=True,
    ranges=((-LARGEST_LOGIT, LARGEST_LOGIT), (-LARGEST_LOGIT, LARGEST_LOGIT), (1.0, 1.0)),
)
"""Losses of the logit of a positive and the logits of its sampled negatives; ``diff`` is
``pos - neg``. The loss of an example is the mean over its negatives, which leaves an aggregate
(the same for each of them) as it is. ``neg`` names the operand; the operator is written ``-x`` in
formulas, and a search has ``sub``."""

FAMILIES = {family.name: family for family in (POINTWISE, PAIRWISE)}


def as_family(family: str | Family) -> Family:
    """Give the family of a name; a ``Family`` passes through.

    Raises:
      ValueError: for an unknown name.
    """
    if isinstance(family, Family):
        return family
    if not isinstance(family, str) or family not in FAMILIES:
        raise ValueError(f"{family!r} is not a family{did_you_mean(str(family), list(FAMILIES))}")
    return FAMILIES[family]


@lru_cache(maxsize=64)
def get_operators(family: Family) -> dict[str, int]:
    """Give name and number of the operators that formulas of a family call by their name."""
    numbers = {
        op.name: number for number, op in enumerate(family.table) if is_in_family(family, op)
    }
    return {name: number for name, number in numbers.items() if name not in get_operands(family)}


def is_in_family(family: Family, op: Op) -> bool:
    """Say if an operator takes arguments and is one of the family's."""
    return op.arity > 0 and (family.aggregates or not op.aggregate)


def get_operands(family: Family) -> tuple[str, ...]:
    """Give the names of a family's operands, ``1`` and other numbers left out."""
    return (*family.registers[:2], *(load.name for load in family.loads))


def get_load(family: Family, name: str) -> tuple[int, int, int]:
    """Give operator number, ``lhs`` and ``rhs`` of the instruction that loads an operand."""
    load = next(load for load in family.loads if load.name == name)
    return NUMBER_OF[load.op], load.lhs, load.rhs
