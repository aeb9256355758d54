"""The model in step with the calls of a recording."""

from __future__ import annotations

import struct
from functools import lru_cache
from typing import TYPE_CHECKING

from kvmprobe.abi import ioctls
from kvmprobe.abi.ioctls.vcpu import KVM_RUN_HEAD
from kvmprobe.abi.numbers import ArchPrctlCode, Msr
from kvmprobe.abi.tables import CPUID, MSRS, XCRS
from kvmprobe.errors import LayoutError
from kvmprobe.model import fpu, guest_cpuid, lifecycle, literal, msr, one_reg, permission, uabi, xcr
from kvmprobe.model.lifecycle import CREATE_VCPU
from kvmprobe.model.machine import GuestCpuid, Machine, Vm, fresh_process
from kvmprobe.model.outcome import Step
from kvmprobe.model.process import OTHER_MEMORY, denied
from kvmprobe.model.run import run_immediate_exit
from kvmprobe.recordings.lines import ObjectKind, Permission, ProcessChange, ProcessLine, Run
from kvmprobe.scenarios.ops.literal import members
from kvmprobe.vmm.taken import Taken
from kvmprobe.xstate.cpuid import CpuidEntry, CpuidTable

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from kvmprobe.model.host import HostProfile
    from kvmprobe.model.machine import Vcpu
    from kvmprobe.recordings.entries import Entry
    from kvmprobe.recordings.lines import ObjectLine

_IMMEDIATE_EXIT = KVM_RUN_HEAD.offset("immediate_exit")
KNOWN = frozenset(Msr)
"""The MSRs that the model knows."""
_NOT_CREATED = "the creation of its vCPU was not recorded"


@lru_cache(maxsize=64)
def msr_entries(content: bytes) -> tuple[tuple[int, int], ...]:
    """Return the (index, value) pairs of a ``struct kvm_msrs``."""
    return tuple(MSRS.entries(content, MSRS.count(content)))


class Follower:
    """A kernel's model along a recording.

    :ivar machine: the state after the entries so far
    :ivar unknown: vCPUs whose state is not known, and why
    """

    def __init__(self, host: HostProfile) -> None:
        self.machine = Machine(host, {}, {})
        self.unknown: dict[str, str] = {}

    @classmethod
    def at(cls, machine: Machine) -> Follower:
        """Return one that goes on from a state; all vCPUs in it are known."""
        follower = cls(machine.host)
        follower.machine = machine
        return follower

    def see_process(self, line: ProcessLine) -> None:
        """Add a process.

        :see: arch/x86/kernel/fpu/core.c: fpu_clone, fpu_flush_thread
        """
        name = _process(line.process)
        if line.event is ProcessChange.FORK and line.parent is not None:
            parent = self.machine.process(_process(line.parent))
            process = parent._replace(memory=name, files=name)
        elif line.event in (ProcessChange.START, ProcessChange.ATTACH, ProcessChange.EXEC):
            process = fresh_process(self.machine.host, name)
        else:
            return
        self.machine = self.machine._replace(
            processes={**self.machine.processes, name: process},
            tasks={**self.machine.tasks, name: name},
        )

    def take(self, entry: Entry) -> Taken:
        """Return what the model says of a call, a permission or a run; the state stays."""
        try:
            if isinstance(entry.line, Permission):
                return self._permission(entry.line)
            if entry.spec == ioctls.CREATE_VCPU:
                return self._create_vcpu(entry)
            if _is_on_vcpu(entry):
                return self._on_vcpu(entry)
            return Taken(None, _no_rule(entry))
        except (LayoutError, struct.error) as error:
            return Taken(None, f"its payload is not what the call takes: {error}")

    def adopt(self, step: Step) -> None:
        """Go on from the state after a step."""
        self.machine = step.machine

    def vcpu(self, name: str) -> Vcpu | None:
        """Return a vCPU whose state is known."""
        return None if name in self.unknown else self.machine.vcpus.get(name)

    def _permission(self, line: Permission) -> Taken:
        by = _process(line.process)
        match line.code:
            case ArchPrctlCode.REQ_XCOMP_GUEST_PERM:
                return Taken(permission.request_guest_permission(self.machine, line.argument, by))
            case ArchPrctlCode.REQ_XCOMP_PERM:
                return Taken(permission.request_host_permission(self.machine, line.argument, by))
            case _:
                return Taken(None, "it changes nothing")

    def _create_vcpu(self, entry: Entry) -> Taken:
        vm, by = _id(entry.target), _by(entry)
        if vm not in self.machine.vms:
            memory = self.machine.process(by).memory
            self.machine = self.machine.with_vm(vm, Vm(memory))
        number: int = getattr(entry.line, "argument", 0)
        step = lifecycle.create_vcpu(self.machine, _vcpu(vm, number), by, vm, number)
        result = getattr(entry.line, "result", None)
        fails = step.rule is not CREATE_VCPU or result is None or result < 0
        return Taken(step, "limits of vCPUs are not judged" if fails else "")

    def _on_vcpu(self, entry: Entry) -> Taken:
        name, number = vcpu_name(entry.target), entry.spec.number if entry.spec else 0
        if self.vcpu(name) is None:
            return Taken(None, self.unknown.get(name, _NOT_CREATED))
        if isinstance(entry.line, Run):
            return self._run(name, entry)
        if read := _READS.get(number):
            return Taken(read(self.machine, name))
        if refusal := denied(self.machine, name, _by(entry)):
            return Taken(Step(self.machine, refusal, OTHER_MEMORY))
        if entry.sent is None:
            return Taken(None, "its payload was not recorded")
        return self._unchanged(name, _GIVEN[number](self, name, entry.sent, entry))

    def _unchanged(self, name: str, taken: Taken) -> Taken:
        """Return the same, with this state itself if the call changes nothing."""
        before, step = self.machine, taken.step
        if step is None or step.machine is before or step.machine[1:] != before[1:]:
            return taken
        # Tables that are equal may differ in what is specified.
        if step.machine.vcpus[name].cpuid is not before.vcpus[name].cpuid:
            return taken
        return Taken(step._replace(machine=before), taken.why, taken.counted)

    def _run(self, name: str, entry: Entry) -> Taken:
        # The load and the save of the guest's FPU are the same whether the guest is entered.
        step = run_immediate_exit(self.machine, name)
        if not is_immediate_exit(entry):
            return Taken(step, "the guest decides how it ends")
        return Taken(step, "registers are in the run area" if _shares_registers(entry) else "")

    def set_cpuid2(self, name: str, sent: bytes, entry: Entry) -> Taken:
        """KVM_SET_CPUID2."""
        return self._set_table(name, CpuidTable.from_bytes(sent), entry)

    def set_cpuid(self, name: str, sent: bytes, entry: Entry) -> Taken:
        """KVM_SET_CPUID, whose entries have no index and no flags."""
        entries = CPUID.entries(sent, CPUID.count(sent))
        found = (CpuidEntry(leaf, 0, 0, *registers) for leaf, *registers in entries)
        return self._set_table(name, CpuidTable(tuple(found)), entry)

    def _set_table(self, name: str, table: CpuidTable, entry: Entry) -> Taken:
        step = guest_cpuid.set_cpuid2(self.machine, name, GuestCpuid.of(table), _by(entry))
        return Taken(step, literal.uncovered_table(self.machine.host, table))

    def set_xsave(self, name: str, sent: bytes, _entry: Entry) -> Taken:
        """KVM_SET_XSAVE."""
        step = uabi.set_xsave(self.machine, name, sent)
        return Taken(step, literal.uncovered_image(sent))

    def set_xcrs(self, name: str, sent: bytes, _entry: Entry) -> Taken:
        """KVM_SET_XCRS."""
        count, flags = XCRS.head.packed.unpack_from(sent)
        entries = list(XCRS.entries(sent, count))
        return Taken(xcr.set_xcrs(self.machine, name, entries, flags))

    def set_fpu(self, name: str, sent: bytes, _entry: Entry) -> Taken:
        """KVM_SET_FPU."""
        return Taken(fpu.set_fpu(self.machine, name, sent))

    def set_sregs(self, name: str, sent: bytes, entry: Entry) -> Taken:
        """KVM_SET_SREGS and KVM_SET_SREGS2."""
        layout = entry.spec.argument if entry.spec else None
        assert layout is not None  # noqa: S101 - both take a structure
        values = members(layout, sent)
        step = literal.set_literal_sregs(self.machine, name, values)
        vcpu = self.machine.vcpu(name)
        return Taken(step, literal.uncovered_sregs(self.machine.host, vcpu, values))

    def set_msrs(self, name: str, sent: bytes, entry: Entry) -> Taken:
        """KVM_SET_MSRS, of which the model takes the MSRs that it knows."""
        known = _tried(sent, entry)
        return _counted(msr.set_msrs(self.machine, name, known), sent, entry)

    def get_msrs(self, name: str, sent: bytes, entry: Entry) -> Taken:
        """KVM_GET_MSRS of the MSRs that the model knows; it may load the guest's FPU."""
        known = [index for index, _ in _tried(sent, entry)]
        return _counted(msr.get_msrs(self.machine, name, known), sent, entry)

    def set_one_reg(self, name: str, sent: bytes, entry: Entry) -> Taken:
        """KVM_SET_ONE_REG."""
        if entry.sent_value is None:
            return Taken(None, "its value was not recorded")
        register, value = (int.from_bytes(b, "little") for b in (sent[:8], entry.sent_value))
        return Taken(one_reg.set_one_reg(self.machine, name, register, value))


_READS: Mapping[int, Callable[[Machine, str], Step]] = {
    ioctls.GET_XSAVE.number: uabi.get_xsave,
    ioctls.GET_XSAVE2.number: uabi.get_xsave2,
    ioctls.GET_XCRS.number: xcr.get_xcr0,
}
_GIVEN: Mapping[int, Callable[[Follower, str, bytes, Entry], Taken]] = {
    ioctls.SET_CPUID2.number: Follower.set_cpuid2,
    ioctls.SET_CPUID.number: Follower.set_cpuid,
    ioctls.SET_XSAVE.number: Follower.set_xsave,
    ioctls.SET_XCRS.number: Follower.set_xcrs,
    ioctls.SET_FPU.number: Follower.set_fpu,
    ioctls.SET_SREGS.number: Follower.set_sregs,
    ioctls.SET_SREGS2.number: Follower.set_sregs,
    ioctls.SET_MSRS.number: Follower.set_msrs,
    ioctls.GET_MSRS.number: Follower.get_msrs,
    ioctls.SET_ONE_REG.number: Follower.set_one_reg,
}


@lru_cache(maxsize=64)
def _known(sent: bytes, most: int) -> tuple[tuple[int, int], ...]:
    """Return those of the first entries that the model knows."""
    return tuple(one for one in msr_entries(sent)[:most] if one[0] in KNOWN)


def _tried(sent: bytes, entry: Entry) -> tuple[tuple[int, int], ...]:
    """Return the entries that the model knows, up to one that the kernel refused.

    :see: arch/x86/kvm/x86.c: __msr_io, which ends at the first entry that is refused
    """
    result = getattr(entry.line, "result", None)
    return _known(sent, len(sent) if result is None or result < 0 else result + 1)


def _counted(step: Step, sent: bytes, entry: Entry) -> Taken:
    result = getattr(entry.line, "result", None)
    return Taken(step, counted=len(_known(sent, max(result or 0, 0))))


def _is_on_vcpu(entry: Entry) -> bool:
    """Return True for a call or run on a vCPU that the model has a rule for.

    KVM_GET_MSRS on /dev/kvm is another call: it reads what KVM supports.
    """
    if isinstance(entry.line, Run):
        return True
    of_the_system = entry.target is not None and entry.target.kind is ObjectKind.KVM
    number = entry.spec.number if entry.spec else 0
    return (number in _READS or number in _GIVEN) and not of_the_system


# They move what is not in the model, and nothing of what is.
_ELSEWHERE = frozenset(
    {
        f"KVM_{verb}_{what}"
        for verb in ("GET", "SET")
        for what in ("REGS", "VCPU_EVENTS", "MP_STATE", "DEBUGREGS", "LAPIC", "TSC_KHZ")
    }
)


def _no_rule(entry: Entry) -> str:
    if entry.spec is None:
        return "kvmprobe does not describe it"
    on_vcpu = entry.target is not None and entry.target.kind is ObjectKind.VCPU
    if entry.spec.name in _ELSEWHERE or not (on_vcpu or entry.spec == ioctls.ENABLE_CAP):
        return "it moves no FPU state"
    return "the model has no rule for this call"


def lacks_payload(entry: Entry) -> bool:
    """Return True if what a call sets is in the model, and was not recorded."""
    if entry.spec is None or entry.spec.number not in _GIVEN:
        return False
    return entry.sent is None or (entry.spec == ioctls.SET_ONE_REG and entry.sent_value is None)


def vcpu_name(target: ObjectLine | None) -> str:
    """Return the model's name of a recorded vCPU; empty if its number is not known."""
    if target is None or target.kind is not ObjectKind.VCPU or target.number is None:
        return ""
    return _vcpu(target.of or "", target.number)


def is_immediate_exit(entry: Entry) -> bool:
    """Return True if a KVM_RUN did not enter the guest.

    :see: Documentation/virt/kvm/api.rst "The kvm_run structure", immediate_exit
    """
    area = entry.sent or b""
    return len(area) > _IMMEDIATE_EXIT and bool(area[_IMMEDIATE_EXIT])


def _shares_registers(entry: Entry) -> bool:
    """Return True if KVM_RUN moves registers through the run area (KVM_CAP_SYNC_REGS)."""
    area = entry.sent or b""
    return any(
        struct.unpack_from("<Q", area, KVM_RUN_HEAD.offset(name))[0]
        for name in ("kvm_valid_regs", "kvm_dirty_regs")
        if len(area) >= KVM_RUN_HEAD.size
    )


def _vcpu(vm: str, number: int) -> str:
    return f"vCPU {number} of {vm}"


def _id(target: ObjectLine | None) -> str:
    return target.id if target else ""


def _process(number: int) -> str:
    return f"process {number}"


def _by(entry: Entry) -> str:
    return _process(getattr(entry.line, "process", 0))
