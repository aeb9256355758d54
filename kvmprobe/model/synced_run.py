"""KVM_RUN that moves registers through the run area (KVM_CAP_SYNC_REGS), and ``kvm_run.cr8``.

Shaped like arch/x86/kvm/x86.c: kvm_arch_vcpu_ioctl_run, sync_regs, store_regs.  The run area keeps
what KVM stored there last; a part that KVM has never stored is all zeros, which no vCPU has.
"""

from __future__ import annotations

import errno
from enum import IntEnum
from typing import TYPE_CHECKING, NamedTuple

from kvmprobe.abi.numbers import U32_MAX, KvmExit
from kvmprobe.errors import NotModelled
from kvmprobe.model.behaviours import Behaviour
from kvmprobe.model.entry import Entry, entry
from kvmprobe.model.fpstate import load_guest_fpu
from kvmprobe.model.outcome import Done, Failed, HostDies, Step
from kvmprobe.model.rule import DocumentSource, KernelFile, KernelSource, Rule
from kvmprobe.model.run import EXIT_FIELD
from kvmprobe.model.sregs import control_registers, restore_registers
from kvmprobe.model.state import State
from kvmprobe.model.vcpu_state import known, set_values

if TYPE_CHECKING:
    from collections.abc import Mapping

    from kvmprobe.model.host import HostProfile
    from kvmprobe.model.machine import Machine, Vcpu

VALID_FIELD, DIRTY_FIELD, CR8_FIELD = "kvm_valid_regs", "kvm_dirty_regs", "cr8"
# SDM vol.3 §2.5 "Control Registers": CR8[3:0] is the task priority.
_LARGEST_CR8 = 0xF


class Synced(IntEnum):
    """Bits of ``kvm_valid_regs`` and ``kvm_dirty_regs`` (asm/kvm.h: KVM_SYNC_X86_*)."""

    REGS = 1
    SREGS = 2
    EVENTS = 4


ALL = Synced.REGS | Synced.SREGS | Synced.EVENTS
_STATES = {Synced.REGS: State.REGS, Synced.EVENTS: State.EVENTS}


class RunArea(NamedTuple):
    """What user space stores in the run area before KVM_RUN.

    :ivar valid: ``kvm_valid_regs``: parts that KVM stores when KVM_RUN returns
    :ivar dirty: ``kvm_dirty_regs``: parts that KVM loads before it enters the guest
    :ivar changes: by dirty part, values that replace what the run area has
    """

    valid: int
    dirty: int
    immediate_exit: int
    cr8: int
    changes: Mapping[int, Mapping[str, int]]


RUN_SYNCED = Rule(
    "KVM_RUN loads the dirty registers, enters the guest, and stores the valid ones",
    ("INV-36",),
    (
        KernelSource(KernelFile.KVM_X86, "kvm_arch_vcpu_ioctl_run"),
        KernelSource(KernelFile.KVM_X86, "sync_regs"),
        KernelSource(KernelFile.KVM_X86, "store_regs"),
        DocumentSource("Documentation/virt/kvm/api.rst", "6.74 KVM_CAP_SYNC_REGS"),
    ),
)


def never_stored(vcpu: Vcpu, dirty: int) -> int:
    """Return the parts of ``dirty`` that KVM has not stored in the run area.

    :see: arch/x86/kvm/x86.c: store_regs
    """
    stored = sum(part for part in Synced if part.name in vcpu.synced)
    return dirty & ALL & ~stored


def run_synced(machine: Machine, vcpu_name: str, given: RunArea) -> Step:
    """KVM_RUN of a guest that halts at once, with registers in the run area.

    All unknown bits are refused before any register is loaded; a part that is refused leaves those
    before it loaded, and its own bit and later ones in ``kvm_dirty_regs``.  KVM stores the valid
    parts whatever KVM_RUN returns, and loads and saves the guest's FPU state.

    :see: arch/x86/kvm/x86.c: kvm_arch_vcpu_ioctl_run, sync_regs, store_regs
    """
    vcpu = machine.vcpu(vcpu_name)
    fpstate = load_guest_fpu(machine.host, vcpu.fpstate)
    if isinstance(fpstate, HostDies):
        return Step(machine, fpstate, RUN_SYNCED)
    saved = vcpu._replace(fpstate=fpstate, caller=machine.registers)
    machine = machine.with_vcpu(vcpu_name, saved)
    unknown = (given.valid | given.dirty) & ~ALL
    if Behaviour.SYNC_UPPER_HALF_IGNORED in machine.host.behaviours:
        unknown &= U32_MAX
    if unknown:
        return _stored(machine, vcpu_name, given, given.dirty, errno.EINVAL)
    machine, left = _loaded(machine, vcpu_name, given)
    if left & ALL:
        return _stored(machine, vcpu_name, given, left, errno.EINVAL)
    if given.cr8 > _LARGEST_CR8 and not machine.vcpu(vcpu_name).lapic:
        return _stored(machine, vcpu_name, given, left, errno.EINVAL)
    if given.immediate_exit:
        return _stored(machine, vcpu_name, given, left, errno.EINTR)
    entered = machine.vcpu(vcpu_name)._replace(ran=True, entered=True)
    return _stored(machine.with_vcpu(vcpu_name, entered), vcpu_name, given, left, 0)


def _loaded(machine: Machine, vcpu_name: str, given: RunArea) -> tuple[Machine, int]:
    """Load the dirty parts in order, up to one that is refused; return what is still dirty."""
    left = given.dirty
    for part in Synced:
        if not left & part:
            continue
        vcpu = machine.vcpu(vcpu_name)
        values = {**vcpu.synced[part.name], **given.changes.get(part, {})}
        if part is Synced.SREGS:
            step = restore_registers(machine, vcpu_name, values)
        else:
            step = set_values(machine, vcpu_name, _STATES[part], values)
        machine = step.machine
        if isinstance(step.outcome, Failed):
            return machine, left
        left &= ~part
    return machine, left


def _stored(machine: Machine, vcpu_name: str, given: RunArea, left: int, error: int) -> Step:
    """Store the valid parts, and return what the run area then has."""
    vcpu = machine.vcpu(vcpu_name)
    area: dict[str, Mapping[str, int]] = dict(vcpu.synced)
    for part in Synced:
        before = area.get(part.name, {})
        if given.valid & part:
            area[part.name] = _values(vcpu, part)
        elif changes := given.changes.get(part):
            area[part.name] = {**before, **changes}
    fields = {VALID_FIELD: given.valid, DIRTY_FIELD: left}
    for part in Synced:
        if given.valid & part:
            fields |= area[part.name]
    after = machine.with_vcpu(vcpu_name, vcpu._replace(synced=area))
    if error:
        return Step(after, Failed(error, fields), RUN_SYNCED)
    fields |= {EXIT_FIELD: _exit_reason(machine.host, vcpu), CR8_FIELD: given.cr8}
    return Step(after, Done(fields=fields), RUN_SYNCED)


def _exit_reason(host: HostProfile, vcpu: Vcpu) -> KvmExit:
    match entry(host, vcpu):
        case Entry.SUCCEEDS:
            return KvmExit.HLT
        case Entry.FAILS:
            return KvmExit.FAIL_ENTRY
        case Entry.BY_CPU:
            raise NotModelled("run-synced with control registers that some CPUs refuse at entry")


def _values(vcpu: Vcpu, part: Synced) -> Mapping[str, int]:
    return control_registers(vcpu) if part is Synced.SREGS else known(vcpu, _STATES[part])
