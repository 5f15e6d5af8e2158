"""From the hall of fame to the losses that are tested: check of their gradients, and promotion."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from autolossgen import complexity, report, to_text
from autolossgen.evaluation.contenders import Contender, make_contender
from autolossgen.evaluation.gradient_check import check_gradients
from autolossgen.files import write_atomically
from autolossgen.interfaces import Array, Batch
from autolossgen.language.programs import Program
from autolossgen.search.log_record import program_of_tokens, token_names
from autolossgen.search.screening import twins, unit_length
from autolossgen.search.search import SearchState
from autolossgen.training.loss_gradients import LossBatch, stack_losses

from .phases import Run, Setup


class SoundLoss(NamedTuple):
    """A sound loss of the hall of fame."""

    rank: int
    tokens: tuple[str, ...]
    program: Program
    prints: np.ndarray  # fingerprint [P]


class Checked(NamedTuple):
    """The hall of fame after the check."""

    sound: list[SoundLoss]  # best first, without twins of usual losses
    table: list[dict[str, Any]]  # rows of ``hall_of_fame.csv``


def check_phase(run: Run, state: SearchState) -> Checked:
    """Check the hall of fame and write ``hall_of_fame.csv``."""
    on, hall = run.ground, jax.device_get(state.hall)
    hall = jax.tree.map(lambda part: part[np.isfinite(hall.gain)], hall)
    family, group = on.task.family, on.task.group
    programs = [program_of_tokens(run.space, family, tokens) for tokens in hall.tokens]
    sound, table = [], []
    validity = (
        check_gradients(run.slopes, _objective(run, programs), group=group) if programs else None
    )
    twin = _usual_twins(run, hall.prints)
    for j, each in enumerate(programs):
        tokens = token_names(run.space, hall.tokens[j])
        row = {
            "rank": j + 1,
            "formula": to_text(each, family=family),
            "complexity": complexity(each, family=family),
            "reward": f"{hall.reward[j]:.6f}",
            "gain": f"{hall.gain[j]:.6f}",
            "generation": int(hall.generation[j]),
            "check": f"{validity.right[j]:.4f}",
            "sound": str(validity.sound[j]).lower(),
            "front": "false",
            "twin": twin[j],
            "promoted": "",
            "tokens": " ".join(tokens),
        }
        table.append(row)
        if validity.sound[j] and not twin[j]:
            sound.append(SoundLoss(j + 1, tokens, each, hall.prints[j]))
    _mark_front([row for row in table if row["sound"] == "true"])
    _write(run, table)
    return Checked(sound, table)


def _usual_twins(run: Run, prints: Array) -> list[str]:
    """Give the usual loss with each fingerprint [J, P], by its name; or nothing.

    A found loss that is one of those it is tested against would take another's place.
    """
    on, filter_ = run.ground, run.filter
    probe = filter_.probe
    slopes = on.task.static_slopes([each.loss for each in on.usual])
    logits = jnp.broadcast_to(probe.logit, (len(on.usual), len(probe.logit)))
    theirs = slopes(jnp.ones(len(on.usual)), logits, jnp.asarray(probe.label))
    same = twins(jnp.asarray(prints), filter_.fingerprint(theirs), tolerance=filter_.tolerance)
    called = [*(each.name for each in on.usual), ""]
    return [called[j] for j in np.where(same.any(1), same.argmax(1), -1)]


def promote_phase(run: Run, checked: Checked) -> list[Contender]:
    """Give the losses that are to be tested, best first; print and write them.

    They are known long before the test is over, and a user who cannot wait has them here.
    """
    on, wanted = run.ground, run.ground.config.contenders.found
    if not checked.sound or not wanted:
        return []
    losses = _objective(run, [each.program for each in checked.sound])
    # Those of the paper's filter are as large as the gradient.
    prints = np.asarray(unit_length(np.stack([each.prints for each in checked.sound])))
    order, rewards = run.promote(losses, prints, on.splits["train"], promotion_splits(on))
    for place, (j, reward) in enumerate(zip(order, rewards, strict=True), start=1):
        row = checked.table[checked.sound[j].rank - 1]
        row["promoted"] = place
        if place <= wanted:
            line = f"to be tested: {row['formula']}, {on.task.metric.name} {reward:.4f}"
            on.console.print(line, markup=False, highlight=False, soft_wrap=True)
    _write(run, checked.table)
    language = {"family": on.task.family, "bounds": run.space.bounds}
    return [
        make_contender(f"found-{each.rank}", each.program, tokens=each.tokens, **language)
        for each in (checked.sound[j] for j in order[:wanted])
    ]


def promotion_splits(on: Setup) -> list[Batch]:
    """Give the splits that promotion judges by: what it does not train on, but for test.

    Without validation where that has other candidates to rank: the mean of a metric among few and
    among many would be neither.
    """
    config = on.config
    ranks = on.task.metric.of_ranks
    if ranks and config.implicit.candidates != config.implicit.test_candidates:
        return [on.splits["reward"]]
    parts = ["valid"] if config.data.get("reward_split") == "valid" else ["reward", "valid"]
    return [on.splits[part] for part in parts]


def _mark_front(sound: list[dict[str, Any]]) -> None:
    """Mark the rows that no other has a higher gain than at the same length, or a shorter one.

    Gains are beside the reference; rewards, of recommenders that move on, do not compare.
    """
    lengths, gains = [row["complexity"] for row in sound], [float(row["gain"]) for row in sound]
    for row, front in zip(sound, report.find_pareto_front(lengths, gains), strict=True):
        row["front"] = str(front).lower()


def _objective(run: Run, programs: list[Program]) -> LossBatch:
    return stack_losses(programs, [run.space.bounds] * len(programs))


def _write(run: Run, table: list[dict[str, Any]]) -> None:
    write_atomically(run.workdir / "hall_of_fame.csv", report.make_hall_of_fame_csv(table))
