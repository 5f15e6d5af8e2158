"""The interval over users: a difference has to hold for other seeds and for other users."""

import io
import json

import pytest
from rich.console import Console

from autolossgen.report import results_table, write_report
from autolossgen.report.results import Comparison, Estimate, settings
from autolossgen.report.verdict import OVER_USERS, headline, verdict


@pytest.mark.parametrize(
    ("users", "word"),
    [
        (None, "better"),
        ((0.001, 0.006), "better"),
        ((-0.001, 0.006), "no better"),
        ((0.002, 0.004), "better"),
    ],
)
def test_a_loss_is_better_only_if_both_intervals_say_so(users, word):
    assert verdict(Comparison("auc", Estimate(0.003, 0.001, 0.002, 0.004), users)) == word


def test_the_headline_gives_both_intervals():
    shared = {"formula": "f", "model": "m", "dataset": "d"}
    usual = {"name": "bce", "found": False, "vs_best_baseline": None, **shared}
    difference = {
        "metric": "auc",
        "difference": 0.003,
        "ci95": [0.002, 0.004],
        "ci95_users": [-0.001, 0.006],
    }
    found = {"name": "found-1", "found": True, "vs_best_baseline": difference, **shared}
    (setting,) = settings({"losses": [usual, found]})
    text = headline(setting)
    assert "no better" in text
    assert "[+0.0020, +0.0040] over seeds, [-0.0010, +0.0060] over users." in text


def test_table_and_page_say_what_the_verdict_rests_on(tmp_path, results):
    results["losses"][4]["vs_best_baseline"]["ci95_users"] = [-0.0010, 0.0060]
    console = Console(width=120, file=io.StringIO())
    console.print(results_table(results))
    assert OVER_USERS in console.file.getvalue()
    (tmp_path / "results.json").write_text(json.dumps(results))
    page = write_report(tmp_path).read_text()
    assert "<small>users [-0.0010, +0.0060]</small>" in page
