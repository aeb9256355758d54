"""Opening /dev/kvm, creating a VM with memory, creating a vCPU."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from kvmprobe.abi import ioctls
from kvmprobe.abi.numbers import HLT, RESET_PAGE, RESET_VECTOR
from kvmprobe.model import lifecycle
from kvmprobe.model.outcome import Done, Step
from kvmprobe.scenarios.calls import Call, Immediate, Ioctl, MapMemory
from kvmprobe.scenarios.calls import OpenKvm as OpenKvmCall
from kvmprobe.scenarios.ops._base import Op, op

if TYPE_CHECKING:
    from kvmprobe.model.host import HostProfile
    from kvmprobe.model.machine import Machine

KVM, VM, VCPU = "kvm", "vm", "vcpu0"


@op("open-kvm", "open(/dev/kvm)", "Documentation/virt/kvm/api.rst: General description")
@dataclass(frozen=True, slots=True)
class OpenKvm(Op):
    """Open /dev/kvm."""

    def lower(self, host: HostProfile) -> Call:  # noqa: ARG002
        """Open it under the scenario's name for it."""
        return OpenKvmCall(KVM)

    def step(self, machine: Machine) -> Step:
        """Expect a descriptor."""
        return lifecycle.new_descriptor(machine, "open(/dev/kvm)")


@op("create-vm", "KVM_CREATE_VM", "Documentation/virt/kvm/api.rst: KVM_CREATE_VM")
@dataclass(frozen=True, slots=True)
class CreateVm(Op):
    """Create a VM."""

    def lower(self, host: HostProfile) -> Call:  # noqa: ARG002
        """Lower to the ioctl on /dev/kvm."""
        return Ioctl(ioctls.CREATE_VM.number, KVM, Immediate(0), binds=VM)

    def step(self, machine: Machine) -> Step:
        """Expect a descriptor."""
        return lifecycle.new_descriptor(machine, "KVM_CREATE_VM")


@op(
    "map-halt",
    "KVM_SET_USER_MEMORY_REGION",
    "Documentation/virt/kvm/api.rst: KVM_SET_USER_MEMORY_REGION",
    'SDM vol.3 §11.1.4 "First Instruction Executed"',
)
@dataclass(frozen=True, slots=True)
class MapHalt(Op):
    """Give the guest one page, with HLT at the reset vector."""

    def lower(self, host: HostProfile) -> Call:  # noqa: ARG002
        """Lower to memory below 4 GiB."""
        return MapMemory(VM, 0, RESET_PAGE, bytes(RESET_VECTOR) + HLT)

    def step(self, machine: Machine) -> Step:
        """Expect success; guest memory is no part of the model."""
        return Step(machine, Done(), "memory slots do not overlap: kvm_main.c")


@op(
    "create-vcpu",
    "KVM_CREATE_VCPU",
    "Documentation/virt/kvm/api.rst: KVM_CREATE_VCPU",
    "arch/x86/kernel/fpu/core.c: fpu_alloc_guest_fpstate",
)
@dataclass(frozen=True, slots=True)
class CreateVcpu(Op):
    """Create vCPU 0; freezes the process's guest permission."""

    def lower(self, host: HostProfile) -> Call:  # noqa: ARG002
        """Lower to the ioctl on the VM."""
        return Ioctl(ioctls.CREATE_VCPU.number, VM, Immediate(0), binds=VCPU)

    def step(self, machine: Machine) -> Step:
        """Expect a descriptor."""
        return lifecycle.create_vcpu(machine, VCPU)
