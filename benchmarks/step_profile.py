"""Where the time of a training step goes, and what the memory would allow.

Usage::

    python benchmarks/step_profile.py [--lanes 32] [--steps 740] [--repeats 7] [--json FILE]

The reference case on one core, so that devices do not compete: a step with some of its parts left
out or replaced, in one process and in turns, in microseconds per lane and step; then what an epoch
takes apart from its steps. The bandwidth is that of plain loops over arrays in the same run.
"""

import argparse
import os
import sys
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # for benchmarks itself

import jax
import jax.numpy as jnp
import numpy as np

from autolossgen import named_loss
from autolossgen.interfaces import Batch
from autolossgen.training.evaluate import evaluate
from autolossgen.training.lanes import Lanes, make_batches, make_lanes
from autolossgen.training.loss_gradients import LogitGradFn, static_logit_grads
from benchmarks import lane_cases as cases
from benchmarks.timing import summarize, time_in_turns, write_figures

LEARNING_RATE = 1e-3


def make_steps_way(
    case: cases.Case, logit_grads: LogitGradFn, losses, batches: Batch
) -> Callable[[], object]:
    """Makes a function that trains all lanes on all batches."""
    lanes = make_lanes(cases.make_recommender(case), logit_grads)
    state = cases.init_lanes(lanes, case.lanes)
    train = jax.jit(lanes.train)
    return lambda: train(state, losses, cases.make_hyper(case), batches, jax.random.key(0))


def make_scan_way(body: Callable, carry, batches: Batch) -> Callable[[], object]:
    """Makes a function that scans all batches with ``body``; its last carry is returned."""

    @jax.jit
    def run(carry, batches):
        return jax.lax.scan(lambda carry, batch: (body(carry, batch), None), carry, batches)[0]

    return lambda: run(carry, batches)


def make_step_parts(case: cases.Case, batches: Batch) -> dict[str, Callable[[], object]]:
    """Returns the whole step, the step with parts replaced, and parts alone."""
    logit_grads, losses = cases.make_logit_grads(), cases.make_candidates(case)
    lanes = make_lanes(cases.make_recommender(case), logit_grads)
    tables = cases.init_lanes(lanes, case.lanes).tables
    user, item = tables["user"], tables["item"]
    logits = jnp.zeros((case.lanes, case.batch))
    zeros = jnp.zeros(case.lanes)
    rows = (jnp.zeros((case.batch, case.width + 1, case.lanes)),) * 2

    def look_up(rows, batch):
        del rows
        return user[batch.ids["user"]], item[batch.ids["item"]]

    def forward(total, batch):
        product = jnp.sum(user[batch.ids["user"]] * item[batch.ids["item"]], axis=1)  # [B, K]
        return total + jnp.sum(jax.nn.softplus(product) - batch.label[:, None] * product, axis=0)

    def scatter(carry, batch):
        return {
            name: table.at[batch.ids[name]].add(
                jnp.full((case.width + 1, case.lanes), LEARNING_RATE)
            )
            for name, table in carry.items()
        }

    def interpreter(logits, batch):
        return logits + LEARNING_RATE * logit_grads(losses, logits, batch.label)

    bce = static_logit_grads([named_loss("bce")])
    return {
        "whole step": make_steps_way(case, logit_grads, losses, batches),
        "whole step, BCE compiled in": make_steps_way(case, bce, jnp.ones(case.lanes), batches),
        "forward: two look-ups, product, sum, BCE": make_scan_way(forward, zeros, batches),
        "two look-ups": make_scan_way(look_up, rows, batches),
        "two scatters of a constant": make_scan_way(scatter, tables, batches),
        "interpreter": make_scan_way(interpreter, logits, batches),
    }


def measure_flops(repeats: int) -> np.ndarray:
    """Returns the Gflop/s of multiplying and adding on an array that stays in the nearest cache.

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

    seconds = time_in_turns({"turn": lambda: turn(small)}, repeats)["turn"]
    return 2 * chain * times * small.size / 1e9 / seconds


def measure_bandwidths(repeats: int) -> dict[str, np.ndarray]:
    """Returns the GB/s of changing an array that no cache holds, and of reading a small one.

    Each array is passed through many times, so that the cost of fresh memory does not count.
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

    seconds = time_in_turns({"change": lambda: change(large), "read": lambda: read(small)}, repeats)
    return {
        "128 MB, read and written back": 2 * changes * large.nbytes / 1e9 / seconds["change"],
        "262 kB, read": reads * small.nbytes / 1e9 / seconds["read"],
    }


def count_work(case: cases.Case) -> dict[str, float]:
    """Returns what a lane's step must move and compute, by its equations."""
    numbers = 2 * case.batch * (case.width + 1)  # of a batch's rows
    logit_grads, losses = cases.make_logit_grads(), cases.make_candidates(case)
    logits, label = jnp.zeros((case.lanes, case.batch)), jnp.zeros(case.batch)
    # XLA counts a pass through the loop over instructions, whose number it does not know.
    counted = jax.jit(logit_grads).lower(losses, logits, label).compile().cost_analysis()
    passes = losses.program.op.shape[-1] / case.lanes
    return {
        "kB looked up": 4 * numbers / 1e3,
        "kB read and written back": 8 * numbers / 1e3,
        # Look-up, product and sum, two gradients, step and addition.
        "thousand operations on rows": 6 * numbers / 1e3,
        "thousand operations of the interpreter": passes * counted["flops"] / 1e3,
        "thousand logarithms, exponentials and such": passes * counted["transcendentals"] / 1e3,
    }


def make_generation_parts(lanes: Lanes, case: cases.Case) -> dict[str, Callable[[], object]]:
    """Returns what a generation does apart from training."""
    data = cases.make_interactions(case, case.rows, 0)
    rewarded = cases.make_interactions(case, case.rewarded, 1)
    state = cases.init_lanes(lanes, case.lanes)
    base_model = jax.jit(lanes.take)(state, jnp.zeros(1, jnp.int32))
    batches = jax.jit(lambda key: make_batches(data, case.batch, key))
    evaluate_all = jax.jit(lambda state: evaluate(lanes, state, rewarded))
    copy = jax.jit(lambda model: lanes.repeat(model, case.lanes))
    return {
        "shuffling and cutting into batches": lambda: batches(jax.random.key(0)),
        "judging by AUC": lambda: evaluate_all(state),
        "copying the recommender into all lanes": lambda: copy(base_model),
    }


def main() -> None:
    """Measures and prints; writes JSON if asked."""
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
    data = cases.make_interactions(case, options.steps * case.batch, 0)
    seconds = time_in_turns(make_step_parts(case, make_batches(data, case.batch)), options.repeats)
    step_microseconds = {name: 1e6 * t / case.lanes / options.steps for name, t in seconds.items()}
    lanes = make_lanes(cases.make_recommender(case), cases.make_logit_grads())
    epoch_milliseconds = {
        name: 1e3 * t
        for name, t in time_in_turns(make_generation_parts(lanes, case), options.repeats).items()
    }
    bandwidths = measure_bandwidths(options.repeats)
    figures = {
        "microseconds per lane and step": {
            name: summarize(t) for name, t in step_microseconds.items()
        },
        f"milliseconds per epoch of {case.lanes} lanes": {
            n: summarize(t) for n, t in epoch_milliseconds.items()
        },
        "GB/s": {name: summarize(rate) for name, rate in bandwidths.items()},
        "Gflop/s": {"multiplying and adding": summarize(measure_flops(options.repeats))},
        "per lane and step": count_work(case),
    }
    print(f"{case.lanes} lanes on one core")
    for title, lines in figures.items():
        print(f"\n{title}")
        for name, value in lines.items():
            shown = value if isinstance(value, float) else "{median:.4g} ({low:.4g}-{high:.4g})"
            shown = shown if isinstance(shown, float) else shown.format(**value)
            print(f"  {name:44s} {shown}")
    if options.json:
        write_figures(options.json, figures)


if __name__ == "__main__":
    main()
