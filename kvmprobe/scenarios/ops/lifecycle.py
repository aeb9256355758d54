"""Opening /dev/kvm, creating VMs with memory and their vCPUs, closing descriptors."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING, ClassVar

from kvmprobe.abi import ioctls
from kvmprobe.abi.ioctls import Descriptor
from kvmprobe.abi.numbers import HALT, RESET_PAGE, RESET_VECTOR, U32_MAX
from kvmprobe.model import lifecycle, memory, process
from kvmprobe.model.memory import SET_MEMORY_REGION
from kvmprobe.scenarios.calls import (
    KVM,
    MAIN,
    VCPU,
    VM,
    Argument,
    Call,
    Close,
    Immediate,
    MapMemory,
)
from kvmprobe.scenarios.calls import OpenKvm as OpenKvmCall
from kvmprobe.scenarios.op_fields import U64, Caller, Name
from kvmprobe.scenarios.ops._base import FixedIoctl, FixedOp, op
from kvmprobe.scenarios.requirement import Requirement

if TYPE_CHECKING:
    from kvmprobe.model.machine import Machine
    from kvmprobe.model.outcome import Step

# The smallest KVM_MAX_VCPU_IDS of any configuration.
_CERTAIN_IDS = 1023
# SDM vol.2 OUT: OUT imm8, AL.
_OUT = b"\xe6\x80"


def by_whom(task: str) -> str:
    """Return the part of a text that names the calling task."""
    return f" by {task}" if task else ""


def on_which(vcpu: str, task: str) -> str:
    """Return the part of a text that names an unusual vCPU, and the calling task."""
    return f"{'' if vcpu == VCPU else f' on {vcpu}'}{by_whom(task)}"


class OnVcpu:
    """The text of an op that has a vCPU and a calling task, and no operands to show."""

    kernel_call: ClassVar[str]
    vcpu: Name
    by: Caller

    @property
    def text(self) -> str:
        """Name the call, and the vCPU and the task if they are unusual."""
        return f"{self.kernel_call}{on_which(self.vcpu, self.by)}"


@op(
    "open-kvm",
    "open",
    lifecycle.OPEN_KVM,
    errnos=(errno.EMFILE,),
    operand="/dev/kvm",
)
class OpenKvm(FixedOp):
    """Open /dev/kvm."""

    @property
    def binds(self) -> str:
        return KVM

    @property
    def binds_kind(self) -> Descriptor:
        return Descriptor.KVM

    def call(self) -> Call:
        return OpenKvmCall(KVM)

    def transition(self, machine: Machine) -> Step:
        return lifecycle.open_kvm(machine)


@op(
    "create-vm",
    ioctls.CREATE_VM,
    lifecycle.CREATE_VM,
    errnos=(errno.EMFILE, errno.EBADF),
)
class CreateVm(FixedIoctl):
    """Create a VM."""

    vm: Name = VM
    by: Caller = MAIN

    @property
    def binds(self) -> str:
        return self.vm

    @property
    def binds_kind(self) -> Descriptor:
        return Descriptor.VM

    def argument(self) -> Argument:
        return Immediate(0)

    def transition(self, machine: Machine) -> Step:
        return lifecycle.create_vm(machine, self.vm, KVM, self.by)

    @property
    def text(self) -> str:
        which = "" if self.vm == VM else f" {self.vm}"
        return f"{self.kernel_call}{which}{by_whom(self.by)}"


class _Map(FixedOp):
    """Give the guest one page, with code at the reset vector."""

    def _page(self, vm: str, code: bytes) -> Call:
        return MapMemory(vm, 0, RESET_PAGE, bytes(RESET_VECTOR) + code)

    def transition(self, machine: Machine) -> Step:
        return memory.map_fresh(machine, self.descriptor, memory.reset_page(self.name))


@op("map-halt", "KVM_SET_USER_MEMORY_REGION", SET_MEMORY_REGION, on=Descriptor.VM)
class MapHalt(_Map):
    """Give the guest one page, with HLT at the reset vector."""

    vm: Name = VM

    def call(self) -> Call:
        return self._page(self.vm, HALT)


@op("map-out", "KVM_SET_USER_MEMORY_REGION", SET_MEMORY_REGION, on=Descriptor.VM)
class MapOut(_Map):
    """Give the guest one page, with OUT at the reset vector."""

    def call(self) -> Call:
        return self._page(VM, _OUT)


@op(
    "create-vcpu",
    ioctls.CREATE_VCPU,
    lifecycle.CREATE_VCPU,
    lifecycle.VCPU_ID_TOO_LARGE,
    lifecycle.VCPU_ID_TAKEN,
    lifecycle.NO_DESCRIPTOR_LEFT,
    requires=(Requirement.BOOT_PROCESSOR,),
    errnos=(errno.EINVAL, errno.EEXIST, errno.EMFILE, errno.EIO, errno.EBADF),
)
class CreateVcpu(FixedIoctl):
    """Create a vCPU; this freezes the calling process's guest permission."""

    vcpu: Name = VCPU
    vm: Name = VM
    id: U64 = 0
    by: Caller = MAIN

    @property
    def binds(self) -> str:
        return self.vcpu

    @property
    def binds_kind(self) -> Descriptor:
        return Descriptor.VCPU

    def refused(self, machine: Machine) -> str:  # noqa: ARG002
        # KVM_MAX_VCPU_IDS depends on CONFIG_KVM_MAX_NR_VCPUS.
        known = self.id & U32_MAX < _CERTAIN_IDS or self.id & U32_MAX >= lifecycle.MAX_VCPU_IDS
        return "" if known else f"whether an id of {self.id} exists depends on the kernel's build"

    def argument(self) -> Argument:
        return Immediate(self.id)

    def transition(self, machine: Machine) -> Step:
        return lifecycle.create_vcpu(machine, self.vcpu, self.by, self.vm, self.id)

    @property
    def text(self) -> str:
        usual = (self.vm, self.id) == (VM, 0)
        which = "" if usual else f" {self.id:#x} of {self.vm}"
        return f"{self.kernel_call}{which}{by_whom(self.by)}"


@op(
    "close",
    "close",
    process.CLOSE,
    on=tuple(Descriptor),
    errnos=(errno.EBADF,),
    operand="2",
)
class CloseDescriptor(FixedOp):
    """Close a descriptor by name; a vCPU's run area is unmapped as well."""

    on: Name

    def call(self) -> Call:
        return Close(self.on)

    def refused(self, machine: Machine) -> str:
        limited = machine.process(MAIN).limited
        return "after limit-descriptors it gives a descriptor back" if limited else ""

    def step(self, machine: Machine) -> Step:
        """Return the model's transition: any process may close what it has."""
        return self.transition(machine)

    def transition(self, machine: Machine) -> Step:
        return process.close(machine, self.on)

    @property
    def text(self) -> str:
        return f"close({self.on})"
