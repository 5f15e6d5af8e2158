"""A disk that is full, or may only be read, costs nothing that was written before."""

import os
import subprocess
import sys

import numpy as np
import pytest

from autolossgen import files
from autolossgen.pipeline.kept import keep_in
from tests.helpers.run_server import SMOKE, assert_one_line


def mount(*options):
    return subprocess.run(["mount", *options], capture_output=True, text=True, check=False)


@pytest.fixture
def disk(tmp_path):
    """A file system of 64 KiB, which only a privileged user can make."""
    folder = tmp_path / "disk"
    folder.mkdir()
    if sys.platform != "linux" or os.geteuid() != 0:
        pytest.skip("only root can mount a small file system")
    made = mount("-t", "tmpfs", "-o", "size=64k", "tmpfs", str(folder))
    if made.returncode:
        pytest.skip(f"a small file system cannot be mounted here: {made.stderr.strip()}")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def fill(disk, but=0):
    """Fills the disk, but for some bytes."""
    rest = os.statvfs(disk)
    (disk / "others").write_bytes(bytes(rest.f_bavail * rest.f_bsize - but))


def test_what_does_not_fit_leaves_what_was_there_and_no_draft(disk):
    path = disk / "results.json"
    files.write_atomically(path, "old")
    fill(disk, but=4096)
    with pytest.raises(OSError, match=r"No space left on device: '.*results.json'"):
        files.write_atomically(path, bytes(20_000))
    assert path.read_text() == "old"
    assert sorted(file.name for file in disk.iterdir()) == ["others", "results.json"]


def test_what_is_kept_of_a_phase_stays_when_the_next_part_does_not_fit(disk):
    kept = keep_in(disk, lambda: False)
    kept.save("tuning", {"best": np.arange(3.0)})
    fill(disk, but=4096)
    with pytest.raises(OSError, match="No space left"):
        kept.save("test", {"best": np.zeros(10_000)})
    assert kept.load("tuning")["best"].tolist() == [0, 1, 2]
    assert kept.load("test") is None
    (disk / "others").unlink()
    kept.save("test", {"best": np.zeros(3)})
    assert kept.load("test") is not None


def test_a_run_on_a_full_disk_is_one_line(disk, command):
    fill(disk)
    done = command(SMOKE, f"--workdir={disk / 'run'}")
    assert_one_line(done, 1, "cannot be written to (No space left on device)")


def test_a_run_on_a_disk_that_is_only_read_is_one_line(disk, command):
    assert not mount("-o", "remount,ro", str(disk)).returncode
    done = command(SMOKE, f"--workdir={disk / 'run'}")
    assert_one_line(done, 1, "cannot be written to (Read-only file system)")
