"""Candidates trained and screened per second, beside training one loss at a time.

The reference case: BiasedMF of width 64, one epoch of an ML-100K-sized set at batch 128 for each
candidate. All ways are measured in one process, interleaved, so that their ratios hold on a
machine whose speed drifts: ratios are the result, times are context::

    python benchmarks/throughput.py [--quick] [--lanes 32 64] [--json FILE]
"""

import argparse
import json
import os
import platform
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.sharding import AxisType

import controller
import models
from alg import grammar, vocabulary
from alg.courses import judge
from alg.filters import graded
from alg.lanes import Hyper, batches, make_lanes
from alg.losses import named_loss
from alg.objectives import Objective, traced_slopes
from alg.programs import assemble
from alg.types import Batch
from configs import base

USERS, ITEMS, ROWS, REWARDED = 944, 1683, 94_638, 2_334


def interactions(rows: int, seed: int) -> Batch:
    """Give generated interactions of ML-100K's size, with a few popular items."""
    rng = np.random.default_rng(seed)
    user = rng.integers(1, USERS, rows).astype(np.int32)
    item = (1 + (ITEMS - 1) * rng.power(0.3, rows)).astype(np.int32)
    label = rng.integers(0, 2, rows).astype(np.float32)
    return jax.device_put(Batch({"user": user, "item": item}, label, np.ones_like(label)))


def lanes_way(width: int, data: Batch, rewarded: Batch, config) -> Callable[[], object]:
    """Give a function that trains and scores ``width`` random candidates for an epoch."""
    vocab = vocabulary(config.space.operators, config.space.operands)
    policy = controller.uniform(grammar(vocab, config.space.length))
    tokens = policy.sample((), jax.random.key(0), width)
    programs = jax.vmap(partial(assemble, vocab=vocab))(tokens)
    ones = jnp.ones(width)
    low, high = config.space.bounds
    losses = Objective(programs, low * ones, high * ones, ones)
    devices = [d for d in range(1, len(jax.devices()) + 1) if width % d == 0]
    mesh = jax.make_mesh((devices[-1],), ("lanes",), axis_types=(AxisType.Auto,))
    model = models.build(**config.model, sizes={"user": USERS, "item": ITEMS})
    lanes = make_lanes(model, traced_slopes(vocab.operators), mesh=mesh)
    hyper = Hyper(ones, 1e-4 * ones, 0 * ones)
    start = jax.jit(lanes.init)(jax.random.split(jax.random.key(1), width))

    @jax.jit
    def train(start, key):
        cut = batches(data, config.train.batch_size, key)
        state = lanes.train(start, losses, hyper, cut, key)
        return judge(lanes, state, rewarded)

    return lambda: train(start, jax.random.key(2))


def one_by_one_way(data: Batch, config) -> Callable[[], object]:
    """Give a function that trains BCE for an epoch: compiled, but alone and with dense updates."""
    model = models.build(**config.model, sizes={"user": USERS, "item": ITEMS})
    loss = named_loss("bce")
    optimizer = optax.chain(optax.add_decayed_weights(1e-4), optax.sgd(1.0))

    def value(parameters, batch):
        dense, tables = parameters
        rows = {name: table[batch.ids[name]] for name, table in tables.items()}
        logits, _ = model.apply(dense, {}, rows, {}, train=True)
        return loss(logits, batch.label, weights=batch.weight)

    @jax.jit
    def train(parameters, key):
        def step(carry, batch):
            parameters, state = carry
            updates, state = optimizer.update(jax.grad(value)(parameters, batch), state, parameters)
            return (optax.apply_updates(parameters, updates), state), None

        cut = batches(data, config.train.batch_size, key)
        return jax.lax.scan(step, (parameters, optimizer.init(parameters)), cut)[0]

    dense, _, tables = model.init(jax.random.key(0))
    start = dense, tables
    return lambda: train(start, jax.random.key(2))


def screening_way(count: int, config) -> Callable[[], object]:
    """Give a function that samples, assembles, probes and filters ``count`` candidates."""
    vocab = vocabulary(config.space.operators, config.space.operands)
    policy = controller.reinforce(grammar(vocab, config.space.length), **config.risk_seeking)
    chosen = graded(**config.graded)
    slopes = traced_slopes(vocab.operators)
    low, high = config.space.bounds

    @jax.jit
    def screen(state, key):
        programs = jax.vmap(partial(assemble, vocab=vocab))(policy.sample(state, key, count))
        ones = jnp.ones(count)
        logits = jnp.broadcast_to(chosen.probe.logit, (count, len(chosen.probe.logit)))
        objective = Objective(programs, low * ones, high * ones, ones)
        return chosen.screen(slopes(objective, logits, jnp.asarray(chosen.probe.label)))

    state = policy.init(jax.random.key(0))
    return lambda: screen(state, jax.random.key(1))


def measure(ways: dict[str, tuple[Callable[[], object], int]], repeats: int) -> dict[str, list]:
    """Give for every way its candidates per second, ``repeats`` of them, taken in turns."""
    for way, _ in ways.values():
        jax.block_until_ready(way())  # compiles
    rates = {name: [] for name in ways}
    for _ in range(repeats):
        for name, (way, count) in ways.items():
            start = time.perf_counter()
            jax.block_until_ready(way())
            rates[name].append(count / (time.perf_counter() - start))
    return rates


def main() -> None:
    """Measure, print a table of rates and ratios, write JSON if asked."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="a tenth of the data, 2 repeats")
    parser.add_argument("--lanes", type=int, nargs="+", default=[32, 64])
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    options = parser.parse_args()
    jax.config.update("jax_num_cpu_devices", os.cpu_count() or 1)
    config = base.get_config()
    rows, repeats = (ROWS // 10, 2) if options.quick else (ROWS, options.repeats)
    data, rewarded = interactions(rows, 0), interactions(REWARDED, 1)
    screened = 4096
    ways = {"one by one": (one_by_one_way(data, config), 1)}
    for width in options.lanes:
        ways[f"{width} lanes"] = (lanes_way(width, data, rewarded, config), width)
    ways["screening"] = (screening_way(screened, config), screened)
    rates = measure(ways, repeats)
    base_rates = np.asarray(rates["one by one"])
    print(f"{'way':12s} {'candidates/s':>13s} {'spread':>15s} {'times one by one':>17s}")
    for name, values in rates.items():
        low, middle, high = np.quantile(values, (0, 0.5, 1))
        ratio = np.median(np.asarray(values) / base_rates)
        print(f"{name:12s} {middle:13.1f} {low:7.1f}-{high:<7.1f} {ratio:17.1f}")
    if options.quick:
        print("quick: a tenth of the interactions; compare only with other quick runs")
    if options.json:
        figures = {
            "command": "python benchmarks/throughput.py",
            "rows": rows,
            "devices": len(jax.devices()),
            "jax": jax.__version__,
            "machine": f"{platform.machine()}, {os.cpu_count()} cores",
            "candidates_per_second": rates,
        }
        options.json.parent.mkdir(parents=True, exist_ok=True)
        options.json.write_text(json.dumps(figures, indent=2) + "\n")


if __name__ == "__main__":
    main()
