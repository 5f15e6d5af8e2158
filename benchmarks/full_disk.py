"""Lets a run go on, on a disk that is full again and again, and compares what it leaves.

    python benchmarks/full_disk.py --family=pointwise
    python benchmarks/full_disk.py --family=rankings

The disk is a file system in memory, which only root can mount. It begins with 8 KiB; whenever the
run ends as the disk is full, 8 KiB are added and the same command goes on.
"""

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

from kills import FLAGS, describe, run, write_likes

NEVER = {"signals": [], "seconds": 0, "write": 0, "point": ""}
STEP = 8  # KiB


def mount(folder: Path, size: int, *options: str) -> None:
    """Mounts a file system of so many KiB, or changes its size."""
    both = ",".join((*options, f"size={size}k"))
    command = ["mount", "-t", "tmpfs", "-o", both, "tmpfs", str(folder)]
    subprocess.run(command, check=True)


def go_on_until_it_fits(flags: list[str], scratch: Path) -> int:
    """Runs on a disk that grows; returns how often it was full.

    Raises:
      RuntimeError: if a run ends in another way than by its last line.
    """
    disk, log, size, times = scratch / "disk", scratch / "log", STEP, 0
    disk.mkdir()
    mount(disk, size)
    try:
        while True:
            log.unlink(missing_ok=True)
            code, _, _ = run([*flags, f"--workdir={disk / 'run'}"], log, NEVER)
            said = log.read_text()
            last = said.rstrip().splitlines()[-1]
            if not code and (disk / "run" / "report.html").exists():
                same = describe(disk / "run") == describe(scratch / "whole" / "run")
                print(f"finished at {size} KiB: {'same' if same else 'differs'}")
                return times
            if code != 1 or "No space left on device" not in last or "Traceback" in said:
                raise RuntimeError(said[-3000:])
            times, size = times + 1, size + STEP
            print(f"full at {size - STEP} KiB: {last[:120]}", flush=True)
            mount(disk, size, "remount")
    finally:
        subprocess.run(["umount", str(disk)], check=True)


def main() -> int:
    """Prints how often the disk was full, and whether the run ended as one that had room."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--family", choices=FLAGS, default="pointwise")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        scratch, flags = Path(folder), [*FLAGS[given.family]]
        if given.family == "rankings":
            write_likes(scratch / "likes")
            flags.append(f"--config.data.path={scratch / 'likes'}")
        run([*flags, f"--workdir={scratch / 'whole' / 'run'}"], scratch / "log", NEVER)
        print(f"the disk was full {go_on_until_it_fits(flags, scratch)} times")
    return 0


if __name__ == "__main__":
    sys.exit(main())
