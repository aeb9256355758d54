"""The state that a trace has shown so far; checkers compare the next reply with it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from kvmprobe.abi import ioctls
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
from kvmprobe.checkers.registers import Registers
from kvmprobe.model.behaviours import Behaviour
from kvmprobe.scenarios.calls import MAIN, ArchPrctl, GoOnInChild, Immediate, Ioctl, Spawn
from kvmprobe.xstate.features import DYNAMIC, XFeature

if TYPE_CHECKING:
    from kvmprobe.checkers.event import Event, NamedCall
    from kvmprobe.checkers.guest_view import Instruction
    from kvmprobe.model.host import HostProfile
    from kvmprobe.scenarios.calls import Relation
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
# Calls that may read a value which only grows.
GROWING = frozenset({"ArchPrctl", "KVM_CHECK_EXTENSION"})
SYSTEM_READS = frozenset({"KVM_GET_SUPPORTED_CPUID", "KVM_CHECK_EXTENSION", "KVM_GET_DEVICE_ATTR"})
IMAGES = frozenset({"KVM_GET_XSAVE", "KVM_GET_XSAVE2"})
# With the one that is made while the vCPU runs, which shows the state after that.
ALL_IMAGES = IMAGES | {"DuringRun KVM_GET_XSAVE2"}
_XSTATE = frozenset({"KVM_GET_XSAVE", "KVM_GET_XSAVE2", "KVM_GET_FPU"})
_SREGS = frozenset({"KVM_GET_SREGS", "KVM_GET_SREGS2"})
_MAY_CHANGE = {
    "KVM_SET_XSAVE": _XSTATE,
    "KVM_SET_FPU": _XSTATE,
    "KVM_SET_XCRS": frozenset({"KVM_GET_XCRS", "KVM_GET_CPUID2"}),
    "KVM_SET_SREGS": _SREGS | {"KVM_GET_CPUID2"},
    "KVM_SET_SREGS2": _SREGS | {"KVM_GET_CPUID2"},
    # The table selects the components in an image; GET_FPU does not depend on it.
    "KVM_SET_CPUID": frozenset({"KVM_GET_CPUID2", "KVM_GET_XSAVE", "KVM_GET_XSAVE2"}),
    "KVM_SET_CPUID2": frozenset({"KVM_GET_CPUID2", "KVM_GET_XSAVE", "KVM_GET_XSAVE2"}),
    "KVM_SET_MSRS": _XSTATE | _SREGS | {"KVM_GET_MSRS", "KVM_GET_CPUID2"},
    # A load and a save around a guest that only halts (INV-36).
    "RunVcpu": _XSTATE | _SREGS | {"KVM_GET_CPUID2"},
    # For an MSR that XSAVES manages, KVM loads and saves the guest's FPU state.
    "KVM_GET_MSRS": _XSTATE,
    "KVM_GET_ONE_REG": _XSTATE,
    # A VMM restores these too, but they are not FPU state.
    "KVM_SET_REGS": frozenset(),
    "KVM_SET_DEBUGREGS": frozenset(),
    "KVM_SET_VCPU_EVENTS": _SREGS,
    "KVM_SET_LAPIC": _SREGS | {"KVM_GET_CPUID2"},
}
# XCR0 and the MSRs of XSTATE stay (arch/x86/kvm/x86.c: kvm_vcpu_reset).
_INIT = _XSTATE | _SREGS | {"KVM_GET_CPUID2"}
_LATCHED_INIT = ioctls.KVM_VCPU_EVENTS.offset("smi.latched_init")


@dataclass(slots=True)
class Reading:
    """The last result of a read, the epoch of the state it saw, and the events since then."""

    name: str
    epoch: int
    step: int
    value: bytes
    since: list[Event] = field(default_factory=list)


@dataclass(slots=True)
class ObservedVcpu:
    """What the trace shows of one vCPU.

    :ivar epoch: number of calls that may have changed its state
    :ivar table: the CPUID table that KVM last accepted
    :ivar replaced: KVM has accepted another table before, or SREGS before its first table: a
        register may have bits of features that the table lacks
    :ivar expanded: KVM has accepted a table with XTILE_DATA
    :ivar xcr0: last value that the host or the guest wrote; None if it is not known
    :ivar msrs: last value of each MSR that is known
    :ivar image: argument of the last KVM_SET_XSAVE; empty once a call may have changed the state
    :ivar readings: the last result of each read
    :ivar registers: its register structures
    """

    epoch: int = 0
    table: CpuidTable | None = None
    replaced: bool = False
    expanded: bool = False
    xcr0: int | None = 1
    msrs: dict[int, int] = field(default_factory=lambda: dict.fromkeys(FPU_MSRS, 0))
    image: bytes = b""
    readings: dict[NamedCall, Reading] = field(default_factory=dict)
    registers: Registers = field(default_factory=Registers)

    def reading(self, name: str) -> bytes:
        """Return the result of a read in the current state; empty if there was none."""
        return _current(self.readings, name, self.epoch)


@dataclass(slots=True)
class ObservedState:
    """Everything that the trace shows before an event.

    :ivar captured: outputs by name
    :ivar advertised: the latest KVM_GET_SUPPORTED_CPUID
    :ivar granted: tasks that requested guest permission for XTILE_DATA, and got it
    :ivar locked: tasks whose process has created a vCPU
    :ivar permission_epoch: number of calls that may have changed a permission
    :ivar grown: last value of each read that may only grow: a permission, KVM_CAP_XSAVE2
    :ivar own_descriptors: VMs and vCPUs that the scenario's own process created
    :ivar parents_descriptors: those that a process created of which the scenario's is a child
    """

    host: HostProfile
    vcpus: dict[str, ObservedVcpu] = field(default_factory=dict)
    captured: dict[str, bytes] = field(default_factory=dict)
    advertised: CpuidTable | None = None
    granted: set[str] = field(default_factory=set)
    locked: set[str] = field(default_factory=set)
    relations: dict[str, Relation] = field(default_factory=dict)
    permission_epoch: int = 0
    system: dict[NamedCall, Reading] = field(default_factory=dict)
    own_descriptors: set[str] = field(default_factory=set)
    parents_descriptors: set[str] = field(default_factory=set)
    grown: dict[NamedCall, int] = field(default_factory=dict)

    def vcpu(self, event: Event) -> ObservedVcpu | None:
        """Return the vCPU on whose descriptor an event is."""
        return self.vcpus.get(event.on)

    def system_reading(self, name: str) -> bytes:
        """Return the result of a read of /dev/kvm or the VM under the current permission."""
        return _current(self.system, name, self.permission_epoch)

    @property
    def rewrites_cpuid(self) -> bool:
        """True if this KVM changes the CPUID entries that it stores, which is a legal variant.

        The table that was set then does not show the guest's features.
        """
        return Behaviour.VENDOR_REWRITES_CPUID in self.host.behaviours

    @property
    def xsave2_size(self) -> int:
        """KVM_CAP_XSAVE2 under the current permission; 0 if it was not read."""
        for made, reading in self.system.items():
            current = reading.epoch == self.permission_epoch
            if current and immediate_of(made.call) == KvmCap.XSAVE2:
                return int.from_bytes(reading.value, "little")
        return 0

    def table_given(self, event: Event) -> CpuidTable | None:
        """Return the CPUID table that a call passes."""
        return cpuid_of(input_of(event.call, self.captured))

    def update(self, event: Event) -> None:
        """Update the state from an event."""
        self._update_tasks(event)
        made = event.made
        if made.name in GROWING and (value := growing(event)) is not None:
            self.grown[made] = value
        if made.captures and event.output:
            self.captured[made.captures] = event.output
        if made.name in SYSTEM_READS:
            self._update_system(event)
        vcpu = self.vcpu(event)
        if vcpu is None:
            return
        vcpu.registers.update(event, self.captured)
        if made.name.startswith("KVM_GET_") and not read_may_load_fpu(event):
            _read(vcpu, event, self.host)
            return
        for reading in vcpu.readings.values():
            reading.since.append(event)
        if refused(event):
            return
        vcpu.epoch += 1
        _forget(vcpu, event)
        _write(vcpu, event, input_of(event.call, self.captured))
        if Behaviour.UNSUPPORTED_MSRS_IGNORED in self.host.behaviours:
            # What was written may have been ignored: only a read shows an MSR.
            vcpu.msrs.clear()

    def _update_tasks(self, event: Event) -> None:
        match event.call:
            case Spawn(binds, relation):
                self.relations[binds] = relation
                self.permission_epoch += 1
            case GoOnInChild():
                self.parents_descriptors |= self.own_descriptors
                self.own_descriptors = set()
                self.permission_epoch += 1
            case ArchPrctl(code, Immediate(number)) if event.result == 0:
                if code in {ArchPrctlCode.REQ_XCOMP_GUEST_PERM, ArchPrctlCode.REQ_XCOMP_PERM}:
                    self.permission_epoch += 1
                if (code, number) == (ArchPrctlCode.REQ_XCOMP_GUEST_PERM, XFeature.XTILE_DATA):
                    self.granted.add(event.by)
            case Ioctl(binds=str(binds)) if binds and event.result >= 0:
                if event.by == MAIN:
                    self.own_descriptors.add(binds)
                    self.parents_descriptors.discard(binds)
                if event.name == "KVM_CREATE_VCPU":
                    self.locked.add(event.by)
                    self.vcpus[binds] = ObservedVcpu()
            case _:
                pass

    def _update_system(self, event: Event) -> None:
        if event.result < 0 or event.by != MAIN:
            return
        value = event.output or event.result.to_bytes(8, "little")
        self.system[event.made] = Reading(event.name, self.permission_epoch, event.step, value)
        if event.name == "KVM_GET_SUPPORTED_CPUID":
            self.advertised = cpuid_of(event.output)


def _current(readings: dict[NamedCall, Reading], name: str, epoch: int) -> bytes:
    return next((r.value for r in readings.values() if (r.name, r.epoch) == (name, epoch)), b"")


def refused(event: Event) -> bool:
    """Return True if KVM refused a call, which then must not have changed anything.

    KVM_SET_MSRS refuses by processing no entry.  KVM_RUN has an effect even if it fails.  So has a
    write of an MSR in XSTATE: KVM loads and saves the guest FPU before it checks the value.
    """
    if event.loads or write_may_load_fpu(event):
        return False
    return event.result < 0 or (event.name == "KVM_SET_MSRS" and event.result == 0)


def growing(event: Event) -> int | None:
    """Return the value of a read if it may only grow, or gain bits, within a process."""
    match event.call:
        case ArchPrctl(code) if code in _PERMISSIONS and event.output:
            return u64(event.output, 0)
        case _ if event.name == "KVM_CHECK_EXTENSION" and immediate_of(event.call) == KvmCap.XSAVE2:
            return event.result
        case _:
            return None


def read_may_load_fpu(event: Event) -> bool:
    """Return True if a read may load the guest's FPU state: it reads an MSR not in FPU_MSRS."""
    if event.name == "KVM_GET_ONE_REG":
        return True
    if event.name != "KVM_GET_MSRS" or not event.output:
        return False
    return any(index not in FPU_MSRS for index, _ in msrs(event.output))


def write_may_load_fpu(event: Event) -> bool:
    """Return True if a write may load the guest's FPU state: its first MSR is not in FPU_MSRS.

    A list that was captured is not known here.

    :see: arch/x86/kvm/x86.c: __msr_io
    """
    if event.name == "KVM_SET_ONE_REG":
        return True
    if event.name != "KVM_SET_MSRS":
        return False
    content = input_of(event.call, {})
    return not content or any(index not in FPU_MSRS for index, _ in msrs(content)[:1])


def latches_init(event: Event) -> bool:
    """Return True if KVM_SET_VCPU_EVENTS makes an INIT pending, which a later call then takes.

    :see: arch/x86/kvm/x86.c: kvm_vcpu_ioctl_x86_set_vcpu_events
    """
    if event.name != "KVM_SET_VCPU_EVENTS":
        return False
    return any(input_of(event.call, {})[_LATCHED_INIT : _LATCHED_INIT + 1])


def _read(vcpu: ObservedVcpu, event: Event, host: HostProfile) -> None:
    if event.result >= 0 and event.output and event.name in READS:
        value = event.output
        if event.name in IMAGES:
            value = written_image(value, host)
        vcpu.readings[event.made] = Reading(event.name, vcpu.epoch, event.step, value)
        if event.name == "KVM_GET_MSRS":
            vcpu.msrs |= dict(msrs(event.output)[: event.result])
        if event.name == "KVM_GET_XCRS":
            vcpu.xcr0 = xcr0_of(event.output)


def _forget(vcpu: ObservedVcpu, event: Event) -> None:
    """Drop the readings of state that an event may have changed."""
    may_change = _INIT if latches_init(event) else _MAY_CHANGE.get(event.name)
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
    vcpu.replaced |= vcpu.table not in (None, table) or bool(vcpu.registers.last_sregs)
    vcpu.table = table
    if table and table.xcr0 & DYNAMIC:
        vcpu.expanded = True
