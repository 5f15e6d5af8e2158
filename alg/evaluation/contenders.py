"""Contenders: the losses of a fair test, from a name, a formula, or tokens that a search wrote."""

from collections.abc import Sequence
from typing import NamedTuple

from ..language.build import build_loss
from ..language.families import Family
from ..language.inputs import LossFn
from ..language.named_losses import PAIRWISE_LOSSES, POINTWISE_LOSSES, named_loss
from ..language.printing import to_text
from ..language.programs import Program
from ..training.tasks import Task


class Contender(NamedTuple):
    """A loss in the test."""

    name: str
    formula: str
    loss: LossFn  # of logits
    found: bool
    tokens: tuple[str, ...] | None = None


def make_contender(
    name: str,
    source: str | Sequence[str] | Program,
    *,
    family: Family,
    bounds: tuple[float, float],
    tokens: Sequence[str] | None = None,
) -> Contender:
    """Give the contender of a formula, tokens or a program that a search found.

    Raises:
      ValueError: if ``source`` is no loss of the family.

    >>> from autolossgen import POINTWISE
    >>> make_contender("mine", "square( label-pred )", family=POINTWISE, bounds=(-1e5, 1e5)).formula
    'square(label - pred)'
    """
    loss = build_loss(source, bounds=bounds, family=family)
    return Contender(name, to_text(loss), loss, True, tokens and tuple(tokens))


def baseline_contenders(
    task: Task, *, baselines: Sequence[str] | None, smoothing: float
) -> list[Contender]:
    """Give the usual losses: those named, or the task's.

    Raises:
      ValueError: for a name that is no loss of the task's family, or none at all.
    """
    others = {"pointwise": PAIRWISE_LOSSES, "pairwise": POINTWISE_LOSSES}[task.family.name]
    made = []
    for name in task.baselines if baselines is None else baselines:
        if name in others:
            raise ValueError(f"contenders are {task.family.name} losses, got {name!r}")
        loss = named_loss(name, smoothing=smoothing)
        made.append(Contender(name, to_text(loss), loss, False))
    if not made:
        raise ValueError("contenders.baselines names at least one loss, the others are seen beside")
    return made
