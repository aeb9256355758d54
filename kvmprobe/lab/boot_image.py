"""The emulated machine's memory when its processor starts.

The emulator loads kernel, initramfs, boot_params and ACPI tables into memory, so there is no boot
disk and no boot loader.  ``guest/firmware.S`` enters the kernel with the 64-bit boot protocol
(Linux Documentation/arch/x86/boot.rst).  Pure.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING

from kvmprobe.errors import UsageError
from kvmprobe.lab import acpi
from kvmprobe.lab.bochs_config import Processors

if TYPE_CHECKING:
    from mmap import mmap

    from kvmprobe.lab.kernel_image import KernelImage

_MIB = 1 << 20
_PAGE = 4096
# ABI: guest/firmware.S passes this address; E820 reserves the area up to 0xa0000.
_BOOT_PARAMS = 0x90000
_COMMAND_LINE = 0x91000
_ACPI_TABLES = 0x92000
_LOW_END = 0xA0000
_LONGEST_COMMAND_LINE = 2047
_E820_RAM, _E820_RESERVED, _E820_ACPI = 1, 2, 3
_LOADED_HIGH = 1
_OTHER_LOADER = 0xFF
_KERNEL_HEADROOM = 64 * _MIB
MOST_MEMORY_MIB = 2048  # the emulator's own limit

MEMORY_MIB = 384
ONE_PROCESSOR = Processors()
# No argument may work around a weakness of the emulator.
_ARGUMENTS = (
    "console=ttyS0,115200 loglevel={level}"
    # An oops or soft lockup panics, and a panic does not reboot: its report ends the run.
    " panic=0 oops=panic softlockup_panic=1"
    # The crypto self-tests take up to four seconds of wall time.
    " cryptomgr.notests=1"
    # The random number generator is ready at once in every configuration.
    " random.trust_cpu=on"
    # A tmpfs root is limited to half of the free memory.
    " rootfstype=ramfs"
)
_WARNINGS, _EVERYTHING = 5, 8  # printing costs boot time
DEFAULT_ARGUMENTS = _ARGUMENTS.format(level=_WARNINGS)
# KVM makes some fifty files in debugfs for each VM and vCPU; no scenario reads them.
WORKER_ARGUMENTS = f"{DEFAULT_ARGUMENTS} debugfs=off"
VERBOSE_ARGUMENTS = _ARGUMENTS.format(level=_EVERYTHING)


@dataclass(frozen=True, slots=True)
class RamImage:
    """Bytes and their physical address."""

    address: int
    content: bytes | bytearray | mmap


@dataclass(frozen=True, slots=True)
class BootImage:
    """The memory of a machine of ``memory_mib`` MiB that boots a kernel, and its processors."""

    parts: tuple[RamImage, ...]
    memory_mib: int
    processors: Processors = ONE_PROCESSOR


def memory_for(kernel: KernelImage, initramfs: bytes | bytearray) -> int:
    """Return the memory that a machine with these files needs, MiB; at least ``MEMORY_MIB``."""
    return max(MEMORY_MIB, _needed_mib(kernel, initramfs))


def build(
    kernel: KernelImage,
    initramfs: bytes | bytearray,
    memory_mib: int,
    arguments: str = DEFAULT_ARGUMENTS,
    processors: Processors = ONE_PROCESSOR,
    disks: int = 0,
) -> BootImage:
    """Lay out a kernel and its initramfs in a machine's memory.

    :param initramfs: one or more cpio archives, compressed or not
    :param memory_mib: size of the machine's memory, MiB
    :param processors: 1 or 2
    :param disks: number of disks, 0 or 1
    :raises UsageError: the files do not fit, or the arguments are too long
    """
    if len(arguments.encode()) > _LONGEST_COMMAND_LINE:
        raise UsageError(f"the kernel command line is longer than {_LONGEST_COMMAND_LINE} bytes")
    if memory_mib > MOST_MEMORY_MIB:
        raise UsageError(
            f"the emulated host can have at most {MOST_MEMORY_MIB} MiB of memory, not "
            f"{memory_mib}: use a smaller --memory, or fewer --file"
        )
    memory_end = memory_mib * _MIB
    initramfs_address = (memory_end - len(initramfs)) // _MIB * _MIB - _MIB
    if (needed := _needed_mib(kernel, initramfs)) > memory_mib:
        raise UsageError(
            f"kernel and files need {needed} MiB of memory, the emulated host has {memory_mib}"
        )
    parameters = _boot_params(kernel, initramfs_address, len(initramfs), memory_end)
    boot_area = parameters.ljust(_COMMAND_LINE - _BOOT_PARAMS, b"\0") + arguments.encode()
    boot_area = boot_area.ljust(_ACPI_TABLES - _BOOT_PARAMS, b"\0") + acpi.tables(
        _ACPI_TABLES, processors.count, disks
    )
    return BootImage(
        (
            RamImage(_BOOT_PARAMS, boot_area),
            RamImage(kernel.address, kernel.content),
            RamImage(initramfs_address, initramfs),
        ),
        memory_mib,
        processors,
    )


def _needed_mib(kernel: KernelImage, initramfs: bytes | bytearray) -> int:
    # The unpacked files need the same again, in whole pages; the rest is for the running kernel.
    needed = kernel.end + _KERNEL_HEADROOM + len(initramfs) * 9 // 4
    return -(-needed // _MIB)


def _boot_params(
    kernel: KernelImage, initramfs_address: int, initramfs_size: int, memory_end: int
) -> bytes:
    page = bytearray(_PAGE)
    page[0x1F1 : 0x1F1 + len(kernel.setup_header)] = kernel.setup_header
    memory_map = (
        (0, _BOOT_PARAMS, _E820_RAM),
        (_BOOT_PARAMS, _LOW_END, _E820_ACPI),
        (0xF0000, _MIB, _E820_RESERVED),
        (_MIB, memory_end, _E820_RAM),
        (0xFFFF0000, 1 << 32, _E820_RESERVED),
    )
    struct.pack_into("<Q", page, 0x070, _ACPI_TABLES)
    page[0x1E8] = len(memory_map)
    for number, (start, end, kind) in enumerate(memory_map):
        struct.pack_into("<QQI", page, 0x2D0 + 20 * number, start, end - start, kind)
    page[0x210] = _OTHER_LOADER
    page[0x211] = _LOADED_HIGH
    struct.pack_into("<I", page, 0x214, kernel.entry)
    struct.pack_into("<II", page, 0x218, initramfs_address, initramfs_size)
    struct.pack_into("<I", page, 0x228, _COMMAND_LINE)
    return bytes(page)
