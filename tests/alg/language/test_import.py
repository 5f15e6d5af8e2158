"""What importing the loss language brings with it."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[3]


def run(code):
    return subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.strip()


def test_the_language_needs_jax_alone():
    heavy = "absl flax ml_collections matplotlib optax orbax pandas polars rich scipy sympy torch"
    # JAX imports SciPy for itself, so only what comes after it counts.
    code = (
        "import sys, jax, jax.numpy; before = set(sys.modules); import autolossgen as alg; "
        "alg.named_loss('bce')(0.0, 1.0); alg.to_python('pred'); "
        f"print(*(set({heavy.split()}) & (set(sys.modules) - before)))"
    )
    assert run(code) == ""


def test_the_import_takes_a_fifth_of_a_second_at_most_beyond_jax():
    code = (
        "import time, jax, jax.numpy; start = time.perf_counter(); import autolossgen as alg; "
        "print(time.perf_counter() - start)"
    )
    assert min(float(run(code)) for _ in range(3)) < 0.2


def test_everything_exported_is_there():
    import autolossgen as alg

    assert sorted(alg.__all__, key=lambda name: (not name.isupper(), name[0].islower(), name)) == (
        alg.__all__
    )
    assert all(hasattr(alg, name) for name in alg.__all__)
    contract = "build_loss named_loss parse to_text to_latex to_python to_torch complexity Program"
    contract += " PAPER SIGNED assemble interpret vocabulary Op"
    assert set(contract.split()) <= set(alg.__all__)
