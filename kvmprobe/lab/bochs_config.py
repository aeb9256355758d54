"""The emulator's configuration file for one machine.  Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from kvmprobe.lab.cpu_profile import DEFAULT_CPU, CpuProfile

if TYPE_CHECKING:
    from collections.abc import Sequence

_FIXED = """\
display_library: nogui
cpu: model={model}, count=1:{processors}:1, ips={ticks_per_second}, exclude_features="{excluded}"
memory: guest={memory_mib}, host={memory_mib}
romimage: file={firmware}
vgaromimage: file={firmware}
vga: extension=none, update_freq=1
com1: enabled=1, mode=file, dev=/dev/null
clock: sync=none
ata1: enabled=0
speaker: enabled=0
parport1: enabled=0
log: -
panic: action=fatal
error: action=ignore
info: action=ignore
"""

_NO_DISK = "ata0: enabled=0\n"
# Linux uses LBA and ignores the geometry, but the cylinder size must divide the image size.
_DISK = """\
ata0: enabled=1, ioaddr1=0x1f0, ioaddr2=0x3f0, irq=14
ata0-master: type=disk, mode=flat, path={path}, cylinders=0, heads=16, spt=32
"""
CYLINDER_BYTES = 16 * 32 * 512

# Instructions per second of all emulated clocks except the TSC.  It scales the serial port as
# well: at a tenth of the real rate, a console line takes a tenth of the time.
_TICKS_PER_SECOND = 100_000_000


@dataclass(frozen=True, slots=True)
class Processors:
    """The processors of a machine, which are all alike."""

    count: int = 1
    profile: CpuProfile = DEFAULT_CPU


def text(
    memory_mib: int,
    processors: Processors,
    firmware: str,
    ram: Sequence[tuple[int, str]],
    disk: str = "",
) -> str:
    """Return the configuration of a machine that starts with the given memory images.

    :param memory_mib: size of the machine's memory, MiB
    :param firmware: path of the ROM, which also serves as the required VGA ROM
    :param ram: physical byte address and file of each memory image, at most four
    :param disk: path of the disk image, whose size is a multiple of ``CYLINDER_BYTES``; "" for none
    """
    fixed = _FIXED.format(
        ticks_per_second=_TICKS_PER_SECOND,
        memory_mib=memory_mib,
        processors=processors.count,
        model=processors.profile.model,
        excluded=",".join(processors.profile.excluded),
        firmware=firmware,
    )
    images = [
        f"optramimage{number}: file={path}, address={address:#x}\n"
        for number, (address, path) in enumerate(ram, start=1)
    ]
    return fixed + (_DISK.format(path=disk) if disk else _NO_DISK) + "".join(images)
