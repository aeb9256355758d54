"""Vendor modules of KVM that decide what KVM's core decides elsewhere (kvm_pvm).

Such a module gives a guest the CPU's own features, because the guest's CPUID is not intercepted.
The model's core asks here, once for each decision.  The model covers what concerns XSTATE (XCR0's
bits, XSAVE's features), CR4, and values of IA32_PAT.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvmprobe.abi.numbers import KVM_CPUID_FLAG_SIGNIFICANT_INDEX
from kvmprobe.model.behaviours import Behaviour
from kvmprobe.model.control import CR4_ALWAYS, Cr4
from kvmprobe.model.machine import GuestCpuid
from kvmprobe.xstate.cpuid import (
    LEAF_FEATURES,
    LEAF_XSTATE,
    CpuidEntry,
    CpuidTable,
    halves,
)

if TYPE_CHECKING:
    from kvmprobe.model.host import HostProfile

_INDEXED = KVM_CPUID_FLAG_SIGNIFICANT_INDEX
# XSAVEOPT, XSAVEC, XGETBV with ECX=1; XSAVES and XFD are kept from guests.
_OFFERED = 0b111
_CR4 = (Cr4.UMIP, Cr4.FSGSBASE, Cr4.OSXSAVE, Cr4.SMEP, Cr4.SMAP, Cr4.PKE)


def table_kept(host: HostProfile, guest: GuestCpuid) -> GuestCpuid:
    """Return the table that a vCPU has after it was given one.

    A list that has leaf 1 and no 0xD.0 gets leaf 0xD as KVM offers it.  An entry of leaf 0xD whose
    index is not significant is taken for 0xD.1 too and ends up empty.

    :see: arch/x86/kvm/cpuid.c: kvm_vcpu_after_set_cpuid, where vendor modules have a hook
    """
    if not rewrites_cpuid(host):
        return guest
    table = guest.table
    first = table.find(LEAF_XSTATE, 0)
    if first is None and table.find(LEAF_FEATURES, 0):
        offered = (entry for entry in host.supported.entries if entry.leaf == LEAF_XSTATE)
        table = CpuidTable((*table.entries, *offered))
    elif first is not None and not first.flags & _INDEXED:
        return GuestCpuid.of(table.replaced(LEAF_XSTATE, 0, eax=0, ecx=0, edx=0))
    size = host.layout.size(host.kvm_xcr0)
    low, high = halves(host.kvm_xcr0)
    table = table.replaced(LEAF_XSTATE, 0, eax=low, ecx=size, edx=high)
    features = host.cpu.at(LEAF_XSTATE, 1).eax & _OFFERED
    return GuestCpuid.of(table.replaced(LEAF_XSTATE, 1, eax=features, ecx=0, edx=0))


def rewrites_cpuid(host: HostProfile) -> bool:
    """Return True if KVM_GET_CPUID2 shows more than the model knows of a table.

    :see: arch/x86/kvm/cpuid.c: kvm_vcpu_after_set_cpuid, where vendor modules have a hook
    """
    return Behaviour.VENDOR_REWRITES_CPUID in host.behaviours


def legal_cr4(host: HostProfile) -> int | None:
    """Return the bits that CR4 may have whatever CPUID says; None where KVM's core decides.

    :see: arch/x86/kvm/x86.c: kvm_is_valid_cr4, where vendor modules have a hook
    """
    if Behaviour.VENDOR_OWNS_CR4 not in host.behaviours:
        return None
    return CR4_ALWAYS | sum(bit.bit for bit in _CR4)


def uncovered_entry(host: HostProfile, entry: CpuidEntry) -> str:
    """Return why it is not known what becomes of an entry of a literal table; empty if it is.

    Such a module empties more entries of leaf 0xD than the first, whose index is not significant.

    :see: arch/x86/kvm/cpuid.c: kvm_vcpu_after_set_cpuid, where vendor modules have a hook
    """
    plain = entry.leaf == LEAF_XSTATE and not entry.flags & _INDEXED
    return "KVM's vendor module rewrites it" if plain and rewrites_cpuid(host) else ""


def pages_in_long_mode_only(host: HostProfile) -> bool:
    """Return True if CR0.PG without EFER.LME stays clear, which such a module does not refuse.

    :see: arch/x86/kvm/x86.c: __set_sregs_common, where vendor modules set CR0
    """
    return legal_cr4(host) is not None


def has_virtual_8086(host: HostProfile) -> bool:
    """Return True if KVM keeps RFLAGS.VM: a module that cannot run such a guest drops it.

    :see: arch/x86/kvm/x86.c: __set_regs, which gives RFLAGS to the vendor module
    """
    return legal_cr4(host) is None


def accepts_any_pat(host: HostProfile) -> bool:
    """Return True if the host may write any value of IA32_PAT, reserved memory types too.

    :see: arch/x86/kvm/x86.c: kvm_set_msr_common, which a vendor module may precede
    """
    return Behaviour.VENDOR_OWNS_PAT in host.behaviours


def offered(host: HostProfile) -> CpuidTable:
    """Return the table whose features of XSAVE and AMX KVM offers, where it knows them.

    :see: arch/x86/kvm/cpuid.c: kvm_set_cpu_caps, and a vendor module that clears capabilities
    """
    hides = Behaviour.HIDES_XSAVE_FEATURES in host.behaviours
    return host.supported if hides else host.cpu
