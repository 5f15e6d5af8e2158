"""The main job through the command line: ``python tests/smoke.py`` runs a smoke preset.

On MovieLens-100K; where no source of it can be reached, on generated interactions, and says so.
Another config and its flags can be given, and NaNs that any phase computes be looked for:

    python tests/smoke.py --debug-nans topk --config.data.name=synthetic
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
NO_DATA = "configs/synthetic.py"  # what the message about unreachable sources points to


BASELINES = {"bce", "mse", "hinge", "focal", "maxr", "sumr", "logmin"}


def main() -> int:
    """Runs the preset; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("config", nargs="?", default="ml100k", help="name of a shipped config")
    parser.add_argument("--debug-nans", action="store_true", help="stop at the first NaN")
    given, flags = parser.parse_known_args()
    nans = {"JAX_DEBUG_NANS": "1"} if given.debug_nans else {}
    with tempfile.TemporaryDirectory() as folder:
        workdir = Path(folder) / "run"
        done, seconds = _run(given.config, workdir, flags, nans)
        if given.config == "ml100k" and done.returncode == 1 and NO_DATA in done.stderr:
            print(
                f"{done.stderr}\nMovieLens-100K is out of reach: on generated interactions instead"
            )
            done, seconds = _run("synthetic", workdir, [], nans)
        print(done.stdout + done.stderr)
        results = json.loads((workdir / "results.json").read_text()) if not done.returncode else {}
    names = {loss["name"] for loss in results.get("losses", [])}
    good = names >= BASELINES or "bpr" in names
    print(f"took {seconds:.0f} s")
    print(f"smoke: {int(good)} passed, {int(not good)} failed")
    return 0 if good else 1


def _run(
    config: str, workdir: Path, flags: list[str], environment: dict[str, str]
) -> tuple[subprocess.CompletedProcess, float]:
    start = time.monotonic()
    command = [sys.executable, "run.py", f"--config=configs/{config}.py:smoke", *flags]
    done = subprocess.run(
        [*command, f"--workdir={workdir}"],
        cwd=ROOT,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    return done, time.monotonic() - start


if __name__ == "__main__":
    sys.exit(main())
