"""A damaged checkpoint is passed over, and one that means something else is refused."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from autolossgen.search.checkpoints import (
    CheckpointError,
    OtherState,
    open_checkpoints,
    pack_state,
    unpack_state,
)
from autolossgen.search.generation import SearchState


def make_state(generation):
    policy = {"key": jax.random.key(generation), "table": jnp.full((2, 3), float(generation))}
    empty = ()
    return SearchState(
        policy, empty, jnp.int32(0), jnp.float32(0), empty, empty, empty, jnp.int32(generation)
    )


@pytest.fixture
def saved(tmp_path):
    """Checkpoints of generations 4 and 8; what was said of them, too."""
    lines = []
    checkpoints = open_checkpoints(tmp_path / "c", version="1", warn=lines.append)
    for generation in (2, 4, 8):
        checkpoints.save(make_state(generation))
    return checkpoints, tmp_path / "c", lines


def numbers(state):
    return jax.tree.map(
        lambda x: np.asarray(
            jax.random.key_data(x) if jnp.issubdtype(x.dtype, jax.dtypes.prng_key) else x
        ),
        state,
    )


def test_the_last_two_are_kept_and_the_last_is_restored(saved):
    checkpoints, folder, lines = saved
    assert [path.name for path in sorted(folder.iterdir())] == ["000000004.npz", "000000008.npz"]
    restored = checkpoints.restore(make_state(0))
    jax.tree.map(np.testing.assert_array_equal, numbers(restored), numbers(make_state(8)))
    assert lines == []


def test_a_damaged_one_is_passed_over_with_a_warning(saved):
    checkpoints, folder, lines = saved
    last = folder / "000000008.npz"
    content = bytearray(last.read_bytes())
    content[content.index(np.float32(8).tobytes()) + 1] ^= 1  # a single bit of the policy's table
    last.write_bytes(content)
    restored = checkpoints.restore(make_state(0))
    jax.tree.map(np.testing.assert_array_equal, numbers(restored), numbers(make_state(4)))
    (line,) = lines
    assert "000000008.npz is damaged" in line
    assert "goes on from generation 4" in line
    checkpoints.save(make_state(6))  # what was damaged is not in the way later
    assert [path.name for path in sorted(folder.iterdir())] == ["000000004.npz", "000000006.npz"]


def test_none_that_is_whole_is_an_error_that_says_how_to_go_on(saved):
    checkpoints, folder, _ = saved
    for path in folder.iterdir():
        path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(CheckpointError, match=r"cannot be read.*Remove that folder"):
        checkpoints.restore(make_state(0))


def test_one_of_another_version_is_refused(saved):
    _, folder, _ = saved
    other = open_checkpoints(folder, version="2")
    with pytest.raises(CheckpointError, match="written by version 1, and this is version 2"):
        other.restore(make_state(0))


def test_one_of_a_version_that_wrote_folders_is_refused(tmp_path):
    (tmp_path / "c" / "8" / "default").mkdir(parents=True)
    with pytest.raises(CheckpointError, match="another version"):
        open_checkpoints(tmp_path / "c", version="2").restore(make_state(0))


def test_a_state_of_another_form_is_refused_with_what_differs(saved):
    checkpoints, _, _ = saved
    state = make_state(0)
    wider = state._replace(policy={**state.policy, "table": jnp.zeros((2, 4))})
    with pytest.raises(CheckpointError, match=r"policy/table is float32\[2, 4\] here and float32"):
        checkpoints.restore(wider)
    with pytest.raises(OtherState, match=r"b is .* here and missing there"):
        unpack_state({"a": np.zeros(1), "b": np.zeros(1)}, pack_state({"a": np.zeros(1)}))


def test_no_folder_is_no_checkpoint(tmp_path):
    assert open_checkpoints(tmp_path / "none", version="1").restore(make_state(0)) is None


def test_a_process_that_does_not_write_leaves_no_folder(tmp_path):
    open_checkpoints(tmp_path / "none", version="1", writes=False).save(make_state(1))
    assert not (tmp_path / "none").exists()
