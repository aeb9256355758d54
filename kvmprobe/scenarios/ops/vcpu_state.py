"""Saving and restoring REGS, VCPU_EVENTS, MP_STATE, DEBUGREGS and LAPIC."""

from __future__ import annotations

import errno
import struct
from typing import TYPE_CHECKING, ClassVar

from kvmprobe.abi import ioctls
from kvmprobe.abi.fields import (
    KVM_DEBUGREGS,
    KVM_LAPIC,
    KVM_MP_STATE,
    KVM_REGS,
    KVM_VCPU_EVENTS,
    places,
)
from kvmprobe.model import vcpu_state
from kvmprobe.model.vcpu_state import RESET, State
from kvmprobe.scenarios.calls import VCPU, VM, Argument, Captured, Immediate, Output
from kvmprobe.scenarios.op_fields import U32, U64
from kvmprobe.scenarios.ops._base import FixedIoctl, Places, op

if TYPE_CHECKING:
    from collections.abc import Mapping

    from kvmprobe.model.machine import Machine
    from kvmprobe.model.outcome import Step

FIELDS: dict[State, Places] = {
    State.REGS: places(KVM_REGS),
    State.EVENTS: places(KVM_VCPU_EVENTS),
    State.MP_STATE: places(KVM_MP_STATE),
    State.DEBUGREGS: places(KVM_DEBUGREGS),
    State.LAPIC: places(KVM_LAPIC),
}


class _Get(FixedIoctl):
    """Read one kind of state, and keep it for the SET."""

    state: ClassVar[State]

    def argument(self) -> Argument:
        return Output(self.spec.size, capture=self.state)

    def transition(self, machine: Machine) -> Step:
        return vcpu_state.get_state(machine, VCPU, self.state)

    @property
    def places(self) -> Places:
        return FIELDS[self.state]


class _Set(FixedIoctl):
    """Write back what the GET kept, with some values changed."""

    state: ClassVar[State]

    def changes(self) -> Mapping[str, int]:
        return {}

    def argument(self) -> Argument:
        offsets = FIELDS[self.state]
        patches = tuple(
            (offsets[name][0], struct.pack(f"={offsets[name][1]}", value))
            for name, value in self.changes().items()
        )
        return Captured(self.state, patches)

    def transition(self, machine: Machine) -> Step:
        return vcpu_state.set_state(machine, VCPU, self.state, self.changes())

    @property
    def text(self) -> str:
        shown = ", ".join(f"{name}={value:#x}" for name, value in self.changes().items())
        return f"{self.kernel_call}({shown or 'as saved'})"


@op("get-regs", ioctls.GET_REGS, vcpu_state.GET_STATE)
class GetRegs(_Get):
    """Read the general registers."""

    state = State.REGS


@op("set-regs", ioctls.SET_REGS, vcpu_state.SET_STATE)
class SetRegs(_Set):
    """Restore the general registers, with this RBX."""

    rbx: U64 = 0
    state = State.REGS

    def changes(self) -> Mapping[str, int]:
        return {"rbx": self.rbx}


@op("get-vcpu-events", ioctls.GET_VCPU_EVENTS, vcpu_state.GET_STATE)
class GetVcpuEvents(_Get):
    """Read pending events."""

    state = State.EVENTS


@op(
    "set-vcpu-events",
    ioctls.SET_VCPU_EVENTS,
    vcpu_state.SET_STATE,
    errnos=(errno.EINVAL,),
)
class SetVcpuEvents(_Set):
    """Restore pending events: none, of the kinds that these flags call valid."""

    flags: U32 = RESET[State.EVENTS]["flags"]
    state = State.EVENTS

    def changes(self) -> Mapping[str, int]:
        return {"flags": self.flags}


@op("get-mp-state", ioctls.GET_MP_STATE, vcpu_state.GET_STATE)
class GetMpState(_Get):
    """Read whether the vCPU runs."""

    state = State.MP_STATE


@op(
    "set-mp-state",
    ioctls.SET_MP_STATE,
    vcpu_state.SET_STATE,
    errnos=(errno.EINVAL,),
)
class SetMpState(_Set):
    """Restore whether the vCPU runs, or set this state."""

    mp_state: U32 = 0
    state = State.MP_STATE

    def changes(self) -> Mapping[str, int]:
        return {"mp_state": self.mp_state}


@op("get-debugregs", ioctls.GET_DEBUGREGS, vcpu_state.GET_STATE)
class GetDebugregs(_Get):
    """Read the debug registers."""

    state = State.DEBUGREGS


@op(
    "set-debugregs",
    ioctls.SET_DEBUGREGS,
    vcpu_state.SET_STATE,
    errnos=(errno.EINVAL,),
)
class SetDebugregs(_Set):
    """Restore the debug registers, with this DR0, DR6 and DR7, and these flags."""

    db0: U64 = 0
    flags: U64 = 0
    dr6: U64 = RESET[State.DEBUGREGS]["dr6"]
    dr7: U64 = RESET[State.DEBUGREGS]["dr7"]
    state = State.DEBUGREGS

    def changes(self) -> Mapping[str, int]:
        return {"db0": self.db0, "dr6": self.dr6, "dr7": self.dr7, "flags": self.flags}


_NO_LAPIC = (errno.EINVAL,)


@op("get-lapic", ioctls.GET_LAPIC, vcpu_state.GET_STATE, errnos=_NO_LAPIC)
class GetLapic(_Get):
    """Read the local APIC's registers."""

    state = State.LAPIC


@op("set-lapic", ioctls.SET_LAPIC, vcpu_state.SET_STATE, errnos=_NO_LAPIC)
class SetLapic(_Set):
    """Restore the local APIC's registers."""

    state = State.LAPIC


@op(
    "create-irqchip",
    ioctls.CREATE_IRQCHIP,
    vcpu_state.CREATE_IRQCHIP,
    errnos=(errno.EEXIST, errno.EINVAL),
)
class CreateIrqchip(FixedIoctl):
    """Give the VM an interrupt controller in the kernel."""

    def argument(self) -> Argument:
        return Immediate(0)

    def transition(self, machine: Machine) -> Step:
        return vcpu_state.create_irqchip(machine, VM)
