"""Set up for all tests: eight CPU devices, and the same hypothesis examples every time.

Compiling takes most of the time, so XLA optimizes less here than for users; the golden epoch and
tests/smoke.py run what users run.
"""

import gc
import os

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

import hypothesis
import jax
import pytest

from tests.helpers.run_server import ROOT, Server

jax.config.update("jax_num_cpu_devices", 8)  # takes effect only before JAX starts

# Tracing makes many objects that stay; looking through them often takes a quarter of its time.
gc.set_threshold(100_000, 50, 100)

hypothesis.settings.register_profile("same", deadline=None, derandomize=True, database=None)
hypothesis.settings.load_profile("same")


def pytest_configure(config):
    """Keep compiled programs between test runs; ``pytest --cache-clear`` starts afresh."""
    folder = str(config.cache.mkdir("compiled"))
    jax.config.update("jax_compilation_cache_dir", folder)
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)


@pytest.fixture(scope="module")
def environment(request):
    """Compiled programs are kept between runs, and between test runs."""
    cache = request.config.cache.mkdir("autolossgen")
    return {**os.environ, "AUTOLOSSGEN_CACHE": str(cache), "PYTHONPATH": str(ROOT / "src")}


@pytest.fixture(scope="module")
def server(environment, tmp_path_factory):
    served = Server(tmp_path_factory.mktemp("outputs"), environment)
    yield served
    served.process.stdin.close()
    served.process.wait(timeout=20)
    served.process.stdout.close()
