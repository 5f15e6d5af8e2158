"""A dry run checks all, counts what would be done, and writes nothing."""

import re

import pytest

from tests.helpers.run_server import TINY, assert_one_line

pytestmark = pytest.mark.slow

RANKINGS = (
    "--config=configs/topk.py:smoke",
    "--config.data.name=synthetic",
    "--config.data.num_users=40",
    "--config.data.num_items=50",
    "--config.data.num_interactions=1500",
    "--config.model.embedding_dim=4",
    "--config.train.batch_size=64",
)


def read_trainings(text):
    """Returns phase -> trainings of the table."""
    rows = re.findall(r"^(\w[\w ]*?)  +([\d,]+)  +\d+  +\d+:\d\d$", text, re.MULTILINE)
    return {phase: int(number) for phase, number in rows}


def test_a_search_is_counted(command, tmp_path):
    folder = tmp_path / "run"
    done = command(*TINY, "--config.devices=1", "--dry_run", f"--workdir={folder}")
    assert (done.code, done.err) == (0, "")
    losses = 2 + 1  # baselines and found ones
    assert read_trainings(done.out) == {
        "search": 4 * (4 - 1),  # generations, and lanes without the reference
        "promotion": 3 * 2,  # the hall of fame at two learning rates
        "tuning": losses * 2,
        "test": losses * 3,  # seeds
        "recommender": 1,
    }
    assert "train: " in done.out
    assert "memory are fine; device: " in done.out
    assert re.search(r"^together +\d+:\d\d$", done.out, re.MULTILINE)
    assert not folder.exists()


def test_rankings_are_counted(command, tmp_path):
    done = command(*RANKINGS, "--dry_run", f"--workdir={tmp_path / 'run'}")
    assert (done.code, done.err) == (0, "")
    assert read_trainings(done.out) == {
        "search": 2 * 2 * 2,  # generations, candidates and trials
        "promotion": 1 * 2,
        # Of two losses and a found one two trials, then two seeds on train and two on all.
        "tuning and test": (2 + 1) * (2 + 2 + 2),
        "recommender": 1,
    }
    assert "without a loss: popularity, ease" in done.out
    assert not (tmp_path / "run").exists()


def test_what_a_run_would_refuse_a_dry_run_refuses(command, tmp_path):
    for flag, fragment in (
        ("--config.policy.name=randm", "policy.name 'randm'"),
        ("--config.promote.num_lanes=1000000000", "promote.num_lanes"),
        ("--workdir=tests", "holds no run"),
    ):
        done = command(*TINY, "--dry_run", f"--workdir={tmp_path / 'run'}", flag)
        assert_one_line(done, 1, fragment)
