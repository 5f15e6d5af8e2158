"""Interactions drawn from a memory-mapped file: speed, and memory that does not grow with it::

    python benchmarks/streaming.py [--rows 100_000_000] [--folder FOLDER]

Needs 9 bytes of disk a row in FOLDER (a temporary one if left out). Anonymous memory is what the
process holds; file memory is the system's cache of the file, which it takes back when it is short.
"""

import argparse
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from data.file_generator import write_synthetic_stream
from data.stream import draw, open_stream

BATCH, STEPS = 4_096, 256


def memory() -> str:
    """Resident memory now, by kind, and at most."""
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    kinds = {"anonymous": "RssAnon", "file": "RssFile", "peak of both": "VmHWM"}
    return ", ".join(
        f"{k} {int(status[key].split()[0]) / 2**20:.2f} GiB" for k, key in kinds.items()
    )


def main() -> None:
    """Write, open, draw; print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=100_000_000)
    parser.add_argument("--folder", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.folder) as place:
        start = time.perf_counter()
        path = write_synthetic_stream(
            Path(place) / "interactions.arrow",
            num_users=2_000_000,
            num_items=500_000,
            num_rows=options.rows,
            chunk=5_000_000,
        )
        size = path.stat().st_size / 1e9
        print(f"wrote {options.rows:,} rows, {size:.2f} GB, {time.perf_counter() - start:.0f} s")
        print(f"  {memory()}", flush=True)
        start = time.perf_counter()
        stream = open_stream(path, held_out=min(100_000, options.rows // 10))
        print(
            f"opened and checked in {time.perf_counter() - start:.1f} s\n  {memory()}", flush=True
        )
        start, drawn, chunks = time.perf_counter(), 0, 0
        while drawn < stream.rows:
            draw(stream, seed=0, start=chunks * STEPS, steps=STEPS, batch_size=BATCH)
            drawn, chunks = drawn + STEPS * BATCH, chunks + 1
        seconds = time.perf_counter() - start
        print(
            f"drew an epoch in {seconds:.0f} s, {drawn / seconds / 1e6:.1f} million rows a second"
        )
        print(f"  {memory()}")


if __name__ == "__main__":
    main()
