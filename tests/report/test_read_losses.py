"""Found losses read back from run folders and from CSV files."""

import json

import pytest

from autolossgen.report import FoundLoss, read_found_losses
from autolossgen.report.results import ReportError


def test_a_hall_of_fame_gives_its_first_sound_losses(tmp_path):
    path = tmp_path / "hall_of_fame.csv"
    path.write_text("rank,formula,sound\n1,pred,false\n2,label,true\n3,1,true\n4,pred,true\n")
    names = [(loss.name, loss.formula) for loss in read_found_losses(path, 2)]
    assert names == [("found-2", "label"), ("found-3", "1")]
    assert [loss.name for loss in read_found_losses(tmp_path, 1)] == ["found-2"]
    assert read_found_losses(path, 1)[0].bounds is None  # no config tells


def test_a_found_loss_has_the_bounds_of_its_run_or_its_own(tmp_path, loss_entry):
    settings = {"space": {"family": "pointwise", "bounds": [1e-5, 1e5]}}
    (tmp_path / "config.json").write_text(json.dumps(settings))
    (tmp_path / "hall_of_fame.csv").write_text("rank,formula,sound\n1,label,true\n")
    for path in (tmp_path, tmp_path / "hall_of_fame.csv"):
        loss = read_found_losses(path, 1)[0]
        assert (loss.family, loss.bounds) == ("pointwise", (1e-5, 1e5))
    transferred = loss_entry("of-another", 0.8, found=True, bounds=[-7.0, 7.0])
    results = {"losses": [transferred, loss_entry("own", 0.7, found=True)]}
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
        ("user,item\n1,2\n", "is no hall of fame: expected columns rank and formula"),
        ("", "no sound found loss"),
    ],
)
def test_what_is_no_hall_of_fame_is_refused(tmp_path, text, message):
    path = tmp_path / "hall_of_fame.csv"
    path.write_text(text)
    with pytest.raises(ReportError, match=message):
        read_found_losses(path, 2)
