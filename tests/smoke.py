"""The main job through the command line: ``python tests/smoke.py`` runs a smoke preset.

On MovieLens-100K; where no source of it can be reached, on generated interactions, and says so.
"""

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
NO_DATA = "configs/synthetic.py"  # what the message about unreachable sources points to


def main() -> int:
    """Runs the preset; returns the exit status."""
    with tempfile.TemporaryDirectory() as folder:
        workdir = Path(folder) / "run"
        done, seconds = _run("ml100k", workdir)
        if done.returncode == 1 and NO_DATA in done.stderr:
            print(
                f"{done.stderr}\nMovieLens-100K is out of reach: on generated interactions instead"
            )
            done, seconds = _run("synthetic", workdir)
        print(done.stdout + done.stderr)
        results = json.loads((workdir / "results.json").read_text()) if not done.returncode else {}
    names = {loss["name"] for loss in results.get("losses", [])}
    good = {"bce", "mse", "hinge", "focal", "maxr", "sumr", "logmin"} <= names
    print(f"took {seconds:.0f} s")
    print(f"smoke: {int(good)} passed, {int(not good)} failed")
    return 0 if good else 1


def _run(config: str, workdir: Path) -> tuple[subprocess.CompletedProcess, float]:
    start = time.monotonic()
    command = [sys.executable, "run.py", f"--config=configs/{config}.py:smoke"]
    done = subprocess.run(
        [*command, f"--workdir={workdir}"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    return done, time.monotonic() - start


if __name__ == "__main__":
    sys.exit(main())
