"""Limits that end a search before its last generation; the rest of the run follows."""

import io
import json
from itertools import count
from types import SimpleNamespace

import numpy as np
import pytest
import tiny
from rich.console import Console

import phases
from alg.limits import Limits, reached
from tests.run_server import SMOKE, TINY, assert_one_line, results

NONE = {"generations": 9, "candidates": 0, "seconds": 0.0, "target": None}


@pytest.fixture(scope="module")
def joined():
    """One run, whose limits the tests set."""
    return tiny.joined("--config.generation.samples=2048", "--config.search.round_generations=4")


@pytest.fixture
def search(joined, tmp_path):
    """Search in one folder, again at each call; give state, entries and what was printed."""

    def run(**limits):
        joined.ground.config.search.update(NONE | limits)
        console = Console(file=io.StringIO(), width=200)
        mine = joined._replace(workdir=tmp_path, ground=joined.ground._replace(console=console))
        return *phases.search_phase(mine, tmp_path / "checkpoints"), console.file.getvalue()

    return run


@pytest.fixture
def clock(monkeypatch):
    """Time passes by one second each time that the search looks."""
    monkeypatch.setattr(phases, "time", SimpleNamespace(monotonic=count().__next__))


def best_reward(state):
    return float(np.asarray(state.hall.reward)[np.isfinite(state.hall.gain)].max())


def assert_resumes_to_nothing(search, ended, **limits):
    """The same command neither searches on nor changes what was found, and says why."""
    state, entries, said = search(**limits)
    before, entries_before, said_before = ended
    assert int(state.generation) == int(before.generation)
    assert entries == entries_before
    assert f"going on after generation {len(entries)}" in said
    assert said.splitlines()[-1] == said_before.splitlines()[-1]
    assert "compiling" not in said
    for one, other in zip(state.hall, before.hall, strict=True):
        np.testing.assert_array_equal(one, other)


def test_enough_candidates_end_the_search(search):
    _, free, said = search(generations=3)
    assert "ended" not in said
    enough = free[-1]["trained_total"] + 1
    ended = search(candidates=enough)
    entries = ended[1]
    assert entries[-2]["trained_total"] < enough <= entries[-1]["trained_total"]
    assert len(entries) < NONE["generations"]
    assert ended[2].splitlines()[-1] == (
        f"the search ended after generation {len(entries)}: {entries[-1]['trained_total']} "
        f"candidates are trained (search.candidates is {enough})"
    )
    assert_resumes_to_nothing(search, ended, candidates=enough)


def test_enough_seconds_end_the_search_those_before_a_resume_too(search, clock):
    search(generations=2)
    ended = search(seconds=5.0)
    assert [entry["seconds"] for entry in ended[1]] == [1, 2, 3, 4, 5]
    assert ended[2].splitlines()[-1] == (
        "the search ended after generation 5: it took 5.0 seconds (search.seconds is 5.0)"
    )
    assert_resumes_to_nothing(search, ended, seconds=5.0)
    assert len(search(seconds=6.0)[1]) == 6


def test_a_reward_that_is_enough_ends_the_search(search):
    state, _, _ = search(generations=2)
    target = best_reward(state)
    ended = search(target=target)
    assert len(ended[1]) == 2
    assert ended[2].splitlines()[-1] == (
        f"the search ended after generation 2: a candidate has reward {target:.4f} "
        f"(search.target is {target})"
    )
    assert_resumes_to_nothing(search, ended, target=target)
    _, entries, said = search(target=1.0)
    assert len(entries) == NONE["generations"]
    assert "ended" not in said


def test_a_reward_counts_in_any_row_of_the_hall_that_is_filled(search):
    state, entries, _ = search(generations=1)
    hall = state.hall._replace(
        gain=np.float32([0.2, 0.1, -np.inf]), reward=np.float32([0.6, 0.7, 0.9])
    )
    assert "reward 0.7000" in reached(Limits(target=0.7), entries[-1], hall)
    assert reached(Limits(target=0.71), entries[-1], hall) is None
    nothing = hall._replace(gain=np.full(3, -np.inf))
    assert reached(Limits(target=0.0), entries[-1], nothing) is None


def test_the_first_process_decides_for_all(search, monkeypatch):
    said = []
    monkeypatch.setattr(phases, "said_anywhere", lambda flag: said.append(flag) or flag)
    monkeypatch.setattr(phases, "is_first", lambda: False)
    assert len(search(generations=2, candidates=1)[1]) == 2  # no other process says so
    assert said == [False] * 5  # whether it is over before, and of each generation with Ctrl-C
    monkeypatch.setattr(phases, "said_anywhere", lambda flag: True)
    assert len(search(generations=4)[1]) == 2


@pytest.fixture(scope="module")
def limited(server, tmp_path_factory):
    """A run that a limit ends, given again as if it had been killed in its test."""
    folder = tmp_path_factory.mktemp("runs") / "limited"
    arguments = (*TINY, "--config.search.candidates=1", f"--workdir={folder}")
    stages = [(server.run(*arguments), results(folder))]
    (folder / "results.json").unlink()
    return folder, [*stages, (server.run(*arguments), results(folder))]


def test_a_run_that_a_limit_ended_is_checked_and_tested(limited):
    folder, stages = limited
    entries = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    assert 0 < len(entries) < 24
    last = f"the search ended after generation {len(entries)}: "
    for done, found in stages:
        assert (done.code, done.err) == (0, "")
        assert done.out.count(last) == 1
        assert found["search"]["trained"] == entries[-1]["trained_total"] >= 1
    assert stages[0][1] == stages[1][1]
    assert (folder / "hall_of_fame.csv").exists()


def test_another_limit_is_another_run(limited, server):
    done = server.run(*TINY, "--config.search.candidates=2", f"--workdir={limited[0]}")
    assert_one_line(done, 1, "another config (search.candidates is 1 there and 2 here)")


@pytest.mark.parametrize(
    ("argument", "fragment"),
    [
        ("--config.search.candidates=-1", "search.candidates is at least 0, got -1"),
        ("--config.search.seconds=-0.5", "search.seconds is at least 0, got -0.5"),
        ("--config.search.seconds=nan", "search.seconds is at least 0, got nan"),
        ("--config.search.target=1.5", "search.target is a reward, from 0 to 1, or None, got 1.5"),
        ("--config.search.target=nan", "search.target is a reward"),
    ],
)
def test_a_limit_that_cannot_be_is_refused(server, argument, fragment, tmp_path):
    done = server.run(SMOKE, argument, f"--workdir={tmp_path / 'run'}")
    assert_one_line(done, 1, fragment)
