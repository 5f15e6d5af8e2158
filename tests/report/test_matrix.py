"""The matrix of a transfer, from results written by hand."""

import csv
import io
import json

import pytest
from rich.console import Console

from autolossgen.report import FoundLoss, is_matrix, matrix_csv, matrix_table, read_found_losses
from autolossgen.report.results import ReportError


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
    console.print(matrix_table(RESULTS))
    text = console.export_text()
    assert "m on one, AUC" in text
    lines = [" ".join(line.split()) for line in text.splitlines() if "0." in line]
    assert lines == [
        "bce 0.8000 best usual 0.6990 no better",
        "-0.0010 [-0.0020, +0.0000]",
        "mse 0.7900 worse 0.7000 best usual",
        "-0.0100 [-0.0110, -0.0090]",
        "* new 0.8300 better",
        "+0.0300 [+0.0290, +0.0310]",
    ]
    assert "Intervals are over seeds" in text
    assert "matrix.csv has both" in text


def test_the_csv_keeps_all_digits_and_leaves_blank_what_is_not_there():
    rows = {row["loss"]: row for row in csv.DictReader(io.StringIO(matrix_csv(RESULTS)))}
    assert list(rows) == ["bce", "mse", "new"]
    assert rows["new"]["found"] == "true"
    assert float(rows["new"]["m on one: users high"]) == pytest.approx(0.032)
    assert rows["new"]["m on one: verdict"] == "better"
    assert rows["new"]["m on two: auc"] == rows["new"]["m on two: verdict"] == ""
    assert rows["bce"]["m on one: verdict"] == "best usual"
    assert float(rows["bce"]["m on two: difference low"]) == pytest.approx(-0.002)


def test_a_hall_of_fame_gives_its_first_sound_losses(tmp_path):
    path = tmp_path / "hall_of_fame.csv"
    path.write_text("rank,formula,sound\n1,pred,false\n2,label,true\n3,1,true\n4,pred,true\n")
    names = [(loss.name, loss.formula) for loss in read_found_losses(path, 2)]
    assert names == [("found-2", "label"), ("found-3", "1")]
    assert [loss.name for loss in read_found_losses(tmp_path, 1)] == ["found-2"]
    assert read_found_losses(path, 1)[0].bounds is None  # no config tells


def test_a_found_loss_has_the_bounds_of_its_run_or_its_own(tmp_path):
    settings = {"space": {"family": "pointwise", "bounds": [1e-5, 1e5]}}
    (tmp_path / "config.json").write_text(json.dumps(settings))
    (tmp_path / "hall_of_fame.csv").write_text("rank,formula,sound\n1,label,true\n")
    for path in (tmp_path, tmp_path / "hall_of_fame.csv"):
        assert read_found_losses(path, 1)[0][2:] == ("pointwise", (1e-5, 1e5))
    theirs = loss("of-another", "one", 0.8, found=True) | {"bounds": [-7.0, 7.0]}
    results = {"losses": [theirs, loss("own", "one", 0.7, found=True)]}
    (tmp_path / "results.json").write_text(json.dumps(results))
    assert [each.bounds for each in read_found_losses(tmp_path, 2)] == [(-7, 7), (1e-5, 1e5)]


def test_a_spreadsheet_may_have_saved_a_hall_of_fame(tmp_path):
    path = tmp_path / "hall_of_fame.csv"
    path.write_bytes("\ufeffrank;formula;sound\r\n2;max(label, pred);TRUE\r\n".encode())
    assert read_found_losses(path, 3) == [FoundLoss("found-2", "max(label, pred)")]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("rank,formula,sound\n1,pred,false\n", "no sound found loss"),
        ("user,item\n1,2\n", "is no hall of fame: expected columns rank, formula and sound"),
        ("", "no sound found loss"),
    ],
)
def test_what_is_no_hall_of_fame_is_refused(tmp_path, text, message):
    path = tmp_path / "hall_of_fame.csv"
    path.write_text(text)
    with pytest.raises(ReportError, match=message):
        read_found_losses(path, 2)
