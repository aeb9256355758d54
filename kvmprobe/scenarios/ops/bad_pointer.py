"""Ioctls with a null pointer, on any descriptor and by any task."""

from __future__ import annotations

import errno
from enum import StrEnum
from typing import TYPE_CHECKING

from kvmprobe.abi import ioctls
from kvmprobe.model import system
from kvmprobe.scenarios.calls import MAIN, VM, Argument, Immediate
from kvmprobe.scenarios.op_fields import Caller, Name
from kvmprobe.scenarios.ops._base import FixedIoctl, op
from kvmprobe.scenarios.ops.lifecycle import by_whom

if TYPE_CHECKING:
    from kvmprobe.model.machine import Machine
    from kvmprobe.model.outcome import Step


class PointerIoctl(StrEnum):
    """Ioctls that fail with EFAULT, and have changed nothing then.

    Those that set copy from user space before anything else, those that get copy to it at last.
    KVM_GET_XSAVE is not here: EINVAL of a larger FPU state comes first.
    """

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
    SET_CPUID = ioctls.SET_CPUID.name
    GET_FPU = ioctls.GET_FPU.name
    SET_FPU = ioctls.SET_FPU.name
    GET_SREGS2 = ioctls.GET_SREGS2.name
    SET_SREGS2 = ioctls.SET_SREGS2.name
    GET_MP_STATE = ioctls.GET_MP_STATE.name
    SET_MP_STATE = ioctls.SET_MP_STATE.name
    GET_DEBUGREGS = ioctls.GET_DEBUGREGS.name
    SET_DEBUGREGS = ioctls.SET_DEBUGREGS.name
    GET_VCPU_EVENTS = ioctls.GET_VCPU_EVENTS.name
    SET_VCPU_EVENTS = ioctls.SET_VCPU_EVENTS.name


_SPECS = {spec.name: spec for spec in ioctls.ALL}
KVM_IOCTLS, VM_IOCTLS, VCPU_IOCTLS = (
    tuple(i for i in PointerIoctl if _SPECS[i].on is descriptor) for descriptor in ioctls.Descriptor
)


@op(
    "ioctl-to-nowhere",
    "KVM_",
    system.IOCTL_TO_NOWHERE,
    on=tuple(ioctls.Descriptor),
    errnos=(errno.EFAULT, errno.EIO, errno.EBADF),
    operand="NULL",
)
class IoctlToNowhere(FixedIoctl):
    """Call an ioctl with a null pointer."""

    ioctl: PointerIoctl
    on: Name = VM
    by: Caller = MAIN

    def specification(self) -> ioctls.IoctlSpec:
        return _SPECS[self.ioctl]

    @property
    def kinds_here(self) -> tuple[ioctls.Descriptor, ...]:
        return (self.specification().on,)

    def argument(self) -> Argument:
        return Immediate(0)

    def transition(self, machine: Machine) -> Step:
        return system.ioctl_to_nowhere(machine, self.on, self.by)

    @property
    def call_name(self) -> str:
        """The name of the ioctl."""
        return self.ioctl

    @property
    def text(self) -> str:
        return f"{self.ioctl}(NULL) on {self.on}{by_whom(self.by)}"
