"""The folder of a run: whose it is."""

import json
import os

import pytest

from autolossgen.pipeline.workdir import check_workdir, claim_workdir

CONFIG = {"seed": 0, "bounds": (1.0, 2.0)}


def test_a_claimed_folder_is_that_of_its_config_alone(tmp_path):
    claim_workdir(tmp_path / "run", CONFIG)
    claim_workdir(tmp_path / "run", CONFIG)
    with pytest.raises(ValueError, match="seed is 0 there and 1 here"):
        check_workdir(tmp_path / "run", CONFIG | {"seed": 1})


def test_what_is_open_may_differ_until_there_are_results(tmp_path):
    config = {"seed": 0, "search": {"seconds": 1.0}}
    further = config | {"search": {"seconds": 2.0}}
    claim_workdir(tmp_path, config)
    check_workdir(tmp_path, further, open_keys=["search.seconds"])
    with pytest.raises(ValueError, match=r"another config \(seed is 0 there and 1 here\)"):
        check_workdir(tmp_path, further | {"seed": 1}, open_keys=["search.seconds"])
    (tmp_path / "results.json").write_text("{}")
    check_workdir(tmp_path, config, open_keys=["search.seconds"])
    message = r"finished \(search.seconds is 1.0 there and 2.0 here\); .* remove .*results\.json"
    with pytest.raises(ValueError, match=message):
        check_workdir(tmp_path, further, open_keys=["search.seconds"])
    (tmp_path / "results.json").unlink()
    claim_workdir(tmp_path, further, open_keys=["search.seconds"])
    assert json.loads((tmp_path / "config.json").read_text()) == further


def test_the_draft_of_a_run_killed_while_claiming_is_no_other_run(tmp_path):
    (tmp_path / "config.json.new").write_text('{"se')
    claim_workdir(tmp_path, CONFIG)
    assert json.loads((tmp_path / "config.json").read_text())["seed"] == 0


@pytest.mark.parametrize("text", ["{", "[]", "3"])
def test_a_config_json_of_another_form_is_named(tmp_path, text):
    (tmp_path / "config.json").write_text(text)
    with pytest.raises(ValueError, match=r"config\.json .*choose another --workdir"):
        check_workdir(tmp_path, CONFIG)


@pytest.mark.parametrize("goes_on", [False, True])
def test_a_folder_that_cannot_be_written_to_is_refused(tmp_path, monkeypatch, goes_on):
    if goes_on:
        claim_workdir(tmp_path, CONFIG)

    def refuse(*paths):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "replace", refuse)  # for root no folder is read-only
    with pytest.raises(ValueError, match=r"cannot be written to \(Permission denied\)"):
        claim_workdir(tmp_path, CONFIG)
