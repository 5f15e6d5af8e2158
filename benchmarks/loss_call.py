"""What a built loss costs, compared with the same loss written by hand in jax.numpy.

Usage::

    python benchmarks/loss_call.py [--elements N] [--rounds N] [--json FILE]

Value and gradient, compiled, on a million elements. Everything runs in one process and each round
in a new random order, so that neither a drift of the machine nor the neighbour in turn decides the
ratio.
"""

import argparse
import sys
from functools import partial
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # for benchmarks itself

import jax
import jax.numpy as jnp
import numpy as np

from autolossgen import build_loss, named_loss
from benchmarks.timing import time_in_turns, write_figures

SMOOTHING = 0.1
LOGMIN = "log(1 / (min(label, pred) + s) + s) * (min(label, pred) + label + pred)"


def compute_bce(logit: jax.Array, label: jax.Array) -> jax.Array:
    """Computes binary cross-entropy as people write it."""
    return jnp.mean(jax.nn.softplus(logit) - label * logit)


def compute_focal(logit: jax.Array, label: jax.Array) -> jax.Array:
    """Computes the focal loss with gamma 2 as people write it."""
    pred = jax.nn.sigmoid(logit)
    positive = label * jnp.square(1 - pred) * jax.nn.softplus(-logit)
    return jnp.mean(positive + (1 - label) * jnp.square(pred) * jax.nn.softplus(logit))


def compute_logmin(logit: jax.Array, label: jax.Array) -> jax.Array:
    """Computes LogMin as people write it."""
    pred = jax.nn.sigmoid(logit)
    least = jnp.minimum(label, pred)
    return jnp.mean(jnp.log(1 / (least + SMOOTHING) + SMOOTHING) * (least + label + pred))


PAIRS = {
    "bce": (named_loss("bce"), compute_bce),
    "focal": (named_loss("focal"), compute_focal),
    "logmin": (named_loss("logmin", smoothing=SMOOTHING), compute_logmin),
    "logmin, clipped": (build_loss(LOGMIN, s=SMOOTHING), compute_logmin),
}
"""Losses as built and as written by hand; the last has the default bounds, which nobody writes."""


def compare_pairs(arguments: tuple, rounds: int) -> dict[str, dict]:
    """Returns every pair's milliseconds, and the ratio of medians with its interval over rounds."""
    ways = {}
    for name, pair in PAIRS.items():
        for kind, loss in zip(("built", "by hand"), pair, strict=True):
            compiled = jax.jit(jax.value_and_grad(loss)).lower(*arguments).compile()
            ways[name, kind] = partial(compiled, *arguments)
    values = [way() for way in ways.values()]
    for built, by_hand in zip(values[::2], values[1::2], strict=True):
        jax.tree.map(partial(np.testing.assert_allclose, rtol=1e-3, atol=1e-6), built, by_hand)
    times = 1e3 * np.stack([*time_in_turns(ways, rounds).values()], axis=1)
    rng = np.random.default_rng(0)
    resampled = np.median(times[rng.integers(0, rounds, (1000, rounds))], axis=1)
    rows = {}
    for j, name in enumerate(PAIRS):
        built, by_hand = np.median(times[:, 2 * j]), np.median(times[:, 2 * j + 1])
        ratios = resampled[:, 2 * j] / resampled[:, 2 * j + 1]
        rows[name] = {
            "built_ms": built,
            "by_hand_ms": by_hand,
            "ratio": built / by_hand,
            "ratio_ci95": np.quantile(ratios, [0.025, 0.975]).tolist(),
            "ratio_of_fastest": times[:, 2 * j].min() / times[:, 2 * j + 1].min(),
        }
    return rows


def main() -> None:
    """Compares every pair, prints a table and writes it if asked."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--elements", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=301)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    rng = np.random.default_rng(0)
    logit = jnp.asarray(3 * rng.standard_normal(options.elements), jnp.float32)
    label = jnp.asarray(rng.integers(0, 2, options.elements), jnp.float32)
    device = jax.devices()[0].device_kind
    print(f"value and gradient of {options.elements:,} elements, {options.rounds} rounds, {device}")
    print(f"{'loss':<16} {'built':>10} {'by hand':>10} {'ratio':>6}  95 % interval  of fastest")
    results = compare_pairs((logit, label), options.rounds)
    for name, row in results.items():
        low, high = row["ratio_ci95"]
        print(
            f"{name:<16} {row['built_ms']:>7.3f} ms {row['by_hand_ms']:>7.3f} ms "
            f"{row['ratio']:>6.3f}  {low:.3f}-{high:.3f}  {row['ratio_of_fastest']:>12.3f}"
        )
    if options.json:
        write_figures(options.json, {"losses": results})


if __name__ == "__main__":
    main()
