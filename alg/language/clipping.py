"""Ranges: which results of a program can leave the bounds, so that other clips cost nothing."""

import math

from .families import LARGEST_LOGIT, Family
from .programs import Program


def find_active_clips(
    program: Program, bounds: tuple[float, float], family: Family
) -> tuple[bool, ...]:
    """Say for each instruction of a static program if its result may have to be clipped.

    Operands are taken to lie in the family's ranges; sizes are followed through the operators.
    """
    low, high = bounds
    nearest = 0.999 * min(-low, high)  # rounding does not matter below
    sizes = [max(map(abs, interval)) for interval in family.ranges]
    answer = []
    for number, lhs, rhs, constant in zip(*program, strict=True):
        op = family.table[number]
        if op.arity == 0:
            sizes.append(LARGEST_LOGIT if op.name == "logit" else abs(float(constant)))
            answer.append(False)
            continue
        arguments = [sizes[register] for register in (lhs, rhs)[: op.arity]]
        size = math.inf if op.size is None else op.size(*arguments)
        answer.append(not size <= nearest)
        sizes.append(min(size, max(abs(low), abs(high))))
    return tuple(answer)
