"""Files that are written whole or not at all, and arrays in files that show when they are damaged.

A file of arrays is a zip archive, as ``numpy.savez`` writes it, with what it is as JSON. Nothing in
it is ever executed: pickled objects are refused. What it claims to hold is checked before memory is
taken for it, and the checksums of the archive tell whether it is as it was written.
"""

import json
import math
import os
import re
import secrets
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import numpy as np

DRAFT_ENDING = ".new"
_DRAFT = re.compile(r".*\.[0-9a-f]{8}\.new")
ABOUT = "about.json"
MOST_NAMES = 100_000
MOST_TIMES, ALWAYS_FINE = 100, 2**28
"""A file may unpack to so many times its size, or to so many bytes: more is a trap."""
KINDS = "biuf"
"""Of arrays: truth values and numbers."""
_HEADER = re.compile(
    r"\{'descr': '([<>|][biuf]\d{1,2})', 'fortran_order': (True|False), "
    r"'shape': \(((?:\d{1,15},? ?)*)\), \}\s*"
)


_DAMAGES = (  # what reading an archive raises that is none, or of which something is missing
    zipfile.BadZipFile,
    zlib.error,
    OSError,  # of a place before the beginning, for one
    EOFError,
    ValueError,
    TypeError,
    OverflowError,
    NotImplementedError,
    RuntimeError,
)


class DamagedFile(ValueError):
    """A file that is not as it was written, or is none of ours."""


@contextmanager
def open_atomically(path: Path) -> Iterator[IO[bytes]]:
    """Yields a file to write, which takes its place when all is written.

    Several processes may write the same path at once: each has a draft of its own, and the last one
    to finish wins.

    Raises:
      OSError: if it cannot be written; what was there before is still there.
    """
    draft = path.with_name(f"{path.name}.{secrets.token_hex(4)}{DRAFT_ENDING}")
    try:
        with draft.open("xb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())  # or the power could fail between the name and the content
        os.replace(draft, path)
    except BaseException as error:
        draft.unlink(missing_ok=True)
        if isinstance(error, OSError) and error.errno:  # it names the draft, or no file
            raise OSError(error.errno, error.strerror, str(path)) from error
        raise


def write_atomically(path: Path, content: str | bytes) -> None:
    """Writes a file next to its place, then moves it there; see ``open_atomically``.

    Raises:
      OSError: if it cannot be written; what was there before is still there.
    """
    with open_atomically(path) as file:
        file.write(content.encode() if isinstance(content, str) else content)


def parse_json(text: str | bytes, **options: Any) -> Any:
    """Returns what JSON means.

    Args:
      text: the JSON.
      **options: of ``json.loads``.

    Raises:
      ValueError: if it is none, or nested too deeply.
    """
    try:
        return json.loads(text, **options)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def is_draft(file: Path, path: Path) -> bool:
    """Whether a file is what a process left that was killed while it wrote ``path``."""
    return file.name.startswith(f"{path.name}.") and file.name.endswith(DRAFT_ENDING)


def remove_drafts(folder: Path) -> None:
    """Removes what killed processes left in a folder in which no other one writes."""
    for file in folder.rglob(f"*{DRAFT_ENDING}"):
        if _DRAFT.fullmatch(file.name):
            file.unlink(missing_ok=True)


def write_arrays(path: Path, arrays: Mapping[str, np.ndarray], about: Mapping[str, Any]) -> None:
    """Writes named arrays of numbers, atomically.

    Args:
      path: of the file.
      arrays: by name; names may have slashes.
      about: what they are, as plain values; left out if empty.

    Raises:
      OSError: if it cannot be written; what was there before is still there.
      ValueError: for arrays of something else.

    Example:
      >>> import tempfile
      >>> with tempfile.TemporaryDirectory() as folder:
      ...     path = Path(folder) / "state.npz"
      ...     write_arrays(path, {"a/b": np.arange(3)}, {"epoch": 2})
      ...     arrays, about = read_arrays(path)
      >>> arrays["a/b"].tolist(), about
      ([0, 1, 2], {'epoch': 2})
    """
    for name, array in arrays.items():
        if np.asarray(array).dtype.kind not in KINDS:
            raise ValueError(f"{name} is of type {np.asarray(array).dtype}, and no numbers")
    with open_atomically(path) as file, zipfile.ZipFile(file, "w") as archive:
        if about:
            with archive.open(ABOUT, "w") as member:  # without the time, so that bytes are the same
                member.write(json.dumps(about).encode())
        for name, array in arrays.items():
            with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
                np.lib.format.write_array(member, np.asarray(array), allow_pickle=False)


def read_arrays(path: Path) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Reads what ``write_arrays`` wrote.

    Args:
      path: of the file.

    Returns:
      The arrays by name, and what they are; ``{}`` if the file does not say.

    Raises:
      FileNotFoundError: if it is not there.
      OSError: if it cannot be read.
      DamagedFile: if it is damaged, larger than that, or something else.
    """
    with path.open("rb") as file:
        most = max(MOST_TIMES * os.fstat(file.fileno()).st_size, ALWAYS_FINE)
        try:
            with zipfile.ZipFile(file) as archive:
                members = archive.infolist()
                size = sum(member.file_size for member in members)
                if size > most or len(members) > MOST_NAMES:
                    raise ValueError(f"it claims {len(members):,} parts of {size:,} bytes")
                parts = {member.filename: _read_member(archive, member) for member in members}
        except _DAMAGES as why:
            raise DamagedFile(f"it is no whole archive of arrays ({why})") from None
    about = parts.pop(ABOUT, {})
    if not isinstance(about, dict):
        raise DamagedFile(f"{ABOUT} in it is no object of JSON")
    return {name.removesuffix(".npy"): array for name, array in parts.items()}, about


def _read_member(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> Any:
    """Returns an array, or the content of ``about.json``; a wrong checksum is raised."""
    # Of a packed one the claimed size is only a claim: no more than that is ever unpacked.
    with archive.open(member) as file:
        content = file.read(member.file_size + 1)
    if len(content) != member.file_size:
        raise ValueError(f"{member.filename} has another size than it claims")
    return parse_json(content) if member.filename == ABOUT else _parse_array(content)


def _parse_array(content: bytes) -> np.ndarray:
    """Returns the array of numbers that a file in the format of NumPy has.

    Raises:
      ValueError: for anything else.
    """
    magic, begin = content[:8], 10 + int.from_bytes(content[8:10], "little")
    header = _HEADER.fullmatch(content[10:begin].decode("latin1"))
    if magic != b"\x93NUMPY\x01\x00" or header is None:
        raise ValueError("a part of it is no array of numbers")
    dtype, shape = np.dtype(header[1]), tuple(map(int, re.findall(r"\d+", header[3])))
    if math.prod(shape) * dtype.itemsize != len(content) - begin:
        raise ValueError(f"an array in it is not as long as its shape {shape} says")
    values = np.frombuffer(content, dtype, offset=begin).copy()
    return values.reshape(shape, order="F" if header[2] == "True" else "C")
