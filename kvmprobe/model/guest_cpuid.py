"""A vCPU's CPUID table: setting it, what KVM keeps current in it, reading it back.

Shaped like arch/x86/kvm/cpuid.c: kvm_set_cpuid, kvm_update_cpuid_runtime.
"""

from __future__ import annotations

import errno
from functools import lru_cache
from typing import TYPE_CHECKING

from kvmprobe.model import cet, cpuid_refresh, vendor
from kvmprobe.model.behaviours import Behaviour
from kvmprobe.model.cpuid import COMPACTION
from kvmprobe.model.freedom import Freedom
from kvmprobe.model.machine import MAIN, GuestCpuid
from kvmprobe.model.outcome import Done, ExpectedTable, Failed, Step
from kvmprobe.model.process import denied
from kvmprobe.model.rule import KernelFile, KernelSource, Rule
from kvmprobe.xstate.cpuid import (
    APIC_BIT,
    LEAF_ADDRESS_SIZES,
    LEAF_EXTENDED_FEATURES,
    LEAF_FEATURES,
    LEAF_SGX,
    LEAF_XSTATE,
    OSPKE_BIT,
    OSXSAVE_BIT,
    PKU_BIT,
    CpuidEntry,
    CpuidTable,
    halves,
)
from kvmprobe.xstate.cpuid_values import named_values
from kvmprobe.xstate.features import DYNAMIC, FPSSE

if TYPE_CHECKING:
    from kvmprobe.model.host import HostProfile
    from kvmprobe.model.machine import Machine, Vcpu

NENT_FIELD = "nent"
MAX_ENTRIES = 256
_CR4_OSXSAVE_BIT, _CR4_PKE_BIT = 18, 22
_LEGAL_ADDRESS_BITS = frozenset({0, 48, 57})
SET_CPUID2 = Rule(
    "KVM_SET_CPUID2 decides what the guest may have; XTILE_DATA needs permission once",
    ("INV-11", "INV-31", "INV-32"),
    (
        KernelSource(KernelFile.KVM_CPUID, "kvm_set_cpuid"),
        KernelSource(KernelFile.KVM_CPUID, "kvm_check_cpuid"),
        KernelSource(KernelFile.FPU_CORE, "fpu_enable_guest_xfd_features"),
        KernelSource(KernelFile.FPU_XSTATE, "fpstate_realloc"),
    ),
)
SET_CPUID2_AFTER_RUN = Rule(
    "after the first KVM_RUN only the same CPUID table is accepted",
    ("INV-12",),
    (KernelSource(KernelFile.KVM_CPUID, "kvm_cpuid_check_equal"),),
)
CHECK_ADDRESS_BITS = Rule(
    "KVM_SET_CPUID2 checks the linear address size before permission",
    ("INV-11",),
    (KernelSource(KernelFile.KVM_CPUID, "kvm_check_cpuid"),),
)
_BLANK = CpuidEntry(0, 0, 0, 0, 0, 0, 0)


def set_cpuid2(machine: Machine, vcpu_name: str, table: GuestCpuid, by: str = MAIN) -> Step:
    """KVM_SET_CPUID2, and KVM_SET_CPUID, whose entries have no index and no flags.

    The first table with XTILE_DATA replaces the guest's fpstate by a larger one, which must hold
    what the old one held.  XCR0, XFD and XSS stay, legal or not.

    :see: arch/x86/kvm/cpuid.c: kvm_set_cpuid, kvm_check_cpuid;
        arch/x86/kernel/fpu/core.c: fpu_enable_guest_xfd_features;
        arch/x86/kernel/fpu/xstate.c: fpstate_realloc
    """
    refusal = denied(machine, vcpu_name, by)
    if refusal is not None:
        return Step(machine, refusal, SET_CPUID2)
    vcpu, host = machine.vcpu(vcpu_name), machine.host
    if len(table.entries) > MAX_ENTRIES:
        return Step(machine, Failed(errno.E2BIG), SET_TOO_MANY)
    if vcpu.ran:
        return _set_again(machine, vcpu_name, table)
    if _address_bits(table) not in _LEGAL_ADDRESS_BITS:
        return Step(machine, Failed(errno.EINVAL), CHECK_ADDRESS_BITS)
    if table.xcr0 & DYNAMIC & ~vcpu.fpstate.user_xfeatures:
        permitted = machine.process(by).guest_perm
        if not permitted & DYNAMIC:
            return Step(machine, Failed(errno.EPERM), SET_CPUID2)
        vcpu = _with_dynamic(host, vcpu, permitted)
    kept = vendor.table_kept(host, table)
    vcpu = vcpu._replace(
        cpuid=kept, guest_xcr0=kept.xcr0 & host.kvm_xcr0, guest_xss=kept.xss & host.kvm_xss
    )
    vcpu = cpuid_refresh.refreshed(host, vcpu)
    return Step(machine.with_vcpu(vcpu_name, vcpu), Done(), SET_CPUID2)


def _set_again(machine: Machine, vcpu_name: str, table: GuestCpuid) -> Step:
    """Set the table of a vCPU that ran: KVM compares it with the present one.

    :see: arch/x86/kvm/cpuid.c: kvm_cpuid_check_equal
    """
    vcpu, host = machine.vcpu(vcpu_name), machine.host
    held = current(host, cpuid_refresh.as_held(vcpu), vcpu.cpuid or GuestCpuid())
    if current(host, vcpu, table) == held:
        machine = machine.with_vcpu(vcpu_name, cpuid_refresh.refreshed(host, vcpu))
        return Step(machine, Done(), SET_CPUID2_AFTER_RUN)
    if Behaviour.CPUID_COMPARED_UNREFRESHED in host.behaviours:
        machine = machine.with_vcpu(vcpu_name, cpuid_refresh.lost(vcpu))
    return Step(machine, Failed(errno.EINVAL), SET_CPUID2_AFTER_RUN)


SET_TOO_MANY = Rule(
    "KVM_SET_CPUID2 takes 256 entries at most",
    (),
    (KernelSource(KernelFile.KVM_CPUID, "kvm_vcpu_ioctl_set_cpuid2"),),
    sections=("4",),
)


def set_too_many(machine: Machine) -> Step:
    """KVM_SET_CPUID2 with 257 entries: refused before they are read.

    :see: arch/x86/kvm/cpuid.c: kvm_vcpu_ioctl_set_cpuid2
    """
    return Step(machine, Failed(errno.E2BIG), SET_TOO_MANY)


SET_UNREADABLE = Rule(
    "KVM_SET_CPUID2 copies the entries before it checks them",
    (),
    (KernelSource(KernelFile.KVM_CPUID, "kvm_vcpu_ioctl_set_cpuid2"),),
    sections=("4",),
)


def set_unreadable(machine: Machine) -> Step:
    """KVM_SET_CPUID2 with a header or entries that cannot be read.

    :see: arch/x86/kvm/cpuid.c: kvm_vcpu_ioctl_set_cpuid2
    """
    return Step(machine, Failed(errno.EFAULT), SET_UNREADABLE)


GET_CPUID2 = Rule(
    "KVM_GET_CPUID2 returns what was set, and what follows XCR0, XSS and CR4 is current",
    ("INV-35",),
    (
        KernelSource(KernelFile.KVM_CPUID, "kvm_update_cpuid_runtime"),
        KernelSource(KernelFile.KVM_CPUID, "kvm_vcpu_ioctl_get_cpuid2"),
    ),
)


def get_cpuid2(
    machine: Machine, vcpu_name: str, name: str, room: int = MAX_ENTRIES, by: str = MAIN
) -> Step:
    """KVM_GET_CPUID2.

    :param name: the table is kept under it for a later SET_CPUID2; nothing keeps none
    :param room: entries that the caller claims to have room for; its buffer, all zero, has no more
        than ``MAX_ENTRIES``

    :see: arch/x86/kvm/cpuid.c: kvm_vcpu_ioctl_get_cpuid2
    """
    refusal = denied(machine, vcpu_name, by)
    if refusal is not None:
        return Step(machine, refusal, GET_CPUID2)
    vcpu, host = machine.vcpu(vcpu_name), machine.host
    if room < len((vcpu.cpuid or GuestCpuid()).entries):
        return Step(machine, Failed(errno.E2BIG, {NENT_FIELD: room}), GET_CPUID2)
    vcpu = cpuid_refresh.refreshed(host, vcpu)
    machine = machine.with_vcpu(vcpu_name, vcpu)
    held = current(host, cpuid_refresh.as_held(vcpu), vcpu.cpuid or GuestCpuid())
    table, count = held.table, len(held.entries)
    if Behaviour.GET_CPUID2_KEEPS_NENT in host.behaviours:
        count = room
        table = CpuidTable(held.entries + (_BLANK,) * (min(room, MAX_ENTRIES) - len(held.entries)))
    unspecified = (vcpu.cpuid or GuestCpuid()).unspecified
    if name:
        kept = GuestCpuid.of(table, unspecified)
        machine = machine._replace(captured={**machine.captured, name: kept})
    values = named_values(table)
    if vendor.rewrites_cpuid(host):
        return Step(machine, Done(fields=values), GET_CPUID2)
    expected = ExpectedTable(table, unspecified, Freedom.DIFFERS_BETWEEN_CPUS)
    fields = {NENT_FIELD: count, **values}
    return Step(machine, Done(fields=fields, table=expected), GET_CPUID2)


def current(host: HostProfile, vcpu: Vcpu, guest: GuestCpuid) -> GuestCpuid:
    """Return a table with the values that follow the vCPU's registers: XCR0, XSS and CR4.

    :see: arch/x86/kvm/cpuid.c: kvm_update_cpuid_runtime
    """
    if not guest.entries:
        return guest
    table = _current(host.cpu, guest.table, vcpu.cr4, vcpu.xcr0, vcpu.xss)
    if Behaviour.SGX_XFRM_FOLLOWS_XCR0 in host.behaviours:
        table = _with_enclaves_limited(table, guest.xcr0 & host.kvm_xcr0)
    return GuestCpuid.of(table)


@lru_cache(maxsize=256)
def _current(cpu: CpuidTable, table: CpuidTable, cr4: int, xcr0: int, xss: int) -> CpuidTable:
    features = table.at(LEAF_FEATURES, 0)
    ecx = _with_bit(features.ecx, OSXSAVE_BIT, cr4 >> _CR4_OSXSAVE_BIT)
    # IA32_APIC_BASE has its enable bit after reset, and no op of the model clears it.
    table = table.replaced(LEAF_FEATURES, 0, ecx=ecx, edx=features.edx | 1 << APIC_BIT)
    if cpu.at(LEAF_EXTENDED_FEATURES, 0).ecx >> PKU_BIT & 1:
        ecx = table.at(LEAF_EXTENDED_FEATURES, 0).ecx
        ecx = _with_bit(ecx, OSPKE_BIT, cr4 >> _CR4_PKE_BIT)
        table = table.replaced(LEAF_EXTENDED_FEATURES, 0, ecx=ecx)
    table = table.replaced(LEAF_XSTATE, 0, ebx=cpu.standard_size(xcr0))
    if table.at(LEAF_XSTATE, 1).eax & COMPACTION:
        table = table.replaced(LEAF_XSTATE, 1, ebx=cpu.compacted_size(xcr0 | xss))
    return table


def _with_enclaves_limited(table: CpuidTable, xcr0: int) -> CpuidTable:
    xfrm, (low, high) = table.at(LEAF_SGX, 1), halves(xcr0)
    return table.replaced(LEAF_SGX, 1, ecx=xfrm.ecx & low | FPSSE, edx=xfrm.edx & high)


def _with_bit(register: int, bit: int, value: int) -> int:
    return register & ~(1 << bit) | (value & 1) << bit


def _address_bits(table: GuestCpuid) -> int:
    return table.table.at(LEAF_ADDRESS_SIZES, 0).eax >> 8 & 0xFF


def _with_dynamic(host: HostProfile, vcpu: Vcpu, permitted: int) -> Vcpu:
    larger = vcpu.fpstate._replace(
        user_xfeatures=vcpu.fpstate.user_xfeatures | DYNAMIC,
        uabi_size=host.uabi_size(permitted),
    )
    if Behaviour.CPUID_ENABLE_DISCARDS_FPSTATE not in host.behaviours:
        return vcpu._replace(fpstate=larger)
    kept = {index: value for index, value in vcpu.msrs.items() if index not in cet.IN_XSTATE}
    return vcpu._replace(fpstate=larger.discarded(), msrs=kept)
