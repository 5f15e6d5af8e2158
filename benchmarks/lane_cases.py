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
    """What is trained; the defaults are the reference case, an epoch of ML-100K's size."""

    lanes: int = 64  # K
    length: int = 15  # tokens of a candidate, L
    width: int = 64  # of the vectors, D
    batch: int = 128  # B
    users: int = 944
    items: int = 1683
    rows: int = 94_638  # interactions of an epoch
    rewarded: int = 2_334  # that the metric is taken on

    @property
    def steps(self) -> int:
        """The steps of an epoch, N."""
        return -(-self.rows // self.batch)


def interactions(case: Case, rows: int, seed: int) -> Batch:
    """Give generated interactions, with a few popular items."""
    rng = np.random.default_rng(seed)
    user = rng.integers(1, case.users, rows).astype(np.int32)
    item = (1 + (case.items - 1) * rng.power(0.3, rows)).astype(np.int32)
    label = rng.integers(0, 2, rows).astype(np.float32)
    return jax.device_put(Batch({"user": user, "item": item}, label, np.ones_like(label)))


def recommender(case: Case) -> Recommender:
    """Give the recommender: BiasedMF, as configs/base.py has it, of the case's width."""
    settings = {**CONFIG.model, "embedding_dim": case.width}
    return models.build(**settings, sizes={"user": case.users, "item": case.items})


def candidates(case: Case) -> LossBatch:
    """Give the losses of K random candidates under the grammar."""
    policy = controller.make_uniform(make_grammar(VOCABULARY, case.length))
    tokens = policy.sample((), jax.random.key(0), case.lanes)
    ones = jnp.ones(case.lanes)
    low, high = CONFIG.space.bounds
    programs = jax.vmap(partial(assemble, vocab=VOCABULARY))(tokens)
    return LossBatch(programs, low * ones, high * ones, ones)


def mesh_of(case: Case) -> Mesh:
    """Give as many devices as divide the lanes."""
    count = max(d for d in range(1, len(jax.devices()) + 1) if case.lanes % d == 0)
    chosen = jax.devices()[:count]
    return jax.make_mesh((count,), ("lanes",), axis_types=(AxisType.Auto,), devices=chosen)


def start(lanes: Lanes, count: int) -> LaneState:
    """Give ``count`` lanes with weights of their own."""
    return jax.jit(lanes.init)(jax.random.split(jax.random.key(1), count))


def hyper(case: Case) -> Hyper:
    """Give a learning rate of 1 and a weight decay of 1e-4 to all lanes."""
    ones = jnp.ones(case.lanes)
    return Hyper(ones, 1e-4 * ones, 0 * ones)


def traced() -> LogitGradFn:
    """Give the slopes of candidates, which are data to the compiled program."""
    return traced_logit_grads(VOCABULARY.operators)


def candidates_way(case: Case, data: Batch, rewarded: Batch) -> Callable[[], Any]:
    """Give a function that trains K random candidates for an epoch and judges them."""
    lanes = make_lanes(recommender(case), traced(), mesh=mesh_of(case))
    losses = candidates(case)

    @jax.jit
    def train(state: LaneState, key: jax.Array) -> jax.Array:
        cut = make_batches(data, case.batch, key)
        return evaluate(lanes, lanes.train(state, losses, hyper(case), cut, key), rewarded)

    begun = start(lanes, case.lanes)
    return lambda: train(begun, jax.random.key(2))
