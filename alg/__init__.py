"""AutoLossGen's algorithm; installed as ``autolossgen``. The loss language needs jax alone.

>>> loss = build_loss("square(label - pred)")
>>> float(loss(0.0, 1.0))
0.25
"""

from .build import UNBOUNDED, build_loss
from .canonical import canonical_key, simplify
from .export import to_latex, to_python, to_torch
from .families import PAIRWISE, POINTWISE, Family
from .formulas import complexity, to_text
from .interpreter import interpret
from .losses import NAMED, PAIRWISE_LOSSES, POINTWISE_LOSSES, named_loss, named_program
from .operators import OPERATORS, PAPER, SIGNED, Op
from .parser import parse
from .programs import Grammar, Program, Vocabulary, assemble, grammar, vocabulary
from .sources import LossFn

__all__ = [
    "NAMED",
    "OPERATORS",
    "PAIRWISE",
    "PAIRWISE_LOSSES",
    "PAPER",
    "POINTWISE",
    "POINTWISE_LOSSES",
    "SIGNED",
    "UNBOUNDED",
    "Family",
    "Grammar",
    "LossFn",
    "Op",
    "Program",
    "Vocabulary",
    "assemble",
    "build_loss",
    "canonical_key",
    "complexity",
    "grammar",
    "interpret",
    "named_loss",
    "named_program",
    "parse",
    "simplify",
    "to_latex",
    "to_python",
    "to_text",
    "to_torch",
    "vocabulary",
]
