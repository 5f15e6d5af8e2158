"""What a run keeps of unfinished phases: parts, states, and where it stops."""

import numpy as np
import pytest

import autolossgen
from autolossgen.evaluation.kept import do_once, go_on, keep_within
from autolossgen.pipeline import kept as kept_module
from autolossgen.pipeline.kept import forget, keep_in
from autolossgen.pipeline.terminal.interrupt import Stopped

STATE = {"weights": np.arange(3.0), "epoch": np.array(2)}


@pytest.fixture
def asked():
    """A list that the user's wish to stop is put into."""
    return []


@pytest.fixture
def kept(tmp_path, asked):
    return keep_in(tmp_path, lambda: bool(asked))


def test_a_finished_part_is_not_done_again(kept):
    calls = []

    def compute():
        calls.append(1)
        return {"scores": {"auc": np.array([0.5, 0.6])}}

    for _ in range(2):
        np.testing.assert_array_equal(do_once(kept, "tuning", compute)["scores"]["auc"], [0.5, 0.6])
    assert len(calls) == 1


def test_other_losses_have_other_parts(kept):
    one, other = (keep_within(kept, "test", [formula]) for formula in ("a", "b"))
    one.save("tuning", STATE)
    assert one.load("tuning") is not None
    assert other.load("tuning") is None


def test_a_state_is_kept_when_it_is_time_and_dropped_with_the_end(kept, monkeypatch, tmp_path):
    kept.offer("test", lambda: STATE)  # not yet
    assert kept.resume("test") is None
    monkeypatch.setattr(kept_module, "SECONDS", 0.0)
    monkeypatch.setattr(kept_module, "SHARE", np.inf)
    kept.offer("test", lambda: STATE)
    begin = {"weights": np.zeros(3), "epoch": np.array(0)}
    assert go_on(kept, "test", begin)["epoch"] == 2
    kept.save("test", STATE)
    assert kept.resume("test") is None
    forget(tmp_path)
    assert not [*tmp_path.iterdir()]


def test_who_asked_to_stop_is_stopped_where_all_is_kept(kept, asked):
    asked.append(True)
    with pytest.raises(Stopped, match="stopped in the tuning; the same command goes on"):
        kept.offer("a0b1/tuning", lambda: STATE)
    assert kept.resume("a0b1/tuning").keys() == STATE.keys()
    with pytest.raises(Stopped, match="stopped after the round 1"):
        kept.save("a0b1/round-1", STATE)
    assert kept.load("a0b1/round-1") is not None


def test_a_damaged_part_is_done_again_with_a_warning(tmp_path, asked):
    lines = []
    kept = keep_in(tmp_path, lambda: False, lines.append)
    kept.save("tuning", STATE)
    (path,) = (tmp_path / "unfinished").iterdir()
    path.write_bytes(path.read_bytes()[:-9])
    assert kept.load("tuning") is None
    assert "tuning.npz is damaged" in lines[0]


def test_what_another_version_kept_is_done_again(kept, monkeypatch):
    kept.save("tuning", STATE)
    monkeypatch.setattr(autolossgen, "__version__", "0.0")
    assert kept.load("tuning") is None


def test_a_state_of_another_form_begins_again(kept, asked):
    asked.append(True)
    with pytest.raises(Stopped):
        kept.offer("test", lambda: STATE)
    begin = {"weights": np.zeros(4), "epoch": np.array(0)}
    assert go_on(kept, "test", begin) is begin
