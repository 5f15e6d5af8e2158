"""The search of a run of rankings, and the losses of it that are tested."""

import json
from collections.abc import Callable, Mapping, Sequence
from operator import attrgetter
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from ml_collections import ConfigDict
from rich.console import Console

from autolossgen import complexity, controller, report
from autolossgen.evaluation.kept import NOTHING, Kept, keep_within
from autolossgen.evaluation.statistics import make_course
from autolossgen.files import write_atomically
from autolossgen.interfaces import EmbeddingModel, RankingData
from autolossgen.language.build import UNBOUNDED, build_loss
from autolossgen.language.inputs import LossFn
from autolossgen.language.named_losses import named_loss
from autolossgen.ranking.candidates import (
    CandidateResult,
    CandidateSettings,
    TrainCandidates,
    make_rank_candidate_trainer,
)
from autolossgen.ranking.contenders import RankContender
from autolossgen.ranking.search import (
    build_candidates,
    compute_fingerprints,
    make_rank_filter,
    make_rank_search,
)
from autolossgen.ranking.settings import RankTestSettings
from autolossgen.ranking.trainer import make_eval_split, make_training_pairs
from autolossgen.ranking.tuning import Range
from autolossgen.search.hall_of_fame import HallOfFame
from autolossgen.search.initial_losses import write_initial_losses
from autolossgen.search.log_record import get_token_names, write_formula
from autolossgen.search.screening import are_twins
from autolossgen.search.space import Space, make_space
from autolossgen.training.tasks import make_task

from ..checks import MINIMA, check_minima
from ..search import SearchPhase, SearchStopped, search_losses
from ..setup import look_up
from ..shortlist import mark_front, say_what_is_known

REFERENCE = "softmax"
"""Named loss that all others are compared with during a search."""

ONE_ROUND = 10**9
"""Generations of a round: there is no base model that would advance after one."""


class RankSearchPhase(NamedTuple):
    """A search for ranking losses, and what decides which of them are tested."""

    search: SearchPhase
    promote: TrainCandidates  # longer than the search trains
    num_promoted: int  # losses that promotion trains
    num_found: int  # losses that are tested
    constants: Range  # of every free constant
    score: str
    known: Mapping[str, np.ndarray]  # formulas and named losses -> tokens [L]
    progress: report.PhaseProgress


def make_rank_search_phase(
    config: ConfigDict,
    data: RankingData,
    model: EmbeddingModel,
    settings: RankTestSettings,
    console: Console,
    progress: report.PhaseProgress,
) -> RankSearchPhase:
    """Builds the search that a config describes.

    Raises:
      ValueError: for unknown names or values out of range.
    """
    check_minima(config, MINIMA | {"promote.losses": config.contenders.found})
    space = make_space(**config.space, bounds=UNBOUNDED, family="pairwise", typed=True)
    make_policy = look_up("policy.name", config.policy.name, controller.POLICIES)
    policy = make_policy(space.grammar, **config.policy.get(config.policy.name, {}))
    filter_ = make_rank_filter(config.contenders.score, **config.filter)
    section = config.generation
    shared = CandidateSettings(
        metric=settings.metric,
        top=settings.top,
        learning_rate=read_range(config, "generation.learning_rate"),
        constants=read_range(config, "generation.constants"),
        batch_size=settings.batch_size,
        negatives=settings.negatives,
        score=config.contenders.score,
        seed=config.seed,
    )
    train, promote = (
        make_rank_candidate_trainer(
            model, shared._replace(trials=tuple(stages.trials), epochs=tuple(stages.epochs))
        )
        for stages in (config.generation, config.promote)
    )
    sizes = {name: section[name] for name in ("samples", "num_candidates", "hall", "seen_losses")}
    search = make_rank_search(policy, space, filter_, train, named_loss(REFERENCE), **sizes)
    return RankSearchPhase(
        search=SearchPhase(
            search=search,
            space=space,
            filter=filter_,
            task=make_task("pairwise", 1),
            train=make_training_pairs(data.train, data.num_items, power=settings.negatives.power),
            reward_split=make_eval_split(data.valid, data.mask(data.train), data.num_items),
            settings=ConfigDict({**config.search, "round_generations": ONE_ROUND}),
            seed=config.seed,
            console=console,
        ),
        promote=promote,
        num_promoted=config.promote.losses,
        num_found=config.contenders.found,
        constants=shared.constants,
        score=shared.score,
        known=_write_known(config, space),
        progress=progress,
    )


def _write_known(config: ConfigDict, space: Space) -> dict[str, np.ndarray]:
    """Returns the tokens of initial losses, and of the baselines that the space can write."""
    known = dict(zip(space.initial_names, space.initial_losses, strict=True))
    for name in config.contenders.losses:
        if name in known:
            continue
        try:
            rows = write_initial_losses(
                (name,), space.vocabulary, length=space.length, bounds=space.bounds
            )
        except ValueError:  # what the space cannot write has no twin in it
            continue
        known[name] = rows[0]
    return known


def read_range(config: ConfigDict, key: str) -> Range:
    """Returns the range of a key, lowest and highest.

    Raises:
      ValueError: if it is none.
    """
    value = attrgetter(key)(config)
    if len(value) != 2 or not 0 < value[0] < value[1]:
        raise ValueError(f"{key} is the lowest and the highest that is tried, got {value}")
    return Range(*value)


def find_losses(
    phase: RankSearchPhase,
    folder: Path,
    asked: Callable[[], bool] = lambda: False,
    kept: Kept = NOTHING,
    trackers: report.Trackers | None = None,
) -> tuple[list[RankContender], list[dict[str, Any]]]:
    """Searches, and promotes the best losses.

    Args:
      phase: what to do.
      folder: of the run.
      asked: whether the user asked to stop.
      kept: of the run.
      trackers: that are told of each generation.

    Returns:
      The losses to test, best first, and a log record of each generation.

    Raises:
      Stopped: if the user asked to stop; what is finished is kept.
    """
    try:
        state, records = search_losses(
            phase.search, folder / "checkpoints", folder, asked, trackers
        )
    except SearchStopped as stopped:
        _write_hall(_list_hall(phase, stopped.state.hall), folder)
        raise
    table = _list_hall(phase, state.hall)
    _write_hall(table, folder)
    say_what_is_known(phase.search.console, table)
    chosen = [row for row in table if not row["twin"]][: phase.num_promoted]
    if not chosen or not phase.num_found:
        if phase.num_found:
            phase.search.console.print("the search found no loss but those that are known")
        return [], records
    tokens = [state.hall.tokens[row["rank"] - 1] for row in chosen]
    losses = build_candidates(phase.search.space, tokens)
    with phase.progress:
        results = phase.promote(
            losses,
            phase.search.train,
            phase.search.reward_split,
            names=[f"found-{row['rank']}" for row in chosen],
            progress=phase.progress,
            kept=keep_within(kept, "promotion", [row["tokens"] for row in chosen]),
        )
    order = np.argsort([-result.reward for result in results], kind="stable")
    _write_promotion([(chosen[number], results[number]) for number in order], folder)
    for place, number in enumerate(order, start=1):
        row, result = chosen[number], results[number]
        row["promoted"] = place
        row["outcome"] = f"place {place} of {len(order)} in promotion"
        if place <= phase.num_found:
            row["outcome"] = "tested"
            phase.search.console.print(
                f"to be tested: {row['formula']}, {result.reward:.4f} on validation",
                markup=False,
                highlight=False,
                soft_wrap=True,
            )
    _write_hall(table, folder)
    best = order[: phase.num_found]
    return [_make_contender(phase, chosen[i], results[i], losses[i]) for i in best], records


def _write_promotion(
    promoted: Sequence[tuple[Mapping[str, Any], CandidateResult]], folder: Path
) -> None:
    """Writes ``promotion.json`` as that of other searches; here there is one rung."""
    rows = [
        {
            "rung": 1,
            "epochs": max((epoch for epoch, _ in result.course), default=None),
            "name": f"found-{row['rank']}",
            "reward": result.reward,
            "course": make_course(result.course),
        }
        for row, result in promoted
    ]
    write_atomically(folder / "promotion.json", json.dumps(rows))


def _make_contender(
    phase: RankSearchPhase, row: Mapping[str, Any], result: CandidateResult, loss: LossFn
) -> RankContender:
    """Returns the contender of a found loss, whose constants start from those of promotion."""
    values: dict[str, Any] = {name: result.settings[name] for name in loss.constants}
    return RankContender(
        name=f"found-{row['rank']}",
        formula=row["formula"],
        loss=build_loss(row["formula"], family="pairwise", bounds=UNBOUNDED, **values),
        score=phase.score,
        constants=dict.fromkeys(values, phase.constants),
        found=True,
        published=values,
    )


def _list_hall(phase: RankSearchPhase, hall: HallOfFame) -> list[dict[str, Any]]:
    """Returns the rows of ``hall_of_fame.csv``."""
    space, family = phase.search.space, phase.search.space.vocabulary.family
    hall = jax.device_get(hall)
    twins = _find_twins(phase, hall)
    rows: list[dict[str, Any]] = []
    for j in np.flatnonzero(np.isfinite(hall.gain)):
        tokens = get_token_names(space, hall.tokens[j])
        rows.append(
            {
                "rank": j + 1,
                "formula": write_formula(space, family, hall.tokens[j]),
                "complexity": complexity(tokens, family=family),
                "reward": f"{hall.reward[j]:.6f}",
                "score": f"{hall.gain[j]:.6f}",
                "gain": f"{hall.gain[j]:.6f}",
                "generation": int(hall.generation[j]),
                "check": "",
                "front": "false",
                "twin": twins[j],
                "promoted": "",
                "outcome": f"same as {twins[j]}" if twins[j] else "not promoted",
                "tokens": " ".join(tokens),
            }
        )
    mark_front(rows)
    return rows


def _find_twins(phase: RankSearchPhase, hall: HallOfFame) -> list[str]:
    """Returns the initial loss that each row is, or "": it is no find."""
    if not phase.known:
        return [""] * len(hall.gain)
    tokens = jnp.asarray(np.stack(list(phase.known.values())))
    known = compute_fingerprints(phase.search.space, phase.search.filter, tokens)
    same = np.asarray(
        are_twins(jnp.asarray(hall.fingerprints), known, tolerance=phase.search.filter.tolerance)
    )
    names = [*phase.known, ""]
    return [names[j] for j in np.where(same.any(1), same.argmax(1), -1)]


def _write_hall(table: Sequence[dict[str, Any]], folder: Path) -> None:
    write_atomically(folder / "hall_of_fame.csv", report.make_hall_of_fame_csv(table))
