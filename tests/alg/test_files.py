"""Files are written whole or not at all."""

import numpy as np
import pytest

from autolossgen import files


def test_a_write_that_fails_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch):
    path = tmp_path / "u.data"
    files.write_atomically(path, b"old")

    def fail(*_):
        raise OSError("disk full")

    monkeypatch.setattr(files.os, "replace", fail)
    with pytest.raises(OSError, match="disk full"):
        files.write_atomically(path, b"new")
    assert path.read_bytes() == b"old"
    assert [p.name for p in tmp_path.iterdir()] == ["u.data"]


def test_two_writers_of_one_path_have_different_drafts(tmp_path, monkeypatch):
    path, drafts = tmp_path / "config.json", []
    monkeypatch.setattr(files.os, "replace", lambda draft, _: drafts.append(draft))
    for _ in range(2):
        files.write_atomically(path, "{}")
    assert len({*drafts}) == 2
    assert all(files.is_draft(draft, path) for draft in drafts)
    assert not files.is_draft(path, path)


ARRAYS = {"a/b": np.arange(6, dtype=np.float32).reshape(2, 3), "c": np.array(True)}


def test_arrays_come_back_as_they_were(tmp_path):
    path = tmp_path / "state.npz"
    fortran = np.asfortranarray(np.arange(6).reshape(2, 3))
    files.write_arrays(path, {**ARRAYS, "f": fortran, "empty": np.zeros((0, 4))}, {"epoch": 1})
    arrays, about = files.read_arrays(path)
    assert about == {"epoch": 1}
    for name, array in {**ARRAYS, "f": fortran, "empty": np.zeros((0, 4))}.items():
        assert arrays[name].dtype == array.dtype
        np.testing.assert_array_equal(arrays[name], array)
    with np.load(path) as file:  # as README.md of a run says
        np.testing.assert_array_equal(file["a/b"], ARRAYS["a/b"])


def test_any_damage_is_seen_or_does_no_harm(tmp_path):
    path = tmp_path / "state.npz"
    files.write_arrays(path, ARRAYS, {"epoch": 1})
    content, seen = path.read_bytes(), 0
    for place in range(len(content)):
        path.write_bytes(content[:place] + bytes([content[place] ^ 0x10]) + content[place + 1 :])
        try:
            arrays, _ = files.read_arrays(path)
        except files.DamagedFile:
            seen += 1
        else:  # in what no reader looks at: a time, or a name
            for array in arrays.values():
                assert any(np.array_equal(array, known) for known in ARRAYS.values())
    assert seen > 0.6 * len(content)


def test_a_file_that_unpacks_to_far_more_than_it_is_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(files, "ALWAYS_FINE", 1000)
    path = tmp_path / "bomb.npz"
    np.savez_compressed(path, a=np.zeros(10**6))
    with pytest.raises(files.DamagedFile, match="claims 1 parts of 8,000,128 bytes"):
        files.read_arrays(path)


@pytest.mark.parametrize(
    "array", [np.array([{}]), np.array(["text"]), np.array([1j]), np.zeros(1, "f4,i4")]
)
def test_only_numbers_are_read_and_written(array, tmp_path):
    np.savez(tmp_path / "odd.npz", a=array)
    with pytest.raises(files.DamagedFile, match="no array of numbers"):
        files.read_arrays(tmp_path / "odd.npz")
    with pytest.raises(ValueError, match="and no numbers"):
        files.write_arrays(tmp_path / "odd.npz", {"a": array}, {})


def test_a_draft_of_a_killed_process_is_removed_and_nothing_else(tmp_path):
    for name in ("a.json.0123abcd.new", "mine.new", "a.json"):
        (tmp_path / name).touch()
    files.remove_drafts(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.json", "mine.new"]


@pytest.mark.parametrize("text", ["{", "[" * 10_000, '{"a": 1e}'])
def test_what_is_no_json_is_a_value_error_however_deep(text):
    with pytest.raises(ValueError, match=r"."):
        files.parse_json(text)
