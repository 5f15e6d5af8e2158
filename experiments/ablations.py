"""Compares methods, filters and reward scales of the search, as trainings are spent.

Usage::

    python experiments/ablations.py --config=configs/ml100k.py --json=FILE [flags of run.py]

Each variant searches with several seeds. Whenever it has spent a certain number of trainings, its
best sound losses so far are noted. In the end all of them are trained from scratch, in one go, on
train and reward rows together at the learning rates of the fair test; validation chooses loss, rate
and epoch for each of these looks, and test says how good the choice was. BCE is treated in the same
way. A variant that writes few losses worth training is stopped after a number of generations and
has no more looks. A loss trained for three epochs counts as three trainings. If FILE has searches
already, with the same flags, the missing ones are added to them.

``ablation_curves.py`` makes a table and a plot of the figures.
"""

import json
import sys
from collections.abc import Iterator
from functools import cache
from itertools import product
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # for experiments itself

import numpy as np

from autolossgen.evaluation.gradient_check import check_gradients
from autolossgen.language.inputs import as_program
from autolossgen.search.hall_of_fame import HallOfFame
from autolossgen.search.log_record import get_token_names, make_program
from autolossgen.training.trainer import Trainer
from benchmarks.timing import write_figures
from experiments.ablation_curves import LOOKS
from experiments.flags import pop_flag, pop_json_flag
from experiments.run_parts import Run, build_run, iterate_generations, read_config
from experiments.scratch_training import make_final_trainer, stack_padded, train_curves

MAX_GENERATIONS = 40
NUM_BEST = 8  # losses of a look
NUM_CHECKED = 48  # losses of the hall of fame that are checked
NUM_SEEDS = 5
NUM_EPOCHS = 20
METHODS = ("risk_seeking", "reinforce", "evolution", "random")
# Candidates that explore come first, and half of them pass the paper's filter: they would fill all
# lanes, and no method but random search would have a say.
FILTERS = {
    "": {"filter.name": "graded"},
    ", paper filter": {
        "filter.name": "paper",
        "policy.reinforce.below_average": -1.0,  # the rest of that filter
        "policy.risk_seeking.explore": 0.0,
        "policy.reinforce.explore": 0.0,
        "policy.evolution.explore": 0.0,
    },
}
SCALES = {
    "": {"generation.reward_scale": "gradient"},
    ", raw reward": {"generation.reward_scale": "raw"},
}
VARIANTS = {
    method + filter_ + scale: {"policy.name": method, **FILTERS[filter_], **SCALES[scale]}
    for filter_, scale, method in product(FILTERS, SCALES, METHODS)
}
OPTIONS = {  # of the first variant, after all those
    "risk_seeking, fresh weights": {"generation.restart": "always"},
    "risk_seeking, length prior": {"space.length_prior": (9.0, 2.0)},
    "risk_seeking, seeds": {"space.initial_losses": ("bce", "mse")},
}

Tokens = tuple[str, ...]


def run_search(run: Run, seed: int) -> Iterator[tuple[int, list[Tokens]]]:
    """Searches, and yields trainings spent and best losses whenever a look is due."""
    looks, epochs = list(LOOKS), run.setup.config.generation.epochs
    for state, record in iterate_generations(run, seed, MAX_GENERATIONS):
        trainings = record["trained_total"] * epochs
        if trainings >= looks[0]:
            yield trainings, find_best_losses(run, state.hall)
            looks = [look for look in looks if look > trainings]
        if not looks:
            return


def find_best_losses(run: Run, hall: HallOfFame) -> list[Tokens]:
    """Returns the tokens of the first sound losses of a hall of fame."""
    space, family = run.search.space, run.setup.task.family
    tokens = np.asarray(hall.tokens)[np.isfinite(hall.gain)]
    if not len(tokens):
        return []
    # Always the same number, for one compilation.
    rows = np.minimum(np.arange(NUM_CHECKED), len(tokens) - 1)
    programs = [make_program(space, family, tokens[row]) for row in rows]
    losses = stack_padded(run, programs, [space.bounds] * NUM_CHECKED)
    sound = check_gradients(run.shortlist.logit_grads, losses).sound
    best = np.unique(rows[sound])[:NUM_BEST]
    return [get_token_names(space, tokens[row]) for row in best]


def measure_search(run: Run, trainer: Trainer, seed: int) -> dict:
    """Searches with a seed; returns the curve of its looks, and BCE's figures."""
    looks = list(run_search(run, seed))
    losses = list(dict.fromkeys(tokens for _, best in looks for tokens in best))
    programs = [as_program(tokens, family=run.setup.task.family) for tokens in losses]
    splits = run.setup.splits
    curves = train_curves(
        run,
        trainer,
        programs,
        epochs=NUM_EPOCHS,
        seed=seed,
        train=splits.full_train,
        valid=splits.valid,
        test=splits.test,
    )
    valid, test = curves.valid.max((0, 2)), curves.pick_best()
    index = {tokens: 1 + j for j, tokens in enumerate(losses)}
    curve = []
    for trained, best in looks:
        if best:
            chosen = max((index[tokens] for tokens in best), key=lambda j: valid[j])
            row = {"trained": trained, "valid": float(valid[chosen]), "test": float(test[chosen])}
            curve.append({**row, "tokens": " ".join(losses[chosen - 1])})
    bce = {"valid": float(valid[0]), "test": float(test[0])}
    return {"seed": seed, "looks": LOOKS, "curve": curve, "bce": bce}


def read_known_searches(path: Path, flags: list[str]) -> dict[str, list[dict]]:
    """Returns the searches that a file has already, by variant; its data may be elsewhere now."""
    if not path.exists():
        return {}
    content = json.loads(path.read_text())
    if _drop_path(content["flags"]) != _drop_path(flags):
        raise SystemExit(f"expected the flags of {path}, {content['flags']}, got {flags}")
    return content["variants"]


def _drop_path(flags: list[str]) -> list[str]:
    return pop_flag(flags, "config.data.path")[1]


def main() -> None:
    """Measures all variants; prints and writes the figures after each search."""
    path, flags = pop_json_flag(sys.argv[1:])
    searches = dict.fromkeys(VARIANTS | OPTIONS, ()) | read_known_searches(path, flags)

    @cache
    def build_variant(name: str) -> Run:
        config = read_config(flags)
        changes = VARIANTS["risk_seeking"] | (VARIANTS | OPTIONS)[name]
        config.update_from_flattened_dict(changes)
        return build_run(config)

    trainer = make_final_trainer(build_variant("risk_seeking"))
    for seed, name in (*product(range(NUM_SEEDS), VARIANTS), *product(range(NUM_SEEDS), OPTIONS)):
        if seed in [search["seed"] for search in searches[name]]:
            continue
        search = measure_search(build_variant(name), trainer, seed)
        searches[name] = [*searches[name], search]
        points = ", ".join(f"{row['trained']}: {row['test']:.4f}" for row in search["curve"])
        print(f"{name}, seed {seed}: {points}; BCE {search['bce']['test']:.4f}", flush=True)
        done = {name: searches[name] for name in searches if searches[name]}
        write_figures(path, {"flags": flags, "variants": done})


if __name__ == "__main__":
    main()
