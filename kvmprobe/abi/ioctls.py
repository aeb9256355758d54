"""The ioctls that kvmprobe issues: number, descriptor and argument size.  Pure.

Bindings, ops and reports use this table; a contract test compares it with the kernel headers.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

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
    """An ioctl: name, ``_IOC_NR``, descriptor, direction, and ``_IOC_SIZE`` in bytes."""

    name: str
    nr: int
    on: Descriptor
    direction: Direction = Direction.NONE
    size: int = 0

    @property
    def number(self) -> int:
        """The request number for ioctl(2)."""
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
GET_EMULATED_CPUID = IoctlSpec("KVM_GET_EMULATED_CPUID", 0x09, _KVM, _WR, 8)
GET_MSR_FEATURE_INDEX_LIST = IoctlSpec("KVM_GET_MSR_FEATURE_INDEX_LIST", 0x0A, _KVM, _WR, 4)
SET_DEVICE_ATTR = IoctlSpec("KVM_SET_DEVICE_ATTR", 0xE1, _KVM, _W, 24)
GET_DEVICE_ATTR = IoctlSpec("KVM_GET_DEVICE_ATTR", 0xE2, _KVM, _W, 24)
HAS_DEVICE_ATTR = IoctlSpec("KVM_HAS_DEVICE_ATTR", 0xE3, _KVM, _W, 24)

CREATE_VCPU = IoctlSpec("KVM_CREATE_VCPU", 0x41, _VM)
SET_USER_MEMORY_REGION = IoctlSpec("KVM_SET_USER_MEMORY_REGION", 0x46, _VM, _W, 32)
GET_DIRTY_LOG = IoctlSpec("KVM_GET_DIRTY_LOG", 0x42, _VM, _W, 16)
SET_TSS_ADDR = IoctlSpec("KVM_SET_TSS_ADDR", 0x47, _VM)
SET_IDENTITY_MAP_ADDR = IoctlSpec("KVM_SET_IDENTITY_MAP_ADDR", 0x48, _VM, _W, 8)
CREATE_IRQCHIP = IoctlSpec("KVM_CREATE_IRQCHIP", 0x60, _VM)
IRQ_LINE = IoctlSpec("KVM_IRQ_LINE", 0x61, _VM, _W, 8)
IRQFD = IoctlSpec("KVM_IRQFD", 0x76, _VM, _W, 32)
IOEVENTFD = IoctlSpec("KVM_IOEVENTFD", 0x79, _VM, _W, 64)
SET_CLOCK = IoctlSpec("KVM_SET_CLOCK", 0x7B, _VM, _W, 48)
GET_CLOCK = IoctlSpec("KVM_GET_CLOCK", 0x7C, _VM, _R, 48)
ENABLE_CAP = IoctlSpec("KVM_ENABLE_CAP", 0xA3, _VM, _W, 104)

RUN = IoctlSpec("KVM_RUN", 0x80, _VCPU)
GET_REGS = IoctlSpec("KVM_GET_REGS", 0x81, _VCPU, _R, 144)
SET_REGS = IoctlSpec("KVM_SET_REGS", 0x82, _VCPU, _W, 144)
GET_SREGS = IoctlSpec("KVM_GET_SREGS", 0x83, _VCPU, _R, 312)
SET_SREGS = IoctlSpec("KVM_SET_SREGS", 0x84, _VCPU, _W, 312)
TRANSLATE = IoctlSpec("KVM_TRANSLATE", 0x85, _VCPU, _WR, 24)
INTERRUPT = IoctlSpec("KVM_INTERRUPT", 0x86, _VCPU, _W, 4)
NMI = IoctlSpec("KVM_NMI", 0x9A, _VCPU)
SET_GUEST_DEBUG = IoctlSpec("KVM_SET_GUEST_DEBUG", 0x9B, _VCPU, _W, 72)
SET_TSC_KHZ = IoctlSpec("KVM_SET_TSC_KHZ", 0xA2, _VCPU)
GET_TSC_KHZ = IoctlSpec("KVM_GET_TSC_KHZ", 0xA3, _VCPU)
GET_NESTED_STATE = IoctlSpec("KVM_GET_NESTED_STATE", 0xBE, _VCPU, _WR, 128)
SET_NESTED_STATE = IoctlSpec("KVM_SET_NESTED_STATE", 0xBF, _VCPU, _W, 128)
GET_MSRS = IoctlSpec("KVM_GET_MSRS", 0x88, _VCPU, _WR, 8)
SET_MSRS = IoctlSpec("KVM_SET_MSRS", 0x89, _VCPU, _W, 8)
GET_FPU = IoctlSpec("KVM_GET_FPU", 0x8C, _VCPU, _R, 416)
SET_FPU = IoctlSpec("KVM_SET_FPU", 0x8D, _VCPU, _W, 416)
GET_LAPIC = IoctlSpec("KVM_GET_LAPIC", 0x8E, _VCPU, _R, 1024)
SET_LAPIC = IoctlSpec("KVM_SET_LAPIC", 0x8F, _VCPU, _W, 1024)
SET_CPUID = IoctlSpec("KVM_SET_CPUID", 0x8A, _VCPU, _W, 8)
SET_CPUID2 = IoctlSpec("KVM_SET_CPUID2", 0x90, _VCPU, _W, 8)
GET_CPUID2 = IoctlSpec("KVM_GET_CPUID2", 0x91, _VCPU, _WR, 8)
GET_MP_STATE = IoctlSpec("KVM_GET_MP_STATE", 0x98, _VCPU, _R, 4)
SET_MP_STATE = IoctlSpec("KVM_SET_MP_STATE", 0x99, _VCPU, _W, 4)
GET_VCPU_EVENTS = IoctlSpec("KVM_GET_VCPU_EVENTS", 0x9F, _VCPU, _R, 64)
SET_VCPU_EVENTS = IoctlSpec("KVM_SET_VCPU_EVENTS", 0xA0, _VCPU, _W, 64)
GET_DEBUGREGS = IoctlSpec("KVM_GET_DEBUGREGS", 0xA1, _VCPU, _R, 128)
SET_DEBUGREGS = IoctlSpec("KVM_SET_DEBUGREGS", 0xA2, _VCPU, _W, 128)
GET_XSAVE = IoctlSpec("KVM_GET_XSAVE", 0xA4, _VCPU, _R, 4096)
SET_XSAVE = IoctlSpec("KVM_SET_XSAVE", 0xA5, _VCPU, _W, 4096)
GET_XCRS = IoctlSpec("KVM_GET_XCRS", 0xA6, _VCPU, _R, 392)
SET_XCRS = IoctlSpec("KVM_SET_XCRS", 0xA7, _VCPU, _W, 392)
GET_ONE_REG = IoctlSpec("KVM_GET_ONE_REG", 0xAB, _VCPU, _W, 16)
SET_ONE_REG = IoctlSpec("KVM_SET_ONE_REG", 0xAC, _VCPU, _W, 16)
GET_REG_LIST = IoctlSpec("KVM_GET_REG_LIST", 0xB0, _VCPU, _WR, 8)
GET_SREGS2 = IoctlSpec("KVM_GET_SREGS2", 0xCC, _VCPU, _R, 320)
SET_SREGS2 = IoctlSpec("KVM_SET_SREGS2", 0xCD, _VCPU, _W, 320)
GET_XSAVE2 = IoctlSpec("KVM_GET_XSAVE2", 0xCF, _VCPU, _R, 4096)

ALL: tuple[IoctlSpec, ...] = tuple(v for v in list(globals().values()) if isinstance(v, IoctlSpec))
