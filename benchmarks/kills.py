"""Kills runs at random moments, goes on with the same command, and compares what they leave.

    python benchmarks/kills.py --family=pointwise --kills=25
    python benchmarks/kills.py --family=rankings --kills=25

Half of the kills come at a random time, anywhere in a run. The others come inside a write: of a
checkpoint, of what is kept of promotion, tuning and test, of the hall of fame, the recommender or
the results; before its first byte, in the middle, before the file takes its place, or right after.
Each is a SIGKILL, which nothing in a process can catch. Needs ``os.fork``.
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


def run(arguments: list[str], folder: Path, log: Path, kill: dict[str, Any]) -> tuple[int, float]:
    """Runs the command until it ends or is killed; returns its exit status and its seconds."""
    pid, began = start(arguments, log, kill), time.monotonic()
    while True:
        done, status = os.waitpid(pid, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status), time.monotonic() - began
        if kill["seconds"] and time.monotonic() - began > kill["seconds"]:
            os.kill(pid, signal.SIGKILL)
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


def draw_kill(rng: random.Random, seconds: float) -> dict[str, Any]:
    """Draws when a run is killed: after some seconds, or in a write and at which point of it."""
    if rng.random() < 0.5:
        return {"seconds": rng.uniform(0.2, 1.0) * seconds, "write": 0, "point": ""}
    return {"seconds": 0.0, "write": rng.randint(1, 25), "point": rng.choice(POINTS)}


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
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    rng = random.Random(given.seed)
    with tempfile.TemporaryDirectory() as scratch:
        data = Path(scratch) / "likes"
        write_likes(data)
        flags = [*FLAGS[given.family]]
        flags += [f"--config.data.path={data}"] if given.family == "rankings" else []
        never = {"seconds": 0.0, "write": 0, "point": ""}
        whole = Path(scratch) / "run" / "whole"
        log = Path(scratch) / "log"
        run([*flags, f"--workdir={whole}-first"], whole, log, never)  # compiles
        code, seconds = run([*flags, f"--workdir={whole}"], whole, log, never)
        print(f"uninterrupted: {seconds:.0f} s, exit status {code}", flush=True)
        wanted, kills, finished, wrong = describe(whole), 0, 0, 0
        while kills < given.kills or code:
            folder = Path(scratch) / "run" / f"killed-{finished}"
            kill = draw_kill(rng, seconds) if kills < given.kills else never
            code, _ = run([*flags, f"--workdir={folder}"], folder, log, kill)
            if code == -signal.SIGKILL:
                kills += 1
                how = f"in write {kill['write']}, {kill['point']}" if kill["write"] else "by time"
                print(f"kill {kills}, {how}: {find_place(folder)}", flush=True)
            elif code:
                print(log.read_text()[-2000:])
                return 1
            else:
                same = {key: describe(folder)[key] == wanted[key] for key in wanted}
                wrong += not all(same.values())
                finished += 1
                print(f"finished run {finished}: {'same' if all(same.values()) else same}")
        print(f"{kills} kills, {finished} finished runs, {wrong} of them differ")
    return int(wrong > 0)


if __name__ == "__main__":
    sys.exit(main())
