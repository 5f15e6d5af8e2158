"""The tables of rankings in docs/results; ``results_tables.py`` has all others."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import numpy as np
from scipy import stats

RANKING_SETS = {
    "amazon2014-health": "Health",
    "amazon2014-beauty": "Beauty",
    "amazon2014-electronic": "Electronics",
    "movielens-100k": "MovieLens-100K",
}


def make_markdown(header: list[str], rows: Iterable[list[str]]) -> str:
    """Returns a table in Markdown."""
    lines = [f"| {' | '.join(row)} |" for row in (header, *rows)]
    return "\n".join([lines[0], f"|{'---|' * len(header)}", *lines[1:]])


def make_published_table(figures: Mapping[str, Any], dataset: str) -> str:
    """Returns the losses of a data set next to published figures, recall@20 and NDCG@20.

    Both mask train alone, by a recommender that saw train alone.
    """
    header = ["loss", "negatives", "published", "here", "NDCG@20 to the published"]
    rows = []
    for row in _rows_of(figures, dataset):
        published = figures["published"][dataset].get(row["loss"])
        if published is None:
            continue
        test = row["test"]["train"]
        recall, ndcg = test["recall@20"][0], test["ndcg@20"][0]
        ratio = ndcg / published[1] - 1
        rows.append(
            [
                row["loss"],
                row["negatives"],
                f"{published[0]:.4f} / {published[1]:.4f}",
                f"{recall:.4f} / {_format_pair(test['ndcg@20'])}",
                f"{100 * ratio:+.1f} %",
            ]
        )
    return make_markdown(header, rows)


def make_served_table(figures: Mapping[str, Any], dataset: str) -> str:
    """Returns all of a data set, trained again on train and validation, both masked."""
    header = ["loss, or recommender without one", "negatives", "recall@20", "NDCG@20", "to EASE"]
    found = sorted(
        _rows_of(figures, dataset), key=lambda row: -row["test"]["train+valid"]["ndcg@20"][0]
    )
    rows = [
        [
            row["loss"] + _describe_diverged(row),
            row["negatives"] or "",
            *(_format_pair(row["test"]["train+valid"][name]) for name in ("recall@20", "ndcg@20")),
            _format_difference_to_ease(row),
        ]
        for row in found
    ]
    return make_markdown(header, rows)


def _describe_diverged(row: Mapping[str, Any]) -> str:
    count = row.get("diverged", 0)
    return f" ({count} of {row['seeds']} trainings diverged)" if count else ""


def _format_difference_to_ease(row: Mapping[str, Any]) -> str:
    """Returns difference, interval and Holm's p-value; nothing for EASE itself, or without it."""
    found = row.get("to_ease")
    if found is None:
        return ""
    low, high = found["interval"]
    p = "< 0.001" if found["p_holm"] < 0.001 else f"= {found['p_holm']:.3f}"
    return f"{found['difference']:+.4f} [{low:+.4f}, {high:+.4f}], p {p}"


def make_rung_table(figures: Mapping[str, Any]) -> str:
    """Returns what each rung of a search for ranking losses tells, set by set."""
    sets = figures["data"].values()
    header = ["rung", "epochs a loss"]
    for name, found in figures["data"].items():
        count = f"{RANKING_SETS[name]} ({found['losses']} losses)"
        header += [f"{count}: correlation", "of the better half", "of the best tenth in its fifth"]
    rows = [
        [
            rungs[0]["rung"],
            str(rungs[0]["epochs"]),
            *(entry for rung in rungs for entry in _format_rung(rung)),
        ]
        for rungs in zip(*(found["rungs"] for found in sets), strict=True)
    ]
    return make_markdown(header, rows)


def _format_rung(rung: Mapping[str, Any]) -> list[str]:
    return [
        f"{rung['correlation']:.2f}",
        f"{rung['correlation_of_better_half']:.2f}",
        f"{100 * rung['found_of_best_tenth']:.0f} %",
    ]


def make_ranking_ceiling_table(figures: Mapping[str, Any]) -> str:
    """Returns the free form and published losses on each validation split of a data set."""
    splits = list(figures["losses"][0]["valid"])
    header = ["loss", "trainings", *(f"validation drawn by seed {seed}" for seed in splits)]
    rows = []
    for loss in figures["losses"]:
        values = [np.asarray(loss["valid"][seed]) for seed in splits]
        entries = (_format_pair((x.mean(), compute_half_width(x))) for x in values)
        rows.append([loss["loss"], str(loss["trainings"]), *entries])
    return make_markdown(header, rows)


def _rows_of(figures: Mapping[str, Any], dataset: str) -> list[Mapping[str, Any]]:
    return [row for row in figures["rows"] if row["data"] == dataset]


def _format_pair(pair: tuple[float, float | None]) -> str:
    """Returns a mean, with half of its interval over seeds if there are seeds."""
    mean, half = pair
    return f"{mean:.4f}" if half is None else f"{mean:.4f} ± {half:.4f}"


def compute_half_width(values: np.ndarray) -> float:
    """Computes half of the 95 % interval of a mean over seeds [S]."""
    return float(stats.t.ppf(0.975, len(values) - 1) * values.std(ddof=1) / len(values) ** 0.5)


def make_tables(read_results: Callable[[str], dict[str, Any]]) -> Iterator[tuple[str, str]]:
    """Yields every table of rankings, with a title."""
    rankings = read_results("rankings")
    for dataset, published in rankings["published"].items():
        if published:
            yield f"rankings of {dataset}, published", make_published_table(rankings, dataset)
        yield f"rankings of {dataset}, served", make_served_table(rankings, dataset)
    yield "rungs of rankings", make_rung_table(read_results("ranking_fidelity"))
    for name in ("health", "beauty"):
        figures = read_results(f"ranking_ceiling_{name}")
        yield f"ceiling of {name}", make_ranking_ceiling_table(figures)
