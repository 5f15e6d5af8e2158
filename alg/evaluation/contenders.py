"""Contenders: the losses of a fair test, found ones and baselines."""

from collections.abc import Sequence
from typing import NamedTuple

from ..language.build import build_loss
from ..language.families import Family
from ..language.inputs import LossFn
from ..language.named_losses import PAIRWISE_LOSSES, POINTWISE_LOSSES, named_loss
from ..language.printing import to_text
from ..language.programs import Program
from ..language.simplify import simplify
from ..training.tasks import Task

BASELINES = {
    "pointwise": ("bce", "mse", "hinge", "focal", "maxr", "sumr", "logmin"),
    "pairwise": ("bpr", "hinge_rank", "sampled_softmax", "ccl", "gbce", "bce_mean", "bce_sum"),
}
"""Family -> the named losses that found ones are tested against, unless a config names others."""


class Contender(NamedTuple):
    """A loss in the fair test."""

    name: str
    formula: str
    loss: LossFn  # of logits
    found: bool  # by a search; otherwise it is a baseline
    tokens: tuple[str, ...] | None = None  # as the search wrote it


def make_contender(
    name: str,
    source: str | Sequence[str] | Program,
    *,
    family: Family,
    bounds: tuple[float, float],
    tokens: Sequence[str] | None = None,
) -> Contender:
    """Builds the contender of a loss that a search found.

    Args:
      name: of the contender.
      source: formula, tokens or program of the loss.
      family: of the loss.
      bounds: that intermediate results are clipped to.
      tokens: as the search wrote them, for the results.

    Raises:
      ValueError: if ``source`` is no loss of the family, or reads thresholds.

    Example:
      >>> from ..language.families import POINTWISE
      >>> bounds = (-1e5, 1e5)
      >>> make_contender("a", "square( label-pred )", family=POINTWISE, bounds=bounds).formula
      'square(label - pred)'
    """
    loss = build_loss(source, bounds=bounds, family=family)
    _check_has_inputs(name, loss)
    return Contender(
        name=name,
        formula=to_text(simplify(loss, binary_labels=True), family=family),
        loss=loss,
        found=True,
        tokens=tuple(tokens) if tokens else None,
    )


def _check_has_inputs(name: str, loss: LossFn) -> None:
    """Checks that recommenders over looked-up rows have what a loss reads."""
    if loss.reads_threshold:
        raise ValueError(
            f"{name} reads the users' thresholds, which only rankings of the whole catalogue have: "
            "test it with configs/topk.py"
        )


def make_baselines(
    task: Task, *, baselines: Sequence[str] | None, smoothing: float
) -> list[Contender]:
    """Builds the contenders that found losses are compared with.

    Args:
      task: whose family the losses have.
      baselines: named losses; None for the ``BASELINES`` of the family.
      smoothing: of those that have one.

    Raises:
      ValueError: for a name that is no loss of the task's family, or none at all.
    """
    other_family = {"pointwise": PAIRWISE_LOSSES, "pairwise": POINTWISE_LOSSES}[task.family.name]
    contenders = []
    for name in BASELINES[task.family.name] if baselines is None else baselines:
        if name in other_family:
            raise ValueError(f"contenders are {task.family.name} losses, got {name!r}")
        loss = named_loss(name, smoothing=smoothing)
        _check_has_inputs(name, loss)
        contenders.append(Contender(name=name, formula=to_text(loss), loss=loss, found=False))
    if not contenders:
        raise ValueError(
            "contenders.baselines names at least one loss, which the others are compared with"
        )
    return contenders
