"""Reading and writing MSRs one at a time: KVM_GET_ONE_REG, KVM_SET_ONE_REG, KVM_GET_REG_LIST."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from kvmprobe.abi import ioctls
from kvmprobe.model import one_reg
from kvmprobe.scenarios.calls import Call, Ioctl, Output, OutputBehind
from kvmprobe.scenarios.ops._base import Op, op
from kvmprobe.scenarios.ops.lifecycle import VCPU

if TYPE_CHECKING:
    from collections.abc import Mapping

    from kvmprobe.model.host import HostProfile
    from kvmprobe.model.machine import Machine
    from kvmprobe.model.outcome import Step

_POINTER = 8
_HEAD_SIZE = 16
_CITES = (
    "Documentation/virt/kvm/api.rst: KVM_SET_ONE_REG",
    "arch/x86/kvm/x86.c: kvm_get_set_one_reg",
)
_ERRNOS = {"EINVAL": "no register of that id, or a value that it cannot have"}


def _head(register_id: int) -> bytes:
    return struct.pack("=QQ", register_id, 0)


@op("get-one-reg", "KVM_GET_ONE_REG", *_CITES, errnos=_ERRNOS)
@dataclass(frozen=True, slots=True)
class GetOneReg(Op):
    """Read one register."""

    register_id: int
    output_fields: ClassVar[Mapping[str, tuple[int, str]]] = {
        one_reg.VALUE_FIELD: (_HEAD_SIZE, "Q")
    }

    def lower(self, host: HostProfile) -> Call:  # noqa: ARG002
        """Lower to ``struct kvm_one_reg``, and the value behind it."""
        argument = OutputBehind(_head(self.register_id), _POINTER, 8)
        return Ioctl(ioctls.GET_ONE_REG.number, VCPU, argument)

    def step(self, machine: Machine) -> Step:
        """Expect an MSR's value."""
        return one_reg.get_one_reg(machine, VCPU, self.register_id)

    @property
    def text(self) -> str:
        """Show the id."""
        return f"{self.kernel_call}({self.register_id:#x})"


@op("set-one-reg", "KVM_SET_ONE_REG", *_CITES, errnos=_ERRNOS)
@dataclass(frozen=True, slots=True)
class SetOneReg(Op):
    """Write one register."""

    register_id: int
    value: int

    def lower(self, host: HostProfile) -> Call:  # noqa: ARG002
        """Lower to ``struct kvm_one_reg``, and the value behind it."""
        value = struct.pack("=Q", self.value)
        argument = OutputBehind(_head(self.register_id), _POINTER, len(value), value)
        return Ioctl(ioctls.SET_ONE_REG.number, VCPU, argument)

    def step(self, machine: Machine) -> Step:
        """Write an MSR."""
        return one_reg.set_one_reg(machine, VCPU, self.register_id, self.value)

    @property
    def text(self) -> str:
        """Show id and value."""
        return f"{self.kernel_call}({self.register_id:#x}, {self.value:#x})"


@op(
    "get-reg-list",
    "KVM_GET_REG_LIST",
    "Documentation/virt/kvm/api.rst: KVM_GET_REG_LIST",
    "arch/x86/kvm/x86.c: kvm_get_reg_list",
    errnos={
        "EINVAL": "x86 has no such list here",
        "E2BIG": "it has more entries than there is room",
    },
)
@dataclass(frozen=True, slots=True)
class GetRegList(Op):
    """Read the list of registers that are no MSRs, with room for so many."""

    capacity: int
    output_fields: ClassVar[Mapping[str, tuple[int, str]]] = {one_reg.COUNT_FIELD: (0, "Q")}

    def lower(self, host: HostProfile) -> Call:  # noqa: ARG002
        """Lower to ``struct kvm_reg_list``."""
        head = struct.pack("=Q", self.capacity)
        return Ioctl(ioctls.GET_REG_LIST.number, VCPU, Output(8 + 8 * self.capacity, head))

    def step(self, machine: Machine) -> Step:
        """Expect KVM's own registers."""
        return one_reg.get_reg_list(machine, VCPU, self.capacity)
