"""Files are written whole or not at all."""

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
