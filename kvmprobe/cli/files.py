"""Writes the files that options name."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvmprobe.errors import UsageError
from kvmprobe.results.durable import write_file

if TYPE_CHECKING:
    from pathlib import Path


def write(option: str, path: Path, text: str) -> None:
    """Write what an option asks for, to a file or a device.

    :raises UsageError: it cannot be written
    """
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise UsageError(f"{option} {path}: {error.strerror}") from error


def write_result(option: str, path: Path, text: str) -> None:
    """Write the result of a long command to a file; an earlier one stays until it is complete.

    :raises UsageError: it cannot be written
    """
    try:
        write_file(path, text)
    except OSError as error:
        raise UsageError(f"{option} {path}: {error.strerror}") from error
