"""AutoLossGen: a search for the loss that trains your recommender best.

What is exported here is the loss language, which needs jax alone; and ``find_loss`` and
``load_run``, which need the extra ``search`` and are imported when they are first used.

Example:
  >>> loss = build_loss("square(label - pred)")
  >>> float(loss(0.0, 1.0))
  0.25
"""

if __name__ != "autolossgen":  # there would be two copies of every class
    raise ImportError(f"import autolossgen, not {__name__}: this folder only holds its files")

import importlib
from typing import TYPE_CHECKING, Any

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
from .language.simplify import canonical_key, simplify, to_text_by_label

if TYPE_CHECKING:
    from .pipeline.call import find_loss as find_loss
    from .pipeline.finished.run import load_run as load_run

__version__ = "0.2.0"

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
    "to_text_by_label",
    "to_torch",
    "vocabulary",
]

_OF_SEARCH = {"find_loss": "pipeline.call", "load_run": "pipeline.finished.run"}


def __getattr__(name: str) -> Any:
    """Returns a name that needs the extra ``search``, which the loss language does without."""
    if name not in _OF_SEARCH:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return import_from_search(_OF_SEARCH[name], name)


def __dir__() -> list[str]:
    """Returns what there is, also what is not imported yet."""
    return sorted({*globals(), *_OF_SEARCH})


def import_from_search(module: str, name: str) -> Any:
    """Returns what a module that needs the extra ``search`` has under a name.

    Raises:
      ImportError: if the extra is not installed, with how to install it.
    """
    try:
        return getattr(importlib.import_module(f".{module}", __name__), name)
    except ModuleNotFoundError as error:
        raise ImportError(
            f"a search needs {error.name}, which is not installed: pip install "
            "'autolossgen[search]', or '.[search]' in the repository"
        ) from None
