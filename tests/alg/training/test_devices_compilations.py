"""One compilation per shape: nothing that runs again and again is compiled again."""

import logging
import re
from collections import Counter

import jax
import pytest

from autolossgen.pipeline.phases import compare_losses, search_phase
from autolossgen.pipeline.shortlist import check_phase, promote_phase
from tests.helpers import tiny_run as tiny

OURS = {"_init", "_generation", "_advance", "init", "factors", "train", "score", "slopes"}


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
        """Give what was compiled since the last call."""
        seen, self.seen = self.seen, []
        return seen


@pytest.fixture(scope="module")
def phases(tmp_path_factory):
    """Give what each phase of a run compiles; the search goes on once from its checkpoint."""
    folder = tmp_path_factory.mktemp("run")
    compilations = Compilations()
    logger = logging.getLogger("jax._src.interpreters.pxla")
    logger.addHandler(compilations)
    jax.clear_caches()  # what other tests compiled counts, too
    with jax.log_compiles():
        whole = tiny.joined(
            *("--config.search.generations=12", "--config.search.round_generations=3"),
            "--config.search.checkpoint_every=4",
            workdir=folder,
        )
        state, _ = search_phase(whole, folder / "checkpoints")
        seen = {"search": compilations.phase()}
        whole.ground.config.search.generations = 18
        state, entries = search_phase(whole, folder / "checkpoints")
        seen["restored"] = compilations.phase()
        checked = check_phase(whole, state)
        seen["check"] = compilations.phase()
        found = promote_phase(whole, checked)
        seen["promotion"] = compilations.phase()
        compare_losses(whole.ground, found)
        seen["test"] = compilations.phase()
    logger.removeHandler(compilations)
    assert found
    assert len(entries) == 18
    return seen


def test_every_function_is_compiled_once_per_shape(phases):
    """So neither the second generation compiles anything, nor the second round."""
    counts = Counter(each for seen in phases.values() for each in seen if each[0] in OURS)
    assert {name for name, _ in counts} == OURS
    assert set(counts.values()) == {1}


def test_the_search_compiles_three_functions(phases):
    names = [name for name, _ in phases["search"] if name in OURS]
    assert sorted(names) == ["_advance", "_generation", "_init"]


def test_a_restored_search_compiles_nothing_at_all(phases):
    assert phases["restored"] == []
