"""Proves the wheel, not the checkout: build it, install it alone, run the examples elsewhere.

A script, not a test module: ``python tests/wheel.py``.
"""

import ast
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import venv
import zipfile
from pathlib import Path

from platformdirs import user_cache_path

ROOT = Path(__file__).resolve().parent.parent
UV = shutil.which("uv", path=str(Path(sys.executable).parent))
COMPILED = user_cache_path("autolossgen") / "tests"  # as in conftest.py
SUFFIXES = (".py", ".typed", ".j2", ".css", ".js")

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
typed = importlib.resources.files("autolossgen").joinpath("py.typed")
assert typed.is_file(), "types are not shipped"
foreign = {"flax", "optax", "polars", "rich", "orbax", "torch"} & set(sys.modules)
assert not foreign, f"importing autolossgen imports {foreign}"
assert seconds < 1, f"import takes {seconds:.2f} s beyond jax"
print(f"import takes {seconds:.3f} s beyond jax")
"""

NOTHING_ELSE = """
import importlib.util
FOLDERS = ("alg", "language", "training", "search", "evaluation", "models", "controller", "data",
           "report", "pipeline", "configs", "tests", "benchmarks", "experiments", "run")
for name in FOLDERS:
    assert importlib.util.find_spec(name) is None, f"{name} landed in site-packages"
"""

IMPORT_ALL = """
import importlib, pkgutil, sys
for name in sys.argv[1].split():
    package = importlib.import_module(name)
    for module in pkgutil.walk_packages(package.__path__, f"{name}."):
        if module.name.rpartition(".")[2] != "__main__":
            importlib.import_module(module.name)
"""


def main() -> int:
    """Runs the checks and returns the exit status."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        sdist, wheel = _build(folder / "dist")
        outcomes = [
            _holds(_names_in_sdist(sdist), "sdist"),
            _holds(_names_in_wheel(wheel), "wheel"),
            _passes("twine check", [sys.executable, "-m", "twine", "check", sdist, wheel], folder),
        ]
        environment = folder / "env"
        venv.create(environment)
        python = environment / ("Scripts" if sys.platform == "win32" else "bin") / "python"
        outside = folder / "outside"
        outside.mkdir()

        def passes(name: str, *arguments: str) -> None:
            outcomes.append(_passes(name, [str(python), *arguments], outside))

        _install(python, str(wheel))
        passes("the loss language, with jax alone", "-c", USE_IT)
        language = ("-c", IMPORT_ALL, "autolossgen.language")
        passes("autolossgen.language, with jax alone", *language)
        passes("no other name in site-packages", "-c", NOTHING_ELSE)
        _install(python, f"{wheel}[search]")
        names = [f"autolossgen.{name}" for name, extra in _extras().items() if extra == "search"]
        passes(f"{', '.join(names)}, with the extra search", "-c", IMPORT_ALL, " ".join(names))
        script = [str(python.with_name("autolossgen")), "--config=synthetic:smoke", "--dry_run"]
        outcomes.append(_passes("autolossgen, with a shipped config", script, outside))
        searches = {ROOT / "examples" / name for name in ("find_a_loss.py", "sweep.py")}
        for example in sorted({*(ROOT / "examples").glob("*.py")} - searches):  # smoke.py searches
            (outside / example.name).write_text(example.read_text())
            passes(f"examples/{example.name}", example.name)
    failed = outcomes.count(False)
    print(f"wheel: {len(outcomes) - failed} passed, {failed} failed")
    return 1 if failed else 0


def _extras() -> dict[str, str]:
    """Returns the extra that each sub-package names in its docstring, "" for none."""
    extras = {}
    for path in sorted((ROOT / "src" / "autolossgen").glob("*/__init__.py")):
        docstring = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
        named = re.search(r"[Nn]eeds\s+(?:the\s+)?extra\s+``(\w+)``", docstring)
        extras[path.parent.name] = named[1] if named else ""
    return extras


def _build(folder: Path) -> tuple[Path, Path]:
    """Builds the sdist, and the wheel out of it."""
    command = [sys.executable, "-m", "build", "--outdir", folder, ROOT]
    installer = [f"--installer={'uv' if UV else 'pip'}"]
    subprocess.run([*command, *installer], check=True, stdout=subprocess.DEVNULL)
    (sdist,), (wheel,) = folder.glob("*.tar.gz"), folder.glob("*.whl")
    return sdist, wheel


def _names_in_wheel(wheel: Path) -> set[str]:
    """Returns the files of the package in a wheel."""
    with zipfile.ZipFile(wheel) as file:
        return {name for name in file.namelist() if name.endswith(SUFFIXES)}


def _names_in_sdist(sdist: Path) -> set[str]:
    """Returns the files of an sdist, those of the package as in a wheel."""
    with tarfile.open(sdist) as file:
        names = [name.partition("/")[2].removeprefix("src/") for name in file.getnames()]
    return {name for name in names if name.endswith(SUFFIXES)}


def _holds(names: set[str], what: str) -> bool:
    """Whether an archive holds exactly the files that src/ links to."""
    source = ROOT / "src"
    expected = {
        (Path(folder).relative_to(source) / name).as_posix()
        for folder, _, files in os.walk(source, followlinks=True)
        for name in files
        if name.endswith(SUFFIXES)
    }
    print(f"{'ok' if names == expected else 'FAILED'}: files of the {what}")
    if names != expected:
        print(f"too many: {sorted(names - expected)}, too few: {sorted(expected - names)}")
    return names == expected


def _install(python: Path, wanted: str) -> None:
    """Installs by uv where the Makefile has installed it, or else by pip; compiles nothing yet."""
    if UV:
        command = [UV, "pip", "install", "--quiet", f"--python={python}", wanted]
        if subprocess.run(command, check=False).returncode == 0:
            return
    command = [sys.executable, "-m", "pip", "--quiet", f"--python={python}", "install", wanted]
    subprocess.run([*command, "--no-compile"], check=True)


def _passes(name: str, command: list[str], folder: Path) -> bool:
    quick = {  # compiling takes most of the time, of the examples and of what is imported
        "JAX_DISABLE_MOST_OPTIMIZATIONS": "1",
        "JAX_COMPILATION_CACHE_DIR": str(COMPILED),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
        "PYTHONDONTWRITEBYTECODE": "",
    }
    environment = os.environ | quick
    done = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    print(f"{'ok' if done.returncode == 0 else 'FAILED'}: {name}")
    print(done.stdout if done.returncode == 0 else done.stdout + done.stderr)
    return done.returncode == 0


if __name__ == "__main__":
    sys.exit(main())
