"""Training cases for the benchmarks: generated interactions, random candidates, lanes."""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import AxisType, Mesh

from autolossgen import controller, make_grammar, make_vocabulary, models
from autolossgen.configs import base
from autolossgen.interfaces import Batch, Recommender
from autolossgen.language.programs import assemble
from autolossgen.training.evaluate import evaluate
from autolossgen.training.lanes import Lanes, LaneState, make_batches, make_lanes
from autolossgen.training.loss_gradients import LogitGradFn, LossBatch, traced_logit_grads
from autolossgen.training.optimizers import Hyper

CONFIG = base.get_config()
VOCABULARY = make_vocabulary(CONFIG.space.operators, CONFIG.space.operands)


class Case(NamedTuple):
    """What is trained; by default the reference case, an epoch of ML-100K's size."""

    lanes: int = 64  # K
    length: int = 15  # tokens of a candidate, L
    width: int = 64  # of the embedding vectors, D
    batch: int = 128  # B
    users: int = 944
    items: int = 1683
    rows: int = 94_638  # interactions of an epoch
    rewarded: int = 2_334  # interactions that the metric is computed on

    @property
    def steps(self) -> int:
        """Number of steps of an epoch, N."""
        return -(-self.rows // self.batch)


def make_interactions(case: Case, rows: int, seed: int) -> Batch:
    """Generates interactions, with a few popular items."""
    rng = np.random.default_rng(seed)
    user = rng.integers(1, case.users, rows).astype(np.int32)
    item = (1 + (case.items - 1) * rng.power(0.3, rows)).astype(np.int32)
    label = rng.integers(0, 2, rows).astype(np.float32)
    return jax.device_put(Batch({"user": user, "item": item}, label, np.ones_like(label)))


def make_recommender(case: Case) -> Recommender:
    """Builds BiasedMF as configs/base.py has it, of the case's width."""
    section = {**CONFIG.model, "embedding_dim": case.width}
    return models.build(**section, sizes={"user": case.users, "item": case.items})


def make_candidates(case: Case) -> LossBatch:
    """Draws K random candidates from the grammar."""
    policy = controller.make_uniform(make_grammar(VOCABULARY, case.length))
    tokens = policy.sample((), jax.random.key(0), case.lanes)
    ones = jnp.ones(case.lanes)
    low, high = CONFIG.space.bounds
    programs = jax.vmap(partial(assemble, vocab=VOCABULARY))(tokens)
    return LossBatch(programs, low * ones, high * ones, ones)


def make_mesh(case: Case) -> Mesh:
    """Makes a mesh of as many devices as divide the lanes."""
    count = max(d for d in range(1, len(jax.devices()) + 1) if case.lanes % d == 0)
    chosen = jax.devices()[:count]
    return jax.make_mesh((count,), ("lanes",), axis_types=(AxisType.Auto,), devices=chosen)


def init_lanes(lanes: Lanes, num_lanes: int) -> LaneState:
    """Initializes lanes, each with weights of its own."""
    return jax.jit(lanes.init)(jax.random.split(jax.random.key(1), num_lanes))


def make_hyper(case: Case) -> Hyper:
    """Returns a learning rate of 1 and a weight decay of 1e-4 for all lanes."""
    ones = jnp.ones(case.lanes)
    return Hyper(learning_rate=ones, weight_decay=1e-4 * ones, l2=0 * ones)


def make_logit_grads() -> LogitGradFn:
    """Makes the gradients of candidates that are data to the compiled program."""
    return traced_logit_grads(VOCABULARY.operators)


def make_candidates_way(case: Case, data: Batch, rewarded: Batch) -> Callable[[], Any]:
    """Makes a function that trains K random candidates for an epoch and evaluates them."""
    lanes = make_lanes(make_recommender(case), make_logit_grads(), mesh=make_mesh(case))
    losses = make_candidates(case)

    @jax.jit
    def train(state: LaneState, key: jax.Array) -> jax.Array:
        batches = make_batches(data, case.batch, key)
        return evaluate(lanes, lanes.train(state, losses, make_hyper(case), batches, key), rewarded)

    initial = init_lanes(lanes, case.lanes)
    return lambda: train(initial, jax.random.key(2))
