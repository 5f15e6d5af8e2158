"""What a built loss costs beside the same loss written by hand in jax.numpy.

Value and gradient, jitted, on a million elements; both in one process and by turns, so that the
ratio holds on a machine whose speed drifts::

    python benchmarks/loss_call.py [--elements N] [--rounds N] [--json FILE]
"""

import argparse
import json
import platform
import sys
import time
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import jax
import jax.numpy as jnp
import numpy as np

from alg import build_loss, named_loss

S = 0.1
LOGMIN = "log(1 / (min(label, pred) + s) + s) * (min(label, pred) + label + pred)"


def bce(logit: jax.Array, label: jax.Array) -> jax.Array:
    """Binary cross-entropy as people write it."""
    return jnp.mean(jax.nn.softplus(logit) - label * logit)


def focal(logit: jax.Array, label: jax.Array) -> jax.Array:
    """Focal loss with gamma 2, as people write it."""
    pred = jax.nn.sigmoid(logit)
    positive = label * jnp.square(1 - pred) * jax.nn.softplus(-logit)
    return jnp.mean(positive + (1 - label) * jnp.square(pred) * jax.nn.softplus(logit))


def logmin(logit: jax.Array, label: jax.Array) -> jax.Array:
    """LogMin as people write it."""
    pred = jax.nn.sigmoid(logit)
    least = jnp.minimum(label, pred)
    return jnp.mean(jnp.log(1 / (least + S) + S) * (least + label + pred))


PAIRS = {
    "bce": (named_loss("bce"), bce),
    "focal": (named_loss("focal"), focal),
    "logmin": (named_loss("logmin", smoothing=S), logmin),
    "logmin, clipped": (build_loss(LOGMIN, s=S), logmin),
}
"""Losses as built and as written by hand; the last has the default bounds, which nobody writes."""


def seconds(function: Callable, *arguments) -> float:
    """Give the seconds of one call."""
    start = time.perf_counter()
    jax.block_until_ready(function(*arguments))
    return time.perf_counter() - start


def compare(built: Callable, by_hand: Callable, arguments: tuple, rounds: int) -> dict[str, float]:
    """Give median milliseconds of both, and median and quartiles of the ratio of each round."""
    functions = [jax.jit(jax.value_and_grad(loss)) for loss in (built, by_hand)]
    ours, theirs = (jax.block_until_ready(function(*arguments)) for function in functions)
    jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, rtol=1e-3, atol=1e-6), ours, theirs)
    times = np.zeros((rounds, 2))
    for i in range(rounds):
        for j in (0, 1) if i % 2 else (1, 0):
            times[i, j] = seconds(functions[j], *arguments)
    low, ratio, high = np.quantile(times[:, 0] / times[:, 1], [0.25, 0.5, 0.75])
    built_ms, by_hand_ms = 1e3 * np.median(times, axis=0)
    return {
        "built_ms": built_ms,
        "by_hand_ms": by_hand_ms,
        "ratio": ratio,
        "ratio_quartiles": [low, high],
        "ratio_of_fastest": times[:, 0].min() / times[:, 1].min(),
    }


def main() -> None:
    """Compare every pair, print a table and write it where asked."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--elements", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=101)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    rng = np.random.default_rng(0)
    logit = jnp.asarray(3 * rng.standard_normal(options.elements), jnp.float32)
    label = jnp.asarray(rng.integers(0, 2, options.elements), jnp.float32)
    device = jax.devices()[0].device_kind
    print(f"value and gradient of {options.elements:,} elements, {options.rounds} rounds, {device}")
    print(f"{'loss':<16} {'built':>10} {'by hand':>10} {'ratio':>6}  quartiles    of fastest")
    results = {}
    for name, (built, by_hand) in PAIRS.items():
        row = results[name] = compare(built, by_hand, (logit, label), options.rounds)
        low, high = row["ratio_quartiles"]
        print(
            f"{name:<16} {row['built_ms']:>7.3f} ms {row['by_hand_ms']:>7.3f} ms "
            f"{row['ratio']:>6.3f}  {low:.3f}-{high:.3f}  {row['ratio_of_fastest']:>10.3f}"
        )
    if options.json:
        environment = {
            "device": device,
            "jax": jax.__version__,
            "python": platform.python_version(),
        }
        options.json.write_text(
            json.dumps({"environment": environment, "losses": results}, indent=2)
        )


if __name__ == "__main__":
    main()
