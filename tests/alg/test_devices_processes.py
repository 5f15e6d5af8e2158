"""One run in two processes through the command line, as on two machines: Gloo between CPUs."""

import json
import os
import signal
import socket
import subprocess
import sys
import time

import pytest
import tiny

from alg.processes import ProcessError, join_processes
from tests.run_server import ROOT

FLAGS = (
    *tiny.FLAGS,
    "--config.contenders.baselines=('bce',)",
    "--config.search.generations=16",
    "--config.search.round_generations=4",
    "--config.search.checkpoint_every=8",
)
pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="jaxlib has no Gloo on Windows")


class Processes:
    """The processes of a run, one device each; it is their folder that they share."""

    def __init__(self, folder, environment, count):
        with socket.socket() as free:
            free.bind(("localhost", 0))
            address = f"localhost:{free.getsockname()[1]}"
        several = {"JAX_COORDINATOR_ADDRESS": address, "JAX_NUM_PROCESSES": str(count)}
        command = [sys.executable, "run.py", *FLAGS, f"--workdir={folder}"]
        self.started = []
        for number in range(count):
            mine = several | {"JAX_PROCESS_ID": str(number)} if count > 1 else {}
            options = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
            process = subprocess.Popen(command, cwd=ROOT, env=environment | mine, **options)
            self.started.append(process)

    def __enter__(self):
        return self

    def __exit__(self, *error):
        """Leave none behind, whatever failed."""
        for process in self.started:
            process.kill()
            process.communicate()

    def wait(self):
        """Give exit status, output and errors of each."""
        ended = []
        for process in self.started:
            out, err = process.communicate(timeout=600)
            ended.append((process.returncode, out, err))
        return ended


@pytest.fixture(scope="module")
def environment(request):
    cache = request.config.cache.mkdir("autolossgen")
    quick = {"JAX_DISABLE_MOST_OPTIMIZATIONS": "1", "JAX_NUM_CPU_DEVICES": "1"}
    return {**os.environ, **quick, "AUTOLOSSGEN_CACHE": str(cache)}


@pytest.fixture(scope="module")
def runs(environment, tmp_path_factory):
    """One process from beginning to end; two that are stopped, by the second, and go on."""
    folder = tmp_path_factory.mktemp("runs")
    with Processes(folder / "alone", environment, 1) as alone:
        with Processes(folder / "together", environment, 2) as stopped:
            wait_for(folder / "together" / "metrics.jsonl", stopped)
            stopped.started[1].send_signal(signal.SIGINT)
            stages = [stopped.wait()]
        with Processes(folder / "together", environment, 2) as ended:
            stages.append(ended.wait())
        return folder, alone.wait(), stages


def wait_for(path, processes, seconds=600):
    end = time.monotonic() + seconds
    while not (path.exists() and path.read_text()):
        for process in processes.started:
            assert process.poll() is None, process.communicate()
        assert time.monotonic() < end, "this took too long"
        time.sleep(0.01)


def files(folder):
    """Give what a run left, without what time decides."""
    hall = (folder / "hall_of_fame.csv").read_text()
    losses = json.loads((folder / "results.json").read_text())["losses"]
    lines = (folder / "metrics.jsonl").read_text().splitlines()
    return hall, losses, [{**json.loads(line), "seconds": None} for line in lines]


def test_two_processes_find_what_one_does(runs):
    folder, [(code, _, error)], _ = runs
    assert (code, error) == (0, "")
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


def test_a_process_without_its_number_is_told(environment, tmp_path):
    several = {"JAX_COORDINATOR_ADDRESS": "localhost:1", "JAX_NUM_PROCESSES": "2"}
    command = [sys.executable, "run.py", *FLAGS, f"--workdir={tmp_path / 'run'}"]
    options = {"capture_output": True, "text": True, "check": False}
    done = subprocess.run(command, cwd=ROOT, env=environment | several, **options)
    assert done.returncode == 1
    assert done.stderr.startswith("run.py: JAX_COORDINATOR_ADDRESS is set, but the processes")
    assert "The process id of the current process must be defined" in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert not (tmp_path / "run").exists()


def test_a_number_that_is_none_is_told(monkeypatch):
    monkeypatch.setenv("JAX_COORDINATOR_ADDRESS", "localhost:1")
    monkeypatch.setenv("JAX_PROCESS_ID", "first")
    with pytest.raises(ProcessError, match="is a whole number, got 'first'"):
        join_processes()
