"""Limits that end a search before its last generation, and the same search given again."""

import io
from itertools import count
from types import SimpleNamespace

import numpy as np
import pytest
from rich.console import Console

from autolossgen.pipeline import search as search_module
from tests.helpers.tiny_run import make_tiny_run

pytestmark = pytest.mark.slow

NONE = {"generations": 6, "candidates": 0, "seconds": 0.0, "target": None}


@pytest.fixture(scope="module")
def phase():
    """One search, whose limits the tests set."""
    return make_tiny_run("--config.search.round_generations=4").search


@pytest.fixture
def search(phase, tmp_path):
    """Searches in one folder, again at each call; returns state, entries and what was printed."""

    def run(**limits):
        phase.settings.update(NONE | limits)
        console = Console(file=io.StringIO(), width=60)
        printing = phase._replace(console=console)
        found = search_module.search_losses(printing, tmp_path / "checkpoints", tmp_path)
        return *found, console.file.getvalue()

    return run


@pytest.fixture
def clock(monkeypatch):
    """Time passes by one second each time that the search looks."""
    monkeypatch.setattr(search_module, "time", SimpleNamespace(monotonic=count().__next__))


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
    _, free, said = search(generations=2)
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
    ended = search(seconds=3.0)
    assert [entry["seconds"] for entry in ended[1]] == [1, 2, 3]
    assert ended[2].splitlines()[-1] == (
        "the search ended after generation 3: it took 3.0 seconds (search.seconds is 3.0)"
    )
    assert_resumes_to_nothing(search, ended, seconds=3.0)
    assert len(search(seconds=4.0)[1]) == 4


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


def test_the_first_process_decides_for_all(search, monkeypatch):
    said = []
    monkeypatch.setattr(search_module, "any_process", lambda flag: said.append(flag) or flag)
    monkeypatch.setattr(search_module, "is_first_process", lambda: False)
    assert len(search(generations=2, candidates=1)[1]) == 2  # no other process says so
    assert said == [False] * 5  # whether it is over before, and of each generation with Ctrl-C
    monkeypatch.setattr(search_module, "any_process", lambda flag: True)
    assert len(search(generations=4)[1]) == 2
