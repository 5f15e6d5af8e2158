"""What methods, filters and reward scales of the search are worth, as trainings are spent::

    python benchmarks/ablations.py --config=configs/ml100k.py --json=FILE [flags of run.py]

Each variant searches with several seeds. Whenever it has spent as many trainings as a mark says,
its best sound losses so far are noted. In the end all of them are trained from scratch, in one go,
on train and reward rows together at the learning rates of the fair test; validation chooses loss,
rate and epoch of each mark, and test judges it. BCE goes through the same. A variant that writes
few losses worth training is stopped after a number of generations and has no more marks.
"""

import sys
from collections.abc import Iterator
from itertools import product
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import jax
import jax.numpy as jnp
import numpy as np
from rich.console import Console
from timing import write

import data
from alg.courses import Courses, make_courses, settings_grid
from alg.devices import start_jax
from alg.entries import names, program
from alg.lanes import Hyper
from alg.losses import as_program
from alg.metrics import auc
from alg.objectives import Objective, extend, objective
from alg.operators import SIGNED
from alg.programs import Program
from alg.validity import check
from configs.command_line import read_command_line
from phases import Run, join, next_generation, next_round

MARKS = (75, 150, 300, 600)  # trainings
GENERATIONS = 120  # at most
BEST = 6  # losses of a mark
CHECKED = 48  # rows of the hall of fame that are checked
SEEDS = 5
EPOCHS = 20
VARIANTS = {
    "risk_seeking": {},
    "reinforce": {"policy": "reinforce"},
    "evolution": {"policy": "evolution"},
    "random": {"policy": "random"},
    "risk_seeking, paper filter": {"filter": "paper"},
    "risk_seeking, raw reward": {"generation.reward_scale": "raw"},
    "reinforce, paper filter, raw reward": {
        "policy": "reinforce",
        "filter": "paper",
        "generation.reward_scale": "raw",
    },
}


def halls(run: Run, seed: int) -> Iterator[tuple[int, list[tuple[str, ...]]]]:
    """Search, and give trainings and the best losses whenever a mark is passed."""
    key = jax.random.fold_in(jax.random.key(seed), 0)
    state, last = run.search.init(key, run.ground.splits["reward"]), None
    marks = list(MARKS)
    for _ in range(GENERATIONS):
        state, last = next_generation(run, state, key, last)
        trained = last["trained_total"]
        if trained >= marks[0]:
            yield trained, best(run, state.hall)
            marks = [mark for mark in marks if mark > trained]
        if not marks:
            return
        state = next_round(run, state, key)


def best(run: Run, hall) -> list[tuple[str, ...]]:
    """Give the tokens of the first sound losses of a hall of fame."""
    family, there = run.ground.task.family, np.isfinite(hall.gain)
    tokens = np.asarray(hall.tokens)[there]
    if not len(tokens):
        return []
    # Always as many, for one compilation.
    rows = np.minimum(np.arange(CHECKED), len(tokens) - 1)
    programs = [program(run.space, family, tokens[row]) for row in rows]
    sound = check(run.slopes, padded(run, programs, [run.space.bounds] * CHECKED)).sound
    chosen = np.unique(rows[sound])[:BEST]
    return [names(run.space, tokens[row]) for row in chosen]


def padded(run: Run, programs: list[Program], bounds: list[tuple[float, float]]) -> Objective:
    """Give an objective of programs with as many instructions as any loss can have."""
    losses = objective(programs, bounds)
    slots = max(run.space.length, len(reference(run).op))
    return losses._replace(program=extend(losses.program, slots))


def reference(run: Run) -> Program:
    """Give BCE, or what the task has in its place."""
    return as_program(run.ground.task.reference, family=run.ground.task.family)


def test_auc(
    run: Run, courses: Courses, programs: list[Program], seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """Train losses from scratch; give validation and test AUC [J] where validation is best."""
    on, section = run.ground, run.ground.config.test
    grid = settings_grid(section.learning_rates, (1e-4,), l2=0.0, scale="gradient")
    wide = (1 + len(MARKS) * BEST) * len(grid)  # lanes, of which the last may be copies
    wide += -wide % jax.device_count()
    member = np.minimum(np.arange(wide) // len(grid), len(programs) - 1)
    setting = grid[np.arange(wide) % len(grid)]
    bounds = [SIGNED] + [run.space.bounds] * (len(programs) - 1)
    losses = padded(run, [programs[j] for j in member], [bounds[j] for j in member])
    key = jax.random.fold_in(jax.random.key(seed), 1)
    state = courses.begin(jnp.repeat(key[None], wide))
    train, valid, test = (on.splits[name] for name in ("full_train", "valid", "test"))
    factor = courses.factors(losses, state, train)
    hyper = Hyper(setting[:, 0] * factor, setting[:, 1] / factor, jnp.zeros(wide))
    found = []
    for epoch in range(EPOCHS):
        shuffle = jax.random.fold_in(key, epoch)
        state, reached = courses.epoch(state, losses, hyper, shuffle, train, valid)
        of_test = jax.vmap(auc, (0, None))(courses.score(state, test), test.label)
        found.append((np.asarray(reached), np.asarray(of_test)))
    valids, tests = (np.stack(each) for each in zip(*found, strict=True))
    out = np.full((2, len(programs)), -1.0)
    for lane, j in enumerate(member):
        epoch = valids[:, lane].argmax()
        if valids[epoch, lane] > out[0, j]:
            out[:, j] = valids[epoch, lane], tests[epoch, lane]
    return out[0], out[1]


def final_courses(run: Run) -> Courses:
    """Give the trainings that measure what searches found, compiled once for all of them."""
    operators = {*run.space.vocabulary.operators, *np.asarray(reference(run).op).tolist()}
    slopes = run.ground.task.traced_slopes(sorted(operators))
    return make_courses(run.ground.lanes, slopes, batch_size=run.ground.config.train.batch_size)


def measure(run: Run, courses: Courses, seed: int) -> dict:
    """Search with a seed and give the curve, and BCE's figures."""
    noted = list(halls(run, seed))
    losses = list(dict.fromkeys(tokens for _, hall in noted for tokens in hall))
    programs = [as_program(tokens, family=run.ground.task.family) for tokens in losses]
    valid, test = test_auc(run, courses, [reference(run), *programs], seed)
    place = {tokens: 1 + j for j, tokens in enumerate(losses)}
    curve = []
    for trained, hall in noted:
        if hall:
            chosen = max((place[tokens] for tokens in hall), key=lambda j: valid[j])
            row = {"trained": trained, "valid": float(valid[chosen]), "test": float(test[chosen])}
            curve.append({**row, "tokens": " ".join(losses[chosen - 1])})
    bce = {"valid": float(valid[0]), "test": float(test[0])}
    return {"seed": seed, "curve": curve, "bce": bce}


def main() -> None:
    """Measure all variants, print and write what is there after each search."""
    (path,) = (Path(a.removeprefix("--json=")) for a in sys.argv[1:] if a.startswith("--json="))
    rest = [a for a in sys.argv[1:] if not a.startswith("--json=")]
    start_jax(data.cache_folder() / "compiled")
    runs = {}
    for name, changes in VARIANTS.items():
        config, _ = read_command_line(["run.py", *rest])
        config.update_from_flattened_dict(changes)
        runs[name] = join(config, Path(name), Console(quiet=True))
    courses = final_courses(runs["risk_seeking"])
    found = {name: [] for name in runs}
    for seed, (name, run) in product(range(SEEDS), runs.items()):
        found[name].append(measure(run, courses, seed))
        last = found[name][-1]
        points = ", ".join(f"{row['trained']}: {row['test']:.4f}" for row in last["curve"])
        print(f"{name}, seed {seed}: {points}; BCE {last['bce']['test']:.4f}", flush=True)
        write(path, {"variants": found})


if __name__ == "__main__":
    main()
