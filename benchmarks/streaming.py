"""Interactions in a memory-mapped file, drawn and trained on: speed, and memory that stays small.

Usage::

    python benchmarks/streaming.py [--rows 100_000_000] [--folder FOLDER] [--file FILE]

Needs 9 bytes of disk a row in FOLDER, a temporary one by default; FILE is one that exists already.
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

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # for benchmarks itself

import jax
import jax.numpy as jnp
import numpy as np

from autolossgen import models, named_loss
from autolossgen.data.stream import Stream, draw_batches, open_stream, read_held_out
from autolossgen.interfaces import Batch, StreamedData
from autolossgen.training.lanes import make_lanes
from autolossgen.training.optimizers import Hyper, adagrad
from autolossgen.training.tasks import RATING
from autolossgen.training.trainer import make_trainer
from tests.helpers.file_generator import write_synthetic_stream

BATCH_SIZE, STEPS_PER_DRAW = 4_096, 256


def read_memory() -> dict[str, float]:
    """Returns resident memory now in GiB, by kind."""
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    kinds = {"anonymous": "RssAnon", "file": "RssFile"}
    return {kind: int(status[key].split()[0]) / 2**20 for kind, key in kinds.items()}


@contextmanager
def report_redatas(task: str, rows: int = 0) -> Iterator[None]:
    """Prints how long a task took, rows a second, and the peak of each kind of memory."""
    peak, ended = read_memory(), threading.Event()

    def watch() -> None:
        while not ended.wait(0.1):
            peak.update({kind: max(now, peak[kind]) for kind, now in read_memory().items()})

    thread = threading.Thread(target=watch)
    thread.start()
    start = time.perf_counter()
    try:
        yield
    finally:
        seconds = time.perf_counter() - start
        ended.set()
        thread.join()
    rate = f", {rows / seconds / 1e6:.2f} million rows a second" if rows else ""
    sizes = ", ".join(f"{kind} {size:.2f} GiB" for kind, size in peak.items())
    print(f"{task}: {seconds:.1f} s{rate}; at most {sizes}", flush=True)


def draw_epoch(stream: Stream, rows: int) -> None:
    """Draws ``rows`` rows."""
    with report_redatas(f"drew {rows:,} rows", rows):
        for start in range(0, -(-rows // BATCH_SIZE), STEPS_PER_DRAW):
            draw_batches(stream, seed=0, start=start, steps=STEPS_PER_DRAW, batch_size=BATCH_SIZE)


def train(stream: Stream, steps: int, embedding_dim: int, num_lanes: int) -> None:
    """Trains lanes of BiasedMF by Adagrad for some steps; prints the AUC of held-out rows."""

    def interactions(rows) -> Batch:
        flat = jax.tree.map(np.ravel, rows)
        return Batch(*flat, np.ones_like(flat.label))

    def read(place: int, count: int) -> Batch:
        return interactions(draw_batches(stream, seed=0, start=place, steps=count, batch_size=1))

    model = models.build(
        name="biased_mf", embedding_dim=embedding_dim, init_scale=0.1, sizes=stream.sizes
    )
    trainer = make_trainer(
        lambda logit_grads: make_lanes(model, logit_grads, optimizer=adagrad()),
        RATING.static_logit_grads([named_loss("bce"), named_loss("mse")]),
        batch_size=BATCH_SIZE,
    )
    data = StreamedData(min(steps * BATCH_SIZE, stream.rows), STEPS_PER_DRAW * BATCH_SIZE, read)
    evaluated, ones = interactions(read_held_out(stream)), jnp.ones(num_lanes)
    hyper = Hyper(learning_rate=0.3 * ones, weight_decay=1e-4 * ones, l2=0 * ones)
    with report_redatas(f"made {num_lanes} lanes with {embedding_dim} numbers a vector"):
        state = trainer.init(jax.random.split(jax.random.key(0), num_lanes))
        jax.block_until_ready(state)
    size = sum(x.nbytes for x in jax.tree.leaves(state)) / 2**30
    print(f"  their state takes {size:.2f} GiB")
    with report_redatas(f"compiled, and trained on {data.rows:,} rows", data.rows):
        _, metric = trainer.epoch(state, ones, hyper, jax.random.key(0), data, evaluated)
        metric.block_until_ready()
    print(f"AUC of held rows: {metric.min():.3f} to {metric.max():.3f}")


def main() -> None:
    """Writes, opens, draws and trains; prints."""
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
        path = options.file or write_stream(Path(place) / "interactions.arrow", options.rows)
        with report_redatas(f"opened and checked {path.stat().st_size / 1e9:.2f} GB"):
            stream = open_stream(path, held_out=min(100_000, options.rows // 10))
        draw_epoch(stream, stream.rows if options.draw is None else options.draw)
        train(stream, options.steps, options.width, options.lanes)


def write_stream(path: Path, rows: int) -> Path:
    """Writes interactions of 2,000,000 users and 500,000 items."""
    with report_redatas(f"wrote {rows:,} rows", rows):
        write_synthetic_stream(
            path, num_users=2_000_000, num_items=500_000, num_rows=rows, chunk=5_000_000
        )
    return path


if __name__ == "__main__":
    main()
