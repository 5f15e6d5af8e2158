"""Kills runs at random moments, goes on with the same command, and compares what they leave.

    python benchmarks/kills.py --family=pointwise --kills=25
    python benchmarks/kills.py --family=rankings --kills=25

Half of the kills come at a random time, anywhere in a run. The others come inside a write: of a
checkpoint, of what is kept of promotion, tuning and test, of the hall of fame, the recommender or
the results; before its first byte, in the middle, before the file takes its place, or right after.
Each is a SIGKILL, which nothing in a process can catch. With ``--signal=TERM``, ``INT`` or ``INT2``
(twice) other signals come, at random times; how long the run still takes is printed. Needs
``os.fork``.
"""

import argparse
import hashlib
import json
import os
import random
import signal
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import numpy as np

from autolossgen import files
from autolossgen.pipeline import kept
from autolossgen.pipeline.main import main as run_command

SIGNALS = {
    "KILL": [signal.SIGKILL],
    "TERM": [signal.SIGTERM],
    "INT": [signal.SIGINT],
    "INT2": [signal.SIGINT, signal.SIGINT],
}
STOPPED = (-signal.SIGKILL, 128 + signal.SIGTERM, 128 + signal.SIGINT)  # exit statuses
POINTS = ("before the first byte", "in the middle", "before it takes its place", "after")
FLAGS = {
    "pointwise": (
        "--config=configs/synthetic.py:smoke",
        "--config.data.num_users=40",
        "--config.data.num_items=50",
        "--config.data.num_interactions=1500",
        "--config.model.embedding_dim=4",
        "--config.train.batch_size=256",
        "--config.space.length=7",
        "--config.search.generations=12",
        "--config.search.checkpoint_every=3",
        "--config.test.epochs=6",
        "--config.test.patience=6",
    ),
    "rankings": (
        "--config=configs/topk.py:smoke",
        "--config.model.embedding_dim=4",
        "--config.train.batch_size=64",
        "--config.test.cutoffs=(2,5)",
        "--config.test.metric=ndcg@5",
        "--config.test.epochs=6",
        "--config.test.evaluate_every=2",
        "--config.contenders.losses=('softmax','bpr')",
        "--config.search.generations=1",
    ),
}


def write_likes(folder: Path) -> None:
    """Writes likes of two groups of users, each of which likes one half of the items."""
    rng = np.random.default_rng(0)
    folder.mkdir()
    rows: dict[str, list[str]] = {"train": ["user\titem"], "test": ["user\titem"]}
    for user in range(24):
        for number, item in enumerate(rng.permutation(12)[:8]):
            rows["test" if number < 2 else "train"].append(f"{user}\t{item + 12 * (user % 2)}")
    for name, lines in rows.items():
        (folder / f"{name}.tsv").write_text("\n".join(lines) + "\n")


def die_in_write(number: int, point: str) -> None:
    """Lets this process kill itself in its write of this number, from 1."""
    count, write = 0, files.open_atomically

    @contextmanager
    def open_and_die(path: Path) -> Iterator[IO[bytes]]:
        nonlocal count
        count += 1
        dies = count == number
        with write(path) as file:
            if dies and point == POINTS[0]:
                os.kill(os.getpid(), signal.SIGKILL)
            yield file
            if dies and point == POINTS[1]:
                file.truncate(file.tell() // 2)
                os.kill(os.getpid(), signal.SIGKILL)
            if dies and point == POINTS[2]:
                file.flush()
                os.kill(os.getpid(), signal.SIGKILL)
        if dies:
            os.kill(os.getpid(), signal.SIGKILL)

    files.open_atomically = open_and_die  # type: ignore[assignment]


def start(arguments: list[str], log: Path, kill: dict[str, Any]) -> int:
    """Starts a run in a fork; returns its process id."""
    pid = os.fork()
    if pid:
        return pid
    descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(descriptor, 1)
    os.dup2(descriptor, 2)
    kept.SECONDS, kept.SHARE = 0.0, float("inf")  # a state after each epoch
    if kill["write"]:
        die_in_write(kill["write"], kill["point"])
    code = 70
    try:
        code = run_command(["run.py", *arguments])
    finally:
        sys.stdout.flush()
        os._exit(code)


def run(arguments: list[str], log: Path, kill: dict[str, Any]) -> tuple[int, float, float]:
    """Runs the command until it ends or is killed.

    Returns:
      Its exit status, its seconds, and those of them after the last signal.
    """
    pid, began, numbers = start(arguments, log, kill), time.monotonic(), list(kill["signals"])
    last = began
    while True:
        done, status = os.waitpid(pid, os.WNOHANG)
        now = time.monotonic()
        if done:
            return os.waitstatus_to_exitcode(status), now - began, now - last
        wait = kill["seconds"] if len(numbers) == len(kill["signals"]) else 0.2
        if numbers and now - last > wait:
            os.kill(pid, numbers.pop(0))
            last = now
        time.sleep(0.01)


def describe(folder: Path) -> dict[str, Any]:
    """Returns what a run left, without what time decides."""
    results = json.loads((folder / "results.json").read_text())
    results.pop("seconds", None)
    results["search"].pop("seconds")
    for loss in results["losses"]:
        loss.pop("seconds", None)
    paths = [folder / "hall_of_fame.csv", *sorted((folder / "recommender").iterdir())]
    digests = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in paths}
    entries = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    journal = [{**entry, "seconds": None} for entry in entries]
    return {"results": results, "journal": journal, **digests}


def draw_kill(rng: random.Random, seconds: float, name: str) -> dict[str, Any]:
    """Draws when a run is killed: after some seconds, or in a write and at which point of it."""
    if name != "KILL" or rng.random() < 0.5:
        wait = rng.uniform(0.2, 1.0) * seconds
        return {"signals": SIGNALS[name], "seconds": wait, "write": 0, "point": ""}
    return {"signals": [], "seconds": 0, "write": rng.randint(1, 25), "point": rng.choice(POINTS)}


def find_place(folder: Path) -> str:
    """Returns how far a run is, as its log says."""
    log = folder / "run.log"
    lines = log.read_text().split("\n") if log.exists() else []
    return next((line.strip()[:60] for line in reversed(lines) if line.strip()), "the start")


def main() -> int:
    """Kills, compares and prints; returns 1 if anything differs."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--family", choices=FLAGS, default="pointwise")
    parser.add_argument("--kills", type=int, default=25)
    parser.add_argument("--signal", choices=SIGNALS, default="KILL")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        return kill_often(given, Path(scratch))


def kill_often(given: argparse.Namespace, scratch: Path) -> int:
    """Kills runs as often as asked for; returns 1 if anything differs."""
    rng, log, flags = random.Random(given.seed), scratch / "log", [*FLAGS[given.family]]
    if given.family == "rankings":
        write_likes(scratch / "likes")
        flags.append(f"--config.data.path={scratch / 'likes'}")
    never = {"signals": [], "seconds": 0, "write": 0, "point": ""}
    run([*flags, f"--workdir={scratch / 'first' / 'run'}"], log, never)  # compiles
    code, seconds, _ = run([*flags, f"--workdir={scratch / 'whole' / 'run'}"], log, never)
    print(f"uninterrupted: {seconds:.0f} s, exit status {code}", flush=True)
    wanted, kills, finished, wrong = describe(scratch / "whole" / "run"), 0, 0, 0
    while kills < given.kills or code:
        folder = scratch / f"killed-{finished}" / "run"
        kill = draw_kill(rng, seconds, given.signal) if kills < given.kills else never
        code, _, still = run([*flags, f"--workdir={folder}"], log, kill)
        if code in STOPPED:
            kills += 1
            how = f"in write {kill['write']}, {kill['point']}" if kill["write"] else "by time"
            print(f"kill {kills}, {how} ({still:.1f} s): {find_place(folder)}", flush=True)
        elif code:
            print(log.read_text()[-2000:])
            return 1
        else:
            found = describe(folder)
            other = [key for key in wanted if found[key] != wanted[key]]
            wrong, finished = wrong + bool(other), finished + 1
            print(f"finished run {finished}: {f'differs in {other}' if other else 'same'}")
    print(f"{kills} kills, {finished} finished runs, {wrong} of them differ")
    return int(wrong > 0)


if __name__ == "__main__":
    sys.exit(main())
