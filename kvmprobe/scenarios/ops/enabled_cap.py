"""Enabling capabilities of a VM and of a vCPU."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING

from kvmprobe.abi import ioctls
from kvmprobe.abi.capabilities import Capability
from kvmprobe.abi.ioctls import Descriptor
from kvmprobe.model import enabled_cap
from kvmprobe.scenarios.calls import VM, Argument, Literal
from kvmprobe.scenarios.op_fields import U32, U64, Name
from kvmprobe.scenarios.ops._base import FixedIoctl, op

if TYPE_CHECKING:
    from kvmprobe.model.machine import Machine
    from kvmprobe.model.outcome import Step


@op(
    "enable-cap",
    ioctls.ENABLE_CAP,
    enabled_cap.ENABLE_VM_CAP,
    enabled_cap.ENABLE_VCPU_CAP,
    enabled_cap.SPLIT_IRQCHIP,
    enabled_cap.LIMIT_VCPU_IDS,
    on=(Descriptor.VM, Descriptor.VCPU),
    errnos=(errno.EINVAL, errno.EEXIST),
)
class EnableCap(FixedIoctl):
    """Enable a capability of a VM or of a vCPU, with ``args[0]`` and the rest of ``args``."""

    capability: U32
    arg: U64 = 0
    flags: U32 = 0
    rest: U64 = 0
    on: Name = VM

    def argument(self) -> Argument:
        args = (self.arg, self.rest, self.rest, self.rest)
        return Literal(ioctls.KVM_ENABLE_CAP.packed.pack(self.capability, self.flags, *args))

    def refused(self, machine: Machine) -> str:
        if self.on in machine.vcpus:
            return enabled_cap.vcpu_cap_refused(
                machine, self.on, self.capability, self.flags, self.arg
            )
        return enabled_cap.vm_cap_refused(machine, self.on, self.capability, self.flags, self.arg)

    def transition(self, machine: Machine) -> Step:
        if self.on in machine.vcpus:
            return enabled_cap.enable_vcpu_cap(machine, self.capability, self.flags)
        return enabled_cap.enable_vm_cap(machine, self.on, self.capability, self.flags, self.arg)

    @property
    def text(self) -> str:
        known = self.capability in set(Capability)
        name = f"KVM_CAP_{Capability(self.capability).name}" if known else f"{self.capability:#x}"
        flags = f", flags={self.flags:#x}" if self.flags else ""
        return f"{self.kernel_call}({self.on}, {name}, {self.arg:#x}{flags})"
