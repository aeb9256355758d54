"""The description of an ioctl: number, descriptor, argument, errnos and their meanings."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from kvmprobe.abi.layout import Layout

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


@dataclass(frozen=True, slots=True)
class IoctlSpec:
    """One ioctl.

    :ivar nr: ``_IOC_NR``
    :ivar argument: the structure or number that the argument points to, and that ``_IOC_SIZE`` is
        the size of; None if the argument is an integer
    :ivar errnos: the meaning of each errno that not every call can return (:mod:`abi.errnos`);
        without "; ", which separates them in docstrings
    """

    name: str
    nr: int
    on: Descriptor
    direction: Direction = Direction.NONE
    argument: Layout | None = field(default=None, compare=False)
    errnos: Mapping[int, str] = field(default_factory=dict, compare=False)

    @property
    def size(self) -> int:
        """The argument's size, bytes; 0 for an integer."""
        return self.argument.size if self.argument else 0

    @property
    def number(self) -> int:
        """The request number for ioctl(2)."""
        return (
            self.direction.value << _DIR_SHIFT
            | self.size << _SIZE_SHIFT
            | KVMIO << _TYPE_SHIFT
            | self.nr << _NR_SHIFT
        )
