"""One run in two processes through the command line, as on two machines: Gloo between CPUs."""

import json
import os
import signal
import socket
import sys
import time
from contextlib import suppress

import pytest

from autolossgen.training.devices import ProcessError, connect_processes
from tests.helpers.run_server import TINY, assert_one_line

FLAGS = (
    *TINY,
    "--config.search.generations=16",
    "--config.search.round_generations=4",
    "--config.search.checkpoint_every=8",
)
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform == "win32", reason="jaxlib has no Gloo on Windows"),
]


def start(server, folder):
    """Starts two processes of one device each; it is their folder that they share."""
    with socket.socket() as free:
        free.bind(("localhost", 0))
        address = f"localhost:{free.getsockname()[1]}"
    several = {"JAX_COORDINATOR_ADDRESS": address, "JAX_NUM_PROCESSES": "2"}
    arguments = (*FLAGS, f"--workdir={folder}")
    return [server.start(*arguments, **several, JAX_PROCESS_ID=number) for number in "01"]


@pytest.fixture(scope="module")
def runs(server, tmp_path_factory):
    """One process from beginning to end; two that are stopped, by the second, and go on."""
    folder = tmp_path_factory.mktemp("runs")
    processes = start(server, folder / "together")
    try:
        wait_for(folder / "together" / "metrics.jsonl")
        os.kill(processes[1].pid, signal.SIGINT)
        stages = [[process.wait() for process in processes]]
        processes = start(server, folder / "together")
        stages.append([process.wait() for process in processes])
    except BaseException:
        for process in processes:  # leave none behind
            with suppress(ProcessLookupError):
                os.kill(process.pid, signal.SIGKILL)
        raise
    return folder, server.run(*FLAGS, f"--workdir={folder / 'alone'}"), stages


def wait_for(path, seconds=240):
    end = time.monotonic() + seconds
    while not (path.exists() and path.read_text()):
        assert time.monotonic() < end, "this took too long"
        time.sleep(0.01)


def files(folder):
    """Returns what a run left, without what time decides."""
    hall = (folder / "hall_of_fame.csv").read_text()
    losses = json.loads((folder / "results.json").read_text())["losses"]
    lines = (folder / "metrics.jsonl").read_text().splitlines()
    return hall, losses, [{**json.loads(line), "seconds": None} for line in lines]


def test_two_processes_find_what_one_does(runs):
    folder, done, _ = runs
    assert (done.code, done.err) == (0, "")
    alone, together = files(folder / "alone"), files(folder / "together")
    assert alone[0] == together[0]
    assert alone[1] == together[1]
    for one, two in zip(alone[2], together[2], strict=True):
        floats = {key for key, value in one.items() if isinstance(value, float)}
        # The policy's step is fused otherwise, and may differ in the last bit.
        assert {key: one[key] for key in floats} == pytest.approx({key: two[key] for key in floats})
        assert {**one, **dict.fromkeys(floats)} == {**two, **dict.fromkeys(floats)}
    assert any(loss["found"] for loss in alone[1])
    assert len(alone[2]) == 16


def test_ctrl_c_in_any_process_stops_all_after_the_same_generation(runs):
    first, second = runs[2][0]
    assert [first[0], second[0]] == [130, 130]
    assert first[1].splitlines()[-1].startswith("stopped after generation ")


def test_the_same_commands_go_on(runs):
    stopped, ended = runs[2]
    generation = stopped[0][1].splitlines()[-1].split()[3].strip(";")
    assert f"going on after generation {generation}" in ended[0][1]
    assert [code for code, _, _ in ended] == [0, 0]


def test_the_first_process_alone_prints(runs):
    for first, second in runs[2]:
        assert (first[2], second[2]) == ("", "")
        assert "train: " in first[1]
        assert not [line for line in second[1].splitlines() if not line.startswith("[Gloo]")]


def test_a_process_without_its_number_is_refused(server, tmp_path):
    several = {"JAX_COORDINATOR_ADDRESS": "localhost:1", "JAX_NUM_PROCESSES": "2"}
    done = server.run(*FLAGS, f"--workdir={tmp_path / 'run'}", **several)
    assert_one_line(done, 1, "The process id of the current process must be defined")
    assert done.err.startswith("run.py: JAX_COORDINATOR_ADDRESS is set, but the processes")
    assert not (tmp_path / "run").exists()


def test_what_is_no_number_is_refused(monkeypatch):
    monkeypatch.setenv("JAX_COORDINATOR_ADDRESS", "localhost:1")
    monkeypatch.setenv("JAX_PROCESS_ID", "first")
    with pytest.raises(ProcessError, match="is a whole number, got 'first'"):
        connect_processes()
