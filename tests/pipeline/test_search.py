"""The search of a run: what it compiles, how it goes on, and limits that end it early.

One run on two devices, by the default policy, compiled once for all tests.
"""

import io
import logging
import re
from collections import Counter
from itertools import count
from types import SimpleNamespace
from typing import NamedTuple

import jax
import numpy as np
import pytest
from rich.console import Console

from autolossgen.pipeline import search as search_module
from autolossgen.pipeline.search import search_losses
from autolossgen.pipeline.shortlist import check_hall, promote_losses
from autolossgen.pipeline.test import compare_losses
from tests.helpers.run_server import LEARNED
from tests.helpers.tiny_run import make_tiny_run

pytestmark = pytest.mark.slow

NONE = {"generations": 6, "candidates": 0, "seconds": 0.0, "target": None}


SEARCH = {"_init", "_run_generation", "_advance"}
OURS = SEARCH | {"factors", "train", "evaluate", "predict", "logit_grads"}


class Compilations(logging.Handler):
    """Notes what JAX says that it compiles: name, shapes and shardings, kept programs too."""

    def __init__(self):
        super().__init__()
        self.seen = []

    def emit(self, record):
        said = r"Compiling jit\((\S+)\) with global shapes and types (.*)"
        if found := re.match(said, record.getMessage(), re.DOTALL):
            self.seen.append(found.groups())

    def phase(self):
        """Returns what was compiled since the last call."""
        seen, self.seen = self.seen, []
        return seen


class Tiny(NamedTuple):
    """A run through all phases, and what each of them compiled."""

    search: search_module.SearchPhase
    compiled: dict[str, list[tuple[str, str]]]
    ended: tuple  # state and entries of the search, which went on once from its checkpoint


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    """Runs all phases; the search goes on once from its checkpoint."""
    folder = tmp_path_factory.mktemp("run")
    compilations = Compilations()
    logger = logging.getLogger("jax._src.interpreters.pxla")
    logger.addHandler(compilations)
    jax.clear_caches()  # what other tests compiled counts, too
    with jax.log_compiles():
        run = make_tiny_run(*LEARNED, "--config.devices=2", "--config.search.round_generations=4")
        run.search.settings.update(NONE | {"generations": 8, "checkpoint_every": 3})
        search_losses(run.search, folder / "checkpoints", folder)
        seen = {"search": compilations.phase()}
        run.search.settings.generations = 14
        state, entries = search_losses(run.search, folder / "checkpoints", folder)
        seen["restored"] = compilations.phase()
        checked = check_hall(run.shortlist, state.hall, folder)
        seen["check"] = compilations.phase()
        found = promote_losses(run.shortlist, checked, folder)
        seen["promotion"] = compilations.phase()
        compare_losses(run.setup, found)
        seen["test"] = compilations.phase()
    logger.removeHandler(compilations)
    assert found
    return Tiny(run.search, seen, (state, entries))


@pytest.fixture
def search(tiny, tmp_path):
    """Searches in one folder, again at each call; returns state, entries and what was printed."""

    def run(**limits):
        tiny.search.settings.update(NONE | limits)
        console = Console(file=io.StringIO(), width=60)
        printing = tiny.search._replace(console=console)
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


def test_every_function_is_compiled_once_per_shape(tiny):
    """So neither the second generation compiles anything, nor the second round."""
    counts = Counter(each for seen in tiny.compiled.values() for each in seen if each[0] in OURS)
    assert {name for name, _ in counts} == OURS
    assert set(counts.values()) == {1}


def test_the_search_compiles_three_functions(tiny):
    names = [name for name, _ in tiny.compiled["search"] if name in OURS]
    assert sorted(names) == sorted(SEARCH)


def test_a_restored_search_compiles_nothing_at_all(tiny):
    assert tiny.compiled["restored"] == []


def test_a_search_that_goes_on_ends_as_one_without_interruption(tiny, search):
    """To the last bit, with all that the policy has learned; on every device, too."""
    state, entries, _ = search(generations=14)
    stopped, before = tiny.ended
    jax.tree.map(np.testing.assert_array_equal, as_numbers(state), as_numbers(stopped))
    without_time = [[each | {"seconds": None} for each in some] for some in (entries, before)]
    assert without_time[0] == without_time[1]
    for leaf in jax.tree.leaves(state):
        assert leaf.is_fully_replicated
        assert len(leaf.sharding.device_set) == 2


def as_numbers(state):
    """Returns a state with random keys as numbers."""
    is_key = lambda x: jax.dtypes.issubdtype(x.dtype, jax.dtypes.prng_key)  # noqa: E731
    return jax.tree.map(lambda x: np.asarray(jax.random.key_data(x) if is_key(x) else x), state)


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
    assert said == [False] * 3  # whether it is over before, and after each generation
    # Only the first process writes checkpoints, so this one begins again, and ends at once.
    monkeypatch.setattr(search_module, "any_process", lambda flag: True)
    assert search(generations=4)[1] == []
