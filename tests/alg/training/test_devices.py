"""Lanes over devices: the same search on one as on eight, which hardly talk to one another."""

import re
from functools import cache
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from autolossgen.training.devices import choose_devices, make_lane_mesh
from autolossgen.training.evaluate import make_epoch_batches
from autolossgen.training.optimizers import Hyper
from tests.helpers.hlo import find_collectives
from tests.helpers.tiny_run import make_tiny_run

pytestmark = pytest.mark.slow


class Device(NamedTuple):
    """What ``choose_devices`` reads of a device."""

    id: int
    process_index: int


def devices_of(*counts):
    """Returns the devices of processes with so many each."""
    owners = [process for process, count in enumerate(counts) for _ in range(count)]
    return [Device(number, process) for number, process in enumerate(owners)]


@cache
def run_on(devices):
    widths = ("--config.generation.num_lanes=8", "--config.promote.num_lanes=8")
    devices_flag, restart = f"--config.devices={devices}", "--config.generation.restart=stalled"
    return make_tiny_run(*widths, devices_flag, restart)


@cache
def compiled(devices, name):
    """Returns a function of the search, compiled."""
    search, splits = run_on(devices).search.search, run_on(devices).setup.splits
    arguments = (begun(devices), jax.random.key(1), splits.train, splits.reward)
    return jax.jit(getattr(search, name)).lower(*arguments).compile()


@cache
def begun(devices):
    """Returns the first state."""
    search, splits = run_on(devices).search.search, run_on(devices).setup.splits
    return search.init(jax.random.key(1), splits.reward)


@cache
def searched(devices):
    """Returns the first state, and states and reports of three generations and a round's end."""
    splits, key = run_on(devices).setup.splits, jax.random.key(1)
    data, state = (splits.train, splits.reward), begun(devices)
    passed = [state]
    for generation in range(3):
        step = jax.random.fold_in(key, generation)
        state, report = compiled(devices, "run_generation")(state, step, *data)
        passed.append((state, report))
    passed.append(compiled(devices, "advance")(state, key, *data))
    return passed


def alike(one, eight):
    """Programs are fused otherwise: last bits differ, Adam enlarges them, and ranks may swap."""
    if jnp.issubdtype(one.dtype, jnp.floating):
        np.testing.assert_allclose(one, eight, rtol=1e-2, atol=1e-3)
    else:
        np.testing.assert_array_equal(one, eight)


def test_a_search_on_eight_devices_is_that_on_one():
    one, eight = searched(1), searched(8)
    jax.tree.map(alike, one, eight)
    trained = sum(int(report.trained.sum()) for _, report in one[1:4])
    assert trained > 4  # or there is nothing to compare
    assert np.isfinite(one[-1][0].hall.gain).any()


def test_states_are_whole_on_every_device():
    for state, _ in searched(8)[1:]:
        for leaf in jax.tree.leaves(state):
            assert leaf.is_fully_replicated
            assert len(leaf.sharding.device_set) == 8


@pytest.mark.parametrize(
    "line",
    [
        "%all-reduce.1 = f32[8]{0} all-reduce(%x), channel_id=1, to_apply=%add",
        "%start = (f32[8]{0}, f32[64]{0}) all-gather-start(%x), dimensions={0}",
        "ROOT %moved = f32[8]{0} collective-permute(%x), source_target_pairs={{0,1}}",
        "%ragged = f32[8]{0} ragged-all-to-all(%x, %y), replica_groups={{0,1}}",
    ],
)
def test_collectives_are_seen(line):
    class Compiled:
        as_text = staticmethod(lambda: f"%x = f32[8]{{0}} parameter(0)\n{line}\n")

    assert len(find_collectives(Compiled)) == 1


def test_devices_with_seeds_of_their_own_tell_one_another_nothing():
    setup = run_on(8).setup
    lanes = setup.make_lanes(setup.task.static_logit_grads([setup.baselines[0].loss]))
    ones, keys = jnp.ones(8), jax.random.split(jax.random.key(2), 8)

    @jax.jit
    def train(state, data, keys):
        cut = lambda data, key: make_epoch_batches(setup.task, data, 32, key)  # noqa: E731
        return lanes.train_per_device(state, ones, Hyper(ones, 0 * ones, 0 * ones), cut, data, keys)

    given = lanes.init(keys), setup.splits.full_train, keys
    assert find_collectives(train.lower(*given).compile()) == []
    with pytest.raises(ValueError, match="too many values"):  # two keys a device
        train(*given[:2], jax.random.split(keys[0], 16))


def test_a_generation_gathers_three_numbers_a_lane():
    """The size of its gradient, its reward, and whether that is finite."""
    found = find_collectives(compiled(8, "run_generation"))
    assert [kind for kind, _ in found] == ["all-gather"] * 3
    assert sorted(re.match(r"\w+\[\d+\]", shape)[0] for _, shape in found) == [
        "f32[8]",
        "f32[8]",
        "pred[8]",
    ]


def test_the_end_of_a_round_sends_two_lanes_around():
    """It trains twice, and takes the winner's weights and fresh ones out of their devices."""
    found = find_collectives(compiled(8, "advance"))
    gathered = [shape for kind, shape in found if kind == "all-gather"]
    assert len(found) == len(gathered) + 2
    assert 3 <= len(gathered) <= 8
    assert all(re.match(r"(f32|pred)\[8\]", shape) for shape in gathered)


def test_the_most_devices_that_divide_the_widths_are_taken():
    widths = {"generation.num_lanes": 24, "promote.num_lanes": 36}  # both divided by 12
    assert len(choose_devices(devices_of(8), 0, widths)) == 6
    assert len(choose_devices(devices_of(100), 0, widths)) == 12
    assert len(choose_devices(devices_of(8), 3, widths)) == 3
    assert make_lane_mesh(0, {"generation.num_lanes": 32}).size == len(jax.devices())


def test_every_process_gives_as_many_devices():
    chosen = choose_devices(devices_of(3, 2, 4), 0, {"generation.num_lanes": 12})
    assert [device.process_index for device in chosen] == [0, 0, 1, 1, 2, 2]
    assert choose_devices(devices_of(2, 2), 2, {"generation.num_lanes": 4}) == [
        Device(0, 0),
        Device(2, 1),
    ]


@pytest.mark.parametrize("count", [3, -1, 5, 16])
def test_a_number_of_devices_that_cannot_be_is_refused(count):
    expected = rf"at most 8 here and divides generation.num_lanes \(16\), got {count}"
    with pytest.raises(ValueError, match=expected):
        choose_devices(devices_of(8), count, {"generation.num_lanes": 16})


@pytest.mark.parametrize("count", [0, 1, 3])
def test_devices_that_processes_cannot_share_evenly_are_refused(count):
    expected = rf"at most 6 here, is a multiple of the 3 processes and .*\(32\), got {count}"
    with pytest.raises(ValueError, match=expected):
        choose_devices(devices_of(2, 2, 2), count, {"generation.num_lanes": 32})
