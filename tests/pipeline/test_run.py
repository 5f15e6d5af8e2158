"""The command line, on data so small that a run takes seconds."""

import csv
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from autolossgen.report import find_pareto_front
from tests.helpers.run_server import (
    ROOT,
    SCHEDULE,
    SMOKE,
    TINY,
    assert_one_line,
    contents,
    results,
)

pytestmark = pytest.mark.slow

RUN = (*TINY, *SCHEDULE)
FILES = {"config.json", "metrics.jsonl", "hall_of_fame.csv", "results.json", "results.csv"}


@pytest.fixture(scope="module")
def whole(server, tmp_path_factory):
    """A run from beginning to end; its folder and what it printed."""
    folder = tmp_path_factory.mktemp("runs") / "whole"
    return folder, server.run(*RUN, f"--workdir={folder}")


@pytest.fixture(scope="module")
def broken(server, tmp_path_factory):
    """The same run, killed after a checkpoint, stopped by Ctrl-C, then left to end."""
    folder = tmp_path_factory.mktemp("runs") / "broken"
    arguments = (*RUN, f"--workdir={folder}")
    killed = server.start(*arguments)
    wait_for(lambda: generations(folder) >= 10)
    os.kill(killed.pid, signal.SIGKILL)
    stages = [killed.wait()]
    left = journal(folder)
    stopped = server.start(*arguments, "--config.search.generations=1000")  # a limit may change
    wait_for(lambda: journal(folder)[-1] not in left)  # by then it listens
    os.kill(stopped.pid, signal.SIGINT)
    stages.append(stopped.wait())
    assert (folder / "hall_of_fame.csv").exists()  # for who has seen enough
    return folder, [*stages, server.run(*arguments)]


def wait_for(condition, seconds=240):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "this took too long"
        time.sleep(0.002)


def journal(folder):
    path = folder / "metrics.jsonl"
    return path.read_text().splitlines() if path.exists() else []


def generations(folder):
    return len(journal(folder))


def entries(folder):
    """Returns the journal without what time decides."""
    return [{**json.loads(line), "seconds": None} for line in journal(folder)]


def test_a_run_ends_well_and_leaves_all_its_files(whole):
    folder, done = whole
    assert (done.code, done.err) == (0, "")
    assert {path.name for path in folder.iterdir()} >= FILES | {"report.html", "checkpoints"}
    assert any(path.name.startswith("events.out.tfevents") for path in folder.iterdir())
    assert str(folder) in done.out.splitlines()[-1]


def test_results_fit_their_contract(whole):
    read = json.loads((whole[0] / "results.json").read_text())
    assert set(read) == {"losses", "search", "environment"}
    assert set(read["search"]) == {"sampled", "trained", "seconds", "funnel"}
    funnel = read["search"]["funnel"]
    below = funnel.pop("below_baseline")  # of the trained
    assert read["search"]["sampled"] == 24 * 256 == sum(funnel.values())
    assert read["search"]["trained"] == funnel["trained"] > below > 0
    assert read["search"]["seconds"] > 0
    names = [loss["name"] for loss in read["losses"]]
    assert names[:2] == ["bce", "mse"]
    assert [loss["found"] for loss in read["losses"]] == [False, False, True]
    assert sum(loss["vs_best_baseline"] is None for loss in read["losses"]) == 1
    for loss in read["losses"]:
        check_loss(loss)


def check_loss(loss):
    assert set(loss) == {
        *("name", "formula", "tokens", "found", "model", "dataset", "learning_rate"),
        *("weight_decay", "seeds", "epochs", "valid", "test", "vs_best_baseline", "bounds"),
    }
    assert (loss["model"], loss["dataset"], loss["seeds"]) == ("biased_mf", "synthetic", [0, 1, 2])
    assert (loss["tokens"] is not None) == (loss["bounds"] is not None) == loss["found"]
    assert set(loss["valid"]) == set(loss["test"]) >= {"auc", "logloss", "f1", "accuracy"}
    for value in loss["test"].values():
        low, high = value["ci95"]
        assert low <= value["mean"] <= high
        assert value["std"] >= 0
    against = loss["vs_best_baseline"]
    assert against is None or set(against) >= {"metric", "difference", "ci95"}


def test_the_hall_of_fame_holds_losses_that_can_be_built(whole):
    from autolossgen import build_loss

    with (whole[0] / "hall_of_fame.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [int(row["rank"]) for row in rows] == list(range(1, len(rows) + 1))
    assert len(rows) > 1
    gains = [float(row["gain"]) for row in rows]
    assert gains == sorted(gains, reverse=True)
    for row in rows:
        of_formula, of_tokens = build_loss(row["formula"]), build_loss(row["tokens"].split())
        scores, labels = np.linspace(-3, 3, 8), np.resize([0.0, 1.0], 8)
        np.testing.assert_allclose(of_formula(scores, labels), of_tokens(scores, labels), rtol=1e-5)
        assert len(row["tokens"].split()) <= 7
        assert row["sound"] in ("true", "false")


def test_the_front_is_of_sound_losses_that_none_beats(whole):
    with (whole[0] / "hall_of_fame.csv").open() as file:
        rows = list(csv.DictReader(file))
    sound = [row for row in rows if row["sound"] == "true"]
    lengths, gains = ([float(row[name]) for row in sound] for name in ("complexity", "gain"))
    marked = [row["front"] == "true" for row in sound]
    assert marked == find_pareto_front(lengths, gains)
    assert any(marked)
    assert {row["front"] for row in rows if row["sound"] == "false"} <= {"false"}


def test_the_best_found_loss_of_the_results_is_in_the_hall_of_fame(whole):
    text = (whole[0] / "hall_of_fame.csv").read_text()
    found = [loss for loss in results(whole[0])["losses"] if loss["found"]]
    assert all(" ".join(loss["tokens"]) in text for loss in found)


def test_what_is_promoted_is_written_printed_and_tested(whole):
    with (whole[0] / "hall_of_fame.csv").open() as file:
        rows = [row for row in csv.DictReader(file) if row["promoted"]]
    rows.sort(key=lambda row: int(row["promoted"]))
    assert [int(row["promoted"]) for row in rows] == list(range(1, len(rows) + 1))
    assert all(row["sound"] == "true" and not row["twin"] for row in rows)
    found = [loss["name"] for loss in results(whole[0])["losses"] if loss["found"]]
    assert found == [f"found-{row['rank']}" for row in rows[: len(found)]]
    assert f"to be tested: {rows[0]['formula']}, auc 0." in whole[1].out


def test_the_table_and_every_loss_are_printed(whole):
    for loss in results(whole[0])["losses"]:
        assert loss["name"] in whole[1].out


def test_a_killed_run_goes_on_from_its_checkpoint(broken):
    killed, stopped, _ = broken[1]
    assert killed.code == -signal.SIGKILL
    assert "going on after generation 8" in stopped.out


def test_ctrl_c_ends_after_the_generation_and_says_how_to_go_on(broken):
    _, stopped, ended = broken[1]
    assert (stopped.code, stopped.err) == (130, "")
    lines = stopped.out.splitlines()
    assert "stopping after this generation; Ctrl-C again to stop at once" in lines
    last = lines[-1]
    assert last.startswith("stopped after generation ")
    assert last.endswith("the same command goes on")
    generation = int(last.split()[3].strip(";"))
    assert f"going on after generation {generation}" in ended.out
    assert (ended.code, ended.err) == (0, "")


def test_interruptions_leave_no_trace_in_the_results(whole, broken):
    """So the same seed gives the same result twice, too."""
    hall = "hall_of_fame.csv"
    assert (whole[0] / hall).read_bytes() == (broken[0] / hall).read_bytes()
    assert results(whole[0]) == results(broken[0])
    assert entries(whole[0]) == entries(broken[0])


def test_a_finished_run_is_shown_again_and_left_alone(whole, server):
    folder, first = whole
    before = contents(folder)
    done = server.run(*RUN, f"--workdir={folder}")
    assert done.code == 0
    assert "finished" in done.out
    assert done.out.splitlines()[-5:] == first.out.splitlines()[-5:]
    assert contents(folder) == before


@pytest.mark.parametrize("change", ["--config.seed=1", "--config.train.l2=0.1"])
def test_the_folder_of_another_run_is_refused_and_left_alone(whole, server, change):
    before = contents(whole[0])
    done = server.run(*RUN, change, f"--workdir={whole[0]}")
    assert_one_line(done, 1, "holds the run of another config", change.split("=")[0][9:])
    assert contents(whole[0]) == before


def test_a_folder_with_something_else_is_refused_and_left_alone(server, tmp_path):
    (tmp_path / "thesis.tex").write_text("important")
    done = server.run(*RUN, f"--workdir={tmp_path}")
    assert_one_line(done, 1, "is not empty and holds no run; choose another --workdir")
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


@pytest.mark.parametrize(
    ("argument", "fragments"),
    [
        ("--config.search.generation=3", ["'generation' (did you mean 'generations'?)"]),
        ("--wordkir=x", ["'wordkir'", "Did you mean: workdir"]),
        ("--config=configs/ml100k.py:quick", ["'quick' is not known", "smoke, paper"]),
        ("--config=configs/ml10m.py", ["No such file", "configs/ml10m.py"]),
        ("--config.model.embedding_dim=wide", ["--config.model.embedding_dim=wide", "'wide'"]),
        ("go", ["got 'go'"]),
    ],
)
def test_bad_usage_is_one_line_and_status_2(server, argument, fragments, tmp_path):
    folder = tmp_path / "run"
    done = server.run(argument, f"--workdir={folder}")
    assert_one_line(done, 2, *fragments)
    assert not folder.exists()


@pytest.mark.parametrize(
    ("argument", "fragments"),
    [
        (
            "--config.policy.name=reinforced",
            ["policy.name 'reinforced'", "risk_seeking, evolution, random"],
        ),
        ("--config.filter.name=strict", ["filter.name 'strict'", "graded, paper"]),
        ("--config.model.name=biased", ["model 'biased'", "biased_mf"]),
        (
            "--config.model.name=autolossgen.models.deep:Dep",
            ["has no 'Dep'", "did you mean 'Deep'?"],
        ),
        ("--config.model.options={'depth': 3}", ["BiasedMF has no options", "'depth'"]),
        ("--config.space.operators=('add','sqare')", ["'sqare'", "did you mean 'square'?"]),
        ("--config.space.operands=()", ["at least one operand"]),
        ("--config.space.bounds=(1,)", ["a tuple of 2 numbers, got (1,)"]),
        ("--config.space.bounds=(1,1)", ["low < high"]),
        ("--config.space.initial_losses=('bce','bec')", ["'bec'", "did you mean 'bce'?"]),
        ("--config.generation.reward_scale=loud", ["'gradient' or 'raw'", "'loud'"]),
        ("--config.generation.epochs=0", ["at least 1 epoch (generation.epochs), got 0"]),
        ("--config.generation.epochs=1000000000", ["lanes fit", "fewer generation.epochs"]),
        ("--config.generation.num_lanes=1", ["generation.num_lanes is at least 2", "got 1"]),
        ("--config.space.family=pairwize", ["'pairwize'", "did you mean 'pairwise'?"]),
        ("--config.promote.num_lanes=1000000000", ["promote.num_lanes is 1000000000", "lanes fit"]),
        (
            "--config.test.seeds=1000000000",
            ["contenders.found", "for every", " of test.seeds,", "lanes fit"],
        ),
        ("--config.contenders.baselines=('bcee',)", ["'bcee'", "did you mean 'bce'?"]),
        ("--config.contenders.baselines=('bpr',)", ["pointwise losses", "'bpr'"]),
        ("--config.contenders.baselines=()", ["at least one loss"]),
        ("--config.search.checkpoint_every=0", ["checkpoint_every is at least 1, got 0"]),
        ("--config.test.seeds=0", ["seeds of at least 1, got 0"]),
        ("--config.test.learning_rates=(1e5,)", ["stays below", "100000.0"]),
        ("--config.devices=1000", ["devices", "1000"]),
        ("--config.devices=-1", ["devices is 0, or at most", "got -1"]),
        ("--config.data.reward_split=none", ["reward_split"]),
        ("--config.data.num_interactions=1", ["num_interactions=1"]),
        ("--config.data.name=ml10m", ["'ml10m'", "did you mean 'ml1m'?"]),
    ],
)
def test_a_value_that_cannot_be_is_one_line_and_status_1(server, argument, fragments, tmp_path):
    folder = tmp_path / "run"
    done = server.run(SMOKE, argument, f"--workdir={folder}")
    assert_one_line(done, 1, *fragments)
    # Nothing is left that would refuse the command once it is right.
    assert not folder.exists()


def movielens(path, server, *more):
    return server.run("--config=configs/ml100k.py:smoke", f"--config.data.path={path}", *more)


def test_a_missing_data_file_is_named(server, tmp_path):
    done = movielens(tmp_path / "none.data", server, f"--workdir={tmp_path / 'run'}")
    assert_one_line(done, 1, "none.data cannot be read", "data.path")


def test_malformed_data_is_named_with_its_line(server, tmp_path):
    path = tmp_path / "u.data"
    path.write_text("1\t1\t5\t100\n1\t2\tfive\t101\n")
    done = movielens(path, server, f"--workdir={tmp_path / 'run'}")
    assert_one_line(done, 1, str(path), "line 2", "five")


def test_a_split_with_one_class_is_refused(server, tmp_path):
    split = tmp_path / "split"
    split.mkdir()
    rows = "".join(f"{user}\t{item}\t1\n" for user in range(1, 9) for item in range(1, 9))
    for name in ("train", "validation", "test"):
        (split / f"x.{name}.csv").write_text("uid\tiid\tlabel\n" + rows)
    done = movielens(split, server, f"--workdir={tmp_path / 'run'}")
    assert_one_line(done, 1, "train")


@pytest.mark.parametrize(("below", "why"), [("", "is not a folder"), ("run", "Not a directory")])
def test_a_workdir_that_cannot_be_made_is_refused(server, tmp_path, below, why):
    file = tmp_path / "file"
    file.write_text("here")
    done = server.run(SMOKE, f"--workdir={file / below}")
    assert_one_line(done, 1, why, str(file), "choose another --workdir")
    assert file.read_text() == "here"


def test_a_broken_config_json_is_named(server, tmp_path):
    (tmp_path / "config.json").write_text("{")
    done = server.run(SMOKE, f"--workdir={tmp_path}")
    assert_one_line(done, 1, "config.json cannot be read")


def test_broken_results_and_then_a_broken_checkpoint_are_named(server, whole, tmp_path):
    folder = Path(shutil.copytree(whole[0], tmp_path / "copy"))
    (folder / "results.json").write_text("{")
    done = server.run(*RUN, f"--workdir={folder}")
    assert_one_line(done, 1, "results.json cannot be read", "Remove it to test again")
    (folder / "results.json").unlink()
    for path in filter(Path.is_file, folder.glob("checkpoints/**/*")):
        path.write_bytes(b"broken")
    done = server.run(*RUN, f"--workdir={folder}")
    assert_one_line(done, 1, "checkpoints cannot be read", "Remove that folder to start")


def test_help_is_no_error(environment):
    """Without the server, as a user starts it."""
    command = [sys.executable, "run.py", "--help"]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert "--config=FILE[:PRESET]" in done.stdout
