"""Reading and writing MSRs one at a time: KVM_GET_ONE_REG, KVM_SET_ONE_REG, KVM_GET_REG_LIST."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING

from kvmprobe.abi import ioctls
from kvmprobe.abi.numbers import U32_MAX, Msr
from kvmprobe.abi.tables import REG_LIST
from kvmprobe.model import one_reg
from kvmprobe.scenarios.calls import VCPU, Argument, Output, OutputBehind
from kvmprobe.scenarios.op_fields import U64, Name, Room
from kvmprobe.scenarios.ops._base import FixedIoctl, Places, op
from kvmprobe.scenarios.ops.msrs import unknown_msr

if TYPE_CHECKING:
    from kvmprobe.model.machine import Machine
    from kvmprobe.model.outcome import Step

_ERRNOS = (errno.EINVAL,)


def _one_reg(register_id: int, value: bytes = b"") -> Argument:
    """Return ``struct kvm_one_reg`` with the address of the value after it."""
    layout = ioctls.KVM_ONE_REG
    return OutputBehind(layout.packed.pack(register_id, 0), layout.offset("addr"), 8, value)


def _refused(register_id: int, value: int) -> str:
    cut = one_reg.msr_of(register_id) == Msr.IA32_SYSENTER_CS and value > U32_MAX
    return "some CPUs keep 32 bits of IA32_SYSENTER_CS only" if cut else ""


def _not_covered(register_id: int) -> str:
    index = one_reg.msr_of(register_id)
    return "" if index is None else unknown_msr([index])


@op(
    "get-one-reg",
    ioctls.GET_ONE_REG,
    one_reg.GET_ONE_REG,
    errnos=_ERRNOS,
    output={one_reg.VALUE_FIELD: (ioctls.KVM_ONE_REG.size, "Q")},
)
class GetOneReg(FixedIoctl):
    """Read one register."""

    register_id: U64
    vcpu: Name = VCPU

    def argument(self) -> Argument:
        return _one_reg(self.register_id)

    def not_covered(self, machine: Machine) -> str:  # noqa: ARG002
        return _not_covered(self.register_id)

    def transition(self, machine: Machine) -> Step:
        return one_reg.get_one_reg(machine, self.vcpu, self.register_id)

    @property
    def text(self) -> str:
        return f"{self.kernel_call}({self.register_id:#x})"


@op("set-one-reg", ioctls.SET_ONE_REG, one_reg.SET_ONE_REG, errnos=_ERRNOS)
class SetOneReg(FixedIoctl):
    """Write one register."""

    register_id: U64
    value: U64
    vcpu: Name = VCPU

    def argument(self) -> Argument:
        return _one_reg(self.register_id, self.value.to_bytes(8, "little"))

    def refused(self, machine: Machine) -> str:  # noqa: ARG002
        return _refused(self.register_id, self.value)

    def not_covered(self, machine: Machine) -> str:  # noqa: ARG002
        return _not_covered(self.register_id)

    def transition(self, machine: Machine) -> Step:
        return one_reg.set_one_reg(machine, self.vcpu, self.register_id, self.value)

    @property
    def text(self) -> str:
        return f"{self.kernel_call}({self.register_id:#x}, {self.value:#x})"


@op(
    "get-reg-list",
    ioctls.GET_REG_LIST,
    one_reg.GET_REG_LIST,
    errnos=(errno.EINVAL, errno.E2BIG),
)
class GetRegList(FixedIoctl):
    """Read the list of registers that are not MSRs, with room for ``capacity`` of them."""

    capacity: Room

    @property
    def places(self) -> Places:
        first = {one_reg.REGISTER_FIELD: (REG_LIST.offset(0), "Q")} if self.capacity else {}
        return {one_reg.COUNT_FIELD: (0, "Q"), **first}

    def argument(self) -> Argument:
        return Output(REG_LIST.offset(self.capacity), REG_LIST.head.packed.pack(self.capacity))

    def transition(self, machine: Machine) -> Step:
        return one_reg.get_reg_list(machine, VCPU, self.capacity)
