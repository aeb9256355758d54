"""The guest payload, and what it executes without operands."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from kvmprobe.abi.payload import RESULT, PayloadOp, Registers, command
from kvmprobe.model import guest, guest_control, guest_tiles, guest_vector
from kvmprobe.model.guest import VECTOR_FIELD
from kvmprobe.model.lifecycle import SET_MEMORY_REGION
from kvmprobe.model.outcome import Done, Step
from kvmprobe.scenarios.calls import Call, RunGuest
from kvmprobe.scenarios.calls import MapPayload as MapPayloadCall
from kvmprobe.scenarios.calls import SharePayload as SharePayloadCall
from kvmprobe.scenarios.ops._base import Op, op
from kvmprobe.scenarios.ops.lifecycle import VCPU, VM

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from kvmprobe.model.guest import Guest
    from kvmprobe.model.host import HostProfile
    from kvmprobe.model.machine import Machine
    from kvmprobe.model.rule import Rule

PAYLOAD = "payload"


@op(
    "map-payload",
    "KVM_SET_USER_MEMORY_REGION(payload)",
    "Documentation/virt/kvm/api.rst: KVM_SET_USER_MEMORY_REGION",
)
@dataclass(frozen=True, slots=True)
class MapPayload(Op):
    """Give the guest the payload, behind the reset vector."""

    vm: str = VM

    def lower(self, host: HostProfile) -> Call:  # noqa: ARG002
        """Lower to fresh memory."""
        return MapPayloadCall(self.vm, PAYLOAD)

    def step(self, machine: Machine) -> Step:
        """Expect success; guest memory is no part of the model."""
        return Step(machine, Done(), SET_MEMORY_REGION)


@op(
    "share-payload",
    "KVM_SET_USER_MEMORY_REGION(the same payload)",
    "Documentation/virt/kvm/api.rst: KVM_SET_USER_MEMORY_REGION",
)
@dataclass(frozen=True, slots=True)
class SharePayload(Op):
    """Give another VM the memory of the first one's guest, as it is now."""

    vm: str

    def lower(self, host: HostProfile) -> Call:  # noqa: ARG002
        """Lower to the first VM's memory."""
        return SharePayloadCall(self.vm, PAYLOAD)

    def step(self, machine: Machine) -> Step:
        """Expect success."""
        return Step(machine, Done(), SET_MEMORY_REGION)


class GuestOp(Op):
    """An instruction in the guest: its operands, and what the model makes of it."""

    output_fields: ClassVar[Mapping[str, tuple[int, str]]] = {
        name: (RESULT[name], "Q")
        for name in (VECTOR_FIELD, "error_code", "rip", "rax", "rbx", "rcx", "rdx", "cr0", "cr4")
    }
    vcpu: str

    @abstractmethod
    def command(self, host: HostProfile) -> bytes:
        """Return what the payload is told."""

    @abstractmethod
    def instruction(self, host: HostProfile) -> Callable[[Guest], Guest]:
        """Return the model of the instruction with its operands."""

    @property
    @abstractmethod
    def rule(self) -> Rule:
        """The rule of the instruction."""

    @property
    @abstractmethod
    def mnemonic(self) -> str:
        """The instruction with its operands."""

    @property
    def registers(self) -> Registers:
        """What its registers hold before."""
        return Registers()

    def lower(self, host: HostProfile) -> Call:
        """Lower to a KVM_RUN that ends with the payload's answer."""
        return RunGuest(self.vcpu, PAYLOAD, self.command(host), self.size_of_data(host))

    def size_of_data(self, host: HostProfile) -> int:  # noqa: ARG002
        """Return the bytes of the payload's data area that are read behind it."""
        return 0

    def step(self, machine: Machine) -> Step:
        """Load the guest FPU, execute, save it."""
        execution = self.instruction(machine.host)
        return guest.execute(machine, self.vcpu, self.registers, execution, self.rule)

    @property
    def text(self) -> str:
        """Name the instruction."""
        where = "" if self.vcpu == VCPU else f" on {self.vcpu}"
        return f"KVM_RUN: {self.mnemonic}{where}"


_PLAIN: dict[PayloadOp, tuple[Callable[[Guest], Guest], Rule, int]] = {
    PayloadOp.NOP: (guest_control.nothing, guest_control.NOTHING, 0),
    PayloadOp.UD2: (guest_control.ud2, guest_control.UD2, 0),
    PayloadOp.READ_CR0: (guest_control.read_cr0, guest_control.READ_CR0, 0),
    PayloadOp.READ_CR4: (guest_control.read_cr4, guest_control.READ_CR4, 0),
    PayloadOp.CLTS: (guest_control.clts, guest_control.CLTS, 0),
    PayloadOp.RDPKRU: (guest_control.rdpkru, guest_control.RDPKRU, 0),
    PayloadOp.FNINIT: (guest_vector.fninit, guest_vector.FNINIT, 0),
    PayloadOp.FNOP: (guest_vector.fnop, guest_vector.FNOP, 0),
    PayloadOp.FNCLEX: (guest_vector.fnclex, guest_vector.FNCLEX, 0),
    PayloadOp.FWAIT: (guest_vector.fwait, guest_vector.FWAIT, 0),
    PayloadOp.FLD1: (guest_vector.fld1, guest_vector.FLD1, 0),
    PayloadOp.FSTP: (guest_vector.fstp, guest_vector.FSTP, 10),
    PayloadOp.FNSTCW: (guest_vector.fnstcw, guest_vector.FNSTCW, 2),
    PayloadOp.FNSTSW: (guest_vector.fnstsw, guest_vector.FNSTSW, 2),
    PayloadOp.STMXCSR: (guest_vector.stmxcsr, guest_vector.STMXCSR, 4),
    PayloadOp.VZEROALL: (guest_vector.vzeroall, guest_vector.VZEROALL, 0),
    PayloadOp.VZEROUPPER: (guest_vector.vzeroupper, guest_vector.VZEROUPPER, 0),
    PayloadOp.TILERELEASE: (guest_tiles.tilerelease, guest_tiles.TILERELEASE, 0),
    PayloadOp.STTILECFG: (guest_tiles.sttilecfg, guest_tiles.STTILECFG, 64),
    PayloadOp.TDPBSSD: (guest_tiles.tdpbssd, guest_tiles.TDPBSSD, 0),
}


@op(
    "guest-execute",
    "KVM_RUN(instruction)",
    "SDM vol.2",
    "arch/x86/kvm/x86.c: kvm_arch_vcpu_ioctl_run",
)
@dataclass(frozen=True, slots=True)
class GuestExecute(GuestOp):
    """Execute an instruction without operands of the scenario's choice."""

    executes: PayloadOp
    vcpu: str = VCPU

    def __post_init__(self) -> None:
        """Accept the instruction's number."""
        object.__setattr__(self, "executes", PayloadOp(self.executes))

    @property
    def mnemonic(self) -> str:
        """Its name."""
        return self.executes.name.replace("_", " ")

    @property
    def rule(self) -> Rule:
        """Look it up."""
        return _PLAIN[self.executes][1]

    def command(self, host: HostProfile) -> bytes:  # noqa: ARG002
        """Have it executed."""
        return command(self.executes)

    def instruction(self, host: HostProfile) -> Callable[[Guest], Guest]:  # noqa: ARG002
        """Look it up."""
        return _PLAIN[self.executes][0]

    def size_of_data(self, host: HostProfile) -> int:  # noqa: ARG002
        """Return the bytes that it stores."""
        return _PLAIN[self.executes][2]
