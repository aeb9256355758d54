"""Ioctls with a null pointer, by whom and on what they may be made or not."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from kvmprobe.abi import ioctls
from kvmprobe.model import system
from kvmprobe.scenarios.calls import MAIN, Call, Immediate, Ioctl
from kvmprobe.scenarios.ops._base import Op, op
from kvmprobe.scenarios.ops.lifecycle import VM, by_whom

if TYPE_CHECKING:
    from kvmprobe.model.host import HostProfile
    from kvmprobe.model.machine import Machine
    from kvmprobe.model.outcome import Step


class PointerIoctl(StrEnum):
    """Ioctls that only read or only fill what their argument points to, before anything else."""

    GET_MSR_INDEX_LIST = ioctls.GET_MSR_INDEX_LIST.name
    GET_SUPPORTED_CPUID = ioctls.GET_SUPPORTED_CPUID.name
    GET_EMULATED_CPUID = ioctls.GET_EMULATED_CPUID.name
    GET_DEVICE_ATTR = ioctls.GET_DEVICE_ATTR.name
    HAS_DEVICE_ATTR = ioctls.HAS_DEVICE_ATTR.name
    SET_USER_MEMORY_REGION = ioctls.SET_USER_MEMORY_REGION.name
    GET_REGS = ioctls.GET_REGS.name
    SET_REGS = ioctls.SET_REGS.name
    GET_SREGS = ioctls.GET_SREGS.name
    SET_SREGS = ioctls.SET_SREGS.name
    GET_MSRS = ioctls.GET_MSRS.name
    SET_MSRS = ioctls.SET_MSRS.name
    GET_CPUID2 = ioctls.GET_CPUID2.name
    SET_CPUID2 = ioctls.SET_CPUID2.name
    GET_XSAVE2 = ioctls.GET_XSAVE2.name
    SET_XSAVE = ioctls.SET_XSAVE.name
    GET_XCRS = ioctls.GET_XCRS.name
    SET_XCRS = ioctls.SET_XCRS.name


_SPECS = {spec.name: spec for spec in ioctls.ALL}
KVM_IOCTLS, VM_IOCTLS, VCPU_IOCTLS = (
    tuple(i for i in PointerIoctl if _SPECS[i].on is descriptor) for descriptor in ioctls.Descriptor
)


@op(
    "ioctl-to-nowhere",
    "KVM_(NULL)",
    "virt/kvm/kvm_main.c: kvm_vcpu_ioctl",
    "virt/kvm/kvm_main.c: kvm_vm_ioctl",
    errnos={
        "EFAULT": "there is nothing at the address",
        "EIO": "the VM belongs to another process's memory",
        "EBADF": "the descriptor was closed",
    },
)
@dataclass(frozen=True, slots=True)
class IoctlToNowhere(Op):
    """Make an ioctl with a null pointer."""

    ioctl: PointerIoctl
    on: str = VM
    by: str = MAIN

    def __post_init__(self) -> None:
        """Accept the ioctl's name."""
        object.__setattr__(self, "ioctl", PointerIoctl(self.ioctl))

    def lower(self, host: HostProfile) -> Call:  # noqa: ARG002
        """Lower to the ioctl on 0."""
        return Ioctl(_SPECS[self.ioctl].number, self.on, Immediate(0), by=self.by)

    def step(self, machine: Machine) -> Step:
        """Expect what keeps the caller from it, or EFAULT."""
        return system.ioctl_to_nowhere(machine, self.on, self.by)

    @property
    def text(self) -> str:
        """Name ioctl, descriptor and caller."""
        return f"{self.ioctl}(NULL) on {self.on}{by_whom(self.by)}"
