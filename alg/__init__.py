"""AutoLossGen: a search for the loss that trains your recommender best.

What is exported here is the loss language, which needs jax alone.

Example:
  >>> loss = build_loss("square(label - pred)")
  >>> float(loss(0.0, 1.0))
  0.25
"""

if __name__ != "autolossgen":  # there would be two copies of every class
    raise ImportError(f"import autolossgen, not {__name__}: this folder only holds its files")

from .language.build import UNBOUNDED, build_loss
from .language.export import to_latex, to_python, to_torch
from .language.families import PAIRWISE, POINTWISE, Family
from .language.grammar import Grammar, Vocabulary, make_grammar, make_vocabulary
from .language.inputs import LossFn
from .language.interpreter import interpret
from .language.named_losses import (
    PAIRWISE_LOSSES,
    PAPER_LOSSES,
    POINTWISE_LOSSES,
    named_loss,
    named_program,
)
from .language.operators import DEFAULT_BOUNDS, OPERATORS, PAPER_BOUNDS, Op
from .language.parser import parse
from .language.printing import complexity, to_text
from .language.programs import Program, assemble
from .language.simplify import canonical_key, simplify

# Names of version 0.1.
PAPER, SIGNED, NAMED = PAPER_BOUNDS, DEFAULT_BOUNDS, PAPER_LOSSES
grammar, vocabulary = make_grammar, make_vocabulary

__all__ = [
    "DEFAULT_BOUNDS",
    "NAMED",
    "OPERATORS",
    "PAIRWISE",
    "PAIRWISE_LOSSES",
    "PAPER",
    "PAPER_BOUNDS",
    "PAPER_LOSSES",
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
    "make_grammar",
    "make_vocabulary",
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
