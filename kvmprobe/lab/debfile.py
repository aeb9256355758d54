"""Reading a .deb without dpkg: an ar archive whose data.tar member has the files.

Works on distributions without Debian's tools.
:see: deb(5)
"""

from __future__ import annotations

import lzma
import os
import tarfile
import zlib
from contextlib import contextmanager
from typing import IO, TYPE_CHECKING, BinaryIO

from kvmprobe.errors import UsageError
from kvmprobe.lab import zstd

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

AR_MAGIC = b"!<arch>\n"
_HEADER_BYTES = 60
_DAMAGE = (tarfile.TarError, lzma.LZMAError, zlib.error, EOFError, ValueError)


def is_deb(path: Path) -> bool:
    """Return True if the file starts like a .deb."""
    with path.open("rb") as file:
        return file.read(len(AR_MAGIC)) == AR_MAGIC


class Content:
    """The content of one file of a .deb."""

    def __init__(self, file: IO[bytes], deb: Path) -> None:
        self._file = file
        self._deb = deb

    def read(self, size: int = -1) -> bytes:
        """Return the next bytes, all without ``size``.

        :raises UsageError: the .deb is damaged
        """
        try:
            return self._file.read(size)
        except _DAMAGE as error:
            raise _damaged(self._deb, error) from error


def files(deb: Path) -> Iterator[tuple[str, Content]]:
    """Yield path (without leading ``./``) and content of each regular file, in archive order.

    Read a content before asking for the next one.  The rest is not decompressed if the caller
    stops.

    :raises UsageError: the file is not a .deb, or is damaged
    """
    try:
        with _data_tar(deb) as tar:
            for member in tar:
                if member.isfile() and (content := tar.extractfile(member)):
                    yield member.name.removeprefix("./"), Content(content, deb)
    except _DAMAGE as error:
        raise _damaged(deb, error) from error


def _damaged(deb: Path, error: Exception) -> UsageError:
    return UsageError(f"{deb}: damaged or not a Debian package: {error}")


@contextmanager
def _data_tar(deb: Path) -> Iterator[tarfile.TarFile]:
    with deb.open("rb") as file:
        compression = _seek_data(file, deb)
        if compression == "zst":
            with zstd.tar(file) as tar:
                yield tar
        else:
            with tarfile.open(fileobj=file, mode="r|*") as tar:
                yield tar


def _size(field: bytes) -> int:
    """Return a member's size: decimal, padded with spaces (ar(5))."""
    digits = field.rstrip(b" ")
    if not digits.isdigit():
        raise ValueError(f"{field!r} is not the size of a member")
    return int(digits)


def _seek_data(file: BinaryIO, deb: Path) -> str:
    # Returns the compression of data.tar and leaves the file at its first byte.
    if file.read(len(AR_MAGIC)) != AR_MAGIC:
        raise UsageError(f"{deb}: not a Debian package (no ar signature)")
    while len(header := file.read(_HEADER_BYTES)) == _HEADER_BYTES:
        name = header[:16].decode("ascii", "replace").strip().rstrip("/")
        size = _size(header[48:58])
        if name == "data.tar" or name.startswith("data.tar."):
            if file.tell() + size > os.fstat(file.fileno()).st_size:
                raise UsageError(f"{deb}: truncated")
            return name.removeprefix("data.tar").removeprefix(".")
        file.seek(size + size % 2, os.SEEK_CUR)
    raise UsageError(f"{deb}: not a Debian package, or truncated (no data.tar member)")
