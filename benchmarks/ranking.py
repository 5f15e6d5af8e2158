"""Epochs over a whole catalogue, against the matrix products that they cannot do without.

Usage::

    python benchmarks/ranking.py [--users N] [--items N] [--likes N] [--lanes K ...]
        [--losses NAME ...] [--peer] [--cost] [--repeats N] [--json FILE]

A step scores B users with all items, and its gradient takes two more products of that size. The
ratio says which share of an epoch these three take alone, on the same shapes and in the same run.

With ``--peer``, an epoch of softmax in PyTorch as such losses are published: 1,000 negatives drawn
for each positive, looked up, and Adam; two steps are timed and multiplied. With ``--cost``, softmax
with one setting changed at a time.
"""

import argparse
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # for benchmarks itself

import jax
import jax.numpy as jnp
import numpy as np

from autolossgen.interfaces import ItemSets
from autolossgen.models.matrix_factorization import make_matrix_factorization
from autolossgen.ranking.contenders import make_rank_contender
from autolossgen.ranking.negatives import Negatives
from autolossgen.ranking.trainer import LaneSettings, make_rank_trainer, make_training_pairs
from benchmarks.timing import count_cores, summarize, time_in_turns, write_figures

WIDTH, BATCH = 64, 1024
PEER_NEGATIVES, PEER_STEPS = 1000, 2  # an epoch of the peer takes minutes: two steps are timed
COSTS = {  # what is changed -> values
    "lanes": (1, 4, 16),
    "items": (600, 1200, 2400, 4800),
    "width": (16, 32, 64, 128),
    "negatives": ("all", "shared 1000", "shared 250", "each 50", "in_batch"),
}


def draw_likes(num_users: int, num_items: int, count: int) -> ItemSets:
    """Draws likes, evenly; popularity costs nothing here."""
    rng = np.random.default_rng(0)
    pairs = rng.choice(num_users * num_items, count, replace=False)
    return ItemSets.of_pairs(pairs // num_items, pairs % num_items, num_users)


def make_epoch(
    loss: str,
    likes: ItemSets,
    num_items: int,
    lanes: int,
    *,
    width: int = WIDTH,
    negatives: str = "all",
) -> Callable[[], object]:
    """Returns a function that trains an epoch of all lanes."""
    contender = make_rank_contender(loss)
    model = make_matrix_factorization(likes.counts.size, num_items, embedding_dim=width)
    kind, _, number = negatives.partition(" ")
    trainer = make_rank_trainer(
        model,
        contender.loss,
        score=contender.score,
        batch_size=BATCH,
        negatives=Negatives(kind, int(number or 1000)),
    )
    data, keys = make_training_pairs(likes, num_items), jax.random.split(jax.random.key(0), lanes)
    constants = {name: jnp.full(lanes, value) for name, value in contender.loss.constants.items()}
    settings = LaneSettings(jnp.full(lanes, 0.01), jnp.zeros(lanes), constants)
    states = [trainer.init(keys)]

    def epoch() -> object:
        one = jnp.ones(lanes, jnp.int32)
        states.append(trainer.train(states.pop(), settings, data, keys, one))
        return states[-1].params

    return epoch


def make_products(steps: int, num_items: int, lanes: int) -> Callable[[], object]:
    """Returns a function that computes the three products of each step, and nothing else."""
    user_key, item_key, score_key = jax.random.split(jax.random.key(1), 3)
    users = jax.random.normal(user_key, (lanes, BATCH, WIDTH))
    items = jax.random.normal(item_key, (lanes, num_items, WIDTH))
    slopes = jax.random.normal(score_key, (BATCH, num_items))

    def of_lane(tables: tuple[jax.Array, jax.Array]) -> jax.Array:
        def step(carry: jax.Array, _: None) -> tuple[jax.Array, None]:
            user, item = tables[0] + carry, tables[1]  # or it would be computed once
            scores = jax.lax.optimization_barrier(user @ item.T)
            by_user, by_item = slopes @ item, slopes.T @ user
            total = scores[0, 0] + by_user[0, 0] + by_item[0, 0]
            outputs = jax.lax.optimization_barrier((scores, by_user, by_item, total))
            return 1e-30 * outputs[-1], None

        return jax.lax.scan(step, jnp.float32(0), None, length=steps)[0]

    on_cpu = jax.default_backend() == "cpu"
    every = jax.jit(partial(jax.lax.map, of_lane) if on_cpu else jax.vmap(of_lane))
    return lambda: every((users, items))


def make_peer(likes: ItemSets, num_items: int) -> Callable[[], object]:
    """Returns a function that trains ``PEER_STEPS`` in PyTorch, with drawn negatives."""
    import torch  # of the extra bench

    torch.set_num_threads(count_cores())
    tables = [torch.nn.Embedding(count, WIDTH) for count in (likes.counts.size, num_items)]
    optimizer = torch.optim.Adam([table.weight for table in tables], lr=0.1)
    users, items = (torch.tensor(x).long() for x in (likes.users, likes.items))
    normalize = torch.nn.functional.normalize

    def train() -> float:
        for chosen in torch.randperm(len(users)).split(BATCH)[:PEER_STEPS]:
            drawn = torch.randint(num_items, (len(chosen), PEER_NEGATIVES))
            user = normalize(tables[0](users[chosen]), dim=-1)
            pos = (user * normalize(tables[1](items[chosen]), dim=-1)).sum(-1)
            neg = torch.einsum("bd,bnd->bn", user, normalize(tables[1](drawn), dim=-1))
            loss = torch.logsumexp((neg - pos[:, None]) / 0.2, -1).mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        return loss.item()

    return train


def compare(given: argparse.Namespace, likes: ItemSets) -> list[dict[str, Any]]:
    """Compares epochs with their products alone, and with the peer."""
    steps, rows = -(-given.likes // BATCH), []
    for lanes in given.lanes:
        ways = {loss: make_epoch(loss, likes, given.items, lanes) for loss in given.losses}
        ways["products alone"] = make_products(steps, given.items, lanes)
        if given.peer and lanes == 1:
            ways["PyTorch peer"] = make_peer(likes, given.items)
        seconds = time_in_turns(ways, given.repeats)
        alone = seconds.pop("products alone")
        if "PyTorch peer" in seconds:
            seconds["PyTorch peer"] *= steps / PEER_STEPS
        flops = 6 * lanes * steps * BATCH * given.items * WIDTH
        print(
            f"{lanes} lanes: products alone {np.median(alone):.3f} s, "
            f"{flops / np.median(alone) / 1e9:.0f} GFLOP/s"
        )
        for name, values in seconds.items():
            share = summarize(alone / values)
            rows.append({"lanes": lanes, "way": name, "seconds": summarize(values), "share": share})
            print(
                f"  {name}: {np.median(values):.3f} s an epoch, the products take "
                f"{share['median']:.2g} of it"
            )
    return rows


def measure_costs(given: argparse.Namespace) -> list[dict[str, Any]]:
    """Measures softmax with one setting changed at a time."""
    rows = []
    for changed, values in COSTS.items():
        ways = {}
        for value in values:
            setting = {"lanes": 1, "items": given.items, "width": WIDTH, "negatives": "all"}
            setting[changed] = value
            num_items, lanes = setting.pop("items"), setting.pop("lanes")
            likes = draw_likes(given.users, num_items, given.likes)
            ways[str(value)] = make_epoch("softmax", likes, num_items, lanes, **setting)
        for value, seconds in time_in_turns(ways, given.repeats).items():
            rows.append({"changed": changed, "value": value, "seconds": summarize(seconds)})
            print(f"{changed} {value}: {np.median(seconds):.3f} s an epoch")
    return rows


def main() -> None:
    """Prints and writes the figures."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--users", type=int, default=1974)
    parser.add_argument("--items", type=int, default=1200)
    parser.add_argument("--likes", type=int, default=37_784)
    parser.add_argument("--lanes", type=int, nargs="+", default=[1, 16])
    parser.add_argument("--losses", nargs="+", default=["softmax", "sl_at_k", "bpr"])
    parser.add_argument("--peer", action="store_true", help="time the PyTorch peer too")
    parser.add_argument("--cost", action="store_true", help="vary lanes, items, width, negatives")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--json", type=Path, default=Path("runs/benchmarks/ranking.json"))
    given = parser.parse_args()
    likes = draw_likes(given.users, given.items, given.likes)
    figures = {"arguments": vars(given) | {"json": str(given.json)}, "rows": compare(given, likes)}
    if given.cost:
        figures["costs"] = measure_costs(given)
    write_figures(given.json, figures)


if __name__ == "__main__":
    main()
