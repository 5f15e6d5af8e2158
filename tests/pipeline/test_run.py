"""Runs through the command line: one that is killed, and one in two processes that is stopped."""

import csv
import io
import json
import os
import re
import shutil
import signal
import socket
import sys
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from autolossgen.pipeline.main import _note_signal
from autolossgen.report import find_pareto_front
from tests.helpers.run_server import TINY, assert_one_line, contents, results, wait_for

pytestmark = pytest.mark.slow

# The search ends once 16 candidates have trained, after some thirty generations.
RUN = (
    *TINY,
    "--config.search.generations=100",
    "--config.search.round_generations=4",
    "--config.search.checkpoint_every=8",
    "--config.search.candidates=16",
)
FILES = {
    "config.json",
    "data.json",
    "metrics.jsonl",
    "hall_of_fame.csv",
    "results.json",
    "results.csv",
}
RECOMMENDER = [
    f"recommender/{name}"
    for name in ("recommender.json", "weights.npz", "users.parquet", "items.parquet")
]


@pytest.fixture(scope="module")
def killed(server, tmp_path_factory):
    """A run that is killed after a checkpoint; its folder and how it ended."""
    folder = tmp_path_factory.mktemp("runs") / "whole"
    started = server.start(*RUN, f"--workdir={folder}")
    wait_for(lambda: len(journal(folder)) >= 10)
    os.kill(started.pid, signal.SIGKILL)
    return folder, started.wait()


@pytest.fixture(scope="module")
def whole(server, killed):
    """The same command again, to the end; the folder and what was printed."""
    return killed[0], server.run(*RUN, f"--workdir={killed[0]}")


def journal(folder):
    path = folder / "metrics.jsonl"
    return path.read_text().splitlines() if path.exists() else []


def entries(folder):
    """Returns the journal without what time decides."""
    return [{**json.loads(line), "seconds": None} for line in journal(folder)]


def test_a_run_ends_well_and_leaves_all_its_files(whole):
    folder, done = whole
    assert (done.code, done.err) == (0, "")
    assert {path.name for path in folder.iterdir()} >= FILES | {"report.html", "checkpoints"}
    assert all((folder / name).exists() for name in RECOMMENDER)
    assert any(path.name.startswith("events.out.tfevents") for path in folder.iterdir())
    assert str(folder) in done.out.splitlines()[-1]


def test_a_limit_ends_the_search_and_the_rest_of_the_run_follows(whole):
    folder, done = whole
    searched = entries(folder)
    assert 8 < len(searched) < 100
    ended = f"the search ended after generation {len(searched)}: "
    assert done.out.count(ended) == 1
    assert searched[-2]["trained_total"] < 16 <= searched[-1]["trained_total"]


def test_results_fit_their_contract(whole):
    read = json.loads((whole[0] / "results.json").read_text())
    assert set(read) == {"losses", "search", "seconds", "environment"}
    assert set(read["seconds"]) == {"search", "promotion", "test", "recommender"}
    assert set(read["search"]) == {"sampled", "trained", "seconds", "funnel"}
    funnel = read["search"]["funnel"]
    below = funnel.pop("below_baseline")  # of the trained
    assert read["search"]["sampled"] == 256 * len(journal(whole[0])) == sum(funnel.values())
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
        *("name", "formula", "by_label", "tokens", "found", "model", "dataset", "learning_rate"),
        *("weight_decay", "seeds", "epochs", "valid", "test", "vs_best_baseline", "bounds"),
        *("course", "tuning"),
    }
    assert max(loss["course"]["valid"]) == pytest.approx(loss["valid"]["auc"], abs=1e-3)
    assert loss["learning_rate"] in [trial["learning_rate"] for trial in loss["tuning"]]
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
    scores = [float(row["score"]) for row in rows]
    assert scores == sorted(scores, reverse=True)
    for row in rows:
        of_formula, of_tokens = build_loss(row["formula"]), build_loss(row["tokens"].split())
        logits, labels = np.linspace(-3, 3, 8), np.resize([0.0, 1.0], 8)
        values = [loss(logits, labels, reduce_fn=None) for loss in (of_formula, of_tokens)]
        np.testing.assert_allclose(*values, rtol=1e-4)
        assert int(row["complexity"]) <= len(row["tokens"].split()) <= 7
        price = 1e-4 * int(row["complexity"])
        assert float(row["score"]) == pytest.approx(float(row["gain"]) - price, abs=2e-6)


def test_the_front_is_of_losses_that_none_beats(whole):
    with (whole[0] / "hall_of_fame.csv").open() as file:
        rows = list(csv.DictReader(file))
    lengths, gains = ([float(row[name]) for row in rows] for name in ("complexity", "gain"))
    marked = [row["front"] == "true" for row in rows]
    assert marked == find_pareto_front(lengths, gains)
    assert any(marked)


def test_the_hall_of_fame_says_what_became_of_each_loss(whole):
    with (whole[0] / "hall_of_fame.csv").open() as file:
        rows = list(csv.DictReader(file))
    tested = {f"found-{row['rank']}" for row in rows if row["outcome"] == "tested"}
    assert tested == {loss["name"] for loss in results(whole[0])["losses"] if loss["found"]}
    assert all(row["outcome"] == f"same as {row['twin']}" for row in rows if row["twin"])
    others = [row for row in rows if not row["twin"] and row["outcome"] != "tested"]
    assert all(re.fullmatch(r"place \d+ of \d+ after \d+ epochs", row["outcome"]) for row in others)


def test_the_best_so_far_never_falls(whole):
    for key in ("best_score", "best_reward"):
        values = [entry[key] for entry in entries(whole[0]) if entry[key] is not None]
        assert values == sorted(values)


def test_the_best_found_loss_of_the_results_is_in_the_hall_of_fame(whole):
    text = (whole[0] / "hall_of_fame.csv").read_text()
    found = [loss for loss in results(whole[0])["losses"] if loss["found"]]
    assert all(" ".join(loss["tokens"]) in text for loss in found)


def test_what_is_promoted_is_written_printed_and_tested(whole):
    with (whole[0] / "hall_of_fame.csv").open() as file:
        rows = [row for row in csv.DictReader(file) if row["promoted"]]
    rows.sort(key=lambda row: int(row["promoted"]))
    assert [int(row["promoted"]) for row in rows] == list(range(1, len(rows) + 1))
    assert not any(row["twin"] for row in rows)
    found = [loss["name"] for loss in results(whole[0])["losses"] if loss["found"]]
    assert found == [f"found-{row['rank']}" for row in rows[: len(found)]]
    assert f"to be tested: {rows[0]['formula']}, auc 0." in whole[1].out


def test_the_table_and_every_loss_are_printed(whole):
    for loss in results(whole[0])["losses"]:
        assert loss["name"] in whole[1].out


def test_a_killed_run_goes_on_from_its_checkpoint(killed, whole):
    assert killed[1].code == -signal.SIGKILL
    assert re.search(r"going on after generation (8|16|24)\b", whole[1].out)


def test_the_log_holds_what_the_console_said(killed, whole):
    log = (whole[0] / "run.log").read_text()  # one after the other
    assert log.startswith(killed[1].out.splitlines()[0])
    assert log.endswith(whole[1].out)


def test_a_finished_run_is_shown_again_and_left_alone(whole, server):
    folder, first = whole
    before = contents(folder)
    done = server.run(*RUN, f"--workdir={folder}")
    assert done.code == 0
    assert "finished" in done.out
    assert done.out.splitlines()[-5:] == first.out.splitlines()[-5:]
    assert contents(folder) == before


@pytest.mark.parametrize(
    ("change", "fragments"),
    [
        ("--config.seed=1", ["holds the run of another config", "seed is 0 there and 1 here"]),
        ("--config.train.l2=0.1", ["holds the run of another config", "train.l2"]),
        (
            "--config.search.candidates=40",
            ["this run, finished (search.candidates is 16 there and 40 here)", "results.json"],
        ),
    ],
)
def test_the_folder_of_another_run_is_refused_and_left_alone(whole, server, change, fragments):
    before = contents(whole[0])
    done = server.run(*RUN, change, f"--workdir={whole[0]}")
    assert_one_line(done, 1, *fragments)
    assert contents(whole[0]) == before


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


# The same run in two processes, as on two machines: Gloo between CPUs.

needs_gloo = pytest.mark.skipif(sys.platform == "win32", reason="jaxlib has no Gloo on Windows")


def start_together(server, folder, *changes):
    """Starts two processes of one device each; it is their folder that they share."""
    with socket.socket() as free:
        free.bind(("localhost", 0))
        address = f"localhost:{free.getsockname()[1]}"
    several = {"JAX_COORDINATOR_ADDRESS": address, "JAX_NUM_PROCESSES": "2"}
    arguments = (*RUN, *changes, f"--workdir={folder}")
    return [server.start(*arguments, **several, JAX_PROCESS_ID=number) for number in "01"]


@pytest.fixture(scope="module")
def together(server, tmp_path_factory):
    """Two processes that are stopped, by the second, and go on."""
    folder = tmp_path_factory.mktemp("runs") / "together"
    limits = "--config.search.generations=1000", "--config.search.candidates=0"  # they may change
    processes = start_together(server, folder, *limits)
    try:
        wait_for(lambda: journal(folder))
        os.kill(processes[1].pid, signal.SIGINT)
        stages = [[process.wait() for process in processes]]
        assert (folder / "hall_of_fame.csv").exists()  # for who has seen enough
        processes = start_together(server, folder)
        stages.append([process.wait() for process in processes])
    except BaseException:
        for process in processes:  # leave none behind
            with suppress(ProcessLookupError):
                os.kill(process.pid, signal.SIGKILL)
        raise
    return folder, stages


@needs_gloo
def test_two_processes_find_what_one_does(whole, together):
    """Both were interrupted, each at its own generation: that leaves no trace in the results."""
    hall = "hall_of_fame.csv"
    assert (whole[0] / hall).read_bytes() == (together[0] / hall).read_bytes()
    assert results(whole[0])["losses"] == results(together[0])["losses"]
    for one, two in zip(entries(whole[0]), entries(together[0]), strict=True):
        floats = {key for key, value in one.items() if isinstance(value, float)}
        # Programs are fused otherwise, and may differ in the last bit.
        assert {key: one[key] for key in floats} == pytest.approx({key: two[key] for key in floats})
        assert {**one, **dict.fromkeys(floats)} == {**two, **dict.fromkeys(floats)}
    with np.load(whole[0] / RECOMMENDER[1]) as one, np.load(together[0] / RECOMMENDER[1]) as two:
        assert set(one) == set(two)
        for name in one:
            np.testing.assert_allclose(one[name], two[name], rtol=1e-4, atol=1e-6)


@needs_gloo
def test_ctrl_c_in_any_process_stops_all_after_the_same_generation(together):
    stopped, ended = together[1]
    assert [code for code, _, _ in stopped] == [130, 130]
    last = stopped[0].out.splitlines()[-1]
    assert last.startswith("stopped after generation ")
    assert last.endswith("the same command goes on")
    generation = last.split()[3].strip(";")
    assert f"going on after generation {generation}" in ended[0].out
    assert [code for code, _, _ in ended] == [0, 0]


@pytest.mark.parametrize(
    ("number", "again"),
    [(signal.SIGINT, "Ctrl-C again to stop"), (signal.SIGTERM, "another signal stops it")],
)
def test_the_first_signal_says_what_the_second_does(number, again):
    console = Console(file=io.StringIO(), width=100)
    _note_signal(console, number)
    said = f"stopping as soon as what is done can be kept; {again} at once\n"
    assert console.file.getvalue() == said


@needs_gloo
def test_the_first_process_alone_prints(together):
    for first, second in together[1]:
        assert (first.err, second.err) == ("", "")
        assert "train: " in first.out
        assert not [line for line in second.out.splitlines() if not line.startswith("[Gloo]")]
