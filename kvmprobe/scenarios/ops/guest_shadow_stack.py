"""Instructions of shadow stacks in the guest, and jumps that control-flow enforcement looks at."""

from __future__ import annotations

from abc import abstractmethod
from functools import partial
from typing import TYPE_CHECKING

from kvmprobe.abi.ioctls import Descriptor
from kvmprobe.abi.payload import DATA, SHADOW, STACKS, STACKS_SIZE, PayloadOp, Registers
from kvmprobe.model import guest_shadow_stack as model
from kvmprobe.model.guest_shadow_stack import Token
from kvmprobe.scenarios.calls import VCPU
from kvmprobe.scenarios.op_fields import U64, Name
from kvmprobe.scenarios.ops._base import op
from kvmprobe.scenarios.ops.guest import Execution, FixedGuestOp

if TYPE_CHECKING:
    from kvmprobe.model.machine import Machine
    from kvmprobe.scenarios.ops.guest import Instruction

_ON = Descriptor.VCPU
FIRST = SHADOW + STACKS
"""The linear address of the first entry of the payload's memory for shadow stacks."""


def physical(address: int) -> int:
    """Return the physical address of a shadow-stack page's byte."""
    return address - SHADOW


class _TokenOp(FixedGuestOp):
    """An instruction on the entry at ``address``, where the payload first stores ``token``."""

    token: U64
    address: U64
    code: PayloadOp

    def refused(self, machine: Machine) -> str:  # noqa: ARG002
        room = range(FIRST, FIRST + STACKS_SIZE, 8)
        return "" if self.address in room else "the token is not in memory for shadow stacks"

    @property
    def stored(self) -> Token:
        """The token and its place."""
        return Token(self.token, physical(self.address))

    @abstractmethod
    def instruction(self) -> Instruction:
        """Return the model with its operands."""

    def executes_as(self) -> Execution:
        stored = self.stored
        return Execution(
            self.code,
            self.instruction(),
            Registers(rax=self.rax, rbx=stored.value, rcx=stored.place),
            offset=self.operand - DATA,
        )

    @property
    def rax(self) -> int:
        """RAX."""
        return 0

    @property
    def operand(self) -> int:
        """The linear address of the memory operand."""
        return self.address

    @property
    def mnemonic(self) -> str:
        return f"{self.code.name} {self.token:#x} at {self.address:#x}"


@op("guest-setssbsy", "KVM_RUN", model.SETSSBSY, on=_ON, operand="SETSSBSY")
class GuestSetssbsy(_TokenOp):
    """Turn to the shadow stack at IA32_PL0_SSP, with a token stored at ``address``."""

    token: U64
    address: U64
    vcpu: Name = VCPU
    code = PayloadOp.SETSSBSY

    def instruction(self) -> Instruction:
        return partial(model.setssbsy, token=self.stored)


@op("guest-clrssbsy", "KVM_RUN", model.CLRSSBSY, on=_ON, operand="CLRSSBSY")
class GuestClrssbsy(_TokenOp):
    """Free a token."""

    token: U64
    address: U64
    vcpu: Name = VCPU
    code = PayloadOp.CLRSSBSY

    def instruction(self) -> Instruction:
        return partial(model.clrssbsy, token=self.stored, address=self.address)


@op("guest-rstorssp", "KVM_RUN", model.RSTORSSP, on=_ON, operand="RSTORSSP")
class GuestRstorssp(_TokenOp):
    """Turn to another shadow stack."""

    token: U64
    address: U64
    vcpu: Name = VCPU
    code = PayloadOp.RSTORSSP

    def instruction(self) -> Instruction:
        return partial(model.rstorssp, token=self.stored, address=self.address)


@op(
    "guest-switch-stacks",
    "KVM_RUN",
    model.SWITCH_STACKS,
    on=_ON,
    operand="RSTORSSP, SAVEPREVSSP",
)
class GuestSwitchStacks(_TokenOp):
    """Turn to another shadow stack, and leave a token on the one before."""

    token: U64
    address: U64
    vcpu: Name = VCPU
    code = PayloadOp.SWITCH_STACKS

    def instruction(self) -> Instruction:
        return partial(model.switch_stacks, token=self.stored, address=self.address)


@op("guest-wrss", "KVM_RUN", model.WRSS, on=_ON, operand="WRSS")
class GuestWrss(_TokenOp):
    """Write to ``target``, with a token stored at ``address``."""

    value: U64
    target: U64
    token: U64 = 0
    address: U64 = FIRST
    vcpu: Name = VCPU
    code = PayloadOp.WRSS

    def instruction(self) -> Instruction:
        return partial(model.wrss, token=self.stored, address=self.target)

    @property
    def rax(self) -> int:
        return self.value

    @property
    def operand(self) -> int:
        return self.target

    @property
    def mnemonic(self) -> str:
        return f"WRSS {self.value:#x} at {self.target:#x}"


@op("guest-rdssp", "KVM_RUN", model.RDSSP, on=_ON, operand="RDSSP")
class GuestRdssp(FixedGuestOp):
    """Read SSP into RAX, which is ``rax`` before and, without a shadow stack, after it."""

    rax: U64 = 0
    vcpu: Name = VCPU

    @property
    def mnemonic(self) -> str:
        return "RDSSP"

    def executes_as(self) -> Execution:
        return Execution(PayloadOp.RDSSP, model.rdssp, Registers(rax=self.rax))


@op("guest-incssp", "KVM_RUN", model.INCSSP, on=_ON, operand="INCSSP")
class GuestIncssp(FixedGuestOp):
    """Pop entries of 8 bytes: bits 7:0 of ``count``."""

    count: U64
    vcpu: Name = VCPU

    @property
    def mnemonic(self) -> str:
        return f"INCSSP {self.count:#x}"

    def executes_as(self) -> Execution:
        return Execution(PayloadOp.INCSSP, model.incssp, Registers(rax=self.count))
