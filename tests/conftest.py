"""Setup of all tests: eight CPU devices, and the same hypothesis examples every time.

Compiling takes most of the time, so XLA optimizes less here than for users. tests/smoke.py
compiles as for users, and so do tests that call ``compile_optimized``.
"""

import gc
import os
import time
from contextlib import suppress
from pathlib import Path

from platformdirs import user_cache_path

# For the processes that tests start, too. XLA's emitters of fused loops take half of its time, and
# both cores have tests to run, so there is none for a program compiled in parallel parts.
os.environ["JAX_DISABLE_MOST_OPTIMIZATIONS"] = "1"
os.environ["XLA_FLAGS"] = " ".join(
    (
        os.environ.get("XLA_FLAGS", ""),
        "--xla_cpu_use_fusion_emitters=false",
        "--xla_cpu_parallel_codegen_split_count=1",
    )
)

# Compiled programs of all tests, of the processes that they start and of every checkout of a user:
# so a fresh clone need not compile what another has compiled.
os.environ["JAX_COMPILATION_CACHE_DIR"] = str(user_cache_path("autolossgen") / "tests")
os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0"

import hypothesis
import jax
import pytest

from tests.helpers.run_server import ROOT, Server
from tests.helpers.shared_context import share_mlir_context

jax.config.update("jax_num_cpu_devices", 8)  # takes effect only before JAX starts

share_mlir_context()

# Tracing makes many objects that stay; looking through them often takes a quarter of its time.
gc.set_threshold(100_000, 50, 100)

hypothesis.settings.register_profile("same", deadline=None, derandomize=True, database=None)
hypothesis.settings.load_profile("same")


COMPILED, DAYS_KEPT = Path(os.environ["JAX_COMPILATION_CACHE_DIR"]), 14


def pytest_configure(config):
    """Keeps compiled programs between test runs; ``pytest --cache-clear`` starts without any."""
    if not hasattr(config, "workerinput"):
        now = time.time()
        for path in COMPILED.glob("*"):
            with suppress(FileNotFoundError):  # another checkout's tests clear it too
                old = now - path.stat().st_mtime > DAYS_KEPT * 86_400
                if old or config.getoption("cacheclear"):
                    path.unlink()


# Half of all time is theirs. test_python_page.py comes late, to find the programs of test_call.py.
LONGEST = (
    *("pipeline/test_run.py", "pipeline/test_topk.py", "pipeline/test_call.py"),
    *("pipeline/test_transfer.py", "controller/test_policies.py", "alg/training/test_devices.py"),
    *("alg/language/test_named_losses.py", "pipeline/test_run_pairwise.py"),
    *("alg/training/test_ranking.py", "alg/search/test_protection.py"),
    *("alg/search/test_search.py", "alg/evaluation/test_fair_test.py", "pipeline/test_search.py"),
    *("pipeline/test_run_streamed.py", "docs/test_python_page.py"),
)


def pytest_collection_modifyitems(items):
    """Lets the files that take longest begin first: none is left for the end."""
    places = {f"tests/{name}": place for place, name in enumerate(LONGEST)}
    items.sort(key=lambda item: places.get(item.nodeid.partition("::")[0], len(places)))


@pytest.fixture(scope="session")
def environment(request):
    """Returns the environment of runs: one device, for tests of several ask for them."""
    return {
        **os.environ,
        "AUTOLOSSGEN_CACHE": str(request.config.cache.mkdir("autolossgen")),
        "JAX_NUM_CPU_DEVICES": "1",
        "PYTHONPATH": str(ROOT / "src"),
    }


@pytest.fixture(scope="session")
def server(environment, tmp_path_factory):
    """Yields what starts runs of the command line; see ``helpers/README.md``."""
    server = Server(tmp_path_factory.mktemp("outputs"), environment)
    yield server
    server.process.stdin.close()
    server.process.wait(timeout=20)
    server.process.stdout.close()


@pytest.fixture(scope="module")
def in_process(environment):
    """Lets runs be called in this process, with the compiled programs that all tests share."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in environment.items():
            patch.setenv(name, value)
        patch.setattr(gc, "freeze", lambda: None)  # other tests look for what is alive
        yield
