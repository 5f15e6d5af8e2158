"""One compilation per shape: nothing that runs again and again is compiled again."""

import logging
import re
from collections import Counter

import jax
import pytest

from autolossgen.pipeline.search import search_losses
from autolossgen.pipeline.shortlist import check_hall, promote_losses
from autolossgen.pipeline.test import compare_losses
from tests.helpers.tiny_run import make_tiny_run

pytestmark = pytest.mark.slow

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


@pytest.fixture(scope="module")
def phases(tmp_path_factory):
    """Returns what each phase of a run compiles; the search goes on once from its checkpoint."""
    folder = tmp_path_factory.mktemp("run")
    compilations = Compilations()
    logger = logging.getLogger("jax._src.interpreters.pxla")
    logger.addHandler(compilations)
    jax.clear_caches()  # what other tests compiled counts, too
    with jax.log_compiles():
        run = make_tiny_run(
            *("--config.search.generations=12", "--config.search.round_generations=3"),
            *("--config.search.checkpoint_every=4", "--config.devices=2"),
        )
        state, _ = search_losses(run.search, folder / "checkpoints", folder)
        seen = {"search": compilations.phase()}
        run.search.settings.generations = 18
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
    assert len(entries) == 18
    return seen


def test_every_function_is_compiled_once_per_shape(phases):
    """So neither the second generation compiles anything, nor the second round."""
    counts = Counter(each for seen in phases.values() for each in seen if each[0] in OURS)
    assert {name for name, _ in counts} == OURS
    assert set(counts.values()) == {1}


def test_the_search_compiles_three_functions(phases):
    names = [name for name, _ in phases["search"] if name in OURS]
    assert sorted(names) == sorted(SEARCH)


def test_a_restored_search_compiles_nothing_at_all(phases):
    assert phases["restored"] == []
