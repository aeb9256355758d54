"""A nested guest: entering it, and leaving it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvmprobe.abi.ioctls import Descriptor
from kvmprobe.abi.payload import PayloadOp, Registers
from kvmprobe.model import guest_nested
from kvmprobe.scenarios.calls import VCPU
from kvmprobe.scenarios.need import GUEST_CODE, NESTED_VMX
from kvmprobe.scenarios.op_fields import U32, Name
from kvmprobe.scenarios.ops._base import op
from kvmprobe.scenarios.ops.guest import Execution, FixedGuestOp

if TYPE_CHECKING:
    from kvmprobe.model.machine import Machine

_NEEDS = GUEST_CODE | NESTED_VMX
# IA32_VMX_BASIC
_VMX_BASIC = 0x480


@op(
    "guest-enter-l2",
    "KVM_RUN",
    guest_nested.ENTER_L2,
    on=Descriptor.VCPU,
    needs=_NEEDS,
    operand="VMLAUNCH",
)
class GuestEnterL2(FixedGuestOp):
    """Enter a nested guest, which executes the commands from then on.

    :ivar exceptions: bitmap of those that exit to L1
    """

    exceptions: U32 = 0
    vcpu: Name = VCPU

    @property
    def known_in_l2(self) -> bool:
        return False

    @property
    def mnemonic(self) -> str:
        return f"VMLAUNCH, exceptions {self.exceptions:#x} exit"

    def refused(self, machine: Machine) -> str:
        vcpu = machine.vcpus.get(self.vcpu)
        return guest_nested.not_enterable(machine.host, vcpu) if vcpu else ""

    def executes_as(self) -> Execution:
        registers = Registers(rax=self.exceptions, rcx=_VMX_BASIC)
        return Execution(PayloadOp.ENTER_L2, guest_nested.enter_l2, registers)


@op(
    "guest-vmcall",
    "KVM_RUN",
    guest_nested.VMCALL,
    on=Descriptor.VCPU,
    needs=_NEEDS,
    operand="VMCALL",
)
class GuestVmcall(FixedGuestOp):
    """Leave the nested guest, if there is one; L1 executes the commands from then on."""

    vcpu: Name = VCPU

    @property
    def mnemonic(self) -> str:
        return "VMCALL"

    def executes_as(self) -> Execution:
        return Execution(PayloadOp.VMCALL, guest_nested.vmcall)
