"""Interactions in a memory-mapped file, drawn and trained on: speed, and memory that stays small::

    python benchmarks/streaming.py [--rows 100_000_000] [--folder FOLDER] [--file FILE]

Needs 9 bytes of disk a row in FOLDER (a temporary one if left out); FILE is one that is there.
Anonymous memory is what the process holds; file memory is the system's cache of the file and of
libraries, which it takes back when it is short.
"""

import argparse
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import jax
import jax.numpy as jnp
import numpy as np

from autolossgen import models, named_loss
from autolossgen.data.file_generator import write_synthetic_stream
from autolossgen.data.stream import Stream, draw, held_rows, open_stream
from autolossgen.interfaces import Batch, StreamedData
from autolossgen.training.lanes import make_lanes
from autolossgen.training.optimizers import Hyper, adagrad
from autolossgen.training.tasks import RATING
from autolossgen.training.trainer import make_trainer

BATCH, STEPS = 4_096, 256


def memory() -> dict[str, float]:
    """Give resident memory now in GiB, by kind."""
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    kinds = {"anonymous": "RssAnon", "file": "RssFile"}
    return {kind: int(status[key].split()[0]) / 2**20 for kind, key in kinds.items()}


@contextmanager
def watched(what: str, rows: int = 0) -> Iterator[None]:
    """Print how long something took, rows a second, and the most memory of each kind meanwhile."""
    most, ended = memory(), threading.Event()

    def look() -> None:
        while not ended.wait(0.1):
            most.update({kind: max(now, most[kind]) for kind, now in memory().items()})

    thread = threading.Thread(target=look)
    thread.start()
    start = time.perf_counter()
    try:
        yield
    finally:
        seconds = time.perf_counter() - start
        ended.set()
        thread.join()
    rate = f", {rows / seconds / 1e6:.2f} million rows a second" if rows else ""
    sizes = ", ".join(f"{kind} {size:.2f} GiB" for kind, size in most.items())
    print(f"{what}: {seconds:.1f} s{rate}; at most {sizes}", flush=True)


def draw_epoch(stream: Stream, rows: int) -> None:
    """Draw ``rows`` rows."""
    with watched(f"drew {rows:,} rows", rows):
        for start in range(0, -(-rows // BATCH), STEPS):
            draw(stream, seed=0, start=start, steps=STEPS, batch_size=BATCH)


def train(stream: Stream, steps: int, width: int, count: int) -> None:
    """Train ``count`` lanes of BiasedMF by Adagrad for ``steps`` steps; say how held rows rank."""

    def interactions(rows) -> Batch:
        flat = jax.tree.map(np.ravel, rows)
        return Batch(*flat, np.ones_like(flat.label))

    def read(place: int, count: int) -> Batch:
        return interactions(draw(stream, seed=0, start=place, steps=count, batch_size=1))

    model = models.build(name="biased_mf", embedding_dim=width, init_scale=0.1, sizes=stream.sizes)
    courses = make_trainer(
        lambda slopes: make_lanes(model, slopes, optimizer=adagrad()),
        RATING.static_logit_grads([named_loss("bce"), named_loss("mse")]),
        batch_size=BATCH,
    )
    source = StreamedData(min(steps * BATCH, stream.rows), STEPS * BATCH, read)
    judged, ones = interactions(held_rows(stream)), jnp.ones(count)
    hyper = Hyper(0.3 * ones, 1e-4 * ones, 0 * ones)
    with watched(f"made {count} lanes of width {width}"):
        state = courses.init(jax.random.split(jax.random.key(0), count))
        jax.block_until_ready(state)
    size = sum(x.nbytes for x in jax.tree.leaves(state)) / 2**30
    print(f"  of which there are {size:.2f} GiB")
    with watched(f"compiled, and trained on {source.rows:,} rows", source.rows):
        _, metric = courses.epoch(state, ones, hyper, jax.random.key(0), source, judged)
        metric.block_until_ready()
    print(f"AUC of held rows: {metric.min():.3f} to {metric.max():.3f}")


def main() -> None:
    """Write, open, draw, train; print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=100_000_000)
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--file", type=Path)
    parser.add_argument("--draw", type=int, help="rows to draw alone; an epoch if left out")
    parser.add_argument("--steps", type=int, default=2_560, help="of training, at most")
    parser.add_argument("--lanes", type=int, default=8, help="a multiple of the two losses")
    parser.add_argument("--width", type=int, default=8, help="of embedding vectors")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.folder) as place:
        path = options.file or write(Path(place) / "interactions.arrow", options.rows)
        with watched(f"opened and checked {path.stat().st_size / 1e9:.2f} GB"):
            stream = open_stream(path, held_out=min(100_000, options.rows // 10))
        draw_epoch(stream, stream.rows if options.draw is None else options.draw)
        train(stream, options.steps, options.width, options.lanes)


def write(path: Path, rows: int) -> Path:
    """Write interactions of 2,000,000 users and 500,000 items."""
    with watched(f"wrote {rows:,} rows", rows):
        write_synthetic_stream(
            path, num_users=2_000_000, num_items=500_000, num_rows=rows, chunk=5_000_000
        )
    return path


if __name__ == "__main__":
    main()
