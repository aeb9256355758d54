"""The guest payload, and instructions without operands."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

from kvmprobe.abi.ioctls import Descriptor
from kvmprobe.abi.payload import RESULT, PayloadOp, Registers, command
from kvmprobe.model import (
    guest,
    guest_control,
    guest_shadow_stack,
    guest_tiles,
    guest_vector,
    guest_x87,
    memory,
)
from kvmprobe.model.control import Cr4
from kvmprobe.model.guest import VECTOR_FIELD, Guest
from kvmprobe.model.memory import SET_MEMORY_REGION
from kvmprobe.scenarios.calls import VCPU, VM, Call, RunGuest
from kvmprobe.scenarios.calls import MapPayload as MapPayloadCall
from kvmprobe.scenarios.calls import SharePayload as SharePayloadCall
from kvmprobe.scenarios.need import GUEST_CODE
from kvmprobe.scenarios.op_fields import Choice, Name
from kvmprobe.scenarios.ops._base import FixedOp, Op, Places, op
from kvmprobe.scenarios.requirement import Requirement

if TYPE_CHECKING:
    from kvmprobe.model.host import HostProfile
    from kvmprobe.model.machine import Machine, Vcpu
    from kvmprobe.model.outcome import Step
    from kvmprobe.model.rule import Rule

PAYLOAD = "payload"
_ZEROS = Registers()
Instruction = Callable[[Guest], Guest]
"""The model of an instruction with its operands."""


@op(
    "map-payload",
    "KVM_SET_USER_MEMORY_REGION",
    SET_MEMORY_REGION,
    on=Descriptor.VM,
    requires=(Requirement.OPEN,),
    operand="payload",
)
class MapPayload(FixedOp):
    """Give the guest the payload in new memory, and its reset vector."""

    vm: Name = VM

    def call(self) -> Call:
        return MapPayloadCall(self.vm, PAYLOAD)

    def transition(self, machine: Machine) -> Step:
        return memory.map_payload(machine, self.vm)


@op(
    "share-payload",
    "KVM_SET_USER_MEMORY_REGION",
    SET_MEMORY_REGION,
    on=Descriptor.VM,
    operand="the same payload",
)
class SharePayload(FixedOp):
    """Give another VM the payload's memory of the first VM, with its content."""

    vm: Name

    def call(self) -> Call:
        return SharePayloadCall(self.vm, PAYLOAD)

    def transition(self, machine: Machine) -> Step:
        return memory.share_payload(machine, self.vm)


@dataclass(frozen=True, slots=True)
class Execution:
    """A command of the payload, and the model of the instruction that it executes.

    :ivar registers: before the instruction
    :ivar operand: number of a TMM
    :ivar offset: of the memory operand, in bytes from the data area
    :ivar instruction: its bytes, if the payload does not have it
    :ivar data: content for the start of the data area
    :ivar data_size: bytes of the data area to read after the instruction
    """

    code: PayloadOp
    model: Instruction
    registers: Registers = _ZEROS
    operand: int = 0
    offset: int = 0
    instruction: bytes = b""
    data: bytes = b""
    data_size: int = 0

    @property
    def command(self) -> bytes:
        """The command's bytes."""
        return command(
            self.code,
            self.registers,
            operand=self.operand,
            offset=self.offset,
            instruction=self.instruction,
            data=self.data,
        )


class GuestOp(Op):
    """An instruction in the guest."""

    vcpu: str
    requires = (
        Requirement.OPEN,
        Requirement.PAYLOAD,
        Requirement.LONG_MODE,
        Requirement.RUNNABLE,
        Requirement.NO_BREAKPOINT,
    )
    needs = GUEST_CODE
    takes_init = True

    @abstractmethod
    def execution(self, host: HostProfile) -> Execution:
        """Return the instruction with its operands; areas take their layout from ``host``."""

    @property
    def known_in_l2(self) -> bool:
        """Whether the model knows the instruction in a nested guest."""
        return True

    def unknown_in_vmx(self, vcpu: Vcpu) -> str:
        if not vcpu.cr4 & Cr4.VMXE.bit:
            return "the model does not know VMX operation without CR4.VMXE"
        if vcpu.in_l2 and not self.known_in_l2:
            return "the model does not know this instruction in a nested guest"
        return ""

    @property
    @abstractmethod
    def mnemonic(self) -> str:
        """The instruction with its operands."""

    @property
    def places(self) -> Places:
        return RESULT_PLACES

    def lower(self, host: HostProfile) -> Call:
        execution = self.execution(host)
        return RunGuest(self.vcpu, PAYLOAD, execution.command, execution.data_size)

    def transition(self, machine: Machine) -> Step:
        execution = self.execution(machine.host)
        return guest.execute(machine, self.vcpu, execution.registers, execution.model, self.rule)

    @property
    def rule(self) -> Rule:
        """The rule of the instruction."""
        return self.rules[0]

    @property
    def text(self) -> str:
        where = "" if self.vcpu == VCPU else f" on {self.vcpu}"
        return f"KVM_RUN: {self.mnemonic}{where}"


class FixedGuestOp(GuestOp):
    """An instruction whose operands are the same on every host."""

    @abstractmethod
    def executes_as(self) -> Execution:
        """Return the instruction with its operands."""

    def execution(self, host: HostProfile) -> Execution:  # noqa: ARG002
        return self.executes_as()


RESULT_PLACES: Places = {
    name: (RESULT[name], "Q")
    for name in (VECTOR_FIELD, "error_code", "rip", "rax", "rbx", "rcx", "rdx", "cr0", "cr4")
}
# Instructions without operands, and the bytes that they store.
_PLAIN: dict[PayloadOp, tuple[Instruction, Rule, int]] = {
    PayloadOp.NOP: (guest_control.nothing, guest_control.NOTHING, 0),
    PayloadOp.UD2: (guest_control.ud2, guest_control.UD2, 0),
    PayloadOp.READ_CR0: (guest_control.read_cr0, guest_control.READ_CR0, 0),
    PayloadOp.READ_CR4: (guest_control.read_cr4, guest_control.READ_CR4, 0),
    PayloadOp.CLTS: (guest_control.clts, guest_control.CLTS, 0),
    PayloadOp.RDPKRU: (guest_control.rdpkru, guest_control.RDPKRU, 0),
    PayloadOp.FNINIT: (guest_x87.fninit, guest_x87.FNINIT, 0),
    PayloadOp.FNOP: (guest_x87.fnop, guest_x87.FNOP, 0),
    PayloadOp.FNCLEX: (guest_x87.fnclex, guest_x87.FNCLEX, 0),
    PayloadOp.FWAIT: (guest_x87.fwait, guest_x87.FWAIT, 0),
    PayloadOp.FLD1: (guest_x87.fld1, guest_x87.FLD1, 0),
    PayloadOp.FSTP: (guest_x87.fstp, guest_x87.FSTP, 10),
    PayloadOp.FNSTCW: (guest_x87.fnstcw, guest_x87.FNSTCW, 2),
    PayloadOp.FNSTSW: (guest_x87.fnstsw, guest_x87.FNSTSW, 2),
    PayloadOp.STMXCSR: (guest_vector.stmxcsr, guest_vector.STMXCSR, 4),
    PayloadOp.VZEROALL: (guest_vector.vzeroall, guest_vector.VZEROALL, 0),
    PayloadOp.VZEROUPPER: (guest_vector.vzeroupper, guest_vector.VZEROUPPER, 0),
    PayloadOp.TILERELEASE: (guest_tiles.tilerelease, guest_tiles.TILERELEASE, 0),
    PayloadOp.STTILECFG: (guest_tiles.sttilecfg, guest_tiles.STTILECFG, 64),
    PayloadOp.TDPBSSD: (guest_tiles.tdpbssd, guest_tiles.TDPBSSD, 0),
    PayloadOp.CALL: (guest_shadow_stack.call, guest_shadow_stack.CALL, 0),
    PayloadOp.RETURN_ELSEWHERE: (
        guest_shadow_stack.return_elsewhere,
        guest_shadow_stack.RETURN_ELSEWHERE,
        0,
    ),
    PayloadOp.JUMP_UNTRACKED: (
        guest_shadow_stack.jump_untracked,
        guest_shadow_stack.JUMP_UNTRACKED,
        0,
    ),
}
_NOT_IN_L2 = frozenset(
    {PayloadOp.CLTS, PayloadOp.CALL, PayloadOp.RETURN_ELSEWHERE, PayloadOp.JUMP_UNTRACKED}
)
PlainInstruction = Annotated[PayloadOp, Choice(_PLAIN)]


@op(
    "guest-execute",
    "KVM_RUN",
    *(form[1] for form in _PLAIN.values()),
    on=Descriptor.VCPU,
    operand="instruction",
)
class GuestExecute(FixedGuestOp):
    """Execute an instruction without operands."""

    executes: PlainInstruction
    vcpu: Name = VCPU

    @property
    def mnemonic(self) -> str:
        return self.executes.name.replace("_", " ")

    @property
    def known_in_l2(self) -> bool:
        return self.executes not in _NOT_IN_L2

    def executes_as(self) -> Execution:
        model, _, stored = _PLAIN[self.executes]
        return Execution(self.executes, model, data_size=stored)

    @property
    def rule(self) -> Rule:
        return _PLAIN[self.executes][1]
