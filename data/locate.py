"""From a data set's name and an optional path to the bytes of its files."""

import io
import re
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from .download import get_cache_folder, obtain, unpack
from .registry import NamedDataSet
from .types import DataError

# file name -> path for messages and bytes, None without such a file
OpenSibling = Callable[[str], tuple[str, bytes] | None]
COMPRESSED_ENDING = r"(\.(gz|bz2|xz|zip))?"
# Of people's own: X.train.csv and its like. {} is a part.
OWN_PART_PATTERN = (
    r"(?i)(.+[._-])?{}\.(csv|tsv|txt|dat|inter|parquet|arrow|feather|avro|jsonl?|ndjson)"
    + COMPRESSED_ENDING
)
MAX_NAMED_FILES = 6  # files in a message
SPLIT_ENDINGS = (".train.csv", ".validation.csv", ".test.csv")


class LocatedFile(NamedTuple):
    """A rating file, and a way to read the files next to it."""

    source: str  # for notes
    path: str  # for messages
    raw: bytes
    open_sibling: OpenSibling


def read_file(path: Path, key: str = "path") -> bytes:
    """Returns the bytes of a file that people name as data.``key``.

    Raises:
      DataError: if it cannot be read.
    """
    try:
        return path.read_bytes()
    except OSError as error:
        if re.match(r"\w+:/", str(path)):  # as a path has it, of https://
            raise DataError(
                f"{path} is an address in the web: download it, and give the file as data.{key}."
            ) from error
        raise DataError(
            f"{path} cannot be read: {error.strerror or error}. Give an existing file as "
            f"data.{key}" + (", or a folder that holds one." if key == "path" else ".")
        ) from error


def find_rating_file(origin: NamedDataSet, path: Path | None) -> LocatedFile:
    """Finds the rating file at ``path``: a file, an archive or a folder; or downloads it.

    Raises:
      DataError: if there is none, saying how to go on.
    """
    if path is None:
        return _download_rating_file(origin)
    if path.is_dir():
        names = [*origin.files, *(source.file for source in origin.sources)]
        candidates = [name for file in names for name in (file, f"{file}.gz")]
        folder, path = path, next((path / c for c in candidates if (path / c).is_file()), path)
        if path == folder:
            raise DataError(
                f"{folder} holds no {origin.title}: expected one of {', '.join(names)}, or the "
                f"three files X{', X'.join(SPLIT_ENDINGS)}. Give the folder or file that holds it"
                + (", or leave data.path empty to download it." if origin.sources else ".")
            )
    raw = read_file(path)
    open_sibling = (
        open_archive(str(path), raw) if path.suffix == ".zip" else open_folder(path.parent)
    )
    file, rating_bytes = unpack(str(path), raw, origin.files)
    return LocatedFile(source=str(path), path=file, raw=rating_bytes, open_sibling=open_sibling)


def _download_rating_file(origin: NamedDataSet) -> LocatedFile:
    get = f"download {origin.title} from {origin.home} and give the file, --config.data.path=.../"
    if not origin.sources:
        raise DataError(f"{origin.title} is not fetched by itself; {get}{origin.files[0]}")
    file, raw, source = obtain(
        origin.sources,
        cache=get_cache_folder(),
        how_to_go_on=(
            f"To go on: {get}{origin.sources[0].file}, or search on generated data, "
            f"--config=configs/synthetic.py"
        ),
    )
    path, rating_bytes = unpack(file, raw, origin.files)
    return LocatedFile(
        source=source, path=path, raw=rating_bytes, open_sibling=open_archive(file, raw)
    )


def open_archive(file: str, raw: bytes) -> OpenSibling:
    """Returns a function that reads members of a zip archive by name."""

    def open_sibling(name: str) -> tuple[str, bytes] | None:
        with zipfile.ZipFile(io.BytesIO(raw)) as archive:
            has = any(member.rsplit("/", 1)[-1] == name for member in archive.namelist())
        return unpack(file, raw, [name]) if has else None

    return open_sibling


def open_folder(folder: Path) -> OpenSibling:
    """Returns a function that reads files of a folder by name, compressed ones too."""

    def open_sibling(name: str) -> tuple[str, bytes] | None:
        for path in (folder / name, folder / f"{name}.gz"):
            if path.is_file():
                return unpack(str(path), read_file(path), [name])
        return None

    return open_sibling


def find_own_split(folder: Path) -> list[Path]:
    """Finds train, validation and test files of any form, as train.csv or my-test.tsv.

    Raises:
      DataError: unless there is one of each.
    """
    matches = [
        [
            file
            for file in sorted(folder.iterdir())
            if re.fullmatch(OWN_PART_PATTERN.format(part), file.name)
        ]
        for part in ("train", "(valid|validation|val|dev)", "test")
    ]
    if [len(files) for files in matches] != [1, 1, 1]:
        matching = [file.name for files in matches for file in files]
        names = matching or sorted(file.name for file in folder.iterdir())
        shown = ", ".join(names[:MAX_NAMED_FILES])
        raise DataError(
            f"{folder} is a folder: expected one file each of train, valid and test in it, such as "
            f"train.csv, X.valid.tsv or X-test.parquet, got {shown or 'nothing'}. Give such a "
            f"folder, or one file that is to be split."
        )
    return [files[0] for files in matches]


def find_split(path: Path) -> list[Path]:
    """Finds the train, validation and test files of a folder that is already split, else none."""
    matches = [sorted(path.glob(f"*{ending}")) for ending in SPLIT_ENDINGS]
    if not any(matches):
        return []
    stems = {
        file.name.removesuffix(ending)
        for files, ending in zip(matches, SPLIT_ENDINGS, strict=True)
        for file in files
    }
    if len(stems) > 1 or not all(matches):
        names = ", ".join(file.name for files in matches for file in files)
        raise DataError(
            f"{path}: expected one set of files X{', X'.join(SPLIT_ENDINGS)}, got {names}. Give a "
            f"folder that holds all three and no other set."
        )
    return [files[0] for files in matches]
