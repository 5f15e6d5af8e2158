"""How well a short training of a ranking loss predicts what a long one reaches.

Usage::

    python experiments/ranking_fidelity.py --draw=FILE.txt
    python experiments/ranking_fidelity.py --losses=FILE.txt --data=FOLDER --json=FILE [--part=0/4]
    python experiments/ranking_fidelity.py --merge=FILE,FILE --json=FILE

The first form writes formulas, one a line: the losses that a search of ``configs/topk.py`` begins
with, others that it draws at random, and children of the former. All pass its filter, none are
twins. The second form trains each with ``TRIALS`` values of its constants and learning rate for
``MARKS[-1]`` epochs, and keeps the metric on validation at each of ``MARKS``. Several processes can
share the work: with ``--part=0/4`` one trains every fourth loss. The third form reads their files.

What a loss is worth is the best of all its trials and epochs. A rung sees fewer: at each of its
stages the best of some trials go on. It is compared by Spearman's rank correlation, over all losses
and over the better half, and by which share of the best tenth is in the rung's best fifth.
"""

import json
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # for experiments itself

import jax
import jax.numpy as jnp
import numpy as np
from scipy.stats import spearmanr

from autolossgen import controller
from autolossgen.configs import topk
from autolossgen.data import build_ranking
from autolossgen.language.build import UNBOUNDED, build_loss
from autolossgen.language.grammar import FREE_NAME, FREE_VALUE
from autolossgen.language.inputs import LossFn
from autolossgen.language.named_losses import named_loss
from autolossgen.models.matrix_factorization import make_matrix_factorization
from autolossgen.ranking.candidates import CandidateResult
from autolossgen.ranking.search import make_rank_filter, make_rank_search
from autolossgen.ranking.trainer import (
    EvalSplit,
    LaneSettings,
    RankTrainer,
    TrainingPairs,
    make_eval_split,
    make_rank_trainer,
    make_training_pairs,
)
from autolossgen.ranking.tuning import Range, propose, to_settings
from autolossgen.search.log_record import write_formula
from autolossgen.search.space import make_space
from benchmarks.timing import write_figures
from experiments.flags import pop_flag

TRIALS, MARKS, METRIC = 8, (1, 2, 3, 5, 7, 10, 14, 20, 30), "ndcg@20"
RATES, CONSTANTS = Range(0.03, 0.2), Range(0.05, 5.0)
DRAWN = 128  # losses of each of two generations
RUNGS = {  # name -> trials of each stage, and the epochs after which it ends
    "1 trial, 2 epochs": ((1,), (2,)),
    "1 trial, 7 epochs": ((1,), (7,)),
    "4 trials, 2 epochs": ((4,), (2,)),
    "4 trials, 2 epochs; 1 to 7": ((4, 1), (2, 7)),
    "8 trials, 1 epoch": ((8,), (1,)),
    "8 trials, 2 epochs": ((8,), (2,)),
    "8 trials, 2 epochs; 2 to 7": ((8, 2), (2, 7)),
    "8 trials, 1 epoch; 4 to 3; 1 to 7": ((8, 4, 1), (1, 3, 7)),
    "8 trials, 1 epoch; 4 to 3; 2 to 7": ((8, 4, 2), (1, 3, 7)),
    "8 trials, 3 epochs; 4 to 7; 2 to 14": ((8, 4, 2), (3, 7, 14)),
    "8 trials, 7 epochs": ((8,), (7,)),
}


class Data(NamedTuple):
    """What losses are trained on."""

    model: Any
    train: TrainingPairs
    valid: EvalSplit


def draw_losses() -> list[str]:
    """Returns formulas of losses that pass the filter of ``configs/topk.py``.

    A search draws them: its first generation has the initial losses, and others at random. Only the
    former are rewarded, so the second generation breeds from them.
    """
    config = topk.get_config()
    space = make_space(**config.space, bounds=UNBOUNDED, family="pairwise", typed=True)
    count, rewards = len(space.initial_losses), iter([1.0] * len(space.initial_losses))

    def reward(losses: Sequence[LossFn], *_: object) -> list[CandidateResult]:
        return [CandidateResult(next(rewards, 0.5), {}) for _ in losses]

    settings = dict(config.policy.evolution) | {"population": count, "newcomers": count}
    search = make_rank_search(
        controller.POLICIES["evolution"](space.grammar, **settings),
        space,
        make_rank_filter(config.contenders.score, **config.filter),
        reward,
        reference=named_loss("softmax"),
        samples=8192,
        num_candidates=DRAWN,
        hall=2 * DRAWN,
        seen_losses=4 * DRAWN,
    )
    key = jax.random.key(0)
    state = search.init(key, None)
    for generation in range(2):
        state, _ = search.run_generation(state, jax.random.fold_in(key, generation), None, None)
    found = np.asarray(state.hall.tokens)[np.isfinite(state.hall.gain)]
    return [write_formula(space, space.vocabulary.family, tokens) for tokens in found]


def load_data(folder: str, valid_seed: int = 2024) -> Data:
    """Returns a folder's data, and the recommender of ``configs/topk.py``.

    Args:
      folder: with train and test.
      valid_seed: random seed of what is drawn for validation.
    """
    data = build_ranking(path=folder, valid_seed=valid_seed)
    return Data(
        model=make_matrix_factorization(data.num_users, data.num_items, embedding_dim=64),
        train=make_training_pairs(data.train, data.num_items),
        valid=make_eval_split(data.valid, data.mask(data.train), data.num_items),
    )


def compile_loss(data: Data, formula: str) -> tuple[RankTrainer, LaneSettings]:
    """Returns the compiled training of a formula, and the settings of its trials."""
    names = sorted(set(FREE_NAME.findall(formula)))
    loss = build_loss(
        formula, family="pairwise", bounds=UNBOUNDED, **dict.fromkeys(names, FREE_VALUE)
    )
    trainer = make_rank_trainer(data.model, loss, score="cosine", cutoffs=(20,))
    ranges = {"learning_rate": RATES} | dict.fromkeys(names, CONSTANTS)
    values = to_settings(ranges, propose(ranges, TRIALS, number=0, seed=0, before=None))
    values = {name: jnp.asarray(value, jnp.float32) for name, value in values.items()}
    lanes = LaneSettings(values.pop("learning_rate"), jnp.zeros(TRIALS), values)
    keys = jnp.repeat(jax.random.key(0)[None], TRIALS)
    state = jax.eval_shape(trainer.init, keys)
    train = trainer.train.lower(state, lanes, data.train, keys, jnp.ones(TRIALS, jnp.int32))
    return trainer._replace(train=train.compile()), lanes


def train_curves(data: Data, trainer: RankTrainer, lanes: LaneSettings) -> np.ndarray:
    """Returns the metric on validation [MARKS, TRIALS]."""
    keys = jnp.repeat(jax.random.key(0)[None], TRIALS)
    state, curves = trainer.init(keys), []
    for epoch in range(1, MARKS[-1] + 1):
        state = trainer.train(state, lanes, data.train, keys, jnp.ones(TRIALS, jnp.int32))
        if trainer.reads_threshold:
            state = trainer.refresh_thresholds(state)
        if epoch in MARKS:
            values = np.asarray(trainer.evaluate(state, data.valid).users[METRIC])
            curves.append(np.nan_to_num(values.mean(1), nan=0.0))
    return np.stack(curves)


def train_losses(formulas: Sequence[str], folder: str, file: Path) -> None:
    """Trains all formulas, and writes the curves of those that are done."""
    data = load_data(folder)
    rows: list[dict[str, Any]] = []
    with ThreadPoolExecutor(3) as pool:
        compiled = [pool.submit(compile_loss, data, formula) for formula in formulas]
        for formula, job in zip(formulas, compiled, strict=True):
            rows.append({"formula": formula, "curves": train_curves(data, *job.result()).tolist()})
            job._result = None  # a compiled program is large
            part = {"data": Path(folder).name, "device": jax.devices()[0].device_kind, "rows": rows}
            file.write_text(json.dumps(part))
            print(f"{len(rows)}/{len(formulas)} {np.max(rows[-1]['curves']):.4f} {formula}")


def compute_reward(curves: np.ndarray, trials: Sequence[int], epochs: Sequence[int]) -> float:
    """Returns the reward of a loss at a rung, from its curves [MARKS, TRIALS]."""
    going_on, best = np.arange(trials[0]), np.zeros(trials[0])
    for count, epoch in zip(trials, epochs, strict=True):
        going_on = going_on[np.argsort(-best[going_on], kind="stable")[:count]]
        best[going_on] = np.maximum(best[going_on], curves[MARKS.index(epoch), going_on])
    return float(best.max())


def compare_rungs(curves: np.ndarray) -> list[dict[str, Any]]:
    """Returns what each rung tells of losses with ``curves`` [losses, MARKS, TRIALS]."""
    worth = curves.max((1, 2))
    order = np.argsort(-worth)
    better, best = order[: len(order) // 2], set(order[: len(order) // 10])
    table = []
    for name, (trials, epochs) in RUNGS.items():
        reward = np.array([compute_reward(curve, trials, epochs) for curve in curves])
        first = set(np.argsort(-reward, kind="stable")[: len(order) // 5])
        going_on = np.append(trials[1:], 0)
        table.append(
            {
                "rung": name,
                "epochs": int(np.sum(np.array(epochs) * (np.array(trials) - going_on))),
                "correlation": float(spearmanr(reward, worth)[0]),
                "correlation_of_better_half": float(spearmanr(reward[better], worth[better])[0]),
                "found_of_best_tenth": len(best & first) / len(best),
            }
        )
    return table


def merge(files: Sequence[str], file: Path) -> None:
    """Writes the figures of each data set."""
    figures: dict[str, Any] = {"trials": TRIALS, "marks": MARKS, "metric": METRIC, "data": {}}
    parts = [json.loads(Path(name).read_text()) for name in files]
    for data in dict.fromkeys(part["data"] for part in parts):
        rows = [row for part in parts if part["data"] == data for row in part["rows"]]
        curves = np.array([row["curves"] for row in rows])
        worth = curves.max((1, 2))
        figures["data"][data] = {
            "losses": len(rows),
            "devices": sorted({part["device"] for part in parts if part["data"] == data}),
            "rungs": compare_rungs(curves),
            "worth": {rows[i]["formula"]: float(worth[i].round(5)) for i in np.argsort(-worth)},
        }
        for row in figures["data"][data]["rungs"]:
            print(data, *row.values())
    write_figures(file, figures)


def main() -> None:
    """Does what the flags say."""
    values, flags = {}, sys.argv[1:]
    for name in ("draw", "losses", "data", "part", "merge", "json"):
        values[name], flags = pop_flag(flags, name)
    if flags:
        raise SystemExit(f"flags {flags} are not known: see the top of {Path(__file__).name}")
    if values["draw"]:
        Path(values["draw"]).write_text("\n".join(draw_losses()) + "\n")
    elif values["merge"]:
        merge(values["merge"].split(","), Path(values["json"]))
    else:
        part, _, parts = (values["part"] or "0/1").partition("/")
        formulas = Path(values["losses"]).read_text().splitlines()[int(part) :: int(parts)]
        train_losses(formulas, values["data"], Path(values["json"]))


if __name__ == "__main__":
    main()
