"""The folder of a run: whose it is."""

import json
import os
import subprocess
import sys

import pytest

from autolossgen.pipeline.workdir import (
    check_data,
    check_not_held,
    check_workdir,
    claim_workdir,
    hold_workdir,
)
from tests.helpers.run_server import wait_for

HOLDS = """
import pathlib, sys, time
from autolossgen.pipeline.workdir import hold_workdir
folder = pathlib.Path(sys.argv[1])
with hold_workdir(folder / "run"):
    (folder / "ready").touch()
    time.sleep(60)
"""
CONFIG = {"seed": 0, "bounds": (1.0, 2.0)}
DATA = {"rows": 64, "users": 8, "likes": 32, "digests": {"user": "a1", "item": "b2", "label": "c3"}}


def test_a_claimed_folder_is_that_of_its_config_alone(tmp_path):
    claim_workdir(tmp_path / "run", CONFIG, data=DATA)
    claim_workdir(tmp_path / "run", CONFIG, data=DATA)
    with pytest.raises(ValueError, match="seed is 0 there and 1 here"):
        check_workdir(tmp_path / "run", CONFIG | {"seed": 1})


def test_an_open_key_needs_no_section(tmp_path):
    claim_workdir(tmp_path, {"seed": 0, "trackers": ()}, data=DATA)
    check_workdir(tmp_path, {"seed": 0, "trackers": ("wandb",)}, open_keys=["trackers"])
    with pytest.raises(ValueError, match="trackers"):
        check_workdir(tmp_path, {"seed": 0, "trackers": ("wandb",)})


def test_what_is_open_may_differ_until_there_are_results(tmp_path):
    config = {"seed": 0, "search": {"seconds": 1.0}}
    further = config | {"search": {"seconds": 2.0}}
    claim_workdir(tmp_path, config, data=DATA)
    check_workdir(tmp_path, further, open_keys=["search.seconds"])
    with pytest.raises(ValueError, match=r"another config \(seed is 0 there and 1 here\)"):
        check_workdir(tmp_path, further | {"seed": 1}, open_keys=["search.seconds"])
    (tmp_path / "results.json").write_text("{}")
    check_workdir(tmp_path, config, open_keys=["search.seconds"])
    message = r"finished \(search.seconds is 1.0 there and 2.0 here\); .* remove .*results\.json"
    with pytest.raises(ValueError, match=message):
        check_workdir(tmp_path, further, open_keys=["search.seconds"])
    (tmp_path / "results.json").unlink()
    claim_workdir(tmp_path, further, data=DATA, open_keys=["search.seconds"])
    assert json.loads((tmp_path / "config.json").read_text()) == further


def test_the_draft_of_a_run_killed_while_claiming_is_no_other_run(tmp_path):
    (tmp_path / "config.json.new").write_text('{"se')
    claim_workdir(tmp_path, CONFIG, data=DATA)
    assert json.loads((tmp_path / "config.json").read_text())["seed"] == 0


@pytest.mark.parametrize("text", ["{", "[]", "3"])
def test_a_config_json_of_another_form_is_named(tmp_path, text):
    (tmp_path / "config.json").write_text(text)
    with pytest.raises(ValueError, match=r"config\.json .*choose another --workdir"):
        check_workdir(tmp_path, CONFIG)


@pytest.mark.parametrize("goes_on", [False, True])
def test_a_folder_that_cannot_be_written_to_is_refused(tmp_path, monkeypatch, goes_on):
    if goes_on:
        claim_workdir(tmp_path, CONFIG, data=DATA)

    def refuse(*paths):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "replace", refuse)  # for root no folder is read-only
    with pytest.raises(ValueError, match=r"cannot be written to \(Permission denied\)"):
        claim_workdir(tmp_path, CONFIG, data=DATA)


def test_a_run_goes_on_with_its_own_data_alone(tmp_path):
    check_data(tmp_path / "none", DATA)
    claim_workdir(tmp_path, CONFIG, data=DATA)
    claim_workdir(tmp_path, CONFIG, data=DATA)
    swapped = DATA | {"likes": 30, "digests": DATA["digests"] | {"label": "d4"}}
    told = r"other data \(likes: 32 there and 30 here; other values of label\): .*another --workdir"
    for refuse in (check_data, lambda folder, data: claim_workdir(folder, CONFIG, data=data)):
        with pytest.raises(ValueError, match=told):
            refuse(tmp_path, swapped)
    assert json.loads((tmp_path / "data.json").read_text()) == DATA


def test_a_run_that_has_kept_no_fingerprint_yet_goes_on_and_keeps_it(tmp_path):
    claim_workdir(tmp_path, CONFIG, data=DATA)
    (tmp_path / "data.json").unlink()
    claim_workdir(tmp_path, CONFIG, data=DATA)
    assert json.loads((tmp_path / "data.json").read_text()) == DATA
    for damaged in ("{", "[]"):
        (tmp_path / "data.json").write_text(damaged)
        with pytest.raises(
            ValueError, match=r"data\.json .*Remove it if the data are as they were"
        ):
            claim_workdir(tmp_path, CONFIG, data=DATA)


def test_a_transfer_keeps_the_data_of_cells_that_are_finished(tmp_path):
    cells = {"deep-a": DATA, "mf-a": DATA}
    claim_workdir(tmp_path, CONFIG, data=cells)
    claim_workdir(tmp_path, CONFIG, data={"mf-a": DATA})  # the other cell is finished
    assert json.loads((tmp_path / "data.json").read_text()) == cells
    with pytest.raises(ValueError, match=r"\(mf-a: rows: 64 there and 65 here\)"):
        check_data(tmp_path, {"mf-a": DATA | {"rows": 65}})


def test_a_folder_in_which_a_run_lives_is_refused_and_free_when_it_ends(tmp_path):
    folder = tmp_path / "run"
    with hold_workdir(folder):
        for check in (check_not_held, lambda folder: hold_workdir(folder).__enter__()):
            with pytest.raises(ValueError, match="is in use: another run writes there"):
                check(folder)
    check_not_held(folder)
    check_workdir(folder, CONFIG)  # the file of the lock is nobody's run
    with hold_workdir(folder):
        claim_workdir(folder, CONFIG, data=DATA)


def test_the_lock_of_a_killed_process_is_none(tmp_path):
    process = subprocess.Popen([sys.executable, "-c", HOLDS, str(tmp_path)])
    wait_for((tmp_path / "ready").exists)
    with pytest.raises(ValueError, match="is in use"):
        check_not_held(tmp_path / "run")
    process.kill()
    process.wait()
    (tmp_path / "run" / "results.json.0123abcd.new").touch()
    with hold_workdir(tmp_path / "run"):
        assert [path.name for path in (tmp_path / "run").iterdir()] == ["run.lock"]
