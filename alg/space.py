"""The space of a search: the words that losses are written in, how long they are, and seeds."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from .families import as_family
from .operators import as_bounds
from .programs import Grammar, Vocabulary, grammar, vocabulary
from .seeds import seed_tokens


class Space(NamedTuple):
    """What losses a search may write."""

    vocabulary: Vocabulary
    length: int  # tokens of a loss at most, L
    bounds: tuple[float, float]  # intermediate results are clipped to them
    seeds: np.ndarray  # int32 [N, L], losses that a search begins with
    grammar: Grammar


def space(
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
    named losses or formulas, see ``seed_tokens``; for ``length_prior`` see ``grammar``.

    Raises:
      ValueError: for unknown names, no tokens, bounds that are out of order, or a seed that the
        space cannot write.

    >>> space(length=9, bounds=(-1e5, 1e5), family="pairwise").vocabulary.names[:5]
    ('PAD', 'pos', 'neg', 'diff', '1')
    """
    if operators is None:
        operators = [name for name in as_family(family).operators if name != "id"]
    vocab, bounds = vocabulary(operators, operands, family=family), as_bounds(bounds)
    rules = grammar(vocab, length, length_prior=length_prior)
    seeds = seed_tokens(seeds, vocab, length=length, bounds=bounds)
    return Space(vocab, length, bounds, seeds, rules)
