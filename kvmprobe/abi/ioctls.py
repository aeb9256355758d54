"""The ioctls kvmprobe issues, each with its number, descriptor and argument size.

Layer: abi, pure.  One specification serves the bindings, the lowering of ops and every report;
a contract test holds it against the compiled kernel headers.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

KVMIO = 0xAE
_NR_SHIFT, _TYPE_SHIFT, _SIZE_SHIFT, _DIR_SHIFT = 0, 8, 16, 30


class Descriptor(Enum):
    """What an ioctl is made on."""

    KVM = "/dev/kvm"
    VM = "VM"
    VCPU = "vCPU"


class Direction(Enum):
    """Transfer direction that the number encodes (asm-generic/ioctl.h), seen from user space."""

    NONE = 0
    WRITE = 1
    READ = 2
    BOTH = 3


@dataclass(frozen=True, slots=True)
class IoctlSpec:
    """One ioctl: symbolic name, ``_IOC_NR``, descriptor, direction and ``_IOC_SIZE`` in bytes."""

    name: str
    nr: int
    on: Descriptor
    direction: Direction = Direction.NONE
    size: int = 0

    @property
    def number(self) -> int:
        """The request number as ``ioctl(2)`` takes it."""
        return (
            self.direction.value << _DIR_SHIFT
            | self.size << _SIZE_SHIFT
            | KVMIO << _TYPE_SHIFT
            | self.nr << _NR_SHIFT
        )


_KVM, _VM, _VCPU = Descriptor.KVM, Descriptor.VM, Descriptor.VCPU
_R, _W, _WR = Direction.READ, Direction.WRITE, Direction.BOTH

GET_API_VERSION = IoctlSpec("KVM_GET_API_VERSION", 0x00, _KVM)
CREATE_VM = IoctlSpec("KVM_CREATE_VM", 0x01, _KVM)
GET_MSR_INDEX_LIST = IoctlSpec("KVM_GET_MSR_INDEX_LIST", 0x02, _KVM, _WR, 4)
CHECK_EXTENSION = IoctlSpec("KVM_CHECK_EXTENSION", 0x03, _KVM)
GET_VCPU_MMAP_SIZE = IoctlSpec("KVM_GET_VCPU_MMAP_SIZE", 0x04, _KVM)
GET_SUPPORTED_CPUID = IoctlSpec("KVM_GET_SUPPORTED_CPUID", 0x05, _KVM, _WR, 8)
GET_DEVICE_ATTR = IoctlSpec("KVM_GET_DEVICE_ATTR", 0xE2, _KVM, _W, 24)
HAS_DEVICE_ATTR = IoctlSpec("KVM_HAS_DEVICE_ATTR", 0xE3, _KVM, _W, 24)

CREATE_VCPU = IoctlSpec("KVM_CREATE_VCPU", 0x41, _VM)
SET_USER_MEMORY_REGION = IoctlSpec("KVM_SET_USER_MEMORY_REGION", 0x46, _VM, _W, 32)

RUN = IoctlSpec("KVM_RUN", 0x80, _VCPU)
GET_REGS = IoctlSpec("KVM_GET_REGS", 0x81, _VCPU, _R, 144)
SET_REGS = IoctlSpec("KVM_SET_REGS", 0x82, _VCPU, _W, 144)
GET_SREGS = IoctlSpec("KVM_GET_SREGS", 0x83, _VCPU, _R, 312)
SET_SREGS = IoctlSpec("KVM_SET_SREGS", 0x84, _VCPU, _W, 312)
GET_MSRS = IoctlSpec("KVM_GET_MSRS", 0x88, _VCPU, _WR, 8)
SET_MSRS = IoctlSpec("KVM_SET_MSRS", 0x89, _VCPU, _W, 8)
SET_CPUID2 = IoctlSpec("KVM_SET_CPUID2", 0x90, _VCPU, _W, 8)
GET_CPUID2 = IoctlSpec("KVM_GET_CPUID2", 0x91, _VCPU, _WR, 8)
GET_XSAVE = IoctlSpec("KVM_GET_XSAVE", 0xA4, _VCPU, _R, 4096)
SET_XSAVE = IoctlSpec("KVM_SET_XSAVE", 0xA5, _VCPU, _W, 4096)
GET_XCRS = IoctlSpec("KVM_GET_XCRS", 0xA6, _VCPU, _R, 392)
SET_XCRS = IoctlSpec("KVM_SET_XCRS", 0xA7, _VCPU, _W, 392)
GET_XSAVE2 = IoctlSpec("KVM_GET_XSAVE2", 0xCF, _VCPU, _R, 4096)

ALL: tuple[IoctlSpec, ...] = tuple(v for v in list(globals().values()) if isinstance(v, IoctlSpec))
