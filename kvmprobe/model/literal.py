"""Literal input: values from a dump or a VMM's template, which can be any.

The model follows CPUID entries and XSAVE bytes as it follows its own, and SREGS as far as their
checks are certain.  What it does not cover is refused here with a reason, or not judged: an MSR
that it does not know, of which only that its call returns 0 or 1 is certain.
"""

from __future__ import annotations

import errno
import struct
from typing import TYPE_CHECKING

from kvmprobe.abi.numbers import KVM_CPUID_FLAG_SIGNIFICANT_INDEX, Msr
from kvmprobe.model import vendor
from kvmprobe.model.control import CR0_DEFINED, EFER_COMMON, EFER_LMA, EFER_LME, EFER_NX, Cr0, Cr4
from kvmprobe.model.feature import LONG_MODE, NX
from kvmprobe.model.freedom import Freedom
from kvmprobe.model.outcome import Done, Failed, OneOf, Step
from kvmprobe.model.rule import KernelFile, KernelSource, Rule
from kvmprobe.model.sregs import SET_SREGS, legal_cr4, with_given
from kvmprobe.xstate.cpuid import LEAF_ADDRESS_SIZES, LEAF_EXTENDED_FEATURES, OSPKE_BIT, PKU_BIT
from kvmprobe.xstate.features import MPX, XFeature
from kvmprobe.xstate.image import xstate_bv_of
from kvmprobe.xstate.layout import EXTENDED_OFFSET

if TYPE_CHECKING:
    from collections.abc import Mapping

    from kvmprobe.model.host import HostProfile
    from kvmprobe.model.machine import Machine, Vcpu
    from kvmprobe.xstate.cpuid import CpuidEntry, CpuidTable

# arch/x86/kvm/cpuid.h: cpuid_function_is_indexed
INDEXED_LEAVES = frozenset(
    {0x4, 0x7, 0xB, 0xD, 0xF, 0x10, 0x12, 0x14, 0x17, 0x18, 0x1D, 0x1E, 0x1F, 0x24, 0x8000_001D}
)
_HYPERVISOR_LEAVES = range(0x4000_0000, 0x4001_0000)
_XEN = (0x566E_6558, 0x6558_4D4D, 0x4D4D_566E)
_ADDRESS_BITS = range(36, 53)
_EFER, _APIC_BASE = 0xC000_0080, 0x1B
# MSRs whose effect reaches what the model has: EFER and the local APIC; KVM's own, which make KVM
# write to guest memory; Hyper-V's, which do, too.
_WITH_EFFECTS = {
    "KVM_SET_SREGS writes it": (range(_EFER, _EFER + 1), range(_APIC_BASE, _APIC_BASE + 1)),
    "it is a register of the local APIC": (range(0x800, 0x900),),
    "it decides what VMX operation needs": (range(0x3A, 0x3B), range(0x480, 0x492)),
    "KVM then writes to guest memory": (
        range(0x11, 0x13),
        range(0x4B56_4D00, 0x4B56_4E00),
        range(0x4000_0000, 0x4000_0200),
    ),
}
_APIC_BASES = frozenset({0xFEE0_0800, 0xFEE0_0900})
_X87_EXCEPTIONS, _X87_ES, _X87_B = 0x3F, 1 << 7, 1 << 15
_CR3_CERTAIN = 1 << 36


def uncovered_table(host: HostProfile, table: CpuidTable) -> str:
    """Return why the model does not cover a CPUID table on a host; empty if it does.

    :see: arch/x86/kvm/cpuid.c: cpuid_entry2_find, cpuid_query_maxphyaddr
    """
    for number, entry in enumerate(table.entries):
        if why := _uncovered_entry(entry) or _uncovered_keys(host, entry):
            return f"entry {number}, leaf {entry.leaf:#x}: {why}"
        if why := vendor.uncovered_entry(host, entry):
            return f"entry {number}, leaf {entry.leaf:#x}: {why}"
    return ""


def _uncovered_entry(entry: CpuidEntry) -> str:
    significant = entry.flags & KVM_CPUID_FLAG_SIGNIFICANT_INDEX
    if entry.leaf not in INDEXED_LEAVES and significant and entry.subleaf:
        return f"KVM finds this leaf without an index, and the entry has {entry.subleaf:#x}"
    if entry.leaf in _HYPERVISOR_LEAVES and (entry.ebx, entry.ecx, entry.edx) == _XEN:
        return "KVM changes the leaves of Xen as the guest's clock is set"
    if entry.leaf == LEAF_ADDRESS_SIZES and entry.eax & 0xFF not in _ADDRESS_BITS:
        first, last = _ADDRESS_BITS[0], _ADDRESS_BITS[-1]
        return f"{entry.eax & 0xFF} physical address bits; the model covers {first} to {last}"
    return ""


def _uncovered_keys(host: HostProfile, entry: CpuidEntry) -> str:
    """Return why OSPKE is not covered: on a CPU without protection keys only some kernels clear it.

    :see: arch/x86/kvm/cpuid.c: kvm_update_cpuid_runtime
    """
    is_place = (entry.leaf, entry.subleaf) == (LEAF_EXTENDED_FEATURES, 0)
    has_keys = host.cpu.at(LEAF_EXTENDED_FEATURES, 0).ecx >> PKU_BIT & 1
    if not is_place or has_keys or vendor.rewrites_cpuid(host):
        return ""
    return "kernels differ in OSPKE on this CPU" if entry.ecx >> OSPKE_BIT & 1 else ""


SET_UNKNOWN_MSR = Rule(
    "KVM_SET_MSRS of one entry returns 1 if it applied it, else 0",
    ("INV-26",),
    (KernelSource(KernelFile.KVM_X86, "__msr_io"),),
)


def set_unknown_msr(machine: Machine) -> Step:
    """KVM_SET_MSRS of one MSR that the model does not know: its acceptance is not judged.

    :see: arch/x86/kvm/x86.c: __msr_io
    """
    either = OneOf((Done(0), Done(1)), Freedom.UNKNOWN_MSR)
    return Step(machine, either, SET_UNKNOWN_MSR)


def uncovered_msr(index: int, value: int) -> str:
    """Return why an MSR cannot be set without being judged; empty if it can.

    :see: arch/x86/kvm/x86.c: kvm_set_msr_common
    """
    if index in set(Msr):
        return f"the model knows {index:#x}; set-msrs sets it"
    for why, ranges in _WITH_EFFECTS.items():
        if value and any(index in one for one in ranges):
            return f"the model does not cover MSR {index:#x}: {why}"
    return ""


def uncovered_image(image: bytes) -> str:
    """Return why the model does not cover an XSAVE image; empty if it does.

    :see: SDM vol.1 §8.1.3 "x87 FPU Status Register"
    """
    if len(image) < EXTENDED_OFFSET:
        return ""
    if xstate_bv_of(image) & MPX:
        return "BNDREGS or BNDCSR in XSTATE_BV"
    if not xstate_bv_of(image) & XFeature.FP.bit:
        return ""
    control, status = struct.unpack_from("<HH", image)
    pending = bool(status & ~control & _X87_EXCEPTIONS)
    agree = pending == bool(status & _X87_ES) == bool(status & _X87_B)
    return "" if agree else f"FSW={status:#x}, FCW={control:#x}: a CPU computes ES and B again"


def uncovered_sregs(host: HostProfile, vcpu: Vcpu, sregs: Mapping[str, int]) -> str:
    """Return why the model does not cover these SREGS on a vCPU; empty if it does.

    :param sregs: by the names that ``abi.layout.Layout.places`` gives
    :see: arch/x86/kvm/x86.c: __set_sregs_common
    """
    table, efer = vcpu.cpuid, sregs["efer"]
    reasons = {
        "a CR0 with reserved bits, or without ET": sregs["cr0"] & ~CR0_DEFINED
        or not sregs["cr0"] & Cr0.ET,
        "a CR0 that is not legal": not _legal_cr0(sregs["cr0"]),
        "EFER bits other than SCE, LME, LMA and NX": efer & ~EFER_COMMON,
        "EFER.LME or LMA without long mode in CPUID": efer & (EFER_LME | EFER_LMA)
        and not (table and table.has(*LONG_MODE)),
        "paging outside long mode on this host": sregs["cr0"] & Cr0.PG
        and not efer & EFER_LME
        and vendor.pages_in_long_mode_only(host),
        "EFER.NX without NX in CPUID": efer & EFER_NX and not (table and table.has(*NX)),
        "a CR3 of 2^36 or more": sregs["cr3"] >= _CR3_CERTAIN,
        "a CR8 other than 0": sregs["cr8"],
        "an APIC base other than 0xfee00800 and 0xfee00900": sregs["apic_base"] not in _APIC_BASES,
        "flags": sregs.get("flags", 0),
        "a pending interrupt": any(sregs.get(f"interrupt_bitmap{nr}", 0) for nr in range(4)),
        "an MP state other than RUNNABLE": vcpu.state.get("KVM_MP_STATE", {}).get("mp_state", 0),
        "SREGS of a vCPU that ran": vcpu.ran,
    }
    return next((f"the model does not cover {why}" for why, true in reasons.items() if true), "")


def _legal_cr0(value: int) -> bool:
    paged = value & Cr0.PG and not value & Cr0.PE
    return not paged and not (value & Cr0.NW and not value & Cr0.CD)


def set_literal_sregs(machine: Machine, vcpu_name: str, sregs: Mapping[str, int]) -> Step:
    """KVM_SET_SREGS or KVM_SET_SREGS2 of a structure that is given as a whole.

    :see: arch/x86/kvm/x86.c: kvm_is_valid_sregs, __set_sregs_common
    """
    vcpu = machine.vcpu(vcpu_name)
    efer, cr0, cr4 = (sregs[name] for name in ("efer", "cr0", "cr4"))
    if efer & EFER_LME and cr0 & Cr0.PG:
        legal = bool(cr4 & Cr4.PAE.bit) and bool(efer & EFER_LMA)
    else:
        legal = not efer & EFER_LMA and not sregs["cs_l"]
    if not legal or not legal_cr4(machine.host, vcpu.cpuid, cr4):
        return Step(machine, Failed(errno.EINVAL), SET_SREGS)
    return Step(machine.with_vcpu(vcpu_name, with_given(vcpu, sregs)), Done(), SET_SREGS)
