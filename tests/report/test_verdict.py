"""Verdicts: a difference has to hold for other seeds and for other users."""

import io
import json

import pytest
from rich.console import Console

from autolossgen.report import make_results_table
from autolossgen.report.page import write_report
from autolossgen.report.results import Comparison, Estimate, parse_cells
from autolossgen.report.verdict import INTERVAL_NOTE, decide_verdict, format_headline


def one_cell(*losses):
    return parse_cells({"losses": list(losses)})[0]


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
    assert decide_verdict(Comparison("auc", Estimate(0.003, 0.001, 0.002, 0.004), users)) == word


def test_the_headline_gives_both_intervals():
    shared = {"formula": "f", "model": "m", "dataset": "d"}
    baseline = {"name": "bce", "found": False, "vs_best_baseline": None, **shared}
    difference = {
        "metric": "auc",
        "difference": 0.003,
        "ci95": [0.002, 0.004],
        "ci95_users": [-0.001, 0.006],
    }
    found = {"name": "found-1", "found": True, "vs_best_baseline": difference, **shared}
    (cell,) = parse_cells({"losses": [baseline, found]})
    text = format_headline(cell)
    assert "no better" in text
    assert "[+0.0020, +0.0040] over seeds, [-0.0010, +0.0060] over users." in text


def test_table_and_page_say_what_the_verdict_rests_on(tmp_path, results):
    results["losses"][4]["vs_best_baseline"]["ci95_users"] = [-0.0010, 0.0060]
    console = Console(width=120, file=io.StringIO())
    console.print(make_results_table(results))
    assert INTERVAL_NOTE in console.file.getvalue()
    (tmp_path / "results.json").write_text(json.dumps(results))
    page = write_report(tmp_path).read_text()
    assert "<small>users [-0.0010, +0.0060]</small>" in page


@pytest.mark.parametrize(
    ("comparison", "said"),
    [
        ({"metric": "auc", "difference": 0.003, "ci95": [0.001, 0.005]}, "is better than"),
        ({"metric": "auc", "difference": 0.003, "ci95": [-0.001, 0.007]}, "is no better than"),
        ({"metric": "auc", "difference": -0.003, "ci95": [-0.005, -0.001]}, "is worse than"),
        ({"metric": "logloss", "difference": -0.1, "ci95": [-0.2, -0.05]}, "is better than"),
        ({"metric": "logloss", "difference": 0.1, "ci95": [0.05, 0.2]}, "is worse than"),
        ({"metric": "auc", "difference": 0.003, "ci95": None}, "without an interval"),
        ({"metric": "auc", "difference": 0.003, "ci95": [None, None]}, "without an interval"),
        (None, "was not compared with"),
        ({"metric": "auc", "difference": None, "ci95": None}, "was not compared with"),
    ],
)
def test_headline_says_what_the_interval_allows(comparison, said, loss_entry):
    found = loss_entry("found 1", 0.8, found=True, vs_best_baseline=comparison)
    sentence = format_headline(one_cell(loss_entry("bce", 0.797), found))
    assert said in sentence
    assert "the best baseline (bce)" in sentence


def test_headline_judges_the_loss_chosen_on_validation(loss_entry):
    lucky = loss_entry("lucky", 0.82, 0.02, found=True, valid={"auc": 0.79})
    chosen = loss_entry("chosen", 0.80, 0.0, found=True, valid={"auc": 0.81})
    sentence = format_headline(one_cell(loss_entry("bce", 0.80), lucky, chosen))
    assert "(chosen) is no better than the best baseline (bce)" in sentence


def test_headline_names_no_reference_when_the_results_do_not_tell(loss_entry):
    found = loss_entry("found 1", 0.8, 0.003, found=True)
    sentence = format_headline(one_cell(loss_entry("bce", 0.797), loss_entry("mse", 0.797), found))
    assert "is better than the best baseline: " in sentence


def test_headline_without_found_losses_or_without_baselines(loss_entry):
    assert "No found loss" in format_headline(one_cell(loss_entry("bce", 0.8)))
    assert "No baseline" in format_headline(one_cell(loss_entry("x", 0.8, found=True)))
