"""Images are made here after Linux Documentation/arch/x86/boot.rst, "Real-Mode Kernel Header"."""

import gzip
import lzma
import struct

import pytest
import zstandard

from kvmprobe.errors import UsageError
from kvmprobe.lab import kernel_image

PREFERRED = 0x1000000


def elf(segments=2):
    content = b"A" * 32 + b"B" * 16
    header = b"\x7fELF\2\1\1".ljust(16, b"\0") + struct.pack(
        "<HHIQQQIHHHHHH", 2, 62, 1, PREFERRED + 0x10, 64, 0, 0, 64, 56, segments, 0, 0, 0
    )
    segments = struct.pack("<IIQQQQQQ", 1, 5, 176, 0, PREFERRED, 32, 32, 4096)
    segments += struct.pack("<IIQQQQQQ", 1, 6, 208, 0, PREFERRED + 64, 16, 4096, 4096)
    return header + segments + content


def vmlinuz(payload, protocol=0x20F, xloadflags=0x7F):
    setup = bytearray(0x400)
    setup[0x1F1] = 1
    setup[0x201] = 0x6A
    setup[0x202:0x206] = b"HdrS"
    struct.pack_into("<H", setup, 0x206, protocol)
    struct.pack_into("<H", setup, 0x236, xloadflags)
    struct.pack_into("<IIQQI", setup, 0x248, 0x300, len(payload), 0, PREFERRED, 0x400000)
    return bytes(setup) + bytes(0x300) + payload + b"tail" * 0x400


@pytest.mark.parametrize(
    "packed",
    [
        pytest.param(gzip.compress(elf()), id="gzip"),
        pytest.param(zstandard.compress(elf()) + b"\0\1\0\0", id="zstd and its size"),
        pytest.param(
            lzma.compress(elf(), check=lzma.CHECK_CRC32) + b"\0\1\0\0", id="xz and its size"
        ),
    ],
)
def test_a_packed_kernel_is_laid_out_as_its_segments_say(tmp_path, packed):
    path = tmp_path / "vmlinuz"
    path.write_bytes(vmlinuz(packed))
    image = kernel_image.read(path)
    assert image.address == PREFERRED
    assert image.entry == PREFERRED + 0x10
    assert image.end == PREFERRED + 0x400000
    assert bytes(image.content) == b"A" * 32 + bytes(32) + b"B" * 16
    assert image.setup_header[0x11:0x15] == b"HdrS"


def test_a_kernel_without_segments_is_damaged(tmp_path):
    path = tmp_path / "vmlinuz"
    path.write_bytes(vmlinuz(gzip.compress(elf(segments=0))))
    with pytest.raises(UsageError, match="it has nothing to load"):
        kernel_image.read(path)


def test_a_kernel_that_cannot_be_unpacked_here_is_entered_packed(tmp_path):
    path = tmp_path / "vmlinuz"
    file = vmlinuz(b"????" + bytes(64))
    path.write_bytes(file)
    image = kernel_image.read(path)
    assert image.entry == PREFERRED + 0x200
    assert image.content == file[0x400:]


@pytest.mark.parametrize("magic", [b"\x28\xb5\x2f\xfd", b"\xfd7zXZ\0", b"\x1f\x8b\x08"])
def test_a_damaged_kernel_is_refused(tmp_path, magic):
    path = tmp_path / "vmlinuz"
    path.write_bytes(vmlinuz(magic + b"\xff" * 100))
    with pytest.raises(UsageError, match="damaged"):
        kernel_image.read(path)


@pytest.mark.parametrize(
    "file",
    [
        pytest.param(b"not a kernel", id="short"),
        pytest.param(bytes(0x2000), id="no signature"),
        pytest.param(vmlinuz(b"", protocol=0x209), id="old protocol"),
        pytest.param(vmlinuz(b"", xloadflags=0), id="32 bits"),
    ],
)
def test_what_is_no_64_bit_kernel_is_refused(tmp_path, file):
    path = tmp_path / "vmlinuz"
    path.write_bytes(file)
    with pytest.raises(UsageError, match="vmlinuz"):
        kernel_image.read(path)
