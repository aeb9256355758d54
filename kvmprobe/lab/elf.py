"""Opening ELF files: programs, shared objects, kernel modules, unpacked kernels."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, BinaryIO

from kvmprobe.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from elftools.elf.elffile import ELFFile

_MAGIC = b"\x7fELF"


@contextmanager
def reading(file: BinaryIO, name: str) -> Iterator[ELFFile]:
    """Parse an open ELF file; errors that the block meets count as damage of the file.

    :param name: the file's name, for messages
    :raises UsageError: the file is not ELF, or damaged
    """
    # Imported here: commands that boot nothing start without it.
    from elftools.common.exceptions import ELFError  # noqa: PLC0415
    from elftools.construct import ConstructError  # noqa: PLC0415
    from elftools.elf.elffile import ELFFile  # noqa: PLC0415

    try:
        yield ELFFile(file)
    except (ELFError, ConstructError, OverflowError, ValueError, IndexError) as error:
        raise UsageError(f"{name}: not an ELF file, or damaged: {error}") from error


@contextmanager
def opened(path: Path) -> Iterator[ELFFile]:
    """Open an ELF file.

    :raises UsageError: the file cannot be read, is not ELF, or is damaged
    """
    try:
        with path.open("rb") as file, reading(file, str(path)) as elf:
            yield elf
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror}") from error


def section(elf: ELFFile, name: str) -> bytes:
    """Return the content of a section; without such a section, return no bytes.

    :raises ValueError: it is larger than the file, or compressed
    """
    found = elf.get_section_by_name(name)
    if found is None:
        return b""
    if found.compressed or found.data_size > elf.stream_len:
        raise ValueError(f"the section {name} has no {found.data_size} bytes in the file")
    content: bytes = found.data()
    return content


def interpreter(elf: ELFFile) -> bytes | None:
    """Return the path in the segment PT_INTERP; without such a segment, return None.

    :raises ValueError: the segment is larger than the file
    """
    for segment in elf.iter_segments("PT_INTERP"):
        if segment["p_filesz"] > elf.stream_len:
            raise ValueError(f"PT_INTERP has no {segment['p_filesz']} bytes in the file")
        content: bytes = segment.data()
        return content.rstrip(b"\0")
    return None


def is_x86_64(path: Path) -> bool:
    """Return True for an x86-64 ELF file.

    :raises UsageError: the file cannot be read, or is a damaged ELF file
    """
    try:
        with path.open("rb") as file:
            if file.read(len(_MAGIC)) != _MAGIC:
                return False
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror}") from error
    with opened(path) as elf:
        return elf["e_machine"] == "EM_X86_64" and elf.elfclass == 64
