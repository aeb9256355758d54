"""Opening /dev/kvm, creating VMs with memory and their vCPUs, closing descriptors."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from kvmprobe.abi import ioctls
from kvmprobe.abi.numbers import HALT, RESET_PAGE, RESET_VECTOR
from kvmprobe.model import lifecycle, process
from kvmprobe.model.lifecycle import SET_MEMORY_REGION
from kvmprobe.model.outcome import Done, Step
from kvmprobe.scenarios.calls import MAIN, Call, Close, Immediate, Ioctl, MapMemory
from kvmprobe.scenarios.calls import OpenKvm as OpenKvmCall
from kvmprobe.scenarios.ops._base import Op, op

if TYPE_CHECKING:
    from kvmprobe.model.host import HostProfile
    from kvmprobe.model.machine import Machine

KVM, VM, VCPU = "kvm", "vm", "vcpu0"


def by_whom(task: str) -> str:
    """Return what a text adds for a call that a task makes."""
    return f" by {task}" if task else ""


@op(
    "open-kvm",
    "open(/dev/kvm)",
    "Documentation/virt/kvm/api.rst: General description",
    errnos={"EMFILE": "the process may open no more descriptors"},
)
@dataclass(frozen=True, slots=True)
class OpenKvm(Op):
    """Open /dev/kvm."""

    def lower(self, host: HostProfile) -> Call:  # noqa: ARG002
        """Open it under the scenario's name for it."""
        return OpenKvmCall(KVM)

    def step(self, machine: Machine) -> Step:
        """Expect a descriptor."""
        return lifecycle.open_kvm(machine)


@op(
    "create-vm",
    "KVM_CREATE_VM",
    "Documentation/virt/kvm/api.rst: KVM_CREATE_VM",
    errnos={
        "EMFILE": "the process may open no more descriptors",
        "EBADF": "/dev/kvm's descriptor was closed",
    },
)
@dataclass(frozen=True, slots=True)
class CreateVm(Op):
    """Create a VM."""

    vm: str = VM
    by: str = MAIN

    def lower(self, host: HostProfile) -> Call:  # noqa: ARG002
        """Lower to the ioctl on /dev/kvm."""
        return Ioctl(ioctls.CREATE_VM.number, KVM, Immediate(0), binds=self.vm, by=self.by)

    def step(self, machine: Machine) -> Step:
        """Expect a descriptor."""
        return lifecycle.create_vm(machine, self.vm, KVM, self.by)

    @property
    def text(self) -> str:
        """Name the caller, and another VM than the usual."""
        which = "" if self.vm == VM else f" {self.vm}"
        return f"{self.kernel_call}{which}{by_whom(self.by)}"


@op(
    "map-halt",
    "KVM_SET_USER_MEMORY_REGION",
    "Documentation/virt/kvm/api.rst: KVM_SET_USER_MEMORY_REGION",
    'SDM vol.3 §11.1.4 "First Instruction Executed"',
)
@dataclass(frozen=True, slots=True)
class MapHalt(Op):
    """Give the guest one page, with HLT at the reset vector."""

    vm: str = VM

    def lower(self, host: HostProfile) -> Call:  # noqa: ARG002
        """Lower to memory below 4 GiB."""
        return MapMemory(self.vm, 0, RESET_PAGE, bytes(RESET_VECTOR) + HALT)

    def step(self, machine: Machine) -> Step:
        """Expect success; guest memory is no part of the model."""
        return Step(machine, Done(), SET_MEMORY_REGION)


@op(
    "create-vcpu",
    "KVM_CREATE_VCPU",
    "Documentation/virt/kvm/api.rst: KVM_CREATE_VCPU",
    "arch/x86/kernel/fpu/core.c: fpu_alloc_guest_fpstate",
    errnos={
        "EINVAL": "the id is beyond all ids",
        "EEXIST": "the VM has a vCPU of that id",
        "EMFILE": "the process may open no more descriptors",
        "EIO": "the VM belongs to another process's memory",
        "EBADF": "the VM's descriptor was closed",
    },
)
@dataclass(frozen=True, slots=True)
class CreateVcpu(Op):
    """Create a vCPU; freezes the calling process's guest permission."""

    vcpu: str = VCPU
    vm: str = VM
    id: int = 0
    by: str = MAIN

    def lower(self, host: HostProfile) -> Call:  # noqa: ARG002
        """Lower to the ioctl on the VM."""
        number = ioctls.CREATE_VCPU.number
        return Ioctl(number, self.vm, Immediate(self.id), binds=self.vcpu, by=self.by)

    def step(self, machine: Machine) -> Step:
        """Expect a descriptor."""
        return lifecycle.create_vcpu(machine, self.vcpu, self.by, self.vm, self.id)

    @property
    def text(self) -> str:
        """Name the caller, and another vCPU than the usual."""
        usual = (self.vm, self.id) == (VM, 0)
        which = "" if usual else f" {self.id:#x} of {self.vm}"
        return f"{self.kernel_call}{which}{by_whom(self.by)}"


@op(
    "close",
    "close(2)",
    "Documentation/virt/kvm/api.rst: General description",
    "virt/kvm/kvm_main.c: kvm_vcpu_release",
    errnos={"EBADF": "it is closed already"},
)
@dataclass(frozen=True, slots=True)
class CloseDescriptor(Op):
    """Close a descriptor, by its name; the vCPU's run area is unmapped with it."""

    on: str

    def lower(self, host: HostProfile) -> Call:  # noqa: ARG002
        """Lower to close(2)."""
        return Close(self.on)

    def step(self, machine: Machine) -> Step:
        """Give nothing back."""
        return process.close(machine, self.on)

    @property
    def text(self) -> str:
        """Name the descriptor."""
        return f"close({self.on})"
