"""Losses in the test of rankings: what they are, and which of their constants are tuned."""

from collections.abc import Mapping
from typing import NamedTuple

from ..language.inputs import LossFn
from ..language.named_losses import PAIRWISE_LOSSES, named_loss
from ..language.printing import to_text
from .tuning import Range


class RankContender(NamedTuple):
    """A loss in the test."""

    name: str
    formula: str
    loss: LossFn
    score: str
    constants: Mapping[str, Range]  # that are tuned
    found: bool = False  # by a search; otherwise it is a baseline
    published: Mapping[str, float] | None = None  # values to begin with; None if nobody knows


def make_rank_contender(name: str, *, score: str | None = None) -> RankContender:
    """Returns the contender of a named loss; its score is the one that it is made for.

    Raises:
      ValueError: for a name that is no pairwise loss.

    Example:
      >>> contender = make_rank_contender("softmax")
      >>> contender.score, dict(contender.constants)
      ('cosine', {'temperature': Range(low=0.02, high=1.0, log=True)})
    """
    loss = named_loss(name)
    if name not in PAIRWISE_LOSSES:
        raise ValueError(f"rankings are trained by pairwise losses, got {name!r}")
    named = PAIRWISE_LOSSES[name]
    ranges = {
        key: Range(*option.tuned, log=option.tuned[0] > 0)
        for key, option in named.options.items()
        if option.tuned is not None
    }
    return RankContender(
        name=name,
        formula=named.formula if isinstance(named.formula, str) else to_text(loss),
        loss=loss,
        score=score or named.score,
        constants=ranges,
        published={key: loss.constants[key] for key in ranges},
    )
