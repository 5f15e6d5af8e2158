"""The table in the terminal and the spreadsheet: what is shown, and what is said of it."""

import csv
import io
import re

import pytest
from rich.console import Console

from autolossgen.report import ReportError, results_csv, results_table
from autolossgen.report.formats import shorten
from autolossgen.report.results import settings
from autolossgen.report.verdict import headline


def rendered(results, width, **options):
    console = Console(width=width, file=io.StringIO(), force_terminal=False, **options)
    console.print(results_table(results))
    return console.file.getvalue()


def one_setting(*losses):
    return settings({"losses": list(losses)})[0]


def rows(text):
    """Lines of the table's body: between the rule and the next empty line."""
    return re.search(r"─+\n(.*?)\n\s*\n", text, re.S).group(1).splitlines()


@pytest.mark.parametrize("width", [60, 80, 100, 120, 160])
def test_numbers_are_whole_and_lines_fit(results, width):
    text = rendered(results, width)
    assert max(map(len, text.splitlines())) <= width
    assert len(rows(text)) == len(results["losses"])
    for row, auc in zip(rows(text), (0.8061, 0.8035, 0.8030, 0.7970, 0.7930, 0.7512), strict=True):
        assert f"{auc:.4f} ± 0.0010" in row


def test_at_80_columns(results):
    text = rendered(results, 80)
    first, second, third, *_ = rows(text)
    cells = re.split(r"  +", first.strip())
    assert cells[:4] == ["* found 1", "0.01", "40", "0.8061 ± 0.0010"]
    assert cells[4:] == ["+0.0031 [+0.0021, +0.0041]", "better"]
    assert second.rstrip().endswith("+0.0005 [-0.0005, +0.0015]  no better")
    assert third.startswith("  bce ")
    assert third.rstrip().endswith("best usual")
    assert "* found 2: square(sub(pred, label))" in text


def test_wide_terminal_shows_every_column(results, formula):
    text = rendered(results, 180)
    for header in ("formula", "lr", "wd", "epochs", "valid AUC", "test AUC", "verdict"):
        assert header in text
    assert formula in rows(text)[0]
    assert "0.8161" in rows(text)[0]


@pytest.mark.parametrize("width", [60, 80, 120])
def test_a_long_formula_is_wrapped_and_never_cut(width, loss_entry):
    formula = " + ".join(["square(pred - label)"] * 12)
    found = loss_entry("found-1", 0.8, 0.1, found=True, formula=formula)
    text = rendered({"losses": [found, loss_entry("bce", 0.7)]}, width)
    assert f"* found-1: {formula}" in " ".join(text.split())
    assert max(map(len, text.splitlines())) <= width


def test_a_formula_that_its_column_cuts_stands_below(loss_entry):
    formulas = [" + ".join(["square(pred - label)"] * n) for n in (1, 12)]
    found = [loss_entry(f"found-{n}", 0.8, found=True, formula=f) for n, f in enumerate(formulas)]
    text = " ".join(rendered({"losses": found}, 160).split())
    assert f"* found-1: {formulas[1]}" in text
    assert "* found-0:" not in text


def test_ascii_terminal(loss_entry):
    console = Console(width=80, file=io.TextIOWrapper(io.BytesIO(), encoding="ascii"))
    found = loss_entry("é" * 50, 0.8, 0.1, found=True, formula="é" * 200)
    console.print(results_table({"losses": [found, loss_entry("bce", 0.7)]}))
    console.file.flush()
    lines = console.file.buffer.getvalue().decode("ascii").splitlines()
    assert max(map(len, lines)) <= 80
    assert re.search(r"\* \?+\.\.\. \|0.01 ", "\n".join(lines))
    assert "|0.8000 +/- 0.0010 |+0.1000 [+0.0990, +0.1010] |better" in "\n".join(lines)


def test_control_characters_and_markup_stay_text(loss_entry):
    hostile = loss_entry("[red]x[/red]", 0.8, found=True, formula="\x1b[31mlog(pred)\n[bold]")
    text = rendered({"losses": [hostile]}, 80)
    assert "\x1b" not in text
    assert "[red]x[/red]" in text
    assert "log(pred) [bold]" in text


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
    sentence = headline(one_setting(loss_entry("bce", 0.797), found))
    assert said in sentence
    assert "the best usual one (bce)" in sentence


def test_headline_judges_the_loss_chosen_on_validation(loss_entry):
    lucky = loss_entry("lucky", 0.82, 0.02, found=True, valid={"auc": 0.79})
    chosen = loss_entry("chosen", 0.80, 0.0, found=True, valid={"auc": 0.81})
    sentence = headline(one_setting(loss_entry("bce", 0.80), lucky, chosen))
    assert "(chosen) is no better than the best usual one (bce)" in sentence


def test_headline_names_no_reference_when_the_results_do_not_tell(loss_entry):
    found = loss_entry("found 1", 0.8, 0.003, found=True)
    sentence = headline(one_setting(loss_entry("bce", 0.797), loss_entry("mse", 0.797), found))
    assert "is better than the best usual one: " in sentence


def test_nothing_found_and_nothing_usual(loss_entry):
    assert "No found loss" in headline(one_setting(loss_entry("bce", 0.8)))
    assert "No usual loss" in headline(one_setting(loss_entry("x", 0.8, found=True)))
    assert "* found by the search" not in rendered({"losses": [loss_entry("bce", 0.8)]}, 80)
    assert "No losses were tested" in rendered({"losses": []}, 80)


def test_unknown_values_come_last_and_as_a_dash(loss_entry):
    empty = {"name": "empty", "formula": None, "found": False, "test": {"auc": None}, "valid": None}
    text = rendered({"losses": [empty | {"model": "BiasedMF", "dataset": "ml100k"}]}, 200)
    assert rows(text)[0].split() == ["empty", "-", "-", "-", "-", "-", "best", "usual"]
    losses = [loss_entry("none", None), loss_entry("low", 0.5), loss_entry("high", 0.8)]
    assert [loss.name for loss in one_setting(*losses).losses] == ["high", "low", "none"]


def test_one_table_for_each_recommender_and_data_set(results, loss_entry):
    results["losses"].append(loss_entry("bce", 0.75, model="NeuMF"))
    text = rendered(results, 120)
    assert text.index("BiasedMF on ml100k") < text.index("NeuMF on ml100k")


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        ({}, "expected {'losses'"),
        ({"losses": [3]}, r"losses\[0\]: expected an object, got int"),
        ({"losses": [{"name": None}]}, r"losses\[0\].name: expected a text, got None"),
        ({"losses": [{"name": "x", "test": {"auc": 0.8}}]}, r"losses\[0\].test.auc"),
        ({"losses": [{"name": "x", "seeds": 3}]}, r"losses\[0\].seeds: expected a list"),
        (
            {"losses": [{"name": "x", "test": {"auc": {"mean": 1, "ci95": 0.1}}}]},
            r"ci95: expected \[low, high\], got 0.1",
        ),
    ],
)
def test_results_of_another_form_are_named(bad, message):
    with pytest.raises(ReportError, match=message):
        results_table(bad)


def test_csv_has_a_row_a_loss_in_full_precision(results, formula):
    table = list(csv.DictReader(io.StringIO(results_csv(results))))
    assert [row["name"] for row in table[:3]] == ["found 1", "found 2", "bce"]
    assert table[0]["formula"] == formula
    assert table[0]["tokens"] == "pred log"
    assert float(table[0]["test_auc_low"]) == 0.8061 - 0.001
    assert float(table[0]["vs_best_baseline_difference"]) == 0.0031
    assert table[0]["verdict"] == "better"
    assert table[0]["seeds"] == "0 1 2"
    assert table[2]["vs_best_baseline_difference"] == table[2]["test_f1_mean"] == ""


def test_csv_without_losses_is_a_header():
    assert results_csv({"losses": []}) == "name\n"


@pytest.mark.parametrize(
    ("width", "expected"),
    [(30, "log(pred) + label"), (12, "log(pred) +…"), (8, "log(…"), (3, "lo…"), (1, "…"), (0, "")],
)
def test_shorten_cuts_between_words(width, expected):
    assert shorten("log(pred) + label", width) == expected
