"""What a file is, by its first bytes: compressed, or of a format that is read or named."""

import bz2
import gzip
import io
import lzma
import struct
import zipfile
import zlib
from collections.abc import Callable
from typing import IO, cast

from ..types import DataError

# What is not read: first bytes, its name, and how to go on.
SAVE = "Save it as CSV or Parquet."
EXPAND = "Expand it first, and give the file that is in it."
NOT_READ = (
    (b"\xd0\xcf\x11\xe0", "an old Excel workbook", SAVE),
    (b"SQLite format 3\0", "an SQLite database", "Write its table of interactions as CSV."),
    (b"\x89HDF", "an HDF5 file", SAVE),
    (b"\x93NUMPY", "a NumPy array", SAVE),
    (b"ORC", "an ORC file", SAVE),
    (b"RDX", "a file of R", SAVE),
    (b"FEA1", "a Feather file of version 1", SAVE),
    (b"%PDF", "a PDF", SAVE),
    (b"\x28\xb5\x2f\xfd", "compressed by Zstandard", EXPAND),
    (b"\x04\x22\x4d\x18", "compressed by LZ4", EXPAND),
    (b"7z\xbc\xaf\x27\x1c", "a 7z archive", EXPAND),
    (b"Rar!", "a RAR archive", EXPAND),
    (b"version https://git-lfs", "a pointer of Git LFS, not the file itself", "Run git lfs pull."),
    *((b"\x80" + bytes([number]), "a pickle of Python", SAVE) for number in range(2, 6)),
)
TAR_AT, TAR = 257, b"ustar"
WEB_PAGES = (b"<!doctype html", b"<html")
MOST_LAYERS = 3  # compressed within compressed
COMPRESSED: dict[bytes, tuple[str, Callable[[io.BytesIO], IO[bytes]]]] = {
    b"\x1f\x8b": ("gzip", lambda file: cast(IO[bytes], gzip.GzipFile(fileobj=file))),
    b"BZh": ("bzip2", bz2.BZ2File),
    b"\xfd7zXZ\0": ("xz", lzma.LZMAFile),
}
ZIP = b"PK\x03\x04"
# What expands to more than both is made to fill the memory: interactions are some 10 times smaller
# when compressed.
MOST_TIMES, MOST_BYTES = 200, 2**30
PIECE_BYTES = 2**24
DAMAGED = (
    EOFError,
    OSError,
    ValueError,
    zipfile.BadZipFile,
    zlib.error,
    lzma.LZMAError,
    struct.error,
)


def decompress(raw: bytes, path: str) -> bytes:
    """Returns the bytes of a file, decompressed if they are of gzip, bzip2 or xz.

    Raises:
      DataError: if cut off, or if they expand beyond all measure.

    Example:
      >>> decompress(gzip.compress(b"user,item"), "f.gz")
      b'user,item'
    """
    for magic, (name, expand) in COMPRESSED.items():
        if not raw.startswith(magic):
            continue
        try:
            with expand(io.BytesIO(raw)) as file:
                expanded = _read_some(file, raw)
        except DAMAGED as error:
            raise DataError(f"{path} is not whole {name} ({error}); download it again.") from error
        return _check_size(expanded, raw, path)
    return raw


def _read_some(file: IO[bytes], raw: bytes) -> bytes:
    """Returns what a compressed file holds, or a little more of it than it may hold."""
    pieces, size = [], 0
    while size <= max(MOST_TIMES * len(raw), MOST_BYTES) and (piece := file.read(PIECE_BYTES)):
        pieces.append(piece)
        size += len(piece)
    return b"".join(pieces)


def _check_size(expanded: bytes, raw: bytes, path: str) -> bytes:
    """Returns what a compressed file holds, if that is no more than it may.

    Raises:
      DataError: otherwise.
    """
    if len(expanded) > max(MOST_TIMES * len(raw), MOST_BYTES):
        raise DataError(
            f"{path} expands to more than {MOST_TIMES} times its size. Expand it yourself if it is "
            f"what you mean."
        )
    return expanded


def read_whole(raw: bytes, path: str) -> bytes:
    """Returns the bytes of a file that people bring, expanded: an archive must hold one file.

    Raises:
      DataError: if it is cut off, or of a format that is not read, with its name.
    """
    for _ in range(MOST_LAYERS):
        expanded = _unpack_only_member(raw, path) if raw.startswith(ZIP) else decompress(raw, path)
        if expanded is raw:
            break
        raw = expanded
    _check_format(raw, path)
    return raw


def _unpack_only_member(raw: bytes, path: str) -> bytes:
    try:
        with zipfile.ZipFile(io.BytesIO(raw)) as archive:
            names = archive.namelist()
            files = [name for name in names if _is_data(name)]
            expanded = b""
            if len(files) == 1:
                with archive.open(files[0]) as file:
                    expanded = _read_some(file, raw)
    except (RuntimeError, NotImplementedError) as error:  # a password, another compression
        raise DataError(f"{path} cannot be unpacked ({error}). {EXPAND}") from error
    except DAMAGED as error:
        raise DataError(f"{path} is not a whole zip archive ({error}).") from error
    if "[Content_Types].xml" in names:
        raise DataError(f"{path} is an Excel workbook or another Office file. {SAVE}")
    if len(files) != 1:
        shown = ", ".join(files[:6]) or "none"
        raise DataError(
            f"{path} is an archive of {len(files)} files ({shown}): expected one. Expand it, and "
            f"give the file of interactions."
        )
    return _check_size(expanded, raw, path)


def _is_data(name: str) -> bool:
    """Whether a member of an archive is no folder and no hidden file, as Macs add them."""
    is_hidden = name.startswith("__MACOSX/") or name.rsplit("/", 1)[-1].startswith(".")
    return not is_hidden and not name.endswith("/")


def _check_format(raw: bytes, path: str) -> None:
    """Checks that bytes are of no format that is known and not read."""
    for magic, name, remedy in NOT_READ:
        if raw.startswith(magic):
            raise DataError(f"{path} is {name}. {remedy}")
    if raw[TAR_AT : TAR_AT + len(TAR)] == TAR:
        raise DataError(f"{path} is a tar archive. {EXPAND}")
    if raw[:1000].lstrip().lower().startswith(WEB_PAGES):
        raise DataError(
            f"{path} is a web page, not data: the site asks for something first. Download it with "
            f"a browser."
        )
