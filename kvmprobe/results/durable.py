"""Writes files that must survive a crash."""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

_SCRATCH = ".new"


def write_whole(final: Path, scratch: Path, content: bytes) -> None:
    """Create a file that is on the disk either with all of its content or not at all.

    :param scratch: its name until it is complete, in the same directory; what has it is removed,
        and no link is followed, which another user may have put there
    :raises OSError: it cannot be written; nothing is left
    """
    try:
        scratch.unlink(missing_ok=True)
        with scratch.open("xb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        scratch.rename(final)
        _sync_folder(final.parent)
    except OSError:
        with contextlib.suppress(OSError):
            scratch.unlink(missing_ok=True)
        raise


def write_file(final: Path, text: str) -> None:
    """Create or replace a text file; an earlier one is there until the new one is complete.

    :raises OSError: it cannot be written; the earlier one is kept
    """
    write_whole(final, final.with_name(scratch_name(final.name)), text.encode())


def scratch_name(name: str) -> str:
    """Return the name that a file has until it is complete."""
    return f".{name}{_SCRATCH}"


def is_scratch(name: str) -> bool:
    """Return True for the name of a file that was not completed."""
    return name.startswith(".") and name.endswith(_SCRATCH)


def write_all(fd: int, content: bytes, offset: int) -> None:
    """Write all of the content, in as many calls as the kernel needs."""
    while content:
        written = os.pwrite(fd, content, offset)
        content, offset = content[written:], offset + written


def _sync_folder(path: Path) -> None:
    """Flush a directory's entries to the disk."""
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
