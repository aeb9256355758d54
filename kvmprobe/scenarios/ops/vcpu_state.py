"""Saving and restoring REGS, VCPU_EVENTS, MP_STATE, DEBUGREGS and LAPIC."""

from __future__ import annotations

import errno
from functools import cache
from typing import TYPE_CHECKING, Annotated, ClassVar

from kvmprobe.abi import ioctls
from kvmprobe.abi.fields import KVM_LAPIC, VCPU_EVENTS, places
from kvmprobe.abi.numbers import U32_MAX
from kvmprobe.model import init_signal, vcpu_state
from kvmprobe.model.state import State
from kvmprobe.model.vcpu_state import RESET
from kvmprobe.scenarios.calls import VCPU, VM, Argument, Captured, Immediate, Output
from kvmprobe.scenarios.op_fields import U32, U64, Members, Values, kinds
from kvmprobe.scenarios.ops._base import FixedIoctl, Places, TriedIoctl, op, patches

if TYPE_CHECKING:
    from collections.abc import Mapping

    from kvmprobe.abi.ioctls import IoctlSpec
    from kvmprobe.model.machine import Machine
    from kvmprobe.model.outcome import Step
    from kvmprobe.scenarios.ops._base import Op

_Regs = Annotated[Values, Members(ioctls.KVM_REGS, "rbx")]
_Events = Annotated[Values, Members(ioctls.KVM_VCPU_EVENTS, "flags")]
_Debugregs = Annotated[Values, Members(ioctls.KVM_DEBUGREGS, "db0", "flags", "dr6", "dr7")]
# Every legal flag; those of capabilities that are not enabled; an unknown one.
_EVENT_FLAGS = (0, 1, 2, 4, 8, 0xF, 0x10, 0x20, 0x40, 1 << 31)
# The values that the model knows, where they are not all members of the structure.
_KNOWN: Mapping[State, Places] = {State.EVENTS: VCPU_EVENTS, State.LAPIC: places(KVM_LAPIC)}
# The members that the model has a rule for, where those are fewer.
_COVERED: Mapping[State, frozenset[str]] = {State.EVENTS: vcpu_state.COVERED_EVENTS}


@cache
def _places(spec: IoctlSpec, state: State) -> Places:
    return _KNOWN.get(state) or (spec.argument.places() if spec.argument else {})


class _Get(FixedIoctl):
    """Read one structure, and keep it for the SET."""

    keeps: ClassVar[State]

    def argument(self) -> Argument:
        return Output(self.spec.size, capture=self.keeps)

    def transition(self, machine: Machine) -> Step:
        return vcpu_state.get_state(machine, VCPU, self.keeps)

    @property
    def places(self) -> Places:
        return _places(self.spec, self.keeps)


class _Set(TriedIoctl):
    """Write back what the GET kept; a field of the op replaces the member of that name."""

    restores: ClassVar[State]

    members: Values = ()

    def changes(self) -> Mapping[str, int]:
        """Return the values of the op's own fields, in the structure's order, then its members."""
        names = _places(self.spec, self.restores)
        own = {name: getattr(self, name) for name in names if name in kinds(type(self))}
        return {**own, **dict(self.members)}

    def argument(self) -> Argument:
        return Captured(self.restores, patches(self.spec, self.changes().items()))

    def not_covered(self, machine: Machine) -> str:  # noqa: ARG002
        known = _COVERED.get(self.restores) or _places(self.spec, self.restores)
        unknown = [name for name, _ in self.members if name not in known]
        return f"{', '.join(unknown)} in {self.interface}" if unknown else ""

    def transition(self, machine: Machine) -> Step:
        if self.not_covered(machine):
            return vcpu_state.refuse_state(machine, VCPU, self.restores, self.changes())
        return vcpu_state.set_state(machine, VCPU, self.restores, self.changes())

    @property
    def text(self) -> str:
        shown = ", ".join(f"{name}={value:#x}" for name, value in self.changes().items())
        return f"{self.kernel_call}({shown or 'as saved'})"


@op("get-regs", ioctls.GET_REGS, vcpu_state.GET_STATE)
class GetRegs(_Get):
    """Read the general registers."""

    keeps = State.REGS


@op("set-regs", ioctls.SET_REGS, vcpu_state.SET_STATE)
class SetRegs(_Set):
    """Restore the general registers, with this RBX and these members."""

    rbx: U64 = 0
    members: _Regs = ()
    restores = State.REGS
    reading = (GetRegs(),)

    @classmethod
    def tries(cls) -> tuple[Op, ...]:
        return (cls(), cls(0x1122_3344_5566_7788), cls(0))


@op("get-vcpu-events", ioctls.GET_VCPU_EVENTS, vcpu_state.GET_STATE)
class GetVcpuEvents(_Get):
    """Read pending events."""

    keeps = State.EVENTS


@op(
    "set-vcpu-events",
    ioctls.SET_VCPU_EVENTS,
    vcpu_state.SET_STATE,
    errnos=(errno.EINVAL,),
)
class SetVcpuEvents(_Set):
    """Restore pending events, none but for these members; the flags say which ones are valid."""

    flags: U32 = RESET[State.EVENTS]["flags"]
    members: _Events = ()
    restores = State.EVENTS
    reading = (GetVcpuEvents(),)

    @classmethod
    def row(cls) -> str:
        return "events"

    @classmethod
    def tries(cls) -> tuple[Op, ...]:
        return (cls(), *map(cls, _EVENT_FLAGS))


@op("get-mp-state", ioctls.GET_MP_STATE, vcpu_state.GET_STATE, init_signal.TAKE_INIT)
class GetMpState(_Get):
    """Read whether the vCPU runs; it takes a pending INIT first."""

    keeps = State.MP_STATE
    takes_init = True

    def refused(self, machine: Machine) -> str:
        return init_signal.cannot_take(machine.host, machine.vcpu(VCPU))


@op(
    "set-mp-state",
    ioctls.SET_MP_STATE,
    vcpu_state.SET_STATE,
    errnos=(errno.EINVAL,),
)
class SetMpState(_Set):
    """Restore whether the vCPU runs, or set this state."""

    mp_state: U32 = 0
    restores = State.MP_STATE
    reading = (GetMpState(),)

    @classmethod
    def tries(cls) -> tuple[Op, ...]:
        return (cls(), *map(cls, (99, *range(12), 0)))


@op("get-debugregs", ioctls.GET_DEBUGREGS, vcpu_state.GET_STATE)
class GetDebugregs(_Get):
    """Read the debug registers."""

    keeps = State.DEBUGREGS


@op(
    "set-debugregs",
    ioctls.SET_DEBUGREGS,
    vcpu_state.SET_STATE,
    errnos=(errno.EINVAL,),
)
class SetDebugregs(_Set):
    """Restore the debug registers, with this DR0, DR6 and DR7, these flags and members."""

    db0: U64 = 0
    flags: U64 = 0
    dr6: U64 = RESET[State.DEBUGREGS]["dr6"]
    dr7: U64 = RESET[State.DEBUGREGS]["dr7"]
    members: _Debugregs = ()
    restores = State.DEBUGREGS
    reading = (GetDebugregs(),)

    @classmethod
    def tries(cls) -> tuple[Op, ...]:
        return (
            cls(),
            cls(0x1000),
            cls(0x2000, flags=1),
            *(cls(0x3000, dr6=value) for value in (U32_MAX, U32_MAX + 1, 0)),
            *(cls(0x4000, dr7=value) for value in (U32_MAX - 1, U32_MAX, U32_MAX + 1, 0)),
            cls(),
        )


_NO_LAPIC = (errno.EINVAL,)


@op("get-lapic", ioctls.GET_LAPIC, vcpu_state.GET_STATE, errnos=_NO_LAPIC)
class GetLapic(_Get):
    """Read the local APIC's registers."""

    keeps = State.LAPIC


@op("set-lapic", ioctls.SET_LAPIC, vcpu_state.SET_STATE, errnos=_NO_LAPIC)
class SetLapic(_Set):
    """Restore the local APIC's registers."""

    restores = State.LAPIC
    reading = (GetLapic(),)


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
