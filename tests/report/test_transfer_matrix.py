"""The matrix of a transfer, from results written by hand."""

import csv
import io

import pytest
from rich.console import Console

from autolossgen.report import is_matrix, make_matrix_csv, make_matrix_table


def loss(name, dataset, mean, difference=None, found=False):
    against = difference and {
        "metric": "auc",
        "difference": difference,
        "ci95": [difference - 0.001, difference + 0.001],
        "ci95_users": [difference - 0.002, difference + 0.002],
    }
    return {
        "name": name,
        "formula": "square(label - pred)",
        "found": found,
        "model": "m",
        "dataset": dataset,
        "valid": {"auc": mean},
        "test": {"auc": {"mean": mean, "std": 0.01, "ci95": [mean - 0.01, mean + 0.01]}},
        "vs_best_baseline": against,
    }


RESULTS = {
    "losses": [
        loss("new", "one", 0.83, 0.03, found=True),
        loss("bce", "one", 0.8),
        loss("mse", "one", 0.79, -0.01),
        loss("bce", "two", 0.699, -0.001),
        loss("mse", "two", 0.7),
    ]
}


def test_one_setting_is_no_matrix():
    assert is_matrix(RESULTS)
    assert not is_matrix({"losses": RESULTS["losses"][:3]})


def test_the_table_has_a_row_for_each_loss_and_a_column_for_each_setting():
    console = Console(width=100, record=True, file=io.StringIO())
    console.print(make_matrix_table(RESULTS))
    text = console.export_text()
    assert "m on one, AUC" in text
    lines = [" ".join(line.split()) for line in text.splitlines() if "0." in line]
    assert lines == [
        "bce 0.8000 best baseline 0.6990 no better",
        "-0.0010 [-0.0020, +0.0000]",
        "mse 0.7900 worse 0.7000 best baseline",
        "-0.0100 [-0.0110, -0.0090]",
        "* new 0.8300 better",
        "+0.0300 [+0.0290, +0.0310]",
    ]
    assert "Intervals are over seeds" in text
    assert "matrix.csv has both" in text


def test_the_csv_keeps_all_digits_and_leaves_blank_what_is_not_there():
    rows = {row["loss"]: row for row in csv.DictReader(io.StringIO(make_matrix_csv(RESULTS)))}
    assert list(rows) == ["bce", "mse", "new"]
    assert rows["new"]["found"] == "true"
    assert float(rows["new"]["m on one: users high"]) == pytest.approx(0.032)
    assert rows["new"]["m on one: verdict"] == "better"
    assert rows["new"]["m on two: auc"] == rows["new"]["m on two: verdict"] == ""
    assert rows["bce"]["m on one: verdict"] == "best baseline"
    assert float(rows["bce"]["m on two: difference low"]) == pytest.approx(-0.002)
