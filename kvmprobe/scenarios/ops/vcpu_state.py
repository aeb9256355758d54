"""Saving and restoring REGS, VCPU_EVENTS, MP_STATE, DEBUGREGS and LAPIC."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from kvmprobe.abi import ioctls
from kvmprobe.abi.numbers import RESET_PAGE, RESET_VECTOR
from kvmprobe.model import run, vcpu_state
from kvmprobe.model.lifecycle import SET_MEMORY_REGION
from kvmprobe.model.outcome import Done, Step
from kvmprobe.model.vcpu_state import RESET, State
from kvmprobe.scenarios.calls import (
    Call,
    Captured,
    Immediate,
    Ioctl,
    MapMemory,
    Output,
    RunVcpu,
)
from kvmprobe.scenarios.ops._base import Op, op
from kvmprobe.scenarios.ops.lifecycle import VCPU, VM

if TYPE_CHECKING:
    from collections.abc import Mapping

    from kvmprobe.model.host import HostProfile
    from kvmprobe.model.machine import Machine

Fields = dict[str, tuple[int, str]]
# SDM vol.2 OUT: OUT imm8, AL.
_OUT = b"\xe6\x80"
_API = "Documentation/virt/kvm/api.rst"
# asm/kvm.h: struct kvm_regs, kvm_vcpu_events, kvm_mp_state, kvm_debugregs; SDM vol.3 table 12-1
# "Local APIC Register Address Map".
FIELDS: dict[State, Fields] = {
    State.REGS: {name: (8 * n, "Q") for n, name in enumerate(RESET[State.REGS])},
    State.EVENTS: {
        "exception": (0, "Q"),
        "interrupt": (8, "I"),
        "nmi": (12, "I"),
        "sipi_vector": (16, "I"),
        "flags": (20, "I"),
        "smi": (24, "I"),
        "triple_fault": (28, "B"),
    },
    State.MP_STATE: {"mp_state": (0, "I")},
    State.DEBUGREGS: {name: (8 * n, "Q") for n, name in enumerate(RESET[State.DEBUGREGS])},
    State.LAPIC: {"id": (0x20, "I"), "tpr": (0x80, "I"), "dfr": (0xE0, "I"), "svr": (0xF0, "I")},
}


class _Get(Op):
    """Read one kind of state, and keep it for the SET."""

    __slots__ = ()
    state: ClassVar[State]
    spec: ClassVar[ioctls.IoctlSpec]

    def lower(self, host: HostProfile) -> Call:  # noqa: ARG002
        """Lower to the structure."""
        return Ioctl(self.spec.number, VCPU, Output(self.spec.size, capture=self.state))

    def step(self, machine: Machine) -> Step:
        """Expect what was set, or the state after reset."""
        return vcpu_state.get_state(machine, VCPU, self.state)


class _Set(Op):
    """Write back what the GET kept, with some values changed."""

    __slots__ = ()
    state: ClassVar[State]
    spec: ClassVar[ioctls.IoctlSpec]

    def changes(self) -> Mapping[str, int]:
        """Return the values that differ from the kept ones."""
        return {}

    def lower(self, host: HostProfile) -> Call:  # noqa: ARG002
        """Lower to the kept structure, patched."""
        fields = FIELDS[self.state]
        patches = tuple(
            (fields[name][0], struct.pack(f"={fields[name][1]}", value))
            for name, value in self.changes().items()
        )
        return Ioctl(self.spec.number, VCPU, Captured(self.state, patches))

    def step(self, machine: Machine) -> Step:
        """Accept what can be."""
        return vcpu_state.set_state(machine, VCPU, self.state, self.changes())

    @property
    def text(self) -> str:
        """Show what is changed."""
        shown = ", ".join(f"{name}={value:#x}" for name, value in self.changes().items())
        return f"{self.kernel_call}({shown or 'as saved'})"


@op("get-regs", "KVM_GET_REGS", f"{_API}: KVM_GET_REGS")
@dataclass(frozen=True, slots=True)
class GetRegs(_Get):
    """Read the general registers."""

    state: ClassVar[State] = State.REGS
    spec: ClassVar[ioctls.IoctlSpec] = ioctls.GET_REGS
    output_fields: ClassVar[Mapping[str, tuple[int, str]]] = FIELDS[State.REGS]


@op("set-regs", "KVM_SET_REGS", f"{_API}: KVM_SET_REGS")
@dataclass(frozen=True, slots=True)
class SetRegs(_Set):
    """Restore the general registers, with this RBX."""

    rbx: int = 0
    state: ClassVar[State] = State.REGS
    spec: ClassVar[ioctls.IoctlSpec] = ioctls.SET_REGS

    def changes(self) -> Mapping[str, int]:
        """Return RBX."""
        return {"rbx": self.rbx}


@op("get-vcpu-events", "KVM_GET_VCPU_EVENTS", f"{_API}: KVM_GET_VCPU_EVENTS")
@dataclass(frozen=True, slots=True)
class GetVcpuEvents(_Get):
    """Read pending events."""

    state: ClassVar[State] = State.EVENTS
    spec: ClassVar[ioctls.IoctlSpec] = ioctls.GET_VCPU_EVENTS
    output_fields: ClassVar[Mapping[str, tuple[int, str]]] = FIELDS[State.EVENTS]


@op(
    "set-vcpu-events",
    "KVM_SET_VCPU_EVENTS",
    f"{_API}: KVM_SET_VCPU_EVENTS",
    errnos={"EINVAL": "a flag that is not known or not enabled"},
)
@dataclass(frozen=True, slots=True)
class SetVcpuEvents(_Set):
    """Restore pending events: none, of the kinds that these flags call valid."""

    flags: int = RESET[State.EVENTS]["flags"]
    state: ClassVar[State] = State.EVENTS
    spec: ClassVar[ioctls.IoctlSpec] = ioctls.SET_VCPU_EVENTS

    def changes(self) -> Mapping[str, int]:
        """Return the flags."""
        return {"flags": self.flags}


@op("get-mp-state", "KVM_GET_MP_STATE", f"{_API}: KVM_GET_MP_STATE")
@dataclass(frozen=True, slots=True)
class GetMpState(_Get):
    """Read whether the vCPU runs."""

    state: ClassVar[State] = State.MP_STATE
    spec: ClassVar[ioctls.IoctlSpec] = ioctls.GET_MP_STATE
    output_fields: ClassVar[Mapping[str, tuple[int, str]]] = FIELDS[State.MP_STATE]


@op(
    "set-mp-state",
    "KVM_SET_MP_STATE",
    f"{_API}: KVM_SET_MP_STATE",
    errnos={"EINVAL": "another state than RUNNABLE, without a local APIC in the kernel"},
)
@dataclass(frozen=True, slots=True)
class SetMpState(_Set):
    """Restore whether the vCPU runs, or say this state."""

    mp_state: int = 0
    state: ClassVar[State] = State.MP_STATE
    spec: ClassVar[ioctls.IoctlSpec] = ioctls.SET_MP_STATE

    def changes(self) -> Mapping[str, int]:
        """Return the state."""
        return {"mp_state": self.mp_state}


@op("get-debugregs", "KVM_GET_DEBUGREGS", f"{_API}: KVM_GET_DEBUGREGS")
@dataclass(frozen=True, slots=True)
class GetDebugregs(_Get):
    """Read the debug registers."""

    state: ClassVar[State] = State.DEBUGREGS
    spec: ClassVar[ioctls.IoctlSpec] = ioctls.GET_DEBUGREGS
    output_fields: ClassVar[Mapping[str, tuple[int, str]]] = FIELDS[State.DEBUGREGS]


@op(
    "set-debugregs",
    "KVM_SET_DEBUGREGS",
    f"{_API}: KVM_SET_DEBUGREGS",
    errnos={"EINVAL": "flags, or DR6 or DR7 beyond 32 bits"},
)
@dataclass(frozen=True, slots=True)
class SetDebugregs(_Set):
    """Restore the debug registers, with this DR0, DR6 and DR7, and these flags."""

    db0: int = 0
    flags: int = 0
    dr6: int = RESET[State.DEBUGREGS]["dr6"]
    dr7: int = RESET[State.DEBUGREGS]["dr7"]
    state: ClassVar[State] = State.DEBUGREGS
    spec: ClassVar[ioctls.IoctlSpec] = ioctls.SET_DEBUGREGS

    def changes(self) -> Mapping[str, int]:
        """Return DR0, DR6, DR7 and flags."""
        return {"db0": self.db0, "dr6": self.dr6, "dr7": self.dr7, "flags": self.flags}


_NO_LAPIC = {"EINVAL": "no local APIC in the kernel"}


@op("get-lapic", "KVM_GET_LAPIC", f"{_API}: KVM_GET_LAPIC", errnos=_NO_LAPIC)
@dataclass(frozen=True, slots=True)
class GetLapic(_Get):
    """Read the local APIC's registers."""

    state: ClassVar[State] = State.LAPIC
    spec: ClassVar[ioctls.IoctlSpec] = ioctls.GET_LAPIC
    output_fields: ClassVar[Mapping[str, tuple[int, str]]] = FIELDS[State.LAPIC]


@op("set-lapic", "KVM_SET_LAPIC", f"{_API}: KVM_SET_LAPIC", errnos=_NO_LAPIC)
@dataclass(frozen=True, slots=True)
class SetLapic(_Set):
    """Restore the local APIC's registers."""

    state: ClassVar[State] = State.LAPIC
    spec: ClassVar[ioctls.IoctlSpec] = ioctls.SET_LAPIC


@op(
    "create-irqchip",
    "KVM_CREATE_IRQCHIP",
    f"{_API}: KVM_CREATE_IRQCHIP",
    errnos={"EEXIST": "it is there", "EINVAL": "there is a vCPU"},
)
@dataclass(frozen=True, slots=True)
class CreateIrqchip(Op):
    """Give the VM an interrupt controller in the kernel."""

    def lower(self, host: HostProfile) -> Call:  # noqa: ARG002
        """Lower to the ioctl on the VM."""
        return Ioctl(ioctls.CREATE_IRQCHIP.number, VM, Immediate(0))

    def step(self, machine: Machine) -> Step:
        """Let vCPUs have a local APIC from now on."""
        return vcpu_state.create_irqchip(machine, VM)


@op("map-out", "KVM_SET_USER_MEMORY_REGION", f"{_API}: KVM_SET_USER_MEMORY_REGION")
@dataclass(frozen=True, slots=True)
class MapOut(Op):
    """Give the guest one page, with OUT at the reset vector."""

    def lower(self, host: HostProfile) -> Call:  # noqa: ARG002
        """Lower to memory below 4 GiB."""
        return MapMemory(VM, 0, RESET_PAGE, bytes(RESET_VECTOR) + _OUT)

    def step(self, machine: Machine) -> Step:
        """Expect success; guest memory is no part of the model."""
        return Step(machine, Done(), SET_MEMORY_REGION)


@op("run-until-out", "KVM_RUN", f"{_API}: KVM_RUN", "arch/x86/kvm/x86.c: kvm_fast_pio_out")
@dataclass(frozen=True, slots=True)
class RunUntilOut(Op):
    """Enter the guest, which writes to a port at once."""

    output_fields: ClassVar[Mapping[str, tuple[int, str]]] = {run.EXIT_FIELD: (0, "I")}

    def lower(self, host: HostProfile) -> Call:  # noqa: ARG002
        """Lower to a real entry."""
        return RunVcpu(VCPU, 0)

    def step(self, machine: Machine) -> Step:
        """Load and save the guest FPU."""
        return vcpu_state.run_until_port(machine, VCPU)
