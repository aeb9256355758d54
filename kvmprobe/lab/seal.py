"""Finished directories of the cache with the hashes of their files, so that damage is noticed.

A damaged emulator would not fail: it would make a kernel look wrong.  ``sha256sum --check`` reads
the file as well.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvmprobe.lab.download import sha256_of

if TYPE_CHECKING:
    from pathlib import Path

_FILE = "SHA256SUMS"


def seal(folder: Path) -> None:
    """Write the hashes of a directory's files."""
    sums = (f"{sha256_of(file)}  {file.name}\n" for file in _files(folder))
    (folder / _FILE).write_text("".join(sums), encoding="utf-8")


def is_whole(folder: Path) -> bool:
    """Return True if a directory is there and was sealed with just the files that it has."""
    try:
        rows = (folder / _FILE).read_text(encoding="utf-8").splitlines()
        found = {file.name: sha256_of(file) for file in _files(folder)}
    except (OSError, UnicodeDecodeError):
        return False
    return found == {name: digest for digest, _, name in (row.partition("  ") for row in rows)}


def _files(folder: Path) -> list[Path]:
    return sorted(file for file in folder.iterdir() if file.name != _FILE)
