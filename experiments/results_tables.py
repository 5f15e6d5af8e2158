"""The tables of docs/results.md and its appendices, in Markdown, from the JSON next to them.

Usage::

    python experiments/results_tables.py

A test compares the pages with them.
"""

import json
import sys
from collections.abc import Iterable, Iterator, Mapping
from itertools import product
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # for experiments itself

from autolossgen.report.results import Cell, LossResult, parse_cells
from autolossgen.report.verdict import (
    format_difference,
    format_user_interval,
    format_verdict,
    get_best_baseline,
    get_best_found,
)
from experiments import ablation_curves, ranking_tables
from experiments.ranking_tables import make_markdown

RESULTS = Path(__file__).resolve().parent.parent / "docs" / "results"
METRICS = {"auc": "AUC", "f1": "F1", "accuracy": "accuracy"}
OF_RANKS = {"ndcg@10": "NDCG@10", "recall@10": "recall@10", "mrr": "MRR"}
# The page's losses, in the order in which transfers were given them.
FOUND = ("**found A**", "**found B**")
LATER = ("**default search**", "**GroupLens' split**", "**longer search**")  # all of ML-100K
DEEP = ("**longer search, deep**",)  # of ML-100K, too
PAIRWISE = ("**found 1**", "**found 2**", "**found 3**", "**found 4**")
BASELINE_COLUMNS = ("best baseline on validation", "AUC to it, over seeds", "over users", "verdict")
MODELS = ("biased_mf", "deep")
SEARCHES = {"searched": "default", "thorough": "longer"}
DATASETS = {
    "ml100k": "ML-100K",
    "ml_latest_small": "ml-latest-small",
    "movietweetings": "MovieTweetings",
}


def read_results(name: str) -> dict[str, Any]:
    """Returns the content of a file of docs/results."""
    return json.loads((RESULTS / f"{name}.json").read_text())


def select_cell(
    results: Mapping[str, Any], dataset: str, found_names: Iterable[str] = FOUND
) -> tuple[Cell, dict[str, LossResult]]:
    """Returns the cell of a data set, and its losses in the order in which they were given.

    Args:
      results: content of a ``results.json``.
      dataset: its name there.
      found_names: what the page calls the found losses, in that order.

    Returns:
      The cell; and by their names on the page, its losses.
    """
    (cell,) = (cell for cell in parse_cells(results) if cell.dataset == dataset)
    by_name = {loss.name: loss for loss in cell.losses}
    names = [loss["name"] for loss in results["losses"] if loss["dataset"] == dataset]
    losses = [by_name[name] for name in names]
    page_names = iter(found_names)
    return cell, {next(page_names) if loss.found else loss.name: loss for loss in losses}


def _format_values(loss: LossResult, metrics: Iterable[str] = METRICS) -> list[str]:
    """Returns mean and half an interval of each metric on test."""
    tests = [loss.test[metric] for metric in metrics]
    return [f"{test.mean:.4f} ± {(test.high - test.low) / 2:.4f}" for test in tests]


def make_comparison(
    results: Mapping[str, Any],
    dataset: str,
    found_names: Iterable[str] = FOUND,
    metrics: Mapping[str, str] = METRICS,
) -> str:
    """Returns the table of a data set: its losses against the baseline that validation picks."""
    cell, losses = select_cell(results, dataset, found_names)
    first = next(iter(metrics.values()))
    header = ["loss", *metrics.values(), f"{first} to the best baseline, over seeds", "over users"]

    def make_row(name: str, loss: LossResult) -> list[str]:
        difference = ["", ""]
        if loss is not get_best_baseline(cell):
            difference = [format_difference(loss), _strip_user_interval(loss)]
        return [name, *_format_values(loss, metrics), *difference, format_verdict(cell, loss)]

    return make_markdown([*header, "verdict"], [make_row(*item) for item in losses.items()])


def make_side_by_side(paper: Mapping[str, Any], fair: Mapping[str, Any], dataset: str) -> str:
    """Returns the metrics under the original's protocol next to those of the fair test."""
    paper_losses, fair_losses = (select_cell(results, dataset)[1] for results in (paper, fair))
    header = [
        f"{test} {metric}" for test in ("paper:", "fair:") for metric in ("AUC", "F1", "acc.")
    ]
    rows = [
        [name, *_format_values(loss), *_format_values(fair_losses[name])]
        for name, loss in paper_losses.items()
    ]
    return make_markdown(["loss", *header], rows)


def make_transfer_matrix(results: Mapping[str, Any], found_names: Iterable[str] = FOUND) -> str:
    """Returns the matrix: AUC, its difference to the column's best baseline, and the verdict."""
    tested = {cell.dataset for cell in parse_cells(results)}
    datasets = [name for name in DATASETS if name in tested]
    columns = [select_cell(results, dataset, found_names) for dataset in datasets]

    def format_entry(cell: Cell, loss: LossResult) -> str:
        mean = f"{loss.test_score.mean:.4f}"
        if loss is get_best_baseline(cell):
            return f"{mean} best baseline"
        return f"{mean}, {format_difference(loss)}, {format_verdict(cell, loss)}"

    rows = [
        [name, *(format_entry(cell, losses[name]) for cell, losses in columns)]
        for name in columns[0][1]
    ]
    return make_markdown(["loss", *(DATASETS[name] for name in datasets)], rows)


def make_search_table(searches: Iterable[Mapping[str, Any]]) -> str:
    """Returns for searches of one cell each the found loss that validation picks.

    It is compared with the baseline that validation picks, and with the one that is best on test.

    Args:
      searches: the content of the ``results.json`` of each.
    """
    header = ["search", "found", "AUC", *BASELINE_COLUMNS, "best baseline on test", "AUC to it"]
    return make_markdown(header, (_make_search_row(*parse_cells(each)) for each in searches))


def _make_search_row(cell: Cell) -> list[str]:
    found = get_best_found(cell)
    baselines = [loss for loss in cell.losses if not loss.found]
    best = max(baselines, key=lambda loss: loss.test_score.mean)
    return [
        f"{cell.model}, {DATASETS[cell.dataset]}",
        f"`{found.formula}`",
        *_compare_with_baseline(cell, found),
        f"{best.name}, {best.test_score.mean:.4f}",
        f"{found.test_score.mean - best.test_score.mean:+.4f}",
    ]


def _compare_with_baseline(cell: Cell, found: LossResult) -> list[str]:
    """Returns the AUC of a found loss, then the entries of ``BASELINE_COLUMNS``."""
    baseline = get_best_baseline(cell)
    return [
        *_format_values(found, ["auc"]),
        f"{baseline.name}, {baseline.test_score.mean:.4f}",
        format_difference(found),
        _strip_user_interval(found),
        format_verdict(cell, found),
    ]


def _strip_user_interval(loss: LossResult) -> str:
    return format_user_interval(loss).removeprefix("users ")


def make_summary_table() -> str:
    """Returns the found loss that validation picks in each search, against the best baseline."""
    rows = []
    for model, (dataset, title) in product(MODELS, DATASETS.items()):
        entries, baselines = [], []
        for kind in SEARCHES:
            (cell,) = parse_cells(read_results(f"{kind}_{model}_{dataset}"))
            found, baseline = get_best_found(cell), get_best_baseline(cell)
            score = f"{found.test_score.mean:.4f}"
            entries.append(f"{score}, {format_difference(found)}, {format_verdict(cell, found)}")
            baselines.append(f"{baseline.name}, {baseline.test_score.mean:.4f}")
        names = " and ".join(dict.fromkeys(baselines))
        rows.append([f"{model}, {title}", names, *entries])
    return make_markdown(["model, data", "baseline", "default search", "longer search"], rows)


def make_default_run_table() -> str:
    """Returns the losses of the default run, the best first."""
    (cell,) = parse_cells(read_results("default_ml100k"))
    rows = []
    for loss in sorted(cell.losses, key=lambda loss: -loss.test_score.mean):
        name = f"**{loss.name}** `{loss.formula}`" if loss.found else loss.name
        difference = "" if loss is get_best_baseline(cell) else format_difference(loss)
        rows.append([name, *_format_values(loss, ["auc"]), difference, format_verdict(cell, loss)])
    return make_markdown(["loss", "test AUC", "to the best baseline", "verdict"], rows)


def make_longer_test_table() -> str:
    """Returns the found losses of two searches per data set, tested for 30 and for 60 epochs."""
    header = ["data", "found by"]
    for epochs in ("30 epochs", "60 epochs"):
        header += [f"{epochs}: Focal", "found", "found to Focal, over seeds"]
    rows = []
    for dataset, title in DATASETS.items():
        page_names = [f"{name} search" for name in SEARCHES.values()]
        late_cell, late_losses = select_cell(read_results(f"late_{dataset}"), dataset, page_names)
        for kind, page_name in zip(SEARCHES, page_names, strict=True):
            (early_cell,) = parse_cells(read_results(f"early_{kind}_biased_mf_{dataset}"))
            tests = (early_cell, get_best_found(early_cell)), (late_cell, late_losses[page_name])
            row = [title, page_name]
            for cell, found in tests:
                row += [
                    _format_values(loss, ["auc"])[0] for loss in (get_best_baseline(cell), found)
                ]
                row.append(format_difference(found))
            rows.append(row)
    return make_markdown(header, rows)


def make_cross_validation_table(names: Iterable[str]) -> str:
    """Returns the found loss of each search that is best by cross-validation, and its lead there.

    With it are the leads on test of the other losses that one could pick.

    Args:
      names: of the results of searches.
    """
    header = ["search", "best by cross-validation", "its lead there"]
    header += ["lead on test: of that loss", "of promotion's first", "of validation's pick"]
    header += ["of the best on test"]
    rows = []
    for name in names:
        (cell,), folds = parse_cells(read_results(name)), read_results(f"cross_validation_{name}")
        found_losses = {loss.name: loss for loss in cell.losses if loss.found}
        validated = [loss for loss in folds["losses"] if loss["found"]]  # in promotion's order
        best = max(validated, key=lambda loss: loss["ahead"])
        low, high = best["ci95"]
        picks = [best["name"], validated[0]["name"], get_best_found(cell).name]
        leads = [found_losses[pick].comparison.difference.mean for pick in picks]
        leads.append(max(loss.comparison.difference.mean for loss in found_losses.values()))
        kind = name.partition("_")[0]
        rows.append(
            [
                f"{SEARCHES[kind]}, {DATASETS[cell.dataset]}",
                f"`{best['formula']}`",
                f"{best['ahead']:+.4f} [{low:+.4f}, {high:+.4f}]",
                *(f"{lead:+.4f}" for lead in leads),
            ]
        )
    return make_markdown(header, rows)


def make_ceiling_table() -> str:
    """Returns how far gradient curves that are tuned directly are ahead."""
    header, rows = ["data", "tuned curves", *BASELINE_COLUMNS], []
    for dataset, title in DATASETS.items():
        (cell,) = parse_cells(read_results(f"ceiling_{dataset}"))
        rows.append([title, *_compare_with_baseline(cell, get_best_found(cell))])
    return make_markdown(header, rows)


def make_fidelity_table(figures: Mapping[str, Any]) -> str:
    """Returns how well rewards predict what losses are worth, from figures of ``fidelity.py``."""
    header = ["seen", "rank correlation with test AUC", "best of its first 1/16", "their mean"]
    rows = [
        [
            name,
            f"{row['correlation']:.2f} [{row['low']:.2f}, {row['high']:.2f}]",
            *(f"{row[key]:.4f}" for key in ("best_of_sixteenth", "mean_of_sixteenth")),
        ]
        for name, row in figures["correlations"].items()
    ]
    return make_markdown(header, rows)


def make_tables() -> Iterator[tuple[str, str]]:
    """Yields every table of the pages, with a title."""
    yield "summary", make_summary_table()
    yield "the default run", make_default_run_table()
    for model in MODELS:
        fair, paper = read_results(f"transfer_{model}"), read_results(f"paper_{model}")
        yield f"{model}, both protocols", make_side_by_side(paper, fair, "ml100k")
        yield f"{model}, original's protocol", make_comparison(paper, "ml100k")
    for kind, name in SEARCHES.items():
        files = (f"{kind}_{model}_{dataset}" for model, dataset in product(MODELS, DATASETS))
        yield f"{name} searches", make_search_table(map(read_results, files))
    yield (
        "picks",
        make_cross_validation_table(
            f"{kind}_biased_mf_{dataset}" for kind, dataset in product(SEARCHES, DATASETS)
        ),
    )
    yield "ceilings", make_ceiling_table()
    yield "tests that end too early", make_longer_test_table()
    yield "transfer to other data", make_transfer_matrix(read_results("transfer_found"), LATER)
    yield (
        "transfer of the deep model's loss",
        make_transfer_matrix(read_results("transfer_deep_found"), DEEP),
    )
    yield "transfer to the deep model", make_transfer_matrix(read_results("transfer_deep"))
    for path in sorted(RESULTS.glob("ranked_*.json")):
        dataset = path.stem.removeprefix("ranked_")
        yield path.stem, make_comparison(read_results(path.stem), dataset, PAIRWISE, OF_RANKS)
    yield from ranking_tables.make_tables(read_results)
    for path in sorted(RESULTS.glob("fidelity_*.json")):
        yield path.stem, make_fidelity_table(json.loads(path.read_text()))
    for path in sorted(RESULTS.glob("ablations_*.json")):
        variants = json.loads(path.read_text())["variants"]
        yield path.stem, ablation_curves.make_table(variants)
        yield f"{path.stem}, choices", ablation_curves.make_contrast_table(variants)


def main() -> None:
    """Prints the tables."""
    for title, table in make_tables():
        print(f"## {title}\n\n{table}\n")


if __name__ == "__main__":
    main()
