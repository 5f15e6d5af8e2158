"""Families: what a loss is a function of, and hence which operands and operators its language has.

A family is a property of the search space. Programs, grammar, assembly, parser and evaluators are
the same for all families; they look up operands and operators in the family.
"""

from functools import lru_cache
from typing import NamedTuple

from ..suggest import did_you_mean
from .operators import NUMBER_OF, OPERATORS, PAPER_OPERATORS, Op

LARGEST_LOGIT, LARGEST_LABEL = 1e4, 5.0
"""Largest operands that a built loss is clipped for; a clip that acts on larger ones only is left
out."""


class Load(NamedTuple):
    """Operand that an instruction brings into a register."""

    name: str
    op: str  # name of the operator
    lhs: int  # registers that it reads, -1 for none
    rhs: int


class Family(NamedTuple):
    """Language of one kind of loss.

    Registers 0, 1 and 2 of its programs hold the operands named in ``registers``. ``operators`` and
    ``operands`` are the defaults of a search.
    """

    name: str
    registers: tuple[str, str, str]
    loads: tuple[Load, ...]
    operators: tuple[str, ...]
    operands: tuple[str, ...]
    aggregates: bool  # whether operators over all negatives belong to the language
    ranges: tuple[tuple[float, float], ...]  # of the registers, taken for granted
    table: tuple[Op, ...] = OPERATORS  # then a user's own operators

    def __repr__(self) -> str:
        """Returns the name alone; the table is long."""
        return f"<{self.name} family>"

    @property
    def is_pairwise(self) -> bool:
        """Whether losses take the logits of positives and negatives, not scores and labels."""
        return self.registers == PAIRWISE.registers


POINTWISE = Family(
    name="pointwise",
    registers=("pred", "label", "1"),
    loads=(Load("logit", op="logit", lhs=-1, rhs=-1),),
    operators=PAPER_OPERATORS,
    operands=("pred", "label", "1"),
    aggregates=False,
    ranges=((0.0, 1.0), (-LARGEST_LABEL, LARGEST_LABEL), (1.0, 1.0)),
)
"""Losses of a prediction and its label, elementwise."""

PAIRWISE = Family(
    name="pairwise",
    registers=("pos", "neg", "1"),
    loads=(
        Load("diff", op="sub", lhs=0, rhs=1),
        Load("threshold", op="threshold", lhs=-1, rhs=-1),
        Load("num_negatives", op="sum_neg", lhs=2, rhs=-1),
    ),
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
"""Losses of the logit of a positive and the logits of its sampled negatives.

``diff`` is ``pos - neg``; ``threshold`` is the user's score at the last rank that counts, without
a gradient; ``num_negatives`` is how many negatives there are. The loss of an example is the mean
over its negatives, which leaves an aggregate (equal for all of them) unchanged. ``neg`` names the
operand; the operator is written ``-x`` in formulas, and a search uses ``sub``."""

FAMILIES = {family.name: family for family in (POINTWISE, PAIRWISE)}


def as_family(family: str | Family) -> Family:
    """Returns the family of a name; a ``Family`` is returned as it is.

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
    """Returns name -> number of the operators that a family's formulas call by name."""
    numbers = {
        op.name: number for number, op in enumerate(family.table) if is_in_family(family, op)
    }
    return {name: number for name, number in numbers.items() if name not in get_operands(family)}


def is_in_family(family: Family, op: Op) -> bool:
    """Whether an operator takes arguments and belongs to the family."""
    return op.arity > 0 and (family.aggregates or not op.aggregate)


def get_operands(family: Family) -> tuple[str, ...]:
    """Returns the names of a family's operands, except ``1`` and other numbers."""
    return (*family.registers[:2], *(load.name for load in family.loads))


def get_load(family: Family, name: str) -> tuple[int, int, int]:
    """Returns operator number, ``lhs`` and ``rhs`` of the instruction that loads an operand."""
    load = next(load for load in family.loads if load.name == name)
    return NUMBER_OF[load.op], load.lhs, load.rhs
