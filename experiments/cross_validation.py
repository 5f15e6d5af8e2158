"""Whether found losses lead by more than the luck of one validation and one test split.

Usage::

    python experiments/cross_validation.py --results=FILE --json=FILE [--folds=N] --config=FILE
        [flags of run.py]

``--results`` is the results.json of a search of pointwise losses, ``--config`` the config that it
had. Training, reward and validation rows are dealt to N folds, each user's in turn; test rows are
left alone. Losses are evaluated once on each fold, tuned and trained as in the fair test on all
other folds: a reward is that of the best setting and epoch of the mean of ``test.tuning_seeds``
trainings, which flatters all losses, if not quite equally. Differences are to the baseline that
the results' own differences are to, fold by fold. Their interval is too narrow: folds share what
they train on (Bengio and Grandvalet, 2004, JMLR 5:1089-1105).

Found losses were written and promoted by rewards on some of these rows, so a lead of theirs may be
flattered, and a lag is not. Rows of a fold are from a user's whole history, those of validation and
test often from its end: a loss that is ahead in one sense need not be in the other.
"""

import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # for experiments itself

import jax
import numpy as np

from autolossgen.evaluation.contenders import Contender, make_contender
from autolossgen.evaluation.statistics import Splits, compute_confidence_interval
from autolossgen.interfaces import Batch, StreamedData
from autolossgen.report.results import parse_bounds
from benchmarks.timing import write_figures
from experiments.flags import pop_flag, pop_json_flag, pop_number_flag
from experiments.run_parts import Setup, build_setup, read_config

Record = dict[str, Any]  # a loss of results.json


def make_contenders(records: Sequence[Record], setup: Setup) -> list[Contender]:
    """Returns the baselines of a config, and the found losses of results."""
    contenders = list(setup.baselines)
    for record in records:
        if record["found"]:
            bounds = parse_bounds(record["bounds"], f"{record['name']}.bounds")
            contenders.append(
                make_contender(
                    record["name"], record["tokens"], family=setup.task.family, bounds=bounds
                )
            )
    return contenders


def assign_folds(user: np.ndarray, num_folds: int) -> np.ndarray:
    """Returns the fold [n] of each row: those of a user are dealt in turn, in random order."""
    shuffled = np.random.default_rng(0).permutation(len(user))
    by_user = shuffled[np.argsort(user[shuffled], kind="stable")]
    fold = np.empty(len(user), int)
    fold[by_user] = np.arange(len(user)) % num_folds
    return fold


def make_folds(setup: Setup, num_folds: int) -> Iterator[Splits]:
    """Yields each fold as the validation split of the others, all of one size; there is no test."""
    parts = jax.device_get([setup.splits.full_train, setup.splits.valid])
    rows = jax.tree.map(lambda *columns: np.concatenate(columns), *parts)
    fold = assign_folds(np.asarray(rows.ids["user"]), num_folds)
    fold_size = np.bincount(fold).min()  # one size for all, or each fold would be compiled for

    def select(is_chosen: np.ndarray, max_rows: int) -> Batch:
        chosen = np.flatnonzero(is_chosen)[:max_rows]
        return jax.device_put(jax.tree.map(lambda column: column[chosen], rows), setup.replicated)

    for left_out in range(num_folds):
        valid = select(fold == left_out, fold_size)
        # Where a fold is a row larger, the others together are a row smaller.
        train = select(fold != left_out, len(fold) - fold_size - 1)
        yield Splits(train=train, valid=valid, test=valid)


def score_on_folds(setup: Setup, contenders: Sequence[Contender], num_folds: int) -> np.ndarray:
    """Returns the rewards [num_folds, num_losses] of losses on each fold."""
    rewards = np.zeros((num_folds, len(contenders)))
    for index, splits in enumerate(make_folds(setup, num_folds)):
        rewards[index] = setup.fair_test.tune(contenders, splits).valid
        print(f"fold {index + 1} of {num_folds}: best {rewards[index].max():.4f}", flush=True)
    return rewards


def read_results(path: str | None) -> tuple[list[Record], str]:
    """Returns the losses of a search, and the name of the baseline that differences are to."""
    if path is None:
        raise SystemExit("expected a --results=FILE, the results.json of a search")
    try:
        records = json.loads(Path(path).read_text())["losses"]
        references = [record["name"] for record in records if record["vs_best_baseline"] is None]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise SystemExit(f"expected the results.json of a search, {path}: {error!r}") from None
    if len(references) != 1:
        raise SystemExit(
            f"expected the results of one model on one data set, {path} has {len(references)} "
            "settings; give the one of a cell"
        )
    return records, references[0]


def check_results(setup: Setup, records: Sequence[Record], reference: str) -> None:
    """Checks that results are of the config, and can be cross-validated."""
    (of_results,) = {(record["model"], record["dataset"]) for record in records}
    of_config = setup.config.model.name, setup.dataset.name
    if of_config != of_results:
        raise SystemExit(
            f"expected the config of the results, of {of_results}, got one of {of_config}"
        )
    task = setup.task
    if task.group > 1 or task.metric.of_ranks or isinstance(setup.splits.train, StreamedData):
        raise SystemExit("expected pointwise losses, a metric of labels, and data that fit memory")
    baselines = [baseline.name for baseline in setup.baselines]
    if reference not in baselines:
        raise SystemExit(
            f"expected {reference!r} among contenders.baselines, which differences are to; "
            f"got {baselines}"
        )


def main() -> None:
    """Tunes on every fold, prints and writes."""
    path, flags = pop_json_flag(sys.argv[1:])
    results, flags = pop_flag(flags, "results")
    num_folds, flags = pop_number_flag(flags, "folds", 5)
    records, reference = read_results(results)
    config = read_config(flags)
    setup = build_setup(config, {"found": sum(record["found"] for record in records)})
    check_results(setup, records, reference)
    contenders = make_contenders(records, setup)
    rewards = score_on_folds(setup, contenders, num_folds)
    reference_rewards = rewards[:, [contender.name for contender in contenders].index(reference)]
    losses = []
    for contender, by_fold in zip(contenders, rewards.T, strict=True):
        lead = by_fold - reference_rewards
        interval = compute_confidence_interval(lead)
        losses.append(
            {
                "name": contender.name,
                "formula": contender.formula,
                "found": contender.found,
                "by_fold": by_fold.tolist(),
                "ahead": lead.mean(),
                "ci95": interval,
            }
        )
        mean = f"{by_fold.mean():.4f}, {lead.mean():+.4f}"
        print(f"{contender.name}: {mean} {np.round(interval, 4)}")
    figures = {
        "model": setup.config.model.name,
        "dataset": setup.dataset.name,
        "reference": reference,
        "reward": setup.task.metric.name,
        "losses": losses,
    }
    write_figures(path, figures)


if __name__ == "__main__":
    main()
