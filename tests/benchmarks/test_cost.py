"""The costs of training: how they are separated, and that the page shows what was measured."""

import json
from pathlib import Path

import numpy as np
import pytest

from benchmarks import cost

ROOT = Path(__file__).resolve().parents[2]
RESULTS = ROOT / "docs" / "results"


def test_the_cost_of_a_step_is_separated_from_that_of_an_epoch(monkeypatch):
    def time_ways(ways, repeats):
        return {name: np.full(repeats, 0.5 + 0.001 * way()) for name, way in ways.items()}

    monkeypatch.setattr(cost, "time_in_turns", time_ways)
    monkeypatch.setattr(cost, "make_epoch_way", lambda case, steps: lambda: steps)
    row = cost.measure(cost.PLAIN, 3)
    assert row["microseconds_per_lane_and_step"] == pytest.approx(1000 / 64)
    assert row["milliseconds_per_epoch_and_lane_beside_steps"] == pytest.approx(500 / 64)
    assert row["candidates_per_second"] == pytest.approx(64 / (0.5 + 0.001 * 740))


def test_the_page_shows_the_costs_that_were_measured():
    page = (ROOT / "docs" / "performance.md").read_text(encoding="utf-8")
    axes = {}
    for name in ("cost", "cost_large_batches", "cost_catalogue"):
        axes |= json.loads((RESULTS / f"{name}.json").read_text())["axes"]
    assert {*axes} == {*cost.AXES}
    assert cost.make_table(axes) in page
