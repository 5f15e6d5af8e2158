"""The table of results in the terminal: which columns fit, and that hostile text stays text."""

import io
import re

import pytest
from rich.console import Console

from autolossgen.report import make_results_table
from autolossgen.report.results import ReportError, parse_cells


def rendered(results, width, **options):
    console = Console(width=width, file=io.StringIO(), force_terminal=False, **options)
    console.print(make_results_table(results))
    return console.file.getvalue()


def one_cell(*losses):
    return parse_cells({"losses": list(losses)})[0]


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
    assert cells[:3] == ["* found 1", "0.01", "0.8061 ± 0.0010"]
    assert cells[3:] == ["+0.0031 [+0.0021, +0.0041]", "better"]
    assert second.rstrip().endswith("+0.0005 [-0.0005, +0.0015]  no better")
    assert third.startswith("  bce ")
    assert third.rstrip().endswith("best baseline")
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
    console.print(make_results_table({"losses": [found, loss_entry("bce", 0.7)]}))
    console.file.flush()
    lines = console.file.buffer.getvalue().decode("ascii").splitlines()
    assert max(map(len, lines)) <= 80
    assert re.search(r"\* \?+\.\.\. \|0\.8000 ", "\n".join(lines))
    assert "|0.8000 +/- 0.0010 |+0.1000 [+0.0990, +0.1010] |better" in "\n".join(lines)


def test_control_characters_and_markup_stay_text(loss_entry):
    hostile = loss_entry("[red]x[/red]", 0.8, found=True, formula="\x1b[31mlog(pred)\n[bold]")
    text = rendered({"losses": [hostile]}, 80)
    assert "\x1b" not in text
    assert "[red]x[/red]" in text
    assert "log(pred) [bold]" in text


def test_tables_without_found_losses_and_without_any(loss_entry):
    assert "* found by the search" not in rendered({"losses": [loss_entry("bce", 0.8)]}, 80)
    assert "No losses were tested" in rendered({"losses": []}, 80)


def test_unknown_values_come_last_and_as_a_dash(loss_entry):
    empty = {"name": "empty", "formula": None, "found": False, "test": {"auc": None}, "valid": None}
    text = rendered({"losses": [empty | {"model": "BiasedMF", "dataset": "ml100k"}]}, 200)
    assert rows(text)[0].split() == ["empty", "-", "-", "-", "-", "-", "best", "baseline"]
    losses = [loss_entry("none", None), loss_entry("low", 0.5), loss_entry("high", 0.8)]
    assert [loss.name for loss in one_cell(*losses).losses] == ["high", "low", "none"]


def test_settings_at_an_edge_are_named(loss_entry):
    edges = ["learning_rate at its highest", "c0 at its lowest"]
    losses = [loss_entry("one", 0.8, edges=edges), loss_entry("two", 0.7, edges=[])]
    text = " ".join(rendered({"losses": losses}, 100).split())
    assert "others may be better: one (learning_rate at its highest, c0 at its lowest)." in text
    assert "edge" not in rendered({"losses": losses[1:]}, 100)
    with pytest.raises(ReportError, match=r"losses\[0\].edges: expected a list of texts"):
        one_cell(loss_entry("one", 0.8, edges="none"))


def test_trainings_that_diverged_are_counted(loss_entry):
    losses = [loss_entry("one", 0.3, seeds=[*range(5)], diverged=2), loss_entry("two", 0.7)]
    text = " ".join(rendered({"losses": losses}, 100).split())
    assert "Diverged, and count as 0 in the means: 2 of 5 trainings of one." in text
    assert "iverged" not in rendered({"losses": losses[1:]}, 100)


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
            {"losses": [{"name": "x", "seeds": [0, "1"]}]},
            r"seeds: expected a list of whole numbers",
        ),
        (
            {"losses": [{"name": "x", "test": {"auc": {"mean": 1, "ci95": 0.1}}}]},
            r"ci95: expected \[low, high\], got 0.1",
        ),
    ],
)
def test_results_of_another_form_are_named(bad, message):
    with pytest.raises(ReportError, match=message):
        make_results_table(bad)
