"""Reading a vmlinuz: the setup header, and the kernel, which is decompressed on this host.

Decompressing in the emulator would take seconds of each boot.  A kernel in a format that this host
cannot decompress decompresses itself in the emulator.

A decompressed kernel has 50 MB or more.  It is kept in memfds and copied with sendfile(), so that
this process hardly touches its pages.
Source: Linux Documentation/arch/x86/boot.rst.
"""

from __future__ import annotations

import bz2
import lzma
import mmap
import os
import shutil
import struct
import subprocess
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from kvmprobe.errors import UsageError
from kvmprobe.lab import elf, zstd

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

_HEADER_OFFSET = 0x1F1
_ENTRY_64_OFFSET = 0x200
_XLF_KERNEL_64 = 1
_SIZE_BYTES = 4  # scripts/Makefile.lib: size_append adds the unpacked size
_OLDEST_PROTOCOL = 0x20C  # 2.12: xloadflags


@dataclass(frozen=True, slots=True)
class KernelImage:
    """A kernel that can be loaded.

    :ivar setup_header: the file from offset 0x1f1, which is its offset in boot_params as well
    :ivar content: the bytes to load at ``address``
    :ivar address: physical address
    :ivar entry: physical address of the 64-bit entry point
    :ivar end: physical address after the memory that the kernel needs at start
    """

    setup_header: bytes
    content: bytes | mmap.mmap
    address: int
    entry: int
    end: int


def read(vmlinuz: Path) -> KernelImage:
    """Read and decompress a kernel image.

    :raises UsageError: the file is not an x86-64 Linux kernel with boot protocol 2.12 or later
    """
    file = vmlinuz.read_bytes()
    if len(file) < 0x1000 or file[0x202:0x206] != b"HdrS":
        raise UsageError(f"{vmlinuz}: not a Linux kernel image (no HdrS signature)")
    protocol, xloadflags = _field(file, "<H", 0x206), _field(file, "<H", 0x236)
    if protocol < _OLDEST_PROTOCOL or not xloadflags & _XLF_KERNEL_64:
        raise UsageError(f"{vmlinuz}: not a 64-bit kernel with boot protocol 2.12 or later")
    header = file[_HEADER_OFFSET : 0x202 + file[0x201]]
    packed_start = ((file[0x1F1] or 4) + 1) * 512
    address, init_size = _field(file, "<Q", 0x258), _field(file, "<I", 0x260)
    payload_start = packed_start + _field(file, "<I", 0x248)
    payload = memoryview(file)[payload_start : payload_start + _field(file, "<I", 0x24C)]
    elf_file = os.memfd_create("elf", os.MFD_CLOEXEC)
    try:
        if _unpacked_into(elf_file, payload):
            return _from_elf(header, elf_file, address + init_size)
    finally:
        os.close(elf_file)
    content = file[packed_start:]
    return KernelImage(header, content, address, address + _ENTRY_64_OFFSET, address + init_size)


def _field(file: bytes, layout: str, offset: int) -> int:
    value: int = struct.unpack_from(layout, file, offset)[0]
    return value


def _unpacked_into(file: int, payload: memoryview) -> bool:
    """Decompress into a file; return True if the result is an ELF file."""
    for magic, unpack in _UNPACKERS.items():
        if payload[: len(magic)] == magic:
            try:
                unpack(payload, file)
            except (ValueError, lzma.LZMAError, OSError, zlib.error) as error:
                raise UsageError(f"the kernel image is damaged: {error}") from error
            return os.pread(file, 4, 0) == b"\x7fELF"
    return False


def _from_elf(header: bytes, elf_file: int, end: int) -> KernelImage:
    with os.fdopen(os.dup(elf_file), "rb") as file, elf.reading(file, "unpacked kernel") as image:
        entry = image["e_entry"]
        segments = [segment.header for segment in image.iter_segments("PT_LOAD")]
    if not segments:
        raise UsageError("the kernel image is damaged: it has nothing to load")
    address = min(segment.p_paddr for segment in segments)
    size = max(segment.p_paddr + segment.p_filesz for segment in segments) - address
    memory = os.memfd_create("kernel", os.MFD_CLOEXEC)
    try:
        os.ftruncate(memory, size)
        for segment in segments:
            place = segment.p_paddr - address
            _copy(elf_file, segment.p_offset, memory, place, segment.p_filesz)
        content = mmap.mmap(memory, size, prot=mmap.PROT_READ)
    finally:
        os.close(memory)
    return KernelImage(header, content, address, entry, end)


def _copy(source: int, offset: int, target: int, place: int, size: int) -> None:
    os.lseek(target, place, os.SEEK_SET)
    while size:
        moved = os.sendfile(target, source, offset, size)
        if not moved:
            raise UsageError(
                "the kernel's ELF image is truncated: its last segment ends after the file"
            )
        offset, size = offset + moved, size - moved


def _through(*command: str) -> Callable[[memoryview, int], object]:
    def unpack(payload: memoryview, file: int) -> None:
        if shutil.which(command[0]) is None:
            return
        subprocess.run(
            command,
            input=payload[:-_SIZE_BYTES],
            stdout=file,
            stderr=subprocess.DEVNULL,
            check=False,
        )

    return unpack


def _with(decompressor: Callable[[], _Decompressor]) -> Callable[[memoryview, int], object]:
    return lambda payload, file: _write(file, decompressor().decompress(payload))


def _write(file: int, content: bytes) -> None:
    view = memoryview(content)
    while view:
        view = view[os.write(file, view) :]


class _Decompressor(Protocol):
    def decompress(self, data: memoryview, /) -> bytes: ...


_UNPACKERS: dict[bytes, Callable[[memoryview, int], object]] = {
    b"\x28\xb5\x2f\xfd": lambda payload, file: zstd.decompress_into(payload[:-_SIZE_BYTES], file),
    b"\x02\x21\x4c\x18": _through("lz4", "-dc"),
    b"\xfd7zXZ": _with(lzma.LZMADecompressor),
    b"\x5d\x00\x00": _with(lzma.LZMADecompressor),
    b"BZh": _with(bz2.BZ2Decompressor),
    b"\x1f\x8b": _with(lambda: zlib.decompressobj(31)),
}
