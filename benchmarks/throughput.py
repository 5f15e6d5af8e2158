"""Candidates trained and screened per second, next to training one loss at a time.

Usage::

    python benchmarks/throughput.py [--quick] [--lanes 64 32] [--repeats 7] [--json FILE]

The reference case: BiasedMF of width 64, one epoch of an ML-100K-sized set at batch 128 for each
candidate, evaluated at its end. All ways run in one process, in turns, so that their ratios hold on
a machine whose speed drifts: ratios are the result, times are context.

Ways: candidates in lanes, as the search trains them; one loss at a time in JAX, compiled, with
dense updates; one candidate at a time in PyTorch, if it is installed (``pip install -e
".[search,bench]"``); screening, which samples, probes and filters candidates untrained.
"""

import argparse
import importlib.util
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # for benchmarks itself

import jax
import jax.numpy as jnp
import numpy as np
import optax

from autolossgen import controller, make_grammar
from autolossgen.interfaces import Batch
from autolossgen.language.named_losses import named_loss
from autolossgen.language.programs import assemble
from autolossgen.search.dedup import select_to_train
from autolossgen.search.hall_of_fame import init_seen_losses
from autolossgen.search.screening import make_graded_filter
from autolossgen.training.lanes import make_batches
from autolossgen.training.loss_gradients import LossBatch
from autolossgen.training.metrics import auc
from benchmarks.lane_cases import (
    CONFIG,
    VOCABULARY,
    Case,
    make_candidates_way,
    make_interactions,
    make_logit_grads,
    make_recommender,
)
from benchmarks.timing import summarize, time_in_turns, use_all_cores, write_figures

NUM_SCREENED = 8192  # candidates of a generation
ONE, PEER = "one by one, JAX", "one by one, PyTorch"
Way = tuple[Callable[[], object], int]  # with the candidates of a call


def make_one_by_one_way(case: Case, data: Batch, rewarded: Batch) -> Callable[[], object]:
    """Makes a function that trains BCE for an epoch: compiled, but alone, with dense updates."""
    model = make_recommender(case)
    loss = named_loss("bce")
    optimizer = optax.chain(optax.add_decayed_weights(1e-4), optax.sgd(1.0))

    def logits(parameters, batch):
        dense, tables = parameters
        rows = {name: table[batch.ids[name]] for name, table in tables.items()}
        return model.apply(dense, {}, rows, {}, train=True)[0]

    def value(parameters, batch):
        return loss(logits(parameters, batch), batch.label, weights=batch.weight)

    @jax.jit
    def train(parameters, key):
        def step(carry, batch):
            parameters, state = carry
            updates, state = optimizer.update(jax.grad(value)(parameters, batch), state, parameters)
            return (optax.apply_updates(parameters, updates), state), None

        batches = make_batches(data, case.batch, key)
        trained = jax.lax.scan(step, (parameters, optimizer.init(parameters)), batches)[0][0]
        return auc(logits(trained, rewarded), rewarded.label)

    dense, _, tables = model.init(jax.random.key(0))
    start = dense, tables
    return lambda: train(start, jax.random.key(2))


def make_screening_way(num_candidates: int) -> Callable[[], object]:
    """Makes a function that draws candidates and selects those to train.

    They are sampled, assembled, probed and filtered, and their fingerprints compared with one
    another's and with those of as many seen losses as there can be.
    """
    policy = controller.make_reinforce(
        make_grammar(VOCABULARY, CONFIG.space.length), **CONFIG.policy.risk_seeking
    )
    filter_ = make_graded_filter(**CONFIG.filter.graded)
    probe, logit_grads = filter_.probe, make_logit_grads()
    low, high = CONFIG.space.bounds

    @jax.jit
    def screen(state, key):
        tokens = policy.sample(state, key, num_candidates)
        programs = jax.vmap(partial(assemble, vocab=VOCABULARY))(tokens)
        ones = jnp.ones(num_candidates)
        logits = jnp.broadcast_to(probe.logit, (num_candidates, len(probe.logit)))
        losses = LossBatch(programs, low * ones, high * ones, ones)
        gradients = logit_grads(losses, logits, jnp.asarray(probe.label))
        verdict, fingerprint = filter_.screen(gradients).verdict, filter_.fingerprint(gradients)
        return select_to_train(filter_, seen, verdict, fingerprint, CONFIG.generation.num_lanes)

    state = policy.init(jax.random.key(0))
    seen = init_seen_losses(CONFIG.generation.seen_losses, len(probe.logit))
    seen = seen._replace(fingerprints=jnp.zeros_like(seen.fingerprints))  # of no loss that is drawn
    return lambda: screen(state, jax.random.key(1))


def make_ways(case: Case, widths: list[int]) -> dict[str, Way]:
    """Returns every way of working through candidates that can be measured here."""
    data, rewarded = (
        make_interactions(case, case.rows, 0),
        make_interactions(case, case.rewarded, 1),
    )
    ways = {
        f"{width} lanes": (make_candidates_way(case._replace(lanes=width), data, rewarded), width)
        for width in widths
    }
    ways[ONE] = make_one_by_one_way(case, data, rewarded), 1
    if importlib.util.find_spec("torch"):
        from benchmarks.peer_pytorch import make_peer_way

        ways[PEER] = make_peer_way(case, data, rewarded), 1
    else:
        print(f'without "{PEER}", as torch is not installed (pip install -e ".[search,bench]")')
    ways["screening"] = make_screening_way(NUM_SCREENED), NUM_SCREENED
    return ways


def main() -> None:
    """Measures; prints rates and the ratios of the first way; writes JSON if asked."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="a tenth of the data, 2 repeats")
    parser.add_argument("--lanes", type=int, nargs="+", default=[64, 32])
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    options = parser.parse_args()
    use_all_cores()
    case = Case(rows=Case().rows // 10) if options.quick else Case()
    ways = make_ways(case, options.lanes)
    repeats = 2 if options.quick else options.repeats
    seconds = time_in_turns({name: way for name, (way, _) in ways.items()}, repeats)
    rates = {name: count / seconds[name] for name, (_, count) in ways.items()}
    first = f"{options.lanes[0]} lanes"
    ratios = {name: rates[first] / rates[name] for name in ways if name in (ONE, PEER)}
    print(f"{case.rows:,} interactions an epoch, {repeats} repeats: median (low-high)")
    for name, values in rates.items():
        _print_line(name, values, "candidates/s")
    for name, values in ratios.items():
        _print_line(f"{first} : {name}", values, "times as many")
    if options.quick:
        print("quick: a tenth of the interactions; compare with other quick runs only")
    if options.json:
        figures = {
            "interactions": case.rows,
            "repeats": repeats,
            "candidates_per_second": {name: summarize(values) for name, values in rates.items()},
            f"{first}, times as fast as": {
                name: summarize(values) for name, values in ratios.items()
            },
        }
        write_figures(options.json, figures)


def _print_line(name: str, values: np.ndarray, unit: str) -> None:
    numbers = "{median:10.4g} ({low:.4g}-{high:.4g})".format(**summarize(values))
    print(f"{name:32s} {numbers} {unit}")


if __name__ == "__main__":
    main()
