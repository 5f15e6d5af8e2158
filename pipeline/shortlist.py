"""From the hall of fame to the losses that are tested: gradient check, and promotion."""

import json
from collections.abc import Mapping, Sequence
from itertools import takewhile
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from rich.console import Console

from autolossgen import complexity, report, to_text
from autolossgen.evaluation.contenders import Contender, make_contender
from autolossgen.evaluation.gradient_check import GradientCheck, check_gradients
from autolossgen.evaluation.kept import NOTHING, Kept, keep_within
from autolossgen.evaluation.promotion import Promote, Rung, make_promotion
from autolossgen.evaluation.statistics import make_course
from autolossgen.files import write_atomically
from autolossgen.interfaces import AnyArray, Array, Batch, Data
from autolossgen.language.programs import Program
from autolossgen.search.hall_of_fame import HallOfFame
from autolossgen.search.log_record import get_token_names, make_program, simplify_tokens
from autolossgen.search.screening import Filter, are_twins, scale_to_unit_length
from autolossgen.search.space import Space
from autolossgen.training.loss_gradients import LogitGradFn, LossBatch, stack_losses
from autolossgen.training.tasks import Task

from .setup import Setup, get_training_settings


class ShortlistPhase(NamedTuple):
    """What decides which losses of a hall of fame are tested."""

    promote: Promote
    num_found: int  # losses to test, at most
    train: Data
    eval_splits: list[Batch]  # that promotion evaluates on
    task: Task
    space: Space
    logit_grads: LogitGradFn  # of losses of the space
    filter: Filter
    baselines: list[Contender]
    parsimony: float  # reward that a token costs
    console: Console
    progress: report.PhaseProgress


class SoundLoss(NamedTuple):
    """A loss of the hall of fame that passed the gradient check and is no baseline."""

    rank: int
    tokens: tuple[str, ...]
    program: Program  # as it was trained
    fingerprint: AnyArray  # [P]
    complexity: int  # of its simplified form


class CheckedHall(NamedTuple):
    """The hall of fame after the gradient check."""

    sound: list[SoundLoss]  # best first
    table: list[dict[str, Any]]  # rows of ``hall_of_fame.csv``


def make_shortlist_phase(setup: Setup, space: Space, filter_: Filter) -> ShortlistPhase:
    """Builds the gradient check and the promotion that a config describes.

    Raises:
      ValueError: for values out of range.
    """
    config, task = setup.config, setup.task
    logit_grads = task.traced_logit_grads(space.vocabulary.operators)
    num_found = config.contenders.found
    promote = make_promotion(
        setup.make_lanes,
        logit_grads,
        **config.promote,
        **get_training_settings(config, setup.progress),
        min_survivors=num_found,
        task=task,
    )
    return ShortlistPhase(
        promote=promote,
        num_found=num_found,
        train=setup.splits.train,
        eval_splits=choose_promotion_splits(setup),
        task=task,
        space=space,
        logit_grads=logit_grads,
        filter=filter_,
        baselines=setup.baselines,
        parsimony=config.generation.parsimony,
        console=setup.console,
        progress=setup.progress,
    )


def choose_promotion_splits(setup: Setup) -> list[Batch]:
    """Returns the splits that promotion evaluates on: all that it does not train on, but for test.

    Without validation where that has another number of candidates to rank: the mean of a metric
    among few and among many would be neither.
    """
    config = setup.config
    num_candidates = config.implicit.candidates, config.implicit.test_candidates
    if setup.task.metric.of_ranks and len({*num_candidates}) > 1:
        return [setup.splits.reward]
    names = ["valid"] if config.data.get("reward_split") == "valid" else ["reward", "valid"]
    return [getattr(setup.splits, name) for name in names]


def check_hall(phase: ShortlistPhase, hall: HallOfFame, folder: Path) -> CheckedHall:
    """Checks the gradients of all losses of a hall of fame; writes ``hall_of_fame.csv``.

    The file has the losses that pass, in their simplified form. They are ordered by their score,
    which is the gain less ``generation.parsimony`` times the complexity of that form.

    Args:
      phase: what decides.
      hall: the hall of fame [H].
      folder: where the file is written.

    Returns:
      The losses that may be tested, and the rows of the file.
    """
    hall = jax.device_get(hall)
    hall = jax.tree.map(lambda part: part[np.isfinite(hall.gain)], hall)
    family = phase.task.family
    programs = [make_program(phase.space, family, tokens) for tokens in hall.tokens]
    if not programs:
        return _write_hall(CheckedHall([], []), folder)
    checks = check_gradients(
        phase.logit_grads, _stack(phase.space, programs), group=phase.task.group
    )
    _report_unsound(phase, checks)
    shown = [simplify_tokens(phase.space, family, tokens) for tokens in hall.tokens]
    lengths = np.array([complexity(program, family=family) for program in shown])
    scores = hall.gain - phase.parsimony * lengths
    twins = _baseline_twins(phase, hall.fingerprints)
    sound: list[SoundLoss] = []
    table: list[dict[str, Any]] = []
    for j in np.argsort(-scores, kind="stable"):
        if not checks.sound[j]:
            continue
        loss = SoundLoss(
            rank=len(table) + 1,
            tokens=get_token_names(phase.space, hall.tokens[j]),
            program=programs[j],
            fingerprint=hall.fingerprints[j],
            complexity=int(lengths[j]),
        )
        row = _make_row(hall, j, loss, to_text(shown[j], family=family))
        table.append(
            row
            | {
                "score": f"{scores[j]:.6f}",
                "check": f"{checks.right[j]:.4f}",
                "twin": twins[j],
                "outcome": f"same as {twins[j]}" if twins[j] else "not promoted yet",
            }
        )
        if not twins[j]:
            sound.append(loss)
    mark_front(table)
    return _write_hall(CheckedHall(sound, table), folder)


def _report_unsound(phase: ShortlistPhase, checks: GradientCheck) -> None:
    """Says how many losses leave the hall of fame, as their gradients point the wrong way."""
    count = int((~checks.sound).sum())
    if count:
        phase.console.print(
            f"{count} of {len(checks.sound)} losses of the hall of fame fail the gradient check: "
            "they are left out",
            soft_wrap=True,
        )


def _make_row(hall: HallOfFame, j: int, loss: SoundLoss, formula: str) -> dict[str, Any]:
    """Returns what a row of ``hall_of_fame.csv`` has before anything is compared."""
    return {
        "rank": loss.rank,
        "formula": formula,
        "complexity": loss.complexity,
        "reward": f"{hall.reward[j]:.6f}",
        "gain": f"{hall.gain[j]:.6f}",
        "generation": int(hall.generation[j]),
        "promoted": "",
        "tokens": " ".join(loss.tokens),
    }


def promote_losses(
    phase: ShortlistPhase, checked: CheckedHall, folder: Path, kept: Kept = NOTHING
) -> list[Contender]:
    """Trains sound losses from scratch, rung by rung; prints and writes the best.

    They are printed before the test starts, which takes minutes more.

    Args:
      phase: what decides.
      checked: the hall of fame, checked.
      folder: where ``hall_of_fame.csv`` is written again, with what became of each loss.
      kept: of the run.

    Returns:
      The losses to test, best first.
    """
    say_what_is_known(phase.console, checked.table)
    sound, num_found = checked.sound, phase.num_found
    if not sound or not num_found:
        return []
    losses = _stack(phase.space, [loss.program for loss in sound])
    # Those of the paper's filter are as large as the gradient.
    fingerprints = np.asarray(scale_to_unit_length(np.stack([loss.fingerprint for loss in sound])))
    penalty = phase.parsimony * np.array([loss.complexity for loss in sound])
    names = [f"found-{loss.rank}" for loss in sound]
    kept = keep_within(kept, "promotion", [loss.tokens for loss in sound])
    with phase.progress:
        rungs = phase.promote(
            losses, fingerprints, phase.train, phase.eval_splits, penalty, names, kept
        )
    _write_outcomes(checked, rungs, num_found)
    _write_rungs(names, rungs, folder)
    last = rungs[-1]
    for j, reward in zip(last.losses[:num_found], last.rewards, strict=False):
        formula = checked.table[sound[j].rank - 1]["formula"]
        line = f"to be tested: {formula}, {phase.task.metric.name} {reward:.4f}"
        phase.console.print(line, markup=False, highlight=False, soft_wrap=True)
    _write_hall(checked, folder)
    return [_contender(phase, sound[j]) for j in last.losses[:num_found]]


def _write_outcomes(checked: CheckedHall, rungs: Sequence[Rung], num_found: int) -> None:
    """Writes what became of each loss that was promoted, and its place after the last rung."""
    for rung in rungs:
        for place, j in enumerate(rung.losses, start=1):
            row = checked.table[checked.sound[j].rank - 1]
            row["outcome"] = f"place {place} of {len(rung.losses)} after {rung.epochs} epochs"
            row["promoted"] = place if rung is rungs[-1] else ""
            if rung is rungs[-1] and place <= num_found:
                row["outcome"] = "tested"


def _write_rungs(names: Sequence[str], rungs: Sequence[Rung], folder: Path) -> None:
    """Writes ``promotion.json``: the losses of each rung, best first, and their rewards."""
    rows = [
        {
            "rung": number,
            "epochs": rung.epochs,
            "name": names[j],
            "reward": float(reward),
            "course": make_course(enumerate(course, start=1)),
        }
        for number, rung in enumerate(rungs, start=1)
        for j, reward, course in zip(rung.losses, rung.rewards, rung.courses, strict=True)
    ]
    write_atomically(folder / "promotion.json", json.dumps(rows))


def _contender(phase: ShortlistPhase, loss: SoundLoss) -> Contender:
    return make_contender(
        f"found-{loss.rank}",
        loss.program,
        tokens=loss.tokens,
        family=phase.task.family,
        bounds=phase.space.bounds,
    )


def _baseline_twins(phase: ShortlistPhase, fingerprints: Array) -> list[str]:
    """Returns the name of the baseline with each fingerprint [J, P], or "".

    Rediscovered baselines are skipped: they would waste a place in the test.
    """
    baselines, probe = phase.baselines, phase.filter.probe
    logit_grads = phase.task.static_logit_grads([baseline.loss for baseline in baselines])
    logits = jnp.broadcast_to(probe.logit, (len(baselines), len(probe.logit)))
    gradients = logit_grads(jnp.ones(len(baselines)), logits, jnp.asarray(probe.label))
    of_baselines = phase.filter.fingerprint(gradients)
    same = are_twins(jnp.asarray(fingerprints), of_baselines, tolerance=phase.filter.tolerance)
    names = [*(baseline.name for baseline in baselines), ""]
    return [names[j] for j in np.where(same.any(1), same.argmax(1), -1)]


def say_what_is_known(console: Console, table: Sequence[Mapping[str, Any]]) -> None:
    """Says so where the best of a search are losses that were known."""
    known = [row["twin"] for row in takewhile(lambda row: row["twin"], table)]
    if known:
        names = ", ".join(dict.fromkeys(known))
        console.print(f"best of the search, but known: {names}", markup=False, soft_wrap=True)


def mark_front(rows: Sequence[dict[str, Any]]) -> None:
    """Marks the rows that no other one equals in gain at the same length or a shorter one.

    Gains are relative to the reference; rewards of base models that move on do not compare.
    """
    lengths, gains = [row["complexity"] for row in rows], [float(row["gain"]) for row in rows]
    for row, front in zip(rows, report.find_pareto_front(lengths, gains), strict=True):
        row["front"] = str(front).lower()


def _stack(space: Space, programs: Sequence[Program]) -> LossBatch:
    return stack_losses(programs, [space.bounds] * len(programs))


def _write_hall(checked: CheckedHall, folder: Path) -> CheckedHall:
    write_atomically(folder / "hall_of_fame.csv", report.make_hall_of_fame_csv(checked.table))
    return checked
