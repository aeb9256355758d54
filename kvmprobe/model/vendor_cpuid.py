"""A vendor module of KVM that overrules user space's CPUID table (kvm_pvm).

It gives a guest the CPU's own features, because the guest's CPUID is not intercepted.  Only what
concerns XSTATE is modelled: XCR0's bits, XSAVE's features, and that XSAVE is there.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvmprobe.abi.numbers import KVM_CPUID_FLAG_SIGNIFICANT_INDEX
from kvmprobe.model.behaviours import Behaviour
from kvmprobe.model.machine import GuestCpuid
from kvmprobe.xstate.cpuid import (
    LEAF_FEATURES,
    LEAF_XSTATE,
    XSAVE_BIT,
    CpuidTable,
    halves,
)

if TYPE_CHECKING:
    from kvmprobe.model.host import HostProfile

_INDEXED = KVM_CPUID_FLAG_SIGNIFICANT_INDEX
# XSAVEOPT, XSAVEC, XGETBV with ECX=1; XSAVES and XFD are kept from guests.
_OFFERED = 0b111


def as_vendor_keeps(host: HostProfile, guest: GuestCpuid) -> GuestCpuid:
    """Return the table that a vCPU has after it was given one.

    A list that has leaf 1 and no 0xD.0 gets that.  An entry of leaf 0xD whose index is not
    significant is taken for 0xD.1 too and ends up empty.

    :see: arch/x86/kvm/cpuid.c: kvm_vcpu_after_set_cpuid, where vendor modules have a hook
    """
    if Behaviour.VENDOR_REWRITES_CPUID not in host.behaviours:
        return guest
    table = CpuidTable(guest.entries)
    features = table.find(LEAF_FEATURES, 0)
    if features:
        table = table.replaced(LEAF_FEATURES, 0, ecx=features.ecx | 1 << XSAVE_BIT)
    first = table.find(LEAF_XSTATE, 0)
    if first is None and features:
        table = CpuidTable((*table.entries, table.at(LEAF_XSTATE, 0)))
    elif first is not None and not first.flags & _INDEXED:
        return GuestCpuid.of(table.replaced(LEAF_XSTATE, 0, eax=0, ebx=0, ecx=0, edx=0))
    size = host.layout.size(host.kvm_xcr0)
    low, high = halves(host.kvm_xcr0)
    table = table.replaced(LEAF_XSTATE, 0, eax=low, ecx=size, edx=high)
    offered = host.cpu.at(LEAF_XSTATE, 1).eax & _OFFERED
    return GuestCpuid.of(table.replaced(LEAF_XSTATE, 1, eax=offered, ecx=0, edx=0))
