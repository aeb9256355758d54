"""Writes what has to be there after a crash."""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


def write_whole(final: Path, scratch: Path, content: bytes) -> None:
    """Make a file that is on the disk with all of its content, or not there at all.

    :param scratch: what it is called until then, in the same folder
    :raises OSError: nothing of it is left
    """
    try:
        with scratch.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        scratch.rename(final)
        _sync_folder(final.parent)
    except OSError:
        with contextlib.suppress(OSError):
            scratch.unlink(missing_ok=True)
        raise


def write_all(fd: int, content: bytes, offset: int) -> None:
    """Write all of it, however little the kernel takes at once."""
    while content:
        written = os.pwrite(fd, content, offset)
        content, offset = content[written:], offset + written


def _sync_folder(path: Path) -> None:
    """Have a folder's names on the disk."""
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
