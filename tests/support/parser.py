"""A parser of what others write, and inputs that it takes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from kvmprobe.errors import KvmprobeError


@dataclass(frozen=True)
class Parser:
    """One parser.

    :ivar seeds: returns valid inputs
    :ivar read: takes an input and an empty folder
    :ivar refusals: the errors with which it refuses an input
    """

    name: str
    seeds: Callable[[], list[bytes]]
    read: Callable[[bytes, Path], object]
    refusals: tuple[type[KvmprobeError], ...]


def in_file(read: Callable[[Path], object], name: str) -> Callable[[bytes, Path], object]:
    """Return a ``read`` for a parser that opens a file of this name."""

    def written(content: bytes, folder: Path) -> object:
        file = folder / name
        file.write_bytes(content)
        return read(file)

    return written
