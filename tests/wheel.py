"""Prove the wheel, not the checkout: build it, install it alone, run the examples elsewhere.

A script, not a test module: ``python tests/wheel.py``.
"""

import subprocess
import sys
import tempfile
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent

USE_IT = """
import sys, time
import jax
start = time.perf_counter()
from autolossgen import build_loss
seconds = time.perf_counter() - start
import jax.numpy as jnp
loss = build_loss("square(label - pred)")
assert float(loss(jnp.zeros(2), jnp.array([1.0, 0.0]))) == 0.25
import importlib.resources
marker = importlib.resources.files("autolossgen").joinpath("py.typed")
assert marker.is_file(), "types are not shipped"
foreign = {"flax", "optax", "polars", "rich", "orbax", "sympy", "torch"} & set(sys.modules)
assert not foreign, f"importing autolossgen imports {foreign}"
assert seconds < 2, f"import takes {seconds:.2f} s beyond jax"
print(f"import takes {seconds:.3f} s beyond jax")
"""

NOTHING_ELSE = """
import importlib.util
for name in ("alg", "models", "controller", "data", "report", "configs", "tests", "run"):
    assert importlib.util.find_spec(name) is None, f"{name} landed in site-packages"
"""


def main() -> int:
    """Run the checks; give the exit status."""
    passed = failed = 0
    with tempfile.TemporaryDirectory() as folder:
        python = _installed_wheel(Path(folder))
        elsewhere = Path(folder) / "elsewhere"
        elsewhere.mkdir()
        checks = {
            "the loss language, with jax alone": [str(python), "-c", USE_IT],
            "no other name in site-packages": [str(python), "-c", NOTHING_ELSE],
        }
        for name, command in checks.items():
            good = _passes(name, command, elsewhere)
            passed, failed = passed + good, failed + (not good)
        _pip(python, "install", "flax", "optax")
        for example in sorted((ROOT / "examples").glob("*.py")):
            copy = elsewhere / example.name
            copy.write_text(example.read_text())
            good = _passes(f"examples/{example.name}", [str(python), copy.name], elsewhere)
            passed, failed = passed + good, failed + (not good)
    print(f"wheel: {passed} passed, {failed} failed")
    return 1 if failed else 0


def _installed_wheel(folder: Path) -> Path:
    """Build the wheel and install it into a new environment; give that one's Python."""
    subprocess.run(
        [sys.executable, "-m", "build", "--wheel", "--outdir", folder, ROOT],
        check=True,
        stdout=subprocess.DEVNULL,
    )
    (wheel,) = folder.glob("*.whl")
    venv.create(folder / "env", with_pip=True)
    python = folder / "env" / ("Scripts" if sys.platform == "win32" else "bin") / "python"
    _pip(python, "install", str(wheel))
    return python


def _pip(python: Path, *arguments: str) -> None:
    subprocess.run([python, "-m", "pip", "--quiet", *arguments], check=True)


def _passes(name: str, command: list[str], folder: Path) -> bool:
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    print(f"{'ok' if done.returncode == 0 else 'FAILED'}: {name}")
    print(done.stdout if done.returncode == 0 else done.stdout + done.stderr)
    return done.returncode == 0


if __name__ == "__main__":
    sys.exit(main())
