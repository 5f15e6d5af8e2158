"""What a run keeps of phases that are not finished, and where it stops if the user asks to.

It lies in the folder ``unfinished`` of the run, which is removed when the results are there.
"""

import shutil
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import jax

import autolossgen
from autolossgen.evaluation.kept import NOTHING, Arrays, Kept
from autolossgen.files import DamagedFile, read_arrays, write_arrays

from .terminal.interrupt import Stopped

FOLDER = "unfinished"
STATE = ".state.npz"
SECONDS = 10.0  # at least, between two states that are kept
SHARE = 0.05  # of the time, at most, that keeping states takes


def keep_in(
    workdir: Path, asked: Callable[[], bool], warn: Callable[[str], None] = lambda line: None
) -> Kept:
    """Returns what keeps finished parts, and states of trainings, in the folder of a run.

    With several processes nothing is kept, for none of them has all lanes.

    Args:
      workdir: of the run.
      asked: whether the user asked to stop: what is saved or offered next is the last.
      warn: called with a line about a file that cannot be read.

    Raises of what is returned:
      Stopped: if the user asked to stop.
    """
    folder, several = workdir / FOLDER, jax.process_count() > 1
    begun = last = time.monotonic()
    spent = 0.0

    def locate(name: str, ending: str = ".npz") -> Path:
        return folder / (name.replace(" ", "-") + ending)

    def write(path: Path, arrays: Arrays) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_arrays(path, arrays, {"version": autolossgen.__version__})

    def save(name: str, arrays: Arrays) -> None:
        if not several:
            write(locate(name), arrays)
            locate(name, STATE).unlink(missing_ok=True)
        stop_if_asked(asked, f"after {_name(name)}")

    def offer(name: str, make: Callable[[], Arrays]) -> None:
        nonlocal last, spent
        stops, now = asked(), time.monotonic()
        is_time = now - last >= SECONDS and spent <= SHARE * (now - begun)
        if not several and (stops or is_time):
            write(locate(name, STATE), make())
            last = time.monotonic()
            spent += last - now
        if stops:
            raise Stopped(f"in {_name(name)}")

    if several:
        return NOTHING._replace(save=save, offer=offer)
    read = partial(_read, warn=warn)
    return Kept(
        load=lambda name: read(locate(name)),
        save=save,
        resume=lambda name: read(locate(name, STATE)),
        offer=offer,
    )


def stop_if_asked(asked: Callable[[], bool], where: str) -> None:
    """Stops where all that is finished is kept.

    Raises:
      Stopped: if the user asked to.
    """
    if asked():
        raise Stopped(where)


def _name(name: str) -> str:
    """Returns the name of a part as people read it: without what it is part of."""
    return f"the {name.rpartition('/')[2].replace('-', ' ')}"


def _read(path: Path, warn: Callable[[str], None]) -> Arrays | None:
    """Returns what a file keeps; None if it is not there, damaged or of another version."""
    try:
        arrays, about = read_arrays(path)
    except FileNotFoundError:
        return None
    except (DamagedFile, OSError) as error:
        warn(f"WARNING: {path} is damaged: {error}. What it kept is done again")
        return None
    return arrays if about.get("version") == autolossgen.__version__ else None


def forget(workdir: Path) -> None:
    """Removes what a run has kept of unfinished phases."""
    shutil.rmtree(workdir / FOLDER, ignore_errors=True)
