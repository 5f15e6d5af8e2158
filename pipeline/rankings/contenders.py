"""The losses that a run of rankings tests: named, formulas, and found by other runs."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ml_collections import ConfigDict

from autolossgen import report
from autolossgen.language.build import build_loss
from autolossgen.language.grammar import FREE_NAME, FREE_VALUE
from autolossgen.language.named_losses import PAIRWISE_LOSSES
from autolossgen.ranking.contenders import RankContender, make_rank_contender
from autolossgen.ranking.scores import get_score
from autolossgen.ranking.tuning import Range

from .search import read_range


def make_contenders(config: ConfigDict) -> list[RankContender]:
    """Returns the contenders of ``contenders.losses``: names, formulas, or losses of other runs.

    Raises:
      ValueError: for what is none of these, or if there are none.
    """
    constants, score = read_range(config, "generation.constants"), config.contenders.score
    contenders = []
    for source in config.contenders.losses:
        path = Path(source).expanduser()
        if path.is_dir() or path.suffix == ".csv":
            for loss in report.read_found_losses(path, max(config.contenders.found, 1)):
                contender = make_contender(
                    loss.formula, loss.score or score, constants, published=loss.constants
                )
                contenders.append(contender._replace(name=f"{path.stem}-{loss.name}"))
        else:
            contenders.append(make_contender(source, score, constants))
    if not contenders:
        raise ValueError("contenders.losses names at least one loss")
    return contenders


def drop_repeats(contenders: Sequence[RankContender]) -> tuple[list[RankContender], list[str]]:
    """Returns each loss once, with numbers behind names that others have, and what was dropped.

    A loss that is tested twice would count twice where intervals are corrected for their number.
    """
    first: dict[tuple[str, str], RankContender] = {}
    notes = []
    for contender in contenders:
        other = first.setdefault((contender.formula, contender.score), contender)
        if other is not contender:
            same = "" if other.name == contender.name else f", which is the same as {other.name}"
            notes.append(f"tested once: {contender.name}{same}")
    names = [contender.name for contender in first.values()]
    unique = [
        contender._replace(name=f"{contender.name}-{names[:number].count(contender.name) + 1}")
        if names.count(contender.name) > 1
        else contender
        for number, contender in enumerate(first.values())
    ]
    return unique, notes


def make_contender(
    source: str,
    score: str,
    constants: Range,
    *,
    published: Mapping[str, float] | None = None,
) -> RankContender:
    """Returns the contender of a named loss, or of a formula with its score.

    Args:
      source: the name, or a formula in which ``c0``, ``c1``, ... are constants to tune.
      score: of a user and an item, for a formula; a named loss has its own.
      constants: values of a formula's constants that are tried.
      published: constants that a formula was tuned to elsewhere, which widen that range if need be.

    Raises:
      ValueError: for what is neither.

    Example:
      >>> contender = make_contender("softplus(-diff / c0)", "dot", Range(0.1, 10.0))
      >>> contender.formula, [*contender.constants]
      ('softplus(-diff / c0)', ['c0'])
    """
    if source in PAIRWISE_LOSSES or source.isidentifier():
        return make_rank_contender(source)
    get_score(score)
    free: dict[str, Any] = dict.fromkeys(FREE_NAME.findall(source), FREE_VALUE)
    loss = build_loss(source, family="pairwise", **free)
    known = {name: value for name, value in (published or {}).items() if name in free and value > 0}
    widened = {name: _widen(constants, value) for name, value in known.items()}
    return RankContender(
        name=source if len(source) <= 24 else source[:21] + "...",
        formula=source,
        loss=loss,
        score=score,
        constants=dict.fromkeys(free, constants) | widened,
        found=True,
        published=known or None,
    )


def _widen(range_: Range, value: float) -> Range:
    return range_._replace(low=min(range_.low, value), high=max(range_.high, value))
