"""Offsets as in Linux Documentation/arch/x86/zero-page.rst and boot.rst."""

import struct

import pytest

from kvmprobe.errors import UsageError
from kvmprobe.lab import boot_image
from kvmprobe.lab.bochs_config import Processors
from kvmprobe.lab.kernel_image import KernelImage

MIB = 1 << 20
KERNEL = KernelImage(b"\1" * 0x80, b"kernel", 16 * MIB, 16 * MIB + 0x123, 60 * MIB)


def test_the_parameters_name_where_everything_lies():
    image = boot_image.build(KERNEL, b"initramfs" * 1000, 256, "quiet")
    low, kernel, initramfs = image.parts
    assert (kernel.address, kernel.content) == (16 * MIB, b"kernel")
    assert struct.unpack_from("<II", low.content, 0x218) == (initramfs.address, 9000)
    (command_line,) = struct.unpack_from("<I", low.content, 0x228)
    assert low.content[command_line - low.address :].startswith(b"quiet\0")
    (rsdp,) = struct.unpack_from("<Q", low.content, 0x70)
    assert low.content[rsdp - low.address :].startswith(b"RSD PTR ")
    assert struct.unpack_from("<I", low.content, 0x214) == (KERNEL.entry,)


def test_the_memory_map_covers_all_memory_but_the_boot_area():
    low = boot_image.build(KERNEL, b"", 256).parts[0]
    entries = [
        struct.unpack_from("<QQI", low.content, 0x2D0 + 20 * number)
        for number in range(low.content[0x1E8])
    ]
    ram = [(start, start + size) for start, size, kind in entries if kind == 1]
    assert ram == [(0, low.address), (MIB, 256 * MIB)]


def test_nothing_overlaps():
    parts = boot_image.build(KERNEL, bytes(50 * MIB), 384).parts
    ends = [part.address + len(part.content) for part in parts]
    assert ends[0] <= 0xA0000
    assert KERNEL.end <= parts[2].address
    assert ends[2] <= 384 * MIB


def test_memory_grows_with_the_files():
    assert boot_image.memory_for(KERNEL, b"") == boot_image.MEMORY_MIB
    large = bytes(300 * MIB)
    needed = boot_image.memory_for(KERNEL, large)
    assert needed > 600
    boot_image.build(KERNEL, large, needed)
    with pytest.raises(UsageError, match="MiB of memory"):
        boot_image.build(KERNEL, large, needed - 1)


def test_more_memory_than_the_emulator_can_have_is_refused():
    with pytest.raises(UsageError, match="fewer --file"):
        boot_image.build(KERNEL, b"", 2049)


def test_arguments_that_the_kernel_would_cut_are_refused():
    with pytest.raises(UsageError, match="2047"):
        boot_image.build(KERNEL, b"", 256, "x" * 2048)


def test_the_tables_list_as_many_processors_as_the_machine_has():
    for processors in (1, 2):
        image = boot_image.build(KERNEL, b"", 256, "quiet", Processors(processors))
        low = image.parts[0].content
        madt = low[low.index(b"APIC", 0x2000) :]
        entries = madt[44 : struct.unpack_from("<I", madt, 4)[0]]
        local_apics = 0
        while entries:
            local_apics += entries[0] == 0
            entries = entries[entries[1] :]
        assert (image.processors.count, local_apics) == (processors, processors)


def test_no_argument_helps_a_kernel_over_a_weakness_of_the_emulator():
    names = {word.partition("=")[0] for word in boot_image.WORKER_ARGUMENTS.split()}
    where_it_speaks = {"console", "loglevel"}
    how_it_dies = {"panic", "oops", "softlockup_panic"}
    saves_time = {"cryptomgr.notests", "random.trust_cpu", "debugfs"}
    assert names == where_it_speaks | how_it_dies | saves_time | {"rootfstype"}
