"""Runs the wheel at the lowest and at the newest versions that setup.cfg allows.

A script, not a test module, and not part of CI, for it downloads two environments::

    python tests/versions.py            # both
    python tests/versions.py lowest
"""

import configparser
import os
import re
import subprocess
import sys
import tempfile
import venv
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
EXTRAS = ("search", "stream")
SMALL = (  # flags that keep a smoke run small
    "--config.data.num_users=40",
    "--config.data.num_items=50",
    "--config.data.num_interactions=1500",
    "--config.model.embedding_dim=4",
    "--config.train.batch_size=256",
)
RUNS = {
    "a search": ("--config=synthetic:smoke", *SMALL, "--config.generation.num_lanes=4"),
    "rankings": ("--config=topk:smoke", "--config.data.name=synthetic", *SMALL),
}


def main(chosen: list[str]) -> int:
    """Tests the environments that are named, or both; returns the exit status."""
    failed = 0
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        build = [sys.executable, "-m", "build", "--wheel", "--outdir", folder, ROOT]
        subprocess.run(build, check=True, stdout=subprocess.DEVNULL)
        (wheel,) = folder.glob("*.whl")
        for which in chosen or ["lowest", "newest"]:
            pins = list(_find_lowest()) if which == "lowest" else []
            failed += not _test(which, pins, wheel, folder / which)
    print(f"versions: {failed} failed")
    return 1 if failed else 0


def _find_lowest() -> Iterator[str]:
    """Yields the lowest versions of what is declared, as pip takes constraints."""
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg")
    extras = setup["options.extras_require"]
    lines = [setup["options"]["install_requires"], *(extras[extra] for extra in EXTRAS)]
    for line in "\n".join(lines).splitlines():
        if match := re.match(r"([\w.-]+)>=([\w.]+)", line):
            yield f"{match[1]}=={match[2]}"


def _test(which: str, pins: list[str], wheel: Path, folder: Path) -> bool:
    """Installs the wheel into an environment of its own; returns whether all runs end well."""
    venv.create(folder)
    python = folder / ("Scripts" if sys.platform == "win32" else "bin") / "python"
    constraints = folder / "constraints.txt"
    constraints.write_text("\n".join(pins))
    pip = [sys.executable, "-m", "pip", "--quiet", f"--python={python}"]
    wanted = f"{wheel}[{','.join(EXTRAS)}]"
    subprocess.run([*pip, "install", "--no-compile", "-c", constraints, wanted], check=True)
    print(f"{which}:", " ".join(_list_versions(pip)))
    passed = True
    for name, flags in RUNS.items():
        workdir = f"--workdir={folder / 'runs' / name.replace(' ', '-')}"
        command = [str(python), "-m", "autolossgen", *flags, workdir]
        quick = {**os.environ, "JAX_DISABLE_MOST_OPTIMIZATIONS": "1"}
        done = subprocess.run(
            command, cwd=folder, env=quick, capture_output=True, text=True, check=False
        )
        passed &= done.returncode == 0
        print(f"{'ok' if done.returncode == 0 else 'FAILED'}: {name}, {which} versions")
        print("" if done.returncode == 0 else done.stdout + done.stderr)
    return passed


def _list_versions(pip: list[str]) -> list[str]:
    """Returns the packages of an environment with their versions."""
    found = subprocess.run([*pip, "freeze"], check=True, capture_output=True, text=True).stdout
    return [line for line in found.splitlines() if "==" in line]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
