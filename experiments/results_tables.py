"""The tables of docs/results.md and its appendices, in Markdown, from the JSON files there::

    python experiments/results_tables.py

A test compares them with the pages.
"""

import json
import sys
from collections.abc import Iterable, Iterator, Mapping
from itertools import product
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from autolossgen.report.results import Cell, LossResult, parse_cells
from autolossgen.report.verdict import (
    format_difference,
    format_user_interval,
    format_verdict,
    get_best_baseline,
    get_best_found,
)
from experiments import ablation_curves

RESULTS = Path(__file__).resolve().parent.parent / "docs" / "results"
METRICS = {"auc": "AUC", "f1": "F1", "accuracy": "accuracy"}
OF_RANKS = {"ndcg@10": "NDCG@10", "recall@10": "recall@10", "mrr": "MRR"}
# The page's losses, in the order in which transfers were given them.
FOUND = ("**found A**", "**found B**")
LATER = ("**default search**", "**GroupLens' split**", "**longer search**")  # all of ML-100K
DEEP = ("**longer search, deep**",)  # likewise
PAIRWISE = ("**found 1**", "**found 2**", "**found 3**", "**found 4**")
BASELINE_COLUMNS = ("best baseline on validation", "AUC to it, over seeds", "over users", "verdict")
MODELS = ("biased_mf", "deep")
SEARCHES = {"searched": "default", "thorough": "longer"}
DATASETS = {
    "ml100k": "ML-100K",
    "ml_latest_small": "ml-latest-small",
    "movietweetings": "MovieTweetings",
}


def read(name: str) -> dict[str, Any]:
    """Give the results of a file."""
    return json.loads((RESULTS / f"{name}.json").read_text())


def of(
    results: Mapping[str, Any], dataset: str, found: Iterable[str] = FOUND
) -> tuple[Cell, dict[str, LossResult]]:
    """Give a data set's setting, and its losses as they were run by what the page calls them."""
    (setting,) = (each for each in parse_cells(results) if each.dataset == dataset)
    by_name = {loss.name: loss for loss in setting.losses}
    names = [loss["name"] for loss in results["losses"] if loss["dataset"] == dataset]
    called = iter(found)
    losses = [by_name[name] for name in names]
    return setting, {next(called) if loss.found else loss.name: loss for loss in losses}


def _values(loss: LossResult, metrics: Iterable[str] = METRICS) -> list[str]:
    """Give mean and half an interval of each metric on test."""
    tests = [loss.test[metric] for metric in metrics]
    return [f"{test.mean:.4f} ± {(test.high - test.low) / 2:.4f}" for test in tests]


def _markdown(heads: list[str], rows: Iterable[list[str]]) -> str:
    lines = [f"| {' | '.join(cells)} |" for cells in (heads, *rows)]
    return "\n".join([lines[0], f"|{'---|' * len(heads)}", *lines[1:]])


def comparison(
    results: Mapping[str, Any],
    dataset: str,
    found: Iterable[str] = FOUND,
    metrics: Mapping[str, str] = METRICS,
) -> str:
    """Give the losses of a data set, each beside the usual one that validation picks."""
    setting, losses = of(results, dataset, found)
    first = next(iter(metrics.values()))
    heads = ["loss", *metrics.values(), f"{first} to the best baseline, over seeds", "over users"]

    def row(name: str, loss: LossResult) -> list[str]:
        beside = ["", ""]
        if loss is not get_best_baseline(setting):
            beside = [format_difference(loss), format_user_interval(loss).removeprefix("users ")]
        return [name, *_values(loss, metrics), *beside, format_verdict(setting, loss)]

    return _markdown([*heads, "verdict"], [row(*each) for each in losses.items()])


def side_by_side(paper: Mapping[str, Any], fair: Mapping[str, Any], dataset: str) -> str:
    """Give the metrics under the original's protocol beside those of the fair test."""
    theirs, losses = (of(results, dataset)[1] for results in (paper, fair))
    heads = [f"{kind} {metric}" for kind in ("paper:", "fair:") for metric in ("AUC", "F1", "acc.")]
    rows = [[name, *_values(loss), *_values(losses[name])] for name, loss in theirs.items()]
    return _markdown(["loss", *heads], rows)


def transfer(results: Mapping[str, Any], found: Iterable[str] = FOUND) -> str:
    """Give the matrix: AUC, its difference to the column's best baseline, and the verdict."""
    there = [name for name in DATASETS if name in {each.dataset for each in parse_cells(results)}]
    columns = [of(results, dataset, found) for dataset in there]

    def cell(setting: Cell, loss: LossResult) -> str:
        mean = f"{loss.test_score.mean:.4f}"
        if loss is get_best_baseline(setting):
            return f"{mean} best baseline"
        return f"{mean}, {format_difference(loss)}, {format_verdict(setting, loss)}"

    rows = [
        [name, *(cell(setting, losses[name]) for setting, losses in columns)]
        for name in columns[0][1]
    ]
    return _markdown(["loss", *(DATASETS[name] for name in there)], rows)


def searched(results: Iterable[Mapping[str, Any]]) -> str:
    """Give of searches, one setting each, the found loss that validation picks.

    It is set beside the usual one that validation picks, and the one that is best on test.
    """
    heads = ["search", "found", "AUC", *BASELINE_COLUMNS, "best baseline on test", "AUC to it"]
    return _markdown(heads, (_searched(*parse_cells(each)) for each in results))


def _searched(setting: Cell) -> list[str]:
    found = get_best_found(setting)
    best = max((x for x in setting.losses if not x.found), key=lambda x: x.test_score.mean)
    ahead = found.test_score.mean - best.test_score.mean
    return [
        f"{setting.model}, {DATASETS[setting.dataset]}",
        f"`{found.formula}`",
        *_baseline_columns(setting, found),
        f"{best.name}, {best.test_score.mean:.4f}",
        f"{ahead:+.4f}",
    ]


def _baseline_columns(setting: Cell, found: LossResult) -> list[str]:
    """Give the AUC of a found loss, then the cells of ``BASELINE_COLUMNS``."""
    usual = get_best_baseline(setting)
    return [
        *_values(found, ["auc"]),
        f"{usual.name}, {usual.test_score.mean:.4f}",
        format_difference(found),
        format_user_interval(found).removeprefix("users "),
        format_verdict(setting, found),
    ]


def summary() -> str:
    """Returns the found loss that validation picks in each search, against the best baseline."""
    rows = []
    for model, (dataset, title) in product(MODELS, DATASETS.items()):
        cells, baselines = [], []
        for kind in SEARCHES:
            (setting,) = parse_cells(read(f"{kind}_{model}_{dataset}"))
            found, baseline = get_best_found(setting), get_best_baseline(setting)
            verdict = format_verdict(setting, found)
            score = f"{found.test_score.mean:.4f}"
            cells.append(f"{score}, {format_difference(found)}, {verdict}")
            baselines.append(f"{baseline.name}, {baseline.test_score.mean:.4f}")
        names = " and ".join(dict.fromkeys(baselines))
        rows.append([f"{model}, {title}", names, *cells])
    return _markdown(["model, data", "baseline", "default search", "longer search"], rows)


def default_run() -> str:
    """Returns the losses of the default run, the best first."""
    (setting,) = parse_cells(read("default_ml100k"))
    rows = []
    for loss in sorted(setting.losses, key=lambda loss: -loss.test_score.mean):
        name = f"**{loss.name}** `{loss.formula}`" if loss.found else loss.name
        difference = "" if loss is get_best_baseline(setting) else format_difference(loss)
        verdict = format_verdict(setting, loss)
        rows.append([name, *_values(loss, ["auc"]), difference, verdict])
    return _markdown(["loss", "test AUC", "to the best baseline", "verdict"], rows)


def lasting() -> str:
    """Give the found losses of two searches a data set, tested for thirty epochs and for sixty."""
    heads = ["data", "found by"]
    for epochs in ("30 epochs", "60 epochs"):
        heads += [f"{epochs}: Focal", "found", "found to Focal, over seeds"]
    kinds = {f"{kind}_biased_mf": f"{called} search" for kind, called in SEARCHES.items()}
    rows = []
    for dataset, title in DATASETS.items():
        setting, losses = of(read(f"late_{dataset}"), dataset, kinds.values())
        for kind, called in kinds.items():
            (before,) = parse_cells(read(f"early_{kind}_{dataset}"))
            tested = (before, get_best_found(before)), (setting, losses[called])
            cells = [
                (
                    *(_values(loss, ["auc"])[0] for loss in (get_best_baseline(on), found)),
                    format_difference(found),
                )
                for on, found in tested
            ]
            rows.append([title, called, *cells[0], *cells[1]])
    return _markdown(heads, rows)


def cross_validated(names: Iterable[str]) -> str:
    """Give the found loss of each search that is best by cross-validation, and its lead there.

    Beside it are the leads on test of what else one could pick.
    """
    heads = ["search", "best by cross-validation", "its lead there", "lead on test: of that loss"]
    heads += ["of promotion's first", "of validation's pick", "of the best on test"]
    rows = []
    for name in names:
        (setting,), folds = parse_cells(read(name)), read(f"cross_validation_{name}")
        on_test = {loss.name: loss for loss in setting.losses if loss.found}
        crossed = [loss for loss in folds["losses"] if loss["found"]]  # in promotion's order
        best = max(crossed, key=lambda loss: loss["ahead"])
        low, high = best["ci95"]
        picks = [best["name"], crossed[0]["name"], get_best_found(setting).name]
        leads = [on_test[pick].comparison.difference.mean for pick in picks]
        leads.append(max(loss.comparison.difference.mean for loss in on_test.values()))
        kind = name.partition("_")[0]
        rows.append(
            [
                f"{SEARCHES[kind]}, {DATASETS[setting.dataset]}",
                f"`{best['formula']}`",
                f"{best['ahead']:+.4f} [{low:+.4f}, {high:+.4f}]",
                *(f"{lead:+.4f}" for lead in leads),
            ]
        )
    return _markdown(heads, rows)


def ceilings() -> str:
    """Give what curves of slopes that are tuned as such are ahead by."""
    heads, rows = ["data", "tuned curves", *BASELINE_COLUMNS], []
    for dataset, title in DATASETS.items():
        (setting,) = parse_cells(read(f"ceiling_{dataset}"))
        rows.append([title, *_baseline_columns(setting, get_best_found(setting))])
    return _markdown(heads, rows)


def fidelity(found: Mapping[str, Any]) -> str:
    """Give how what is seen of losses goes with what they are worth, of ``fidelity.py``."""
    heads = ["seen", "rank correlation with test AUC", "best of its first 1/16", "their mean"]
    rows = [
        [
            name,
            f"{row['correlation']:.2f} [{row['low']:.2f}, {row['high']:.2f}]",
            *(f"{row[key]:.4f}" for key in ("best_of_sixteenth", "mean_of_sixteenth")),
        ]
        for name, row in found["correlations"].items()
    ]
    return _markdown(heads, rows)


def tables() -> Iterator[tuple[str, str]]:
    """Give every table of the pages, with a title."""
    yield "summary", summary()
    yield "the default run", default_run()
    for model in MODELS:
        fair, paper = read(f"transfer_{model}"), read(f"paper_{model}")
        yield f"{model}, both protocols", side_by_side(paper, fair, "ml100k")
        yield f"{model}, original's protocol", comparison(paper, "ml100k")
    for kind, called in SEARCHES.items():
        names = (f"{kind}_{model}_{dataset}" for model, dataset in product(MODELS, DATASETS))
        yield f"{called} searches", searched(map(read, names))
    pairs = product(SEARCHES, DATASETS)
    yield "picks", cross_validated(f"{kind}_biased_mf_{dataset}" for kind, dataset in pairs)
    yield "ceilings", ceilings()
    yield "tests that end too early", lasting()
    yield "transfer to other data", transfer(read("transfer_found"), LATER)
    yield "transfer of the deep model's loss", transfer(read("transfer_deep_found"), DEEP)
    yield "transfer to the deep model", transfer(read("transfer_deep"))
    for path in sorted(RESULTS.glob("ranked_*.json")):
        dataset = path.stem.removeprefix("ranked_")
        yield path.stem, comparison(read(path.stem), dataset, PAIRWISE, OF_RANKS)
    for path in sorted(RESULTS.glob("fidelity_*.json")):
        yield path.stem, fidelity(json.loads(path.read_text()))
    for path in sorted(RESULTS.glob("ablations_*.json")):
        variants = json.loads(path.read_text())["variants"]
        yield path.stem, ablation_curves.table(variants)
        yield f"{path.stem}, choices", ablation_curves.contrasts(variants)


def main() -> None:
    """Print the tables."""
    for title, table in tables():
        print(f"## {title}\n\n{table}\n")


if __name__ == "__main__":
    main()
