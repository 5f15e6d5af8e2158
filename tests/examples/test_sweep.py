"""The sweep of the examples: it keeps its trials, and goes on with them."""

import json
import runpy
from pathlib import Path
from types import SimpleNamespace

import pytest

import autolossgen

optuna = pytest.importorskip("optuna", reason="needs the extra sweep")

SWEEP = Path(__file__).parents[2] / "examples" / "sweep.py"


@pytest.fixture
def calls(monkeypatch, tmp_path):
    """The calls of find_loss, which costs nothing here; the third is interrupted."""
    seen = []

    def find_loss(**keywords):
        seen.append(keywords)
        if len(seen) == 3:
            raise KeyboardInterrupt
        dim = keywords["model.embedding_dim"]
        best = SimpleNamespace(formula=f"loss of {dim}", valid=dim / 100)
        return SimpleNamespace(best=best, folder=keywords["workdir"])

    monkeypatch.setattr(autolossgen, "find_loss", find_loss, raising=False)
    monkeypatch.chdir(tmp_path)
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    return seen


@pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning")
def test_a_sweep_goes_on_where_it_was_stopped(calls, tmp_path, capsys):
    (tmp_path / "mine.json").write_text(json.dumps({"search": {"generations": 3}}))
    words = ["--config=synthetic", "--preset=smoke", "--trials=5", "--overrides=mine.json"]
    sweep = runpy.run_path(str(SWEEP))["main"]
    with pytest.raises(KeyboardInterrupt):
        sweep(words)
    study = sweep(words)
    assert len(calls) == 6  # five, and the interrupted one again
    assert calls[3]["workdir"] == calls[2]["workdir"]  # it goes on from its checkpoint
    assert all(call["search.generations"] == 3 for call in calls)
    dims = [call["model.embedding_dim"] for call in calls]
    assert study.best_value == max(dims) / 100
    assert f"loss: loss of {max(dims)}, in runs/sweep" in capsys.readouterr().out
    sweep(words)
    assert len(calls) == 6  # nothing is left to do


def test_what_is_swept_are_keys():
    from autolossgen.configs import base

    for key in runpy.run_path(str(SWEEP))["SPACE"]:
        value = base.get_config()
        for name in key.split("."):
            value = value[name]
