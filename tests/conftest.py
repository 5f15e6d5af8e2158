"""Set up for all tests: eight CPU devices, and the same hypothesis examples every time.

Compiling takes most of the time, so XLA optimizes less here than for users; the golden epoch and
tests/smoke.py run what users run.
"""

import os

import hypothesis
import jax
import pytest

from tests.run_server import ROOT, Server

jax.config.update("jax_num_cpu_devices", 8)  # takes effect only before JAX starts
jax.config.update("jax_disable_most_optimizations", True)

hypothesis.settings.register_profile("same", deadline=None, derandomize=True, database=None)
hypothesis.settings.load_profile("same")


def pytest_configure(config):
    """Keep compiled programs between test runs; ``pytest --cache-clear`` starts afresh."""
    folder = str(config.cache.mkdir("compiled"))
    jax.config.update("jax_compilation_cache_dir", folder)
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.3)


@pytest.fixture(scope="module")
def environment(request):
    """Compiled programs are kept between runs, and between test runs."""
    cache = request.config.cache.mkdir("autolossgen")
    quick = {"JAX_DISABLE_MOST_OPTIMIZATIONS": "1"}  # to compile
    return {**os.environ, **quick, "AUTOLOSSGEN_CACHE": str(cache), "PYTHONPATH": str(ROOT)}


@pytest.fixture(scope="module")
def server(environment, tmp_path_factory):
    served = Server(tmp_path_factory.mktemp("outputs"), environment)
    yield served
    served.process.stdin.close()
    served.process.wait(timeout=20)
    served.process.stdout.close()
