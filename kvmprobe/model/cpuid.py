"""What KVM offers in CPUID (arch/x86/kvm/cpuid.c: __do_cpuid_func), as far as XSTATE goes.

Leaves 0xD, 0x1D and 0x1E are computed from the CPU's own leaves; what the other leaves hold is a
fact about the host, but permission must not change it.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

from kvmprobe.model import vendor
from kvmprobe.model.behaviours import Behaviour
from kvmprobe.model.freedom import Freedom
from kvmprobe.model.machine import MAIN, GuestCpuid
from kvmprobe.model.outcome import Done, ExpectedTable, Step
from kvmprobe.model.process import denied
from kvmprobe.model.rule import KernelFile, KernelSource, Rule
from kvmprobe.xstate.cpuid import (
    AMX_TILE_BIT,
    LEAF_EXTENDED_FEATURES,
    LEAF_FEATURES,
    LEAF_TILE,
    LEAF_TMUL,
    LEAF_XSTATE,
    PLACE_WITH_XFD,
    XFD_BIT,
    XSAVEC_BIT,
    XSAVES_BIT,
    CpuidEntry,
    CpuidTable,
    Register,
    halves,
)
from kvmprobe.xstate.cpuid_values import XCR0_FIELD
from kvmprobe.xstate.features import FPSSE, XTILE, XFeature, numbers

if TYPE_CHECKING:
    from kvmprobe.model.host import HostProfile
    from kvmprobe.model.machine import Machine

SIZE_FIELD = "0xD.0:ECX"
COMPACTION = 1 << XSAVEC_BIT | 1 << XSAVES_BIT
# XSAVEOPT, XSAVEC, XGETBV with ECX=1, XSAVES, XFD: what KVM knows of 0xD.1:EAX.
_XSAVE_FEATURES = 0b11111
# AMX_FP8, TF32, AVX512, MOVRS, and INT8, BF16, COMPLEX, FP16 again.
_TMUL_FEATURES = 0b1_1101_1111
_XSTATE_LEAVES = (LEAF_XSTATE, LEAF_TILE, LEAF_TMUL)
# Leaves that differ between the CPUs of one machine: APIC ids, caches, kind of core.
PER_CPU = frozenset(
    {
        (LEAF_FEATURES, Register.EBX),
        *((leaf, register) for leaf in (0x2, 0x4, 0xB, 0x18, 0x1A, 0x1F) for register in Register),
    }
)


def permitted_xcr0(machine: Machine, by: str = MAIN) -> int:
    """Return KVM's XCR0 bits under the calling process's guest permission.

    XTILE_CFG is of no use without XTILE_DATA, so a kernel offers both or none.

    :see: arch/x86/kvm/x86.h: kvm_get_filtered_xcr0
    """
    xcr0 = machine.host.kvm_xcr0 & machine.process(by).guest_perm
    alone = Behaviour.XTILE_CFG_ADVERTISED_ALONE in machine.host.behaviours
    return xcr0 if xcr0 & XFeature.XTILE_DATA.bit or alone else xcr0 & ~XTILE


GET_SUPPORTED = Rule(
    "supported CPUID follows guest permission in leaf 0xD, not in leaves 7, 0x1D and 0x1E",
    ("INV-10",),
    (
        KernelSource(KernelFile.KVM_CPUID, "__do_cpuid_func"),
        KernelSource(KernelFile.KVM_CPUID, "kvm_dev_ioctl_get_cpuid"),
    ),
)


def get_supported(machine: Machine, name: str, by: str = MAIN, on: str = "kvm") -> Step:
    """KVM_GET_SUPPORTED_CPUID; the table is kept under ``name`` for a later SET_CPUID2.

    :see: arch/x86/kvm/cpuid.c: kvm_dev_ioctl_get_cpuid, __do_cpuid_func
    """
    refusal = denied(machine, on, by)
    if refusal is not None:
        return Step(machine, refusal, GET_SUPPORTED)
    xcr0 = permitted_xcr0(machine, by)
    table = supported_table(machine.host, xcr0)
    fields = {XCR0_FIELD: xcr0, SIZE_FIELD: machine.host.layout.size(xcr0)}
    kept = GuestCpuid.of(table, PER_CPU)
    captured = {**machine.captured, name: kept}
    expected = ExpectedTable(table, PER_CPU, Freedom.DIFFERS_BETWEEN_CPUS)
    return Step(
        machine._replace(captured=captured), Done(fields=fields, table=expected), GET_SUPPORTED
    )


@lru_cache(maxsize=32)
def supported_table(host: HostProfile, xcr0: int) -> CpuidTable:
    """Return the whole table for a filtered XCR0; each leaf stands where KVM puts it.

    :see: arch/x86/kvm/cpuid.c: __do_cpuid_func
    """
    computed = {
        LEAF_XSTATE: _xstate_leaf(host, xcr0),
        LEAF_TILE: _tile_leaf(host),
        LEAF_TMUL: _tmul_leaf(host),
    }
    entries: list[CpuidEntry] = []
    for entry in host.supported.entries:
        if entry.leaf in _XSTATE_LEAVES:
            entries += computed.pop(entry.leaf, [])
        else:
            entries.append(entry)
    return CpuidTable(tuple(entries))


def _xstate_leaf(host: HostProfile, xcr0: int) -> list[CpuidEntry]:
    cpu, xss = host.cpu, host.kvm_xss
    features = _xsave_features(host)
    size = host.layout.size(xcr0)
    compacted = cpu.compacted_size(xcr0 | xss) if features & COMPACTION else 0
    low, high = halves(xcr0)
    first = cpu.at(LEAF_XSTATE, 0)._replace(eax=low, ebx=size, ecx=size, edx=high)
    low, high = halves(xss)
    second = cpu.at(LEAF_XSTATE, 1)._replace(eax=features, ebx=compacted, ecx=low, edx=high)
    places = (cpu.at(LEAF_XSTATE, nr) for nr in numbers((xcr0 | xss) & ~FPSSE))
    hidden = 0 if features & 1 << XFD_BIT else PLACE_WITH_XFD
    return [first, second, *(place._replace(ecx=place.ecx & ~hidden, edx=0) for place in places)]


def _tile_leaf(host: HostProfile) -> list[CpuidEntry]:
    first = host.cpu.at(LEAF_TILE, 0)
    if not _offers_tiles(host):
        return [_blank(first)]
    return [first, *(host.cpu.at(LEAF_TILE, nr) for nr in range(1, first.eax + 1))]


def _tmul_leaf(host: HostProfile) -> list[CpuidEntry]:
    first = host.cpu.at(LEAF_TMUL, 0)
    if not _offers_tiles(host):
        return [_blank(first)]
    if Behaviour.KNOWS_TMUL_FEATURES not in host.behaviours or not first.eax:
        return [first]
    second = host.cpu.at(LEAF_TMUL, 1)
    features = second.eax & _TMUL_FEATURES
    return [first._replace(eax=1), _blank(second)._replace(eax=features)]


def _blank(entry: CpuidEntry) -> CpuidEntry:
    return entry._replace(eax=0, ebx=0, ecx=0, edx=0)


def _xsave_features(host: HostProfile) -> int:
    """Return 0xD.1:EAX that KVM offers: what it knows of the CPU's, but for the vendor module."""
    return vendor.offered(host).at(LEAF_XSTATE, 1).eax & _XSAVE_FEATURES


def _offers_tiles(host: HostProfile) -> bool:
    """Return True if KVM offers AMX, the same way."""
    return vendor.offered(host).has(LEAF_EXTENDED_FEATURES, 0, Register.EDX, AMX_TILE_BIT)


CHECK_XSAVE2 = Rule(
    "KVM_CAP_XSAVE2 is the size of the image under the caller's permission",
    ("INV-8",),
    (KernelSource(KernelFile.KVM_X86, "kvm_vm_ioctl_check_extension"),),
)


def check_xsave2(machine: Machine, by: str = MAIN) -> Step:
    """KVM_CHECK_EXTENSION(KVM_CAP_XSAVE2): bytes of the image under the caller's permission.

    :see: arch/x86/kvm/x86.c: kvm_vm_ioctl_check_extension
    """
    size = machine.host.uabi_size(permitted_xcr0(machine, by))
    return Step(machine, Done(size), CHECK_XSAVE2)
