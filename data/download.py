"""Where data sets come from: the cache folder, then the network; checked by pinned checksums.

Each set has terms of its own (see ``registry``): every user fetches it from a source of their own,
and nothing of any is part of this project.
"""

import hashlib
import http.client
import io
import logging
import os
import subprocess
import sys
import tempfile
import urllib.request
import zipfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import platformdirs

from autolossgen.files import write_atomically

from .tables import decompress
from .types import DataError

CONNECT_SECONDS = 10
PIP_SECONDS = 120
FIRST_DAY = (1980, 1, 1, 0, 0, 0)  # the earliest that a zip archive can state
RECBOLE = "recbole==1.2.1"
RECBOLE_FILES = ("ml-100k.inter", "ml-100k.user", "ml-100k.item")
MOVIETWEETINGS = (
    "https://raw.githubusercontent.com/sidooms/MovieTweetings/"
    "4d8280a3f1ea83e3e23f13d1710d19f43564274f/snapshots/100K/"
)

logger = logging.getLogger(__name__)


class Download(NamedTuple):
    """One place that delivers a file whose checksum is known."""

    title: str  # for people
    file: str  # the file's name in the cache folder
    checksum: str  # "md5:..." or "sha256:..." of the file; empty where the place replaces it
    fetch: Callable[[], bytes]  # OSError and its like where the place is out of reach


def get_cache_folder() -> Path:
    """Returns AUTOLOSSGEN_CACHE if it is set, else the platform's cache folder."""
    chosen = os.environ.get("AUTOLOSSGEN_CACHE")
    return Path(chosen).expanduser() if chosen else Path(platformdirs.user_cache_dir("autolossgen"))


def has_checksum(raw: bytes, checksum: str) -> bool:
    """Whether ``raw`` has the checksum "algorithm:hex"; everything has an empty one.

    Example:
      >>> has_checksum(b"", "md5:d41d8cd98f00b204e9800998ecf8427e")
      True
    """
    if not checksum:
        return True
    algorithm, digest = checksum.split(":")
    return hashlib.new(algorithm, raw, usedforsecurity=False).hexdigest() == digest


def obtain(
    sources: Sequence[Download], *, cache: Path, how_to_go_on: str
) -> tuple[str, bytes, str]:
    """Returns file name, bytes and note of the first source that delivers, cached ones first.

    A fetched file is written to ``cache`` whole or not at all; a cached file with a wrong checksum
    counts as absent and is replaced.

    Raises:
      DataError: listing what was tried, and why it failed, if no source delivers.
    """
    tried = []
    for source in sources:
        path = cache / source.file
        try:
            raw = path.read_bytes()
        except FileNotFoundError:
            tried.append(f"cache: no {path}")
        except OSError as error:
            tried.append(f"cache: {path}: {_describe_reason(error)}")
        else:
            if has_checksum(raw, source.checksum):
                return source.file, raw, f"{path} (cached, from {source.title})"
            tried.append(f"cache: {path} does not have the checksum {source.checksum}")
    for source in sources:
        logger.info("fetching %s from %s", source.file, source.title)
        try:
            raw = source.fetch()
        # What urllib, pip and zip archives raise where a place is out of reach or cut off.
        except (
            OSError,
            http.client.HTTPException,
            subprocess.SubprocessError,
            zipfile.BadZipFile,
            KeyError,
        ) as error:
            tried.append(f"{source.title}: {_describe_reason(error)}")
            continue
        if not has_checksum(raw, source.checksum):
            tried.append(f"{source.title}: came without the checksum {source.checksum}")
            continue
        return source.file, raw, f"{source.title} ({_cache(raw, cache / source.file)})"
    listing = "".join(f"\n  {line}" for line in tried)
    raise DataError(f"no source delivered the data; tried:{listing}\n{how_to_go_on}")


def _cache(raw: bytes, path: Path) -> str:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, raw)
    except OSError as error:
        return f"not cached: {_describe_reason(error)}"
    return f"cached as {path}"


def _describe_reason(error: Exception) -> str:
    if isinstance(error, subprocess.CalledProcessError):
        lines = (error.stderr or b"").decode(errors="replace").strip().splitlines()
        return lines[-1] if lines else f"exit status {error.returncode}"
    # urllib wraps what happened, such as a name that does not resolve.
    wrapped = getattr(error, "reason", None)
    return str(wrapped if isinstance(wrapped, OSError) else error) or type(error).__name__


def _fetch_url(url: str) -> bytes:
    with urllib.request.urlopen(url, timeout=CONNECT_SECONDS) as response:
        return response.read()


def make_grouplens_download(file: str, checksum: str) -> Download:
    """Describes an archive of GroupLens, for research only (see ``registry``)."""
    url = f"https://files.grouplens.org/datasets/movielens/{file}"
    return Download(url, file, checksum, lambda: _fetch_url(url))


def make_movietweetings_download() -> Download:
    """Describes the 100K snapshot of MovieTweetings: ratings and films."""
    names = ("ratings.dat", "movies.dat")
    return Download(
        MOVIETWEETINGS,
        "movietweetings-100k.zip",
        "sha256:dab168ea39e7815fb0845fdf4b61268d485517063d4e9f05c1a03d642170498a",
        lambda: make_archive({name: _fetch_url(MOVIETWEETINGS + name) for name in names}),
    )


def make_recbole_download() -> Download:
    """Describes ML-100K in RecBole's wheel, for machines that can reach a package index alone.

    RecBole is MIT; the ratings in it stay under MovieLens's terms. The same 100,000 lines as
    u.data, below a typed header, and what is known of users and films.
    """

    def fetch() -> bytes:
        with tempfile.TemporaryDirectory() as folder:
            command = [sys.executable, "-m", "pip", "download", "--no-deps", "--quiet"]
            command += ["--only-binary=:all:", "--disable-pip-version-check", "--no-input"]
            command += ["--retries=1", f"--timeout={CONNECT_SECONDS}", "--dest", folder, RECBOLE]
            subprocess.run(command, check=True, capture_output=True, timeout=PIP_SECONDS)
            (wheel,) = Path(folder).glob("*.whl")
            with zipfile.ZipFile(wheel) as archive:
                inside = "recbole/dataset_example/ml-100k/"
                return make_archive({name: archive.read(inside + name) for name in RECBOLE_FILES})

    return Download(
        f"pip download {RECBOLE}",
        "ml-100k-recbole.zip",
        "sha256:9b9e118852b5193b12ef3df357c20522c4e1d052413a83780b4ae888b1d840cc",
        fetch,
    )


def make_archive(files: Mapping[str, bytes]) -> bytes:
    """Packs files into an archive that has the same bytes whenever and wherever it is made.

    Example:
      >>> make_archive({"a": b"1"}) == make_archive({"a": b"1"})
      True
    """
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        for name, raw in files.items():
            member = zipfile.ZipInfo(name, FIRST_DAY)
            member.create_system = 3  # else it depends on the platform
            archive.writestr(member, raw)
    return buffer.getvalue()


def unpack(file: str, raw: bytes, members: Sequence[str]) -> tuple[str, bytes]:
    """Returns name and bytes of one of the ``members`` of a zip archive, or of the file.

    What is compressed by gzip is expanded.

    Raises:
      DataError: if the archive is broken or holds no such member.
    """
    if not file.endswith(".zip"):
        return file, decompress(raw, file)
    try:
        with zipfile.ZipFile(io.BytesIO(raw)) as archive:
            for wanted in members:
                for name in archive.namelist():
                    if name.rsplit("/", 1)[-1] == wanted:
                        return f"{file}/{name}", archive.read(name)
    except zipfile.BadZipFile as error:
        raise DataError(f"{file} is not a zip archive ({error}); download it again.") from error
    raise DataError(f"{file} holds none of {', '.join(members)}; give the original archive.")
