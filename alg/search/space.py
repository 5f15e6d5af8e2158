"""The space of a search: the words that losses are written in, how long they are, and seeds."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from ..language.families import as_family
from ..language.grammar import Grammar, Vocabulary, make_grammar, make_vocabulary
from ..language.operators import as_bounds
from .initial_losses import write_initial_loss


class Space(NamedTuple):
    """What losses a search may write."""

    vocabulary: Vocabulary
    length: int  # tokens of a loss at most, L
    bounds: tuple[float, float]  # intermediate results are clipped to them
    seeds: np.ndarray  # int32 [N, L], losses that a search begins with
    grammar: Grammar


def make_space(
    *,
    operators: Sequence[str] | None = None,
    operands: Sequence[str] | None = None,
    length: int,
    bounds: tuple[float, float],
    family: str = "pointwise",
    seeds: Sequence[str] = (),
    length_prior: tuple[float, float] | None = None,
) -> Space:
    """Give a search space of named operators and operands.

    Those that are None are the family's, less ``id``, which only makes losses longer. ``seeds`` are
    named losses or formulas, see ``write_initial_loss``; for ``length_prior`` see ``make_grammar``.

    Raises:
      ValueError: for unknown names, no tokens, bounds that are out of order, or a seed that the
        space cannot write.

    >>> make_space(length=9, bounds=(-1e5, 1e5), family="pairwise").vocabulary.names[:5]
    ('PAD', 'pos', 'neg', 'diff', '1')
    """
    if operators is None:
        operators = [name for name in as_family(family).operators if name != "id"]
    vocab, bounds = make_vocabulary(operators, operands, family=family), as_bounds(bounds)
    rules = make_grammar(vocab, length, length_prior=length_prior)
    seeds = write_initial_loss(seeds, vocab, length=length, bounds=bounds)
    return Space(vocab, length, bounds, seeds, rules)
