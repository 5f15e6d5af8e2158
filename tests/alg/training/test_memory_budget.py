"""The memory that lanes take, next to what XLA says it takes."""

from functools import partial
from itertools import product
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType, NamedSharding, PartitionSpec

from autolossgen import controller, models
from autolossgen.configs import base
from autolossgen.interfaces import Batch, Side
from autolossgen.language.named_losses import named_loss
from autolossgen.search.screening import FILTERS
from autolossgen.search.search import make_search
from autolossgen.search.space import make_space
from autolossgen.training import memory_budget
from autolossgen.training.evaluate import evaluate
from autolossgen.training.lanes import make_lanes
from autolossgen.training.loss_gradients import static_logit_grads
from autolossgen.training.memory_budget import (
    MemoryNeed,
    check_memory,
    estimate_memory,
    free_memory,
)
from autolossgen.training.optimizers import OPTIMIZERS, Hyper
from autolossgen.training.tasks import make_ranking_task

pytestmark = pytest.mark.slow


class Shape(NamedTuple):
    """The lanes of a training, and what they are trained on."""

    model: str = "biased_mf"
    lanes: int = 8
    batch: int = 128
    steps: int = 20
    users: int = 944
    items: int = 1683
    width: int = 64
    optimizer: str = "sgd"
    clip: float | None = None
    genres: int = 0  # of an item, at most

    @property
    def sums(self):
        return self.optimizer == "adagrad" or self.clip is not None


SHAPES = (
    Shape(lanes=32),
    Shape(batch=2048, clip=50.0),
    Shape(users=30_000, items=5_000, width=16),
    Shape(model="neumf", batch=1024),
    Shape(model="deepfm", batch=2048, genres=6),
    Shape(model="deepfm", batch=2048, genres=6, optimizer="adagrad"),
)


def recommender_of(shape):
    sizes = {"user": shape.users, "item": shape.items}
    sides = {}
    if shape.genres:
        sizes |= {"genres": 19}
        sides = {"genres": Side("item", np.ones((shape.items, shape.genres), np.int32))}
    return models.build(
        name=shape.model, embedding_dim=shape.width, init_scale=0.1, sizes=sizes, sides=sides
    )


def lanes_of(shape):
    model = recommender_of(shape)
    return model, make_lanes(
        model,
        static_logit_grads([named_loss("bce")]),
        optimizer=OPTIMIZERS[shape.optimizer](clip=shape.clip),
    )


def needed(shape):
    model, lanes = lanes_of(shape)
    return estimate_memory(
        model,
        lanes.init,
        batch=shape.batch,
        examples=shape.steps * shape.batch,
        sums=shape.sums,
    )


def compiled_bytes(function, *arguments):
    """Returns what XLA says; the optimizations that conftest.py turns off hardly change it."""
    analysis = jax.jit(function).lower(*arguments).compile().memory_analysis()
    parts = analysis.argument_size_in_bytes, analysis.output_size_in_bytes
    return sum(parts) + analysis.temp_size_in_bytes - analysis.alias_size_in_bytes


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_an_epoch_takes_what_xla_says(shape):
    _, lanes = lanes_of(shape)
    keys = jax.random.split(jax.random.key(0), shape.lanes)
    ones = jax.ShapeDtypeStruct((shape.lanes,), jnp.float32)
    numbers, ids = (
        jax.ShapeDtypeStruct((shape.steps, shape.batch), kind) for kind in (jnp.float32, jnp.int32)
    )
    batches = Batch({"user": ids, "item": ids}, numbers, numbers)
    state = jax.eval_shape(lanes.init, keys)
    taken = compiled_bytes(lanes.train, state, ones, Hyper(ones, ones, ones), batches, keys[0])
    assert needed(shape).compute_bytes(shape.lanes) == pytest.approx(taken, rel=0.15)


def test_judging_takes_what_xla_says():
    shape = Shape(lanes=4, users=50, items=60, width=8)
    model, lanes = lanes_of(shape)
    count = 200_000
    numbers, ids = (jax.ShapeDtypeStruct((count,), kind) for kind in (jnp.float32, jnp.int32))
    data = Batch({"user": ids, "item": ids}, numbers, numbers)
    state = jax.eval_shape(lanes.init, jax.random.split(jax.random.key(0), shape.lanes))
    taken = compiled_bytes(lambda *given: evaluate(lanes, *given), state, data)
    takes = estimate_memory(model, lanes.init, batch=8, examples=count, sums=False, eval_rows=count)
    assert takes.compute_bytes(shape.lanes) == pytest.approx(taken, rel=0.15)


def test_a_lane_that_ranks_holds_no_more_than_the_formula():
    """However many items there are to rank."""
    shape, count = Shape(users=50, items=60, width=8), 600
    model, lanes = lanes_of(shape)
    numbers, ids = (jax.ShapeDtypeStruct((count, 500), kind) for kind in (jnp.float32, jnp.int32))
    data = Batch({"user": ids, "item": ids}, numbers, numbers)

    def taken(count):
        state = jax.eval_shape(lanes.init, jax.random.split(jax.random.key(0), count))
        return compiled_bytes(partial(evaluate, lanes, task=make_ranking_task(1)), state, data)

    takes = estimate_memory(model, lanes.init, batch=8, examples=1, sums=False, eval_rows=count)
    assert taken(24) - taken(8) < takes.compute_bytes(24) - takes.compute_bytes(8)


def search_on(mesh):
    """Builds a search on a large catalogue; returns it, its need, and its arguments as shapes."""
    shape = Shape(users=30_000, items=5_000, width=16)
    whole = NamedSharding(mesh, PartitionSpec())
    space = make_space(operators=("neg",), operands=("pred",), length=3, bounds=(-1e5, 1e5))
    search = make_search(
        controller.make_uniform(space.grammar),
        partial(make_lanes, recommender_of(shape), mesh=mesh),
        space,
        FILTERS["graded"](**base.get_config().filter.graded),
        **{"reference": "square(label - pred)", "reward_scale": "raw", "restart": "stalled"},
        **{"samples": 4, "hall": 2, "seen_losses": 2, "l2": 0.0},
        **{"learning_rate": 1.0, "weight_decay": 1e-4, "batch_size": shape.batch},
        num_lanes=shape.lanes,
        sharding=whole,
    )

    def placed(arrays):
        return jax.tree.map(
            lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=whole), arrays
        )

    def interactions(count):
        numbers, ids = (jax.ShapeDtypeStruct((count,), kind) for kind in (jnp.float32, jnp.int32))
        return Batch({"user": ids, "item": ids}, numbers, numbers)

    data = interactions(shape.steps * shape.batch), interactions(200)
    key = jax.eval_shape(lambda: jax.random.key(0))
    state = jax.eval_shape(search.init, key, data[1])
    return search, needed(shape), placed((state, key, *data))


def test_a_search_takes_no_more_than_the_formula():
    """However many trainings a function holds one after the other."""
    search, need, arguments = search_on(mesh_of(1))
    generation, advance = (
        compiled_bytes(function, *arguments) for function in (search.run_generation, search.advance)
    )
    assert advance < 1.05 * generation < need.compute_bytes(Shape().lanes, searching=True)


def test_the_base_model_is_whole_on_every_device():
    search, need, arguments = search_on(mesh_of(4))
    formula = need.compute_bytes(Shape().lanes // 4, searching=True)
    assert 0.6 * formula < compiled_bytes(search.advance, *arguments) < 1.15 * formula


def test_as_many_lanes_fit_as_the_formula_allows():
    for takes in (needed(SHAPES[0]), needed(SHAPES[2]), MemoryNeed(state=10, step=1000, data=7)):
        for lanes, searching in product((1, 2, 5, 300), (False, True)):
            needed_bytes = takes.compute_bytes(lanes, searching=searching)
            assert takes.compute_max_lanes(needed_bytes, searching=searching) == lanes
            assert takes.compute_max_lanes(needed_bytes - 1, searching=searching) == lanes - 1
        assert takes.compute_max_lanes(takes.data - 1) == 0


def test_what_optimizers_keep_counts():
    shape = SHAPES[0]
    model, lanes = lanes_of(shape)
    arguments = {"batch": shape.batch, "examples": 1000, "sums": False}
    twice = estimate_memory(model, lambda keys: (lanes.init(keys), lanes.init(keys)), **arguments)
    once = estimate_memory(model, lanes.init, **arguments)
    assert twice._replace(state=once.state) == once
    assert twice.state == 2 * once.state
    divided = make_lanes(model, None, mesh=mesh_of(4)).init
    assert estimate_memory(model, divided, **arguments, devices=4) == once


def mesh_of(devices):
    chosen = jax.devices()[:devices]
    return jax.make_mesh((devices,), ("lanes",), axis_types=(AxisType.Auto,), devices=chosen)


@pytest.fixture
def machine(tmp_path, monkeypatch):
    """A machine with 8 GB left, whose container may use 4; the file that says so."""
    meminfo, allowed = tmp_path / "meminfo", tmp_path / "memory.max"
    meminfo.write_text("MemTotal:   16000000 kB\nMemAvailable:    8000000 kB\nHugePages_Free:  0\n")
    allowed.write_text("4000000000\n")
    monkeypatch.setattr(memory_budget, "_AVAILABLE", meminfo)
    monkeypatch.setattr(memory_budget, "_ALLOWED", allowed)
    return allowed


def test_devices_of_a_cpu_share_what_the_machine_and_its_container_give(machine):
    assert free_memory(mesh_of(4)) == 1_000_000_000
    machine.with_name("memory.current").write_text("3000000000\n")
    machine.with_name("memory.stat").write_text("anon 100\ninactive_file 1000000000\n")
    assert free_memory(mesh_of(4)) == 500_000_000
    machine.write_text("max\n")
    assert free_memory(mesh_of(4)) == 2_048_000_000
    machine.unlink()
    assert free_memory(mesh_of(1)) == 8_192_000_000


def test_this_machine_tells_what_it_has_left():
    assert free_memory(mesh_of(1)) > 100_000_000


def test_too_many_lanes_are_refused_with_the_number_that_fits(machine):
    takes = MemoryNeed(state=10_000_000, step=5_000_000, data=250_000_000)
    widths, mesh = {"generation.num_lanes": 142, "promote.num_lanes": 160}, mesh_of(2)
    with pytest.raises(ValueError, match=r"^promote\.num_lanes is 160.*at most 140 lanes fit"):
        check_memory(takes, widths | {"generation.num_lanes": 140}, mesh)
    with pytest.raises(ValueError, match=r"^generation\.num_lanes is 142.* 2\.02 GB of each of 2"):
        check_memory(takes, widths, mesh)
    check_memory(takes, dict.fromkeys(widths, 140), mesh)
    few = MemoryNeed(state=250_000_000, step=0, data=0)
    check_memory(few, {"generation.num_lanes": 6}, mesh)
    with pytest.raises(ValueError, match=r"at most 4 lanes fit"):
        check_memory(few, {"generation.num_lanes": 6}, mesh, searching=True)


def test_devices_tell_for_themselves_where_they_can(machine):
    class Device(NamedTuple):
        stats: dict | None
        platform: str = "gpu"

        def memory_stats(self):
            return self.stats

    class Mesh(NamedTuple):
        local_devices: list[Device]

    def free(*stats):
        return free_memory(Mesh([Device(each) for each in stats]))

    roomy, busy = ({"bytes_limit": 80, "bytes_in_use": used} for used in (10, 30))
    assert free(roomy, busy) == 50
    assert free(roomy, None) is None
