"""Run folders as a run leaves them, with the parts that a test wants different."""

import csv
import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

_FORMULA = "max(reciprocal(pred), label) - log(square(pred - label) + mul(label, 1))"


def _loss_entry(name: str, auc: float | None, difference: float | None = None, **changes: Any):
    """An entry of `losses` in results.json; intervals are ± 0.001."""

    def around(value: float | None) -> list[float] | None:
        return None if value is None else [value - 0.001, value + 0.001]

    return {
        "name": name,
        "formula": f"{name}(pred, label)",
        "tokens": None,
        "found": False,
        "model": "BiasedMF",
        "dataset": "ml100k",
        "learning_rate": 0.01,
        "weight_decay": 1e-05,
        "seeds": [0, 1, 2],
        "epochs": 40,
        "valid": {"auc": None if auc is None else auc + 0.01, "logloss": 0.5},
        "test": {"auc": {"mean": auc, "std": 0.0008, "ci95": around(auc)}, "f1": None},
        "vs_best_baseline": None
        if difference is None
        else {"metric": "auc", "difference": difference, "ci95": around(difference)},
    } | changes


def _generation(number: int, **changes: Any) -> dict[str, Any]:
    """A row of metrics.jsonl."""
    return {
        "generation": number,
        "round": 1 + number // 8,
        "seconds": 4.0 * number,
        "sampled": 512,
        "trained": 64,
        "sampled_total": 512 * number,
        "trained_total": 64 * number,
        "best_reward": round(0.8 - 0.2 / number, 4),
        "best_score": round(0.2 - 0.2 / number, 4),
        "generation_best": 0.7,
        "generation_mean": None if number == 3 else round(0.62 - 0.1 / number, 4),
        "baseline": 0.6,
        "start_reward": 0.65 if number < 8 else 0.74,
        "entropy": 1.9,
        "best_formula": _FORMULA,
        "funnel": {
            "invalid": 0,
            "no_gradient": 350,
            "twin": 60,
            "over_capacity": 38,
            "trained": 64,
        },
    } | changes


def _full_results() -> dict[str, Any]:
    losses = [
        _loss_entry("bce", 0.8030),
        _loss_entry("mse", 0.7930, -0.0100),
        _loss_entry("hinge", 0.7512, -0.0518),
        _loss_entry("focal", 0.7970, -0.0060),
        _loss_entry(
            "found 1", 0.8061, 0.0031, found=True, formula=_FORMULA, tokens=["pred", "log"]
        ),
        _loss_entry("found 2", 0.8035, 0.0005, found=True, formula="square(sub(pred, label))"),
    ]
    funnel = {
        "invalid": 120,
        "no_gradient": 5000,
        "label_blind": 1500,
        "wrong_direction": 700,
        "twin": 300,
        "over_capacity": 60,
        "trained": 512,
        "below_baseline": 200,
    }
    search = {"sampled": 8192, "trained": 512, "seconds": 95.2, "funnel": funnel}
    environment = {"jax": "0.7.0", "devices": ["cpu:0"], "python": "3.11.7"}
    return {"losses": losses, "search": search, "environment": environment}


def _hall_of_fame() -> list[dict[str, Any]]:
    return [
        {
            "rank": rank,
            "formula": _FORMULA,
            "complexity": 15,
            "reward": 0.79 - rank / 100,
            "gain": 0.02 - rank / 100,
            "generation": 3 * rank,
            "check": 1.0 if rank == 1 else 0.8123,
            "score": 0.0185 - rank / 100,
            "front": "true" if rank == 1 else "false",
            "twin": "" if rank == 1 else "mse",
            "promoted": "1" if rank == 1 else "",
            "outcome": "tested" if rank == 1 else "same as mse",
            "tokens": "pred label sub square",
        }
        for rank in (1, 2)
    ]


def _write_run(
    folder: Path,
    results: Any = "full",
    generations: Any = "full",
    fame: Any = "full",
    config: Any = "full",
) -> Path:
    """Writes a run folder; a file given as None is left out."""
    folder.mkdir()
    if results is not None:
        text = _full_results() if results == "full" else results
        (folder / "results.json").write_text(json.dumps(text), encoding="utf-8")
    if generations is not None:
        rows = [_generation(i) for i in range(1, 17)] if generations == "full" else generations
        lines = "".join(json.dumps(row) + "\n" for row in rows)
        (folder / "metrics.jsonl").write_text(lines, encoding="utf-8")
    if fame is not None:
        rows = _hall_of_fame() if fame == "full" else fame
        with (folder / "hall_of_fame.csv").open("w", encoding="utf-8", newline="") as file:
            writer = csv.DictWriter(file, list(dict.fromkeys(key for row in rows for key in row)))
            writer.writeheader()
            writer.writerows(rows)
    if config is not None:
        value = {"search": {"generations": 16}, "seed": 0} if config == "full" else config
        (folder / "config.json").write_text(json.dumps(value), encoding="utf-8")
    return folder


@pytest.fixture
def run_folder(tmp_path: Path) -> Callable[..., Path]:
    """Makes a run folder; a file given as None is left out."""
    return partial(_write_run, tmp_path / "run")


@pytest.fixture(scope="module")
def rich_run_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run folder with all that a page can show, and a long hall of fame."""
    course = {"epochs": [1, 2, 3], "valid": [0.7, 0.8, 0.79]}
    results = _full_results()
    for loss in results["losses"]:
        # As many metrics as rankings have.
        loss["test"] |= {f"metric_{number}": loss["test"]["auc"] for number in range(9)}
        loss["course"] = course
        loss["tuning"] = [{"learning_rate": r, "valid": 0.8 - r} for r in (0.01, 0.1)]
        if loss["vs_best_baseline"]:
            loss["vs_best_baseline"]["ci95_users"] = [0.0001, 0.0061]
    fame = [{**_hall_of_fame()[0], "rank": rank} for rank in range(1, 41)]
    folder = tmp_path_factory.mktemp("rich") / "run"
    _write_run(folder, {**results, "seconds": {"test": 5.0}}, fame=fame)
    rung = {"rung": 1, "epochs": 3, "reward": 0.8, "course": course}
    promotion = [{**rung, "name": f"found-{row['rank']}"} for row in fame]
    (folder / "promotion.json").write_text(json.dumps(promotion))
    (folder / "command.txt").write_text("run.py " + "--config.search.seconds=600 " * 20)
    return folder


@pytest.fixture
def results() -> dict[str, Any]:
    return _full_results()


@pytest.fixture
def loss_entry() -> Callable[..., dict[str, Any]]:
    return _loss_entry


@pytest.fixture
def generation() -> Callable[..., dict[str, Any]]:
    return _generation


@pytest.fixture
def hall_of_fame() -> list[dict[str, Any]]:
    return _hall_of_fame()


@pytest.fixture
def formula() -> str:
    """The long formula of the first found loss and of every generation."""
    return _FORMULA
