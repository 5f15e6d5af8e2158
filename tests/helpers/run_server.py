"""Runs of the command line for tests, on data so small that they take seconds."""

import hashlib
import json
import subprocess
import sys
import time
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[2]
STRICT = (  # of Python, for scripts that tests start: one may be writing what another reads
    *("-W", "error"),
    *("-W", "ignore:Error reading persistent compilation cache entry"),
)
SMOKE = "--config=configs/synthetic.py:smoke"
SMALL_SEARCH = (  # for any config whose programs are to be cheap to compile
    "--config.model.embedding_dim=4",
    "--config.train.batch_size=256",
    "--config.space.operators=('add','sub','mul','square')",
    "--config.space.length=7",
    "--config.generation.seen_losses=64",
    "--config.generation.hall=3",
    "--config.generation.samples=256",
    "--config.generation.num_lanes=4",
    "--config.promote.num_lanes=4",
    "--config.promote.losses=0",
    "--config.space.initial_losses=()",
    # The learned policies and the other ways to restart take as long to compile as all the rest.
    "--config.policy.name=random",
    "--config.generation.restart=always",
)
LEARNED = ("--config.policy.name=risk_seeking", "--config.policy.risk_seeking.hidden_dim=8")
SMALL = (
    SMOKE,
    "--config.data.num_users=40",
    "--config.data.num_items=50",
    "--config.data.num_interactions=1500",
    *SMALL_SEARCH,
)
# Tests share one tiny run, for its programs are compiled once: change no shape without need.
TINY = (
    *SMALL,
    "--config.space.operands=('pred','label')",  # so that few samples have losses to train
    "--config.contenders.baselines=('bce','mse')",
)


class Finished(NamedTuple):
    code: int
    out: str
    err: str


class Started(NamedTuple):
    server: "Server"
    pid: int
    files: tuple[Path, Path]

    def wait(self) -> Finished:
        code = self.server.ask({"wait": self.pid})
        return Finished(code, *(path.read_text() for path in self.files))


class Server:
    """Starts runs; see forking_server.py."""

    def __init__(self, folder: Path, environment: dict):
        self.folder, self.count = folder, 0
        command = [sys.executable, "-m", "tests.helpers.forking_server"]
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
        self.process = subprocess.Popen(command, cwd=ROOT, env=environment, **pipes)

    def ask(self, request: dict) -> int:
        self.process.stdin.write(json.dumps(request) + "\n")
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())

    def start(self, *arguments: str, **environment: str) -> Started:
        self.count += 1
        out, err = (self.folder / f"{self.count}.{end}" for end in ("out", "err"))
        out.touch()
        err.touch()
        request = {"arguments": arguments, "stdout": str(out), "stderr": str(err)}
        return Started(self, self.ask({**request, "environment": environment}), (out, err))

    def run(self, *arguments: str, **environment: str) -> Finished:
        return self.start(*arguments, **environment).wait()


def wait_for(condition, seconds=240):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "this took too long"
        time.sleep(0.002)


def assert_one_line(done, code, *fragments):
    assert done.code == code, done.err
    assert len(done.err.strip().splitlines()) == 1, done.err
    assert done.err.startswith("run.py: ")
    assert "Traceback" not in done.out + done.err
    for fragment in fragments:
        assert fragment in done.err


def results(folder):
    read = json.loads((folder / "results.json").read_text())
    read["search"]["seconds"] = read["seconds"] = None
    return read


def contents(folder):
    """Returns every file's content and time of change."""
    return {
        path: (hashlib.sha256(path.read_bytes()).hexdigest(), path.stat().st_mtime_ns)
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }
