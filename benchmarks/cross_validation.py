"""Whether what a search found is ahead by more than the luck of one validation and one test split::

    python benchmarks/cross_validation.py --results=FILE --json=FILE [--folds=N] --config=FILE
        [flags of run.py]

``--results`` is the results.json of a search of pointwise losses. Training and validation rows are
dealt to N folds, each user's in turn; test rows are left alone. Each fold is judged once, by losses
that are tuned and trained as in the fair test on all other folds: the best setting and epoch of the
mean of ``test.tuning_seeds`` trainings. All losses are flattered alike by that choice. Differences
are to the usual loss that the results' own differences are to, fold by fold; folds share what they
train on, so their interval is a little too narrow.

Rows of a fold are of a user's whole history, those of validation and test often of its end: a loss
that is ahead in one sense need not be in the other.
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
from timing import json_and_flags, number, taken, write

import data
from alg.contenders import Contender, found
from alg.devices import start_jax
from alg.results import Splits, interval
from alg.types import Batch, Source
from configs.command_line import read_command_line
from phases import Ground, ground


def contenders_of(rows: Sequence[dict[str, Any]], on: Ground) -> list[Contender]:
    """Give the losses of results that are found, and those of the config that are usual."""
    mine = [
        found(row["name"], row["tokens"], family=on.task.family, bounds=_bounds(row["bounds"]))
        for row in rows
        if row["found"]
    ]
    return [*on.usual, *mine]


def _bounds(written: Sequence[float | None]) -> tuple[float, float]:
    low, high = written
    return -np.inf if low is None else low, np.inf if high is None else high


def fold_of(user: np.ndarray, count: int) -> np.ndarray:
    """Give the fold [n] of each row: those of a user are dealt in turn, in random order."""
    shuffled = np.random.default_rng(0).permutation(len(user))
    by_user = shuffled[np.argsort(user[shuffled], kind="stable")]
    fold = np.empty(len(user), int)
    fold[by_user] = np.arange(len(user)) % count
    return fold


def folds(on: Ground, count: int) -> Iterator[Splits]:
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
        yield Splits(cut(fold != left_out, len(fold) - size - 1), judged, judged)


def score(on: Ground, contenders: Sequence[Contender], count: int) -> np.ndarray:
    """Give the metric [N, J] of losses on each fold."""
    scores = np.zeros((count, len(contenders)))
    for done, splits in enumerate(folds(on, count)):
        scores[done] = on.test.tune(contenders, splits).valid
        print(f"fold {done + 1} of {count}: best {scores[done].max():.4f}", flush=True)
    return scores


def read(results: str | None) -> tuple[list[dict[str, Any]], str]:
    """Give the losses of a search, and the name of that which differences are to."""
    if results is None:
        raise SystemExit("expected a --results=FILE, the results.json of a search")
    rows = json.loads(Path(results).read_text())["losses"]
    references = [row["name"] for row in rows if row["vs_best_baseline"] is None]
    if len(references) != 1:
        raise SystemExit(f"expected the results of one search, {results} has {len(references)}")
    return rows, references[0]


def main() -> None:
    """Tune on every fold, print and write."""
    path, flags = json_and_flags(sys.argv[1:])
    results, flags = taken(flags, "results")
    count, flags = number(flags, "folds", 5)
    rows, reference = read(results)
    config, _ = read_command_line(["run.py", *flags])
    start_jax(data.cache_folder() / "compiled")
    on = ground(config, Console(quiet=True), {"found": sum(row["found"] for row in rows)})
    if on.task.group > 1 or isinstance(on.splits["train"], Source):
        raise SystemExit("expected a config of pointwise losses, whose data are in memory")
    contenders = contenders_of(rows, on)
    names = [each.name for each in contenders]
    if reference not in names:
        raise SystemExit(f"expected {reference}, which differences are to, in contenders.baselines")
    scores = score(on, contenders, count)
    told = []
    for each, mine in zip(contenders, scores.T, strict=True):
        ahead = mine - scores[:, names.index(reference)]
        row = {"name": each.name, "formula": each.formula, "found": each.found}
        row |= {"by_fold": mine.tolist(), "ahead": ahead.mean(), "ci95": interval(ahead)}
        told.append(row)
        print(f"{each.name}: {mine.mean():.4f}, {ahead.mean():+.4f} {np.round(row['ci95'], 4)}")
    write(path, {"dataset": on.dataset.name, "reference": reference, "losses": told})


if __name__ == "__main__":
    main()
