"""The description of an ioctl: number, descriptor, argument, errnos and their meanings."""

from __future__ import annotations

import errno
from dataclasses import dataclass, field
from enum import Enum
from functools import cached_property
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from kvmprobe.abi.layout import Layout

# What any call can return; not repeated in docstrings.
COMMON_ERRNOS: Mapping[int, str] = {
    errno.EBADF: "the descriptor is closed",
    errno.EFAULT: "memory that the argument refers to cannot be accessed",
    errno.EIO: "the VM belongs to another process, or KVM has marked it as dead",
    errno.ENOMEM: "the kernel is out of memory",
    errno.EMFILE: "the process has no free descriptor",
    errno.ENOTTY: "this kernel has no such call",
}
NO_ROOM: Mapping[int, str] = {errno.E2BIG: "more entries than there is room for"}
KVMIO = 0xAE
_NR_SHIFT, _TYPE_SHIFT, _SIZE_SHIFT, _DIR_SHIFT = 0, 8, 16, 30


class Descriptor(Enum):
    """The kind of file descriptor that an ioctl is issued on."""

    KVM = "/dev/kvm"
    VM = "VM"
    VCPU = "vCPU"


class Direction(Enum):
    """The direction in the request number (asm-generic/ioctl.h), from user space's view."""

    NONE = 0
    WRITE = 1
    READ = 2
    BOTH = 3


@dataclass(frozen=True, eq=False)
class IoctlSpec:
    """One ioctl, of which there is one description.

    :ivar nr: ``_IOC_NR``
    :ivar argument: the structure or number that the argument points to, and that ``_IOC_SIZE`` is
        the size of; None if the argument is an integer
    :ivar errnos: the meaning of each errno that not every call can return (COMMON_ERRNOS);
        without "; ", which separates them in docstrings
    """

    name: str
    nr: int
    on: Descriptor
    direction: Direction = Direction.NONE
    argument: Layout | None = None
    errnos: Mapping[int, str] = field(default_factory=dict)

    @cached_property
    def size(self) -> int:
        """The argument's size, bytes; 0 for an integer."""
        return self.argument.size if self.argument else 0

    @cached_property
    def number(self) -> int:
        """The request number for ioctl(2)."""
        return (
            self.direction.value << _DIR_SHIFT
            | self.size << _SIZE_SHIFT
            | KVMIO << _TYPE_SHIFT
            | self.nr << _NR_SHIFT
        )
