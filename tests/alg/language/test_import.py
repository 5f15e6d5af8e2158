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
    heavy = "absl flax ml_collections matplotlib optax orbax pandas polars rich scipy torch"
    # JAX imports SciPy for itself, so only what comes after it counts.
    code = (
        "import sys, jax, jax.numpy; before = set(sys.modules); import autolossgen as alg; "
        "alg.named_loss('bce')(0.0, 1.0); alg.to_python('pred'); "
        f"print(*(set({heavy.split()}) & (set(sys.modules) - before)))"
    )
    assert run(code) == ""


def test_the_names_that_users_rely_on_are_exported():
    import autolossgen

    contract = "build_loss named_loss parse to_text to_latex to_python to_torch complexity Program"
    contract += " PAPER SIGNED assemble interpret vocabulary Op LossFn"
    assert set(contract.split()) <= set(autolossgen.__all__) & set(dir(autolossgen))
