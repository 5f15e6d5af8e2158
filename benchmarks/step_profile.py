"""Where the time of a training step goes, and what the memory would allow.

The reference case on one core, so that devices do not compete: a step with some of its parts left
out or replaced, in one process and in turns, in microseconds per lane and step; then what an epoch
takes beside its steps. The bandwidth is that of plain loops over arrays in the same run::

    python benchmarks/step_profile.py [--lanes 32] [--steps 740] [--repeats 7] [--json FILE]
"""

import argparse
import os
import sys
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import jax
import jax.numpy as jnp
import numpy as np

from autolossgen import named_loss
from autolossgen.interfaces import Batch
from autolossgen.training.evaluate import evaluate
from autolossgen.training.lanes import Lanes, make_batches, make_lanes
from autolossgen.training.loss_gradients import LogitGradFn, static_logit_grads
from benchmarks import lane_cases as cases
from benchmarks.timing import in_turns, summary, write

LR = 1e-3


def steps_way(case: cases.Case, slopes: LogitGradFn, losses, cut: Batch) -> Callable[[], object]:
    """Give a function that trains all lanes on all batches."""
    lanes = make_lanes(cases.recommender(case), slopes)
    state = cases.start(lanes, case.lanes)
    train = jax.jit(lanes.train)
    return lambda: train(state, losses, cases.hyper(case), cut, jax.random.key(0))


def scan_way(body: Callable, carry, cut: Batch) -> Callable[[], object]:
    """Give a function that carries ``body`` over all batches; what it leaves is read."""

    @jax.jit
    def run(carry, cut):
        return jax.lax.scan(lambda carry, batch: (body(carry, batch), None), carry, cut)[0]

    return lambda: run(carry, cut)


def parts(case: cases.Case, cut: Batch) -> dict[str, Callable[[], object]]:
    """Give the step whole, with parts replaced, and parts alone."""
    slopes, losses = cases.traced(), cases.candidates(case)
    lanes = make_lanes(cases.recommender(case), slopes)
    tables = cases.start(lanes, case.lanes).tables
    user, item = tables["user"], tables["item"]
    logits = jnp.zeros((case.lanes, case.batch))
    few = jnp.zeros(case.lanes)
    rows = (jnp.zeros((case.batch, case.width + 1, case.lanes)),) * 2

    def look_up(rows, batch):
        del rows
        return user[batch.ids["user"]], item[batch.ids["item"]]

    def forward(total, batch):
        product = jnp.sum(user[batch.ids["user"]] * item[batch.ids["item"]], axis=1)  # [B, K]
        return total + jnp.sum(jax.nn.softplus(product) - batch.label[:, None] * product, axis=0)

    def scatter(carry, batch):
        return {
            name: table.at[batch.ids[name]].add(jnp.full((case.width + 1, case.lanes), LR))
            for name, table in carry.items()
        }

    def interpreter(logits, batch):
        return logits + LR * slopes(losses, logits, batch.label)

    bce = static_logit_grads([named_loss("bce")])
    return {
        "whole step": steps_way(case, slopes, losses, cut),
        "whole step, BCE compiled in": steps_way(case, bce, jnp.ones(case.lanes), cut),
        "forward: two look-ups, product, sum, BCE": scan_way(forward, few, cut),
        "two look-ups": scan_way(look_up, rows, cut),
        "two scatters of a constant": scan_way(scatter, tables, cut),
        "interpreter": scan_way(interpreter, logits, cut),
    }


def multiplications(repeats: int) -> np.ndarray:
    """Give the Gflop/s of multiplying and adding on an array that stays in the nearest cache.

    Each number goes through a chain of its own, so that no result is waited for.
    """
    small, times, chain = jnp.full(4_096, 1.5), 20_000, 16

    @jax.jit
    def turn(x):
        def one(i, x):
            for _ in range(chain):
                x = x * 0.999 + 1e-3
            return x

        return jax.lax.fori_loop(0, times, one, x)

    taken = in_turns({"turn": lambda: turn(small)}, repeats)["turn"]
    return 2 * chain * times * small.size / 1e9 / taken


def bandwidths(repeats: int) -> dict[str, np.ndarray]:
    """Give the GB/s of changing an array that is too large for a cache, and of reading a small one.

    They are gone through many times, so that it does not count what fresh memory costs.
    """
    large, small = jnp.zeros(32_000_000), jnp.zeros(65_536)  # 128 MB and 262 kB
    changes, reads = 10, 4_000

    @jax.jit
    def change(x):
        return jax.lax.fori_loop(0, changes, lambda i, x: x + i, x)

    @jax.jit
    def read(x):
        add = lambda i, total: total + jnp.sum(x * i)  # noqa: E731
        return jax.lax.fori_loop(0, reads, add, 0.0)

    taken = in_turns({"change": lambda: change(large), "read": lambda: read(small)}, repeats)
    return {
        "128 MB, read and written back": 2 * changes * large.nbytes / 1e9 / taken["change"],
        "262 kB, read": reads * small.nbytes / 1e9 / taken["read"],
    }


def moved(case: cases.Case) -> dict[str, float]:
    """Give what a lane's step must move and compute, by its equations."""
    numbers = 2 * case.batch * (case.width + 1)  # of a batch's rows
    slopes, losses = cases.traced(), cases.candidates(case)
    logits, label = jnp.zeros((case.lanes, case.batch)), jnp.zeros(case.batch)
    # XLA counts a pass through the loop over instructions, whose number it does not know.
    counted = jax.jit(slopes).lower(losses, logits, label).compile().cost_analysis()
    passes = losses.program.op.shape[-1] / case.lanes
    return {
        "kB looked up": 4 * numbers / 1e3,
        "kB read and written back": 8 * numbers / 1e3,
        # Look-up, product and sum, two gradients, step and addition.
        "thousand operations on rows": 6 * numbers / 1e3,
        "thousand operations of the interpreter": passes * counted["flops"] / 1e3,
        "thousand logarithms, exponentials and such": passes * counted["transcendentals"] / 1e3,
    }


def generation_parts(lanes: Lanes, case: cases.Case) -> dict[str, Callable[[], object]]:
    """Give what a generation does beside training."""
    data = cases.interactions(case, case.rows, 0)
    rewarded = cases.interactions(case, case.rewarded, 1)
    state = cases.start(lanes, case.lanes)
    one = jax.jit(lanes.take)(state, jnp.zeros(1, jnp.int32))
    cut = jax.jit(lambda key: make_batches(data, case.batch, key))
    judged = jax.jit(lambda state: evaluate(lanes, state, rewarded))
    spread = jax.jit(lambda one: lanes.repeat(one, case.lanes))
    return {
        "shuffling and cutting into batches": lambda: cut(jax.random.key(0)),
        "judging by AUC": lambda: judged(state),
        "copying the recommender into all lanes": lambda: spread(one),
    }


def main() -> None:
    """Measure, print, write JSON if asked."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--lanes", type=int, default=32)
    parser.add_argument("--steps", type=int, default=cases.Case().steps)
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    options = parser.parse_args()
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    jax.config.update("jax_num_cpu_devices", 1)
    case = cases.Case(lanes=options.lanes)
    data = cases.interactions(case, options.steps * case.batch, 0)
    taken = in_turns(parts(case, make_batches(data, case.batch)), options.repeats)
    each = {name: 1e6 * t / case.lanes / options.steps for name, t in taken.items()}
    lanes = make_lanes(cases.recommender(case), cases.traced())
    beside = {
        name: 1e3 * t
        for name, t in in_turns(generation_parts(lanes, case), options.repeats).items()
    }
    reached = bandwidths(options.repeats)
    figures = {
        "microseconds per lane and step": {name: summary(t) for name, t in each.items()},
        f"milliseconds per epoch of {case.lanes} lanes": {n: summary(t) for n, t in beside.items()},
        "GB/s": {name: summary(rate) for name, rate in reached.items()},
        "Gflop/s": {"multiplying and adding": summary(multiplications(options.repeats))},
        "per lane and step": moved(case),
    }
    print(f"{case.lanes} lanes on one core")
    for title, lines in figures.items():
        print(f"\n{title}")
        for name, value in lines.items():
            shown = value if isinstance(value, float) else "{median:.4g} ({low:.4g}-{high:.4g})"
            shown = shown if isinstance(shown, float) else shown.format(**value)
            print(f"  {name:44s} {shown}")
    if options.json:
        write(options.json, figures)


if __name__ == "__main__":
    main()
