"""Decompressing zstd: packages, modules and kernels of today's distributions."""

from __future__ import annotations

import io
import os
import tarfile
from contextlib import contextmanager
from typing import TYPE_CHECKING, BinaryIO

if TYPE_CHECKING:
    from collections.abc import Iterator

# zstandard is imported where it is used: commands that boot nothing start without it.


def decompressed(content: bytes) -> bytes:
    """Return the content of one zstd frame.

    :raises ValueError: damaged or truncated
    """
    import zstandard  # noqa: PLC0415

    decompressor = zstandard.ZstdDecompressor().decompressobj()
    try:
        plain = decompressor.decompress(content)
    except zstandard.ZstdError as error:
        raise ValueError(str(error)) from error
    if not decompressor.eof:
        raise ValueError("the zstd frame is truncated")
    return plain


def decompress_into(content: memoryview, descriptor: int) -> None:
    """Write the content of one zstd frame to a file; it need not fit in memory.

    :raises ValueError: damaged
    """
    import zstandard  # noqa: PLC0415

    with os.fdopen(os.dup(descriptor), "wb") as file:
        try:
            zstandard.ZstdDecompressor().copy_stream(io.BytesIO(content), file)
        except zstandard.ZstdError as error:
            raise ValueError(str(error)) from error


@contextmanager
def tar(file: BinaryIO) -> Iterator[tarfile.TarFile]:
    """Open the compressed tar archive that begins at the file's position.

    :raises tarfile.TarError: damaged
    """
    import zstandard  # noqa: PLC0415

    try:
        with (
            zstandard.ZstdDecompressor().stream_reader(file, read_across_frames=True) as plain,
            tarfile.open(fileobj=plain, mode="r|") as archive,
        ):
            yield archive
    except zstandard.ZstdError as error:
        raise tarfile.ReadError(str(error)) from error
