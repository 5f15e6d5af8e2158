"""Collects runs of rankings in the JSON that the tables of docs/results/rankings.md are made of.

Usage::

    python experiments/ranking_results.py RUN [RUN ...] --json=FILE

RUN is the folder of a finished run of ``configs/topk.py``, or of ``configs/transfer.py`` with data
for rankings, which has a folder for each cell. Runs on the same data are one table: differences to
EASE are corrected for all of its losses together, and EASE may be in any of them.
"""

import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # for experiments itself

import numpy as np

from autolossgen.ranking.comparison import compare_to
from experiments.flags import pop_json_flag

METRICS = ("ndcg@20", "recall@20")
MASKS = {"train": "test_masking_train", "train+valid": "test"}  # mask -> entry of results.json
SERVED = "train+valid"
PUBLISHED = {  # data -> loss -> recall@20 and NDCG@20, of masking train alone
    "amazon2014-health": {
        "bpr": [0.1627, 0.1234],
        "softmax": [0.1719, 0.1261],
        "bsl": [0.1719, 0.1261],
        "psl": [0.1718, 0.1268],
        "sl_at_k": [0.1823, 0.139],
    },
    "amazon2014-electronic": {
        "bpr": [0.0816, 0.0527],
        "softmax": [0.0821, 0.0529],
        "bsl": [0.0834, 0.053],
        "psl": [0.0838, 0.0541],
        "sl_at_k": [0.0901, 0.059],
    },
    "movielens-100k": {"sl_at_k": [0.358, 0.3677]},
    "amazon2014-beauty": {},
}


def collect(folders: Sequence[Path]) -> dict[str, Any]:
    """Returns the figures of all runs.

    Args:
      folders: of runs.

    Raises:
      SystemExit: for a folder that holds no finished run of rankings.
    """
    cells = [cell for folder in folders for cell in _find_cells(folder)]
    rows = _drop_repeats([row for cell in cells for row in _read_cell(cell)])
    for data in dict.fromkeys(row["data"] for row in rows):
        _compare_to_ease([row for row in rows if row["data"] == data])
    seeds = {row["seeds"] for row in rows if row["has_loss"]}
    for row in rows:
        del row["values"], row["has_loss"]
    return {
        "device": ", ".join(dict.fromkeys(row["device"] for row in rows)),
        "seeds": max(seeds, default=1),
        "rows": rows,
        "published": PUBLISHED | {row["data"]: {} for row in rows if row["data"] not in PUBLISHED},
    }


def _drop_repeats(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Returns each recommender without a loss once for its data: other runs repeat it."""
    first: dict[Any, dict[str, Any]] = {}
    for number, row in enumerate(rows):
        first.setdefault((row["data"], number if row["has_loss"] else row["loss"]), row)
    return list(first.values())


def _find_cells(folder: Path) -> list[Path]:
    """Returns the folder of a run, or those of the cells of a transfer."""
    cells = [path.parent for path in sorted(folder.glob("*/tested"))]
    found = [folder] if (folder / "tested").is_dir() else cells
    found = [cell for cell in found if (cell / "results.json").is_file()]
    if not found:
        raise SystemExit(
            f"{folder} is no finished run of rankings: expected results.json and tested/ in it, or "
            "in the folders of a transfer's cells"
        )
    return found


def _read_cell(folder: Path) -> Iterator[dict[str, Any]]:
    """Yields a row for each loss and recommender of a run."""
    results = json.loads((folder / "results.json").read_text(encoding="utf-8"))
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    tested = [json.loads(path.read_text("utf-8")) for path in sorted(folder.glob("tested/*.json"))]
    values = {(one["name"], one["formula"]): one["test"][SERVED] for one in tested}
    missing = [metric for metric in METRICS if metric not in results["losses"][0]["test"]]
    if missing:
        raise SystemExit(f"{folder} has no {missing[0]}: run it with 20 in test.cutoffs")
    environment = results["environment"]
    for record in results["losses"]:
        row = _make_row(record, config)
        row["device"] = f"{environment['device']}, JAX {environment['jax']}"
        key = record["name"], record["formula"] or ""
        yield row | {"values": np.asarray(values[key][METRICS[0]])}


def _make_row(record: Mapping[str, Any], config: Mapping[str, Any]) -> dict[str, Any]:
    """Returns what ``results.json`` and ``config.json`` say of one loss, or recommender."""
    has_loss = bool(record["formula"])
    row = {
        "data": record["dataset"],
        "loss": record["name"],
        "negatives": _describe_negatives(config["train"]) if has_loss else None,
        "settings": dict(record["constants"]),
        "edges": record["edges"],
        "valid": record["valid"][METRICS[0]],
        "test": {
            mask: {metric: _to_pair(record[entry][metric]) for metric in METRICS}
            for mask, entry in MASKS.items()
        },
        "seeds": len(record["seeds"]),
        "has_loss": has_loss,
    }
    if has_loss:
        rates = {name: record[name] for name in ("learning_rate", "weight_decay")}
        row |= {name: record[name] for name in ("epochs", "trainings", "seconds", "diverged")}
        row |= {"settings": rates | row["settings"], "published_constants": not record["found"]}
        row |= {"model": record["model"], "most_epochs": config["test"]["epochs"]}
    return row


def _describe_negatives(train: Mapping[str, Any]) -> str:
    """Returns the negatives of a step in words, as in "1,000 shared"."""
    kind, number = train["negatives"], train["num_negatives"]
    return kind if kind in ("all", "in_batch") else f"{number:,} {kind}"


def _to_pair(estimate: Mapping[str, Any]) -> list[float | None]:
    """Returns a mean, and half of its interval over seeds if there are seeds."""
    low, high = estimate["ci95"] or (None, None)
    half = None if low is None or high is None else round((high - low) / 2, 5)
    return [round(estimate["mean"], 5), half]


def _compare_to_ease(rows: Sequence[dict[str, Any]]) -> None:
    """Adds differences to EASE to all rows of one data set; those without it stay without."""
    ease = next((row for row in rows if row["loss"] == "ease" and not row["has_loss"]), None)
    if ease is None:
        return
    for has_loss in (True, False):  # what is corrected for is the number of losses
        others = [row for row in rows if row["has_loss"] == has_loss and row["loss"] != "ease"]
        for row in others:
            if row["values"].shape[1] != ease["values"].shape[1]:
                raise SystemExit(
                    f"runs on {row['data']} have {row['values'].shape[1]:,} and "
                    f"{ease['values'].shape[1]:,} users in the test: expected the same split in all"
                )
        found = compare_to([row["values"] for row in others], ease["values"])
        for row, one in zip(others, found, strict=True):
            row["to_ease"] = {
                "difference": round(one.mean, 5),
                "interval": [round(one.low, 5), round(one.high, 5)],
                "p_holm": round(one.p, 5),
            }


def main() -> None:
    """Reads the runs that are named, and writes their figures."""
    file, folders = pop_json_flag(sys.argv[1:])
    if not folders or any(folder.startswith("-") for folder in folders):
        raise SystemExit(f"expected RUN [RUN ...] --json=FILE, got {' '.join(folders) or 'no RUN'}")
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(collect([Path(folder) for folder in folders]), indent=1) + "\n")


if __name__ == "__main__":
    main()
