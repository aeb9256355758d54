"""Reading a distribution's vmlinuz: the setup header and the kernel proper, unpacked here.

Unpacking in the emulator costs seconds of every boot; here it is done once per kernel.  What
nothing on this host can unpack is handed over packed, and then unpacks itself.  Knows the boot
protocol (Linux Documentation/arch/x86/boot.rst), not where the image lies in the machine's memory.
"""

from __future__ import annotations

import bz2
import lzma
import shutil
import struct
import subprocess
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from kvmprobe.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

_HEADER_OFFSET = 0x1F1
_ENTRY_64_OFFSET = 0x200
_XLF_KERNEL_64 = 1
_OLDEST_PROTOCOL = 0x20C  # 2.12: xloadflags
_ELF_SEGMENT = struct.Struct("<IIQQQQQQ")
_PT_LOAD = 1


@dataclass(frozen=True, slots=True)
class KernelImage:
    """A kernel ready to be placed in memory.

    :ivar setup_header: bytes from 0x1f1 of the file, as boot_params takes them at the same offset
    :ivar content: what goes to ``address``
    :ivar address: physical byte address
    :ivar entry: physical byte address of the 64-bit entry point
    :ivar end: first physical byte address that the kernel does not claim at start
    """

    setup_header: bytes
    content: bytes
    address: int
    entry: int
    end: int


def read(vmlinuz: Path) -> KernelImage:
    """Read and unpack a kernel image.

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
    payload = file[payload_start : payload_start + _field(file, "<I", 0x24C)]
    elf = _unpacked(payload)
    if elf is None:
        content = file[packed_start:]
        return KernelImage(
            header, content, address, address + _ENTRY_64_OFFSET, address + init_size
        )
    return _from_elf(header, elf, address + init_size)


def _field(file: bytes, layout: str, offset: int) -> int:
    value: int = struct.unpack_from(layout, file, offset)[0]
    return value


def _unpacked(payload: bytes) -> bytes | None:
    for magic, unpack in _UNPACKERS.items():
        if payload.startswith(magic):
            elf = unpack(payload)
            return elf if elf is not None and elf.startswith(b"\x7fELF") else None
    return None


def _from_elf(header: bytes, elf: bytes, end: int) -> KernelImage:
    entry, table = struct.unpack_from("<QQ", elf, 24)
    count = _field(elf, "<H", 56)
    segments = [
        segment
        for number in range(count)
        if (segment := _ELF_SEGMENT.unpack_from(elf, table + number * _ELF_SEGMENT.size))[0]
        == _PT_LOAD
    ]
    address = min(segment[4] for segment in segments)
    content = bytearray(max(segment[4] + segment[5] for segment in segments) - address)
    for _, _, offset, _, physical, file_size, _, _ in segments:
        start = physical - address
        content[start : start + file_size] = elf[offset : offset + file_size]
    return KernelImage(header, bytes(content), address, entry, end)


def _through(*command: str) -> Callable[[bytes], bytes | None]:
    def unpack(payload: bytes) -> bytes | None:
        if shutil.which(command[0]) is None:
            return None
        # The build appends the unpacked size (four bytes), which these programs call garbage:
        # their output is whole all the same, so only the output is judged.
        return subprocess.run(command, input=payload[:-4], capture_output=True, check=False).stdout

    return unpack


_UNPACKERS: dict[bytes, Callable[[bytes], bytes | None]] = {
    b"\x28\xb5\x2f\xfd": _through("zstd", "-dc"),
    b"\x02\x21\x4c\x18": _through("lz4", "-dc"),
    b"\xfd7zXZ": lambda payload: lzma.LZMADecompressor().decompress(payload),
    b"\x5d\x00\x00": lambda payload: lzma.LZMADecompressor().decompress(payload),
    b"BZh": lambda payload: bz2.BZ2Decompressor().decompress(payload),
    b"\x1f\x8b": lambda payload: zlib.decompressobj(31).decompress(payload),
}
