"""Whether what a search found is ahead by more than the luck of one validation and one test split::

    python benchmarks/cross_validation.py --results=FILE --json=FILE [--folds=N] --config=FILE
        [flags of run.py]

``--results`` is the results.json of a search of pointwise losses, FILE the config that it had.
Training, reward and validation rows are dealt to N folds, each user's in turn; test rows are left
alone. Each fold is judged once, by losses that are tuned and trained as in the fair test on all
other folds: a reward is that of the best setting and epoch of the mean of ``test.tuning_seeds``
trainings, which flatters all losses, if not quite alike. Differences are to the usual loss that the
results' own differences are to, fold by fold. Their interval is too narrow: folds share what they
train on (Bengio and Grandvalet, 2004, JMLR 5:1089-1105).

Found losses were bred and promoted by rewards on some of these rows, so a lead of theirs may be
flattered, and a lag is not. Rows of a fold are of a user's whole history, those of validation and
test often of its end: a loss that is ahead in one sense need not be in the other.
"""

import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import jax
import numpy as np
from rich.console import Console

from autolossgen import data
from autolossgen.configs.command_line import read_command_line
from autolossgen.evaluation.contenders import Contender, make_contender
from autolossgen.evaluation.statistics import Splits, confidence_interval
from autolossgen.interfaces import Batch, StreamedData
from autolossgen.pipeline.phases import Setup, make_setup
from autolossgen.report.results import parse_bounds
from autolossgen.training.devices import configure_jax
from benchmarks.timing import json_and_flags, number, taken, write


def contenders_of(rows: Sequence[dict[str, Any]], on: Setup) -> list[Contender]:
    """Give the losses of results that are found, and those of the config that are usual."""
    made, family = list(on.usual), on.task.family
    for row in rows:
        if row["found"]:
            bounds = parse_bounds(row["bounds"], f"{row['name']}.bounds")
            made.append(make_contender(row["name"], row["tokens"], family=family, bounds=bounds))
    return made


def fold_of(user: np.ndarray, count: int) -> np.ndarray:
    """Give the fold [n] of each row: those of a user are dealt in turn, in random order."""
    shuffled = np.random.default_rng(0).permutation(len(user))
    by_user = shuffled[np.argsort(user[shuffled], kind="stable")]
    fold = np.empty(len(user), int)
    fold[by_user] = np.arange(len(user)) % count
    return fold


def folds(on: Setup, count: int) -> Iterator[Splits]:
    """Give each fold as the validation split of the others, all of one size; there is no test."""
    parts = [jax.device_get(on.splits[name]) for name in ("full_train", "valid")]
    rows = jax.tree.map(lambda *columns: np.concatenate(columns), *parts)
    fold = fold_of(np.asarray(rows.ids["user"]), count)
    size = np.bincount(fold).min()  # or each fold would be compiled for

    def cut(chosen: np.ndarray, most: int) -> Batch:
        some = np.flatnonzero(chosen)[:most]
        return jax.device_put(jax.tree.map(lambda column: column[some], rows), on.everywhere)

    for left_out in range(count):
        judged = cut(fold == left_out, size)
        # Where a fold is a row larger, the others together are a row smaller.
        yield Splits(cut(fold != left_out, len(fold) - size - 1), judged, judged)


def score(on: Setup, contenders: Sequence[Contender], count: int) -> np.ndarray:
    """Give the rewards [N, J] of losses on each fold."""
    scores = np.zeros((count, len(contenders)))
    for done, splits in enumerate(folds(on, count)):
        scores[done] = on.test.tune(contenders, splits).valid
        print(f"fold {done + 1} of {count}: best {scores[done].max():.4f}", flush=True)
    return scores


def read(results: str | None) -> tuple[list[dict[str, Any]], str]:
    """Give the losses of a search, and the name of that which differences are to."""
    if results is None:
        raise SystemExit("expected a --results=FILE, the results.json of a search")
    try:
        rows = json.loads(Path(results).read_text())["losses"]
        references = [row["name"] for row in rows if row["vs_best_baseline"] is None]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise SystemExit(f"expected the results.json of a search, {results}: {error!r}") from None
    if len(references) != 1:
        told = f"{results} has {len(references)} settings; give the one of a cell"
        raise SystemExit(f"expected the results of one model on one data set, {told}")
    return rows, references[0]


def check(on: Setup, rows: Sequence[dict[str, Any]], reference: str) -> None:
    """See that results are of the config, and can be cross-validated."""
    (theirs,) = {(row["model"], row["dataset"]) for row in rows}
    mine = on.config.model.name, on.dataset.name
    if mine != theirs:
        raise SystemExit(f"expected the config of the results, of {theirs}, got one of {mine}")
    if on.task.group > 1 or on.task.metric.of_ranks or isinstance(on.splits["train"], StreamedData):
        raise SystemExit("expected pointwise losses, judged by labels, and data that fit in memory")
    if reference not in (usual := [each.name for each in on.usual]):
        raise SystemExit(
            f"expected {reference!r} among contenders.baselines, which differences are to; "
            f"got {usual}"
        )


def main() -> None:
    """Tune on every fold, print and write."""
    path, flags = json_and_flags(sys.argv[1:])
    results, flags = taken(flags, "results")
    count, flags = number(flags, "folds", 5)
    rows, reference = read(results)
    config, _ = read_command_line(["run.py", *flags])
    configure_jax(data.cache_folder() / "compiled")
    on = make_setup(config, Console(quiet=True), {"found": sum(row["found"] for row in rows)})
    check(on, rows, reference)
    contenders = contenders_of(rows, on)
    names = [each.name for each in contenders]
    scores = score(on, contenders, count)
    told = []
    for each, mine in zip(contenders, scores.T, strict=True):
        ahead = mine - scores[:, names.index(reference)]
        row = {"name": each.name, "formula": each.formula, "found": each.found}
        row |= {"by_fold": mine.tolist(), "ahead": ahead.mean(), "ci95": confidence_interval(ahead)}
        told.append(row)
        print(f"{each.name}: {mine.mean():.4f}, {ahead.mean():+.4f} {np.round(row['ci95'], 4)}")
    about = {"model": on.config.model.name, "dataset": on.dataset.name, "reference": reference}
    write(path, {**about, "reward": on.task.metric.name, "losses": told})


if __name__ == "__main__":
    main()
