"""What methods, filters and reward scales of the search are worth, as trainings are spent::

    python benchmarks/ablations.py --config=configs/ml100k.py --json=FILE [flags of run.py]

Each variant searches with several seeds. Whenever it has spent as many trainings as a mark says,
its best sound losses so far are noted. In the end all of them are trained from scratch, in one go,
on train and reward rows together at the learning rates of the fair test; validation chooses loss,
rate and epoch of each mark, and test judges it. BCE goes through the same. A variant that writes
few losses worth training is stopped after a number of generations and has no more marks. A loss
trained from three recommenders, or for three epochs, is three trainings. Where FILE has searches
already, those of the same flags, the others are added to them.

``ablation_curves.py`` makes a table and a plot of the figures.
"""

import json
import sys
from collections.abc import Iterator
from functools import cache
from itertools import product
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import jax
import numpy as np
from rich.console import Console

from autolossgen import data
from autolossgen.configs.command_line import read_command_line
from autolossgen.evaluation.gradient_check import check_gradients
from autolossgen.language.inputs import as_program
from autolossgen.pipeline.phases import Run, make_run, next_generation, next_round
from autolossgen.search.log_record import program_of_tokens, token_names
from autolossgen.training.devices import configure_jax
from autolossgen.training.trainer import Trainer
from benchmarks.timing import json_and_flags, taken, write
from experiments.ablation_curves import LOOKS
from experiments.scratch import curves, final_courses, padded

GENERATIONS = 40  # at most
BEST = 8  # losses of a mark
CHECKED = 48  # rows of the hall of fame that are checked
SEEDS = 5
EPOCHS = 20
METHODS = ("risk_seeking", "reinforce", "evolution", "random")
# What explores comes first, and half of it passes the paper's filter: it would fill all lanes, and
# no method but random search would have a say.
FILTERS = {
    "": {"filter": "graded"},
    ", paper filter": {
        "filter": "paper",
        "reinforce.below_average": -1.0,  # the rest of that filter
        "risk_seeking.explore": 0.0,
        "reinforce.explore": 0.0,
        "evolution.explore": 0.0,
    },
}
SCALES = {
    "": {"generation.reward_scale": "gradient"},
    ", raw reward": {"generation.reward_scale": "raw"},
}
VARIANTS = {
    method + filtered + scaled: {"policy": method, **FILTERS[filtered], **SCALES[scaled]}
    for filtered, scaled, method in product(FILTERS, SCALES, METHODS)
}
OPTIONS = {  # of the first variant, after all those
    "risk_seeking, fresh weights": {"generation.restart": "always"},
    "risk_seeking, three starts": {"generation.starts": 3, "generation.width": 36},
    "risk_seeking, length prior": {"space.length_prior": (9.0, 2.0)},
    "risk_seeking, seeds": {"space.seeds": ("bce", "mse")},
}


def halls(run: Run, seed: int) -> Iterator[tuple[int, list[tuple[str, ...]]]]:
    """Search, and give trainings and the best losses whenever a mark is passed."""
    key = jax.random.fold_in(jax.random.key(seed), 0)
    state, last = run.search.init(key, run.ground.splits["reward"]), None
    marks, settings = list(LOOKS), run.ground.config.generation
    for _ in range(GENERATIONS):
        state, last = next_generation(run, state, key, last)
        trained = last["trained_total"] * settings.starts * settings.epochs
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
    programs = [program_of_tokens(run.space, family, tokens[row]) for row in rows]
    sound = check_gradients(run.slopes, padded(run, programs, [run.space.bounds] * CHECKED)).sound
    chosen = np.unique(rows[sound])[:BEST]
    return [token_names(run.space, tokens[row]) for row in chosen]


def measure(run: Run, courses: Trainer, seed: int) -> dict:
    """Search with a seed and give the curve, and BCE's figures."""
    noted = list(halls(run, seed))
    losses = list(dict.fromkeys(tokens for _, hall in noted for tokens in hall))
    programs = [as_program(tokens, family=run.ground.task.family) for tokens in losses]
    on = run.ground
    parts = {"train": "full_train", "chooses": "valid", "test": "test"}
    parts = {part: on.splits[name] for part, name in parts.items()}
    seen = curves(run, courses, programs, epochs=EPOCHS, seed=seed, **parts)
    valid, test = seen.chooses.max((0, 2)), seen.best()
    place = {tokens: 1 + j for j, tokens in enumerate(losses)}
    curve = []
    for trained, hall in noted:
        if hall:
            chosen = max((place[tokens] for tokens in hall), key=lambda j: valid[j])
            row = {"trained": trained, "valid": float(valid[chosen]), "test": float(test[chosen])}
            curve.append({**row, "tokens": " ".join(losses[chosen - 1])})
    bce = {"valid": float(valid[0]), "test": float(test[0])}
    return {"seed": seed, "looks": LOOKS, "curve": curve, "bce": bce}


def known(path: Path, flags: list[str]) -> dict[str, list[dict]]:
    """Give the searches that a file has already, by variant; its data may have lain elsewhere."""
    if not path.exists():
        return {}
    written = json.loads(path.read_text())
    if _but_path(written["flags"]) != _but_path(flags):
        raise SystemExit(f"expected the flags of {path}, {written['flags']}, got {flags}")
    return written["variants"]


def _but_path(flags: list[str]) -> list[str]:
    return taken(flags, "config.data.path")[1]


def main() -> None:
    """Measure all variants, print and write what is there after each search."""
    path, flags = json_and_flags(sys.argv[1:])
    found = dict.fromkeys(VARIANTS | OPTIONS, ()) | known(path, flags)
    configure_jax(data.cache_folder() / "compiled")

    @cache
    def joined(name: str) -> Run:
        config, _ = read_command_line(["run.py", *flags])
        changes = VARIANTS["risk_seeking"] | (VARIANTS | OPTIONS)[name]
        config.update_from_flattened_dict(changes)
        return make_run(config, Path(name), Console(quiet=True))

    courses = final_courses(joined("risk_seeking"))
    for seed, name in (*product(range(SEEDS), VARIANTS), *product(range(SEEDS), OPTIONS)):
        if seed in [search["seed"] for search in found[name]]:
            continue
        last = measure(joined(name), courses, seed)
        found[name] = [*found[name], last]
        points = ", ".join(f"{row['trained']}: {row['test']:.4f}" for row in last["curve"])
        print(f"{name}, seed {seed}: {points}; BCE {last['bce']['test']:.4f}", flush=True)
        there = {name: searches for name, searches in found.items() if searches}
        write(path, {"flags": flags, "variants": there})


if __name__ == "__main__":
    main()
