"""What a trace has shown so far: the state that checkers compare the next reply with."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from kvmprobe.abi.numbers import ArchPrctlCode, KvmCap, Msr
from kvmprobe.checkers.event import (
    cpuid_of,
    immediate_of,
    input_of,
    msrs,
    old_cpuid_of,
    u64,
    written_image,
    xcr0_of,
)
from kvmprobe.checkers.guest_view import instruction, writes
from kvmprobe.model.behaviours import Behaviour
from kvmprobe.scenarios.calls import MAIN, ArchPrctl, Immediate, Ioctl, Output, Spawn
from kvmprobe.xstate.features import DYNAMIC, XFeature

if TYPE_CHECKING:
    from kvmprobe.checkers.event import Event
    from kvmprobe.checkers.guest_view import Instruction
    from kvmprobe.model.host import HostProfile
    from kvmprobe.scenarios.calls import Call, Relation
    from kvmprobe.xstate.cpuid import CpuidTable

FPU_MSRS = frozenset({Msr.IA32_XFD, Msr.IA32_XFD_ERR, Msr.IA32_XSS})
READS = frozenset(
    {
        "KVM_GET_XSAVE",
        "KVM_GET_XSAVE2",
        "KVM_GET_FPU",
        "KVM_GET_XCRS",
        "KVM_GET_MSRS",
        "KVM_GET_SREGS",
        "KVM_GET_SREGS2",
        "KVM_GET_CPUID2",
    }
)
_PERMISSIONS = {ArchPrctlCode.GET_XCOMP_PERM, ArchPrctlCode.GET_XCOMP_GUEST_PERM}
SYSTEM_READS = frozenset({"KVM_GET_SUPPORTED_CPUID", "KVM_CHECK_EXTENSION", "KVM_GET_DEVICE_ATTR"})
IMAGES = frozenset({"KVM_GET_XSAVE", "KVM_GET_XSAVE2"})
_XSTATE = frozenset({"KVM_GET_XSAVE", "KVM_GET_XSAVE2", "KVM_GET_FPU"})
_SREGS = frozenset({"KVM_GET_SREGS", "KVM_GET_SREGS2"})
_MAY_CHANGE = {
    "KVM_SET_XSAVE": _XSTATE,
    "KVM_SET_FPU": _XSTATE,
    "KVM_SET_XCRS": frozenset({"KVM_GET_XCRS", "KVM_GET_CPUID2"}),
    "KVM_SET_SREGS": _SREGS | {"KVM_GET_CPUID2"},
    "KVM_SET_SREGS2": _SREGS | {"KVM_GET_CPUID2"},
    # Another table shows other components; what GET_FPU shows belongs to no table.
    "KVM_SET_CPUID": frozenset({"KVM_GET_CPUID2", "KVM_GET_XSAVE", "KVM_GET_XSAVE2"}),
    "KVM_SET_CPUID2": frozenset({"KVM_GET_CPUID2", "KVM_GET_XSAVE", "KVM_GET_XSAVE2"}),
    "KVM_SET_MSRS": _XSTATE | _SREGS | {"KVM_GET_MSRS", "KVM_GET_CPUID2"},
    # The load and the save around a guest that halts (INV-36).
    "RunVcpu": _XSTATE | _SREGS | {"KVM_GET_CPUID2"},
    # An MSR that is managed by XSAVES makes KVM load and save the guest's FPU state.
    "KVM_GET_MSRS": _XSTATE,
    "KVM_GET_ONE_REG": _XSTATE,
    # Restored next to the FPU state, and no part of it.
    "KVM_SET_REGS": frozenset(),
    "KVM_SET_DEBUGREGS": frozenset(),
    "KVM_SET_VCPU_EVENTS": _SREGS,
    "KVM_SET_LAPIC": _SREGS | {"KVM_GET_CPUID2"},
}


@dataclass(slots=True)
class Reading:
    """What a read last gave, in which state, and what happened since."""

    name: str
    epoch: int
    step: int
    value: bytes
    since: list[Event] = field(default_factory=list)


@dataclass(slots=True)
class ObservedVcpu:
    """One vCPU as the trace shows it.

    :ivar epoch: counts what may have changed its state
    :ivar table: the CPUID table last accepted
    :ivar expanded: a table with XTILE_DATA has been accepted
    :ivar xcr0: last accepted value, the host's or the guest's; None where it is not known
    :ivar msrs: last accepted value of each MSR that is known
    :ivar image: what KVM_SET_XSAVE was last given, while no call may have changed it
    :ivar readings: what each read last gave
    """

    epoch: int = 0
    table: CpuidTable | None = None
    expanded: bool = False
    xcr0: int | None = 1
    msrs: dict[int, int] = field(default_factory=lambda: dict.fromkeys(FPU_MSRS, 0))
    image: bytes = b""
    readings: dict[Call, Reading] = field(default_factory=dict)

    def reading(self, name: str) -> bytes:
        """Return what a read of that name gave in the present state, if one was made."""
        return _current(self.readings, name, self.epoch)


@dataclass(slots=True)
class ObservedState:
    """Everything that the trace shows before an event.

    :ivar captured: outputs by name
    :ivar advertised: the latest KVM_GET_SUPPORTED_CPUID
    :ivar granted: tasks whose guest permission has XTILE_DATA, by their own request
    :ivar locked: tasks whose process has created a vCPU
    :ivar permission_epoch: counts what may have changed permission
    :ivar grown: the last value of what may only grow: permission, KVM_CAP_XSAVE2
    :ivar own_descriptors: VMs and vCPUs that the scenario's own process created
    """

    host: HostProfile
    vcpus: dict[str, ObservedVcpu] = field(default_factory=dict)
    captured: dict[str, bytes] = field(default_factory=dict)
    advertised: CpuidTable | None = None
    granted: set[str] = field(default_factory=set)
    locked: set[str] = field(default_factory=set)
    relations: dict[str, Relation] = field(default_factory=dict)
    permission_epoch: int = 0
    system: dict[Call, Reading] = field(default_factory=dict)
    own_descriptors: set[str] = field(default_factory=set)
    grown: dict[Call, int] = field(default_factory=dict)

    def vcpu(self, event: Event) -> ObservedVcpu | None:
        """Return the vCPU that an event is about."""
        return self.vcpus.get(event.on)

    def system_reading(self, name: str) -> bytes:
        """Return what a read of /dev/kvm or the VM gave under the present permission."""
        return _current(self.system, name, self.permission_epoch)

    @property
    def rewrites_cpuid(self) -> bool:
        """Whether this KVM stores other CPUID entries than it is given: that is a legal variant.

        What the guest may have is not known from the table that was set, then.
        """
        return Behaviour.VENDOR_REWRITES_CPUID in self.host.behaviours

    @property
    def xsave2_size(self) -> int:
        """KVM_CAP_XSAVE2 under the present permission, 0 where it was not asked."""
        for call, reading in self.system.items():
            current = reading.epoch == self.permission_epoch
            if current and immediate_of(call) == KvmCap.XSAVE2:
                return int.from_bytes(reading.value, "little")
        return 0

    def table_given(self, event: Event) -> CpuidTable | None:
        """Return the CPUID table that a call passes."""
        return cpuid_of(input_of(event.call, self.captured))

    def take(self, event: Event) -> None:
        """Learn what an event tells."""
        self._take_process(event)
        value = growing(event)
        if value is not None:
            self.grown[event.call] = value
        match event.call:
            case Ioctl(argument=Output(capture=str(name))) if name and event.output:
                self.captured[name] = event.output
            case _:
                pass
        if event.name in SYSTEM_READS:
            self._take_system(event)
        vcpu = self.vcpu(event)
        if vcpu is None:
            return
        failed = failing(event)
        if event.name.startswith("KVM_GET_") and not changes_by_reading(event):
            _read(vcpu, event, self.host)
            return
        for reading in vcpu.readings.values():
            reading.since.append(event)
        if failed:
            return
        vcpu.epoch += 1
        _forget(vcpu, event)
        _write(vcpu, event, input_of(event.call, self.captured))

    def _take_process(self, event: Event) -> None:
        match event.call:
            case Spawn(binds, relation):
                self.relations[binds] = relation
                self.permission_epoch += 1
            case ArchPrctl(code, Immediate(number)) if event.result == 0:
                if code in {ArchPrctlCode.REQ_XCOMP_GUEST_PERM, ArchPrctlCode.REQ_XCOMP_PERM}:
                    self.permission_epoch += 1
                if (code, number) == (ArchPrctlCode.REQ_XCOMP_GUEST_PERM, XFeature.XTILE_DATA):
                    self.granted.add(event.by)
            case Ioctl(binds=str(binds)) if binds and event.result >= 0:
                if event.by == MAIN:
                    self.own_descriptors.add(binds)
                if event.name == "KVM_CREATE_VCPU":
                    self.locked.add(event.by)
                    self.vcpus[binds] = ObservedVcpu()
            case _:
                pass

    def _take_system(self, event: Event) -> None:
        if event.result < 0 or event.by != MAIN:
            return
        value = event.output or event.result.to_bytes(8, "little")
        self.system[event.call] = Reading(event.name, self.permission_epoch, event.step, value)
        if event.name == "KVM_GET_SUPPORTED_CPUID":
            self.advertised = cpuid_of(event.output)


def _current(readings: dict[Call, Reading], name: str, epoch: int) -> bytes:
    return next((r.value for r in readings.values() if (r.name, r.epoch) == (name, epoch)), b"")


def failing(event: Event) -> bool:
    """Tell whether a call was refused, and so must have changed nothing.

    KVM_SET_MSRS refuses by processing no entry.  KVM_RUN does its work whatever it returns.
    """
    if event.loads:
        return False
    return event.result < 0 or (event.name == "KVM_SET_MSRS" and event.result == 0)


def growing(event: Event) -> int | None:
    """Return the value of a read that may only gain bits, or grow, within a process."""
    match event.call:
        case ArchPrctl(code) if code in _PERMISSIONS and event.output:
            return u64(event.output, 0)
        case _ if event.name == "KVM_CHECK_EXTENSION" and immediate_of(event.call) == KvmCap.XSAVE2:
            return event.result
        case _:
            return None


def changes_by_reading(event: Event) -> bool:
    """Tell whether a read may load the guest's FPU state: it asks for other MSRs than the known."""
    if event.name == "KVM_GET_ONE_REG":
        return True
    if event.name != "KVM_GET_MSRS" or not event.output:
        return False
    return any(index not in FPU_MSRS for index, _ in msrs(event.output))


def _read(vcpu: ObservedVcpu, event: Event, host: HostProfile) -> None:
    if event.result >= 0 and event.output and event.name in READS:
        value = event.output
        if event.name in IMAGES:
            value = written_image(value, host)
        vcpu.readings[event.call] = Reading(event.name, vcpu.epoch, event.step, value)
        if event.name == "KVM_GET_MSRS":
            vcpu.msrs |= dict(msrs(event.output)[: event.result])
        if event.name == "KVM_GET_XCRS":
            vcpu.xcr0 = xcr0_of(event.output)


def _forget(vcpu: ObservedVcpu, event: Event) -> None:
    """Drop the readings that an event may have changed."""
    may_change = _MAY_CHANGE.get(event.name)
    if may_change is None:
        vcpu.readings.clear()
    elif may_change:
        gone = [c for c, r in vcpu.readings.items() if r.name in may_change]
        for call in gone:
            del vcpu.readings[call]
    if may_change is None or may_change & IMAGES:
        vcpu.image = b""
    executed = instruction(event)
    if executed is not None:
        _execute(vcpu, executed)
    elif may_change is None:
        vcpu.xcr0 = None
        vcpu.msrs.clear()


def _execute(vcpu: ObservedVcpu, executed: Instruction) -> None:
    for register, value in writes(executed).items():
        if register is None:
            vcpu.xcr0 = value
        elif value is None:
            vcpu.msrs.pop(register, None)
        else:
            vcpu.msrs[register] = value


def _write(vcpu: ObservedVcpu, event: Event, content: bytes) -> None:
    match event.name:
        case "KVM_SET_XSAVE":
            vcpu.image = content
        case "KVM_SET_XCRS" if content:
            value = xcr0_of(content)
            vcpu.xcr0 = vcpu.xcr0 if value is None else value
        case "KVM_SET_MSRS" if content:
            vcpu.msrs |= dict(msrs(content)[: event.result])
        case "KVM_SET_CPUID2":
            _set_table(vcpu, cpuid_of(content))
        case "KVM_SET_CPUID":
            _set_table(vcpu, old_cpuid_of(content))
        case _:
            pass


def _set_table(vcpu: ObservedVcpu, table: CpuidTable | None) -> None:
    vcpu.table = table
    if table and table.xcr0 & DYNAMIC:
        vcpu.expanded = True
