"""Other correct hosts on which a program may run.

The program judges only what the model expects on all of them.
"""

from __future__ import annotations

from dataclasses import replace
from enum import Enum
from typing import TYPE_CHECKING

from kvmprobe.abi.numbers import KVM_CPUID_FLAG_SIGNIFICANT_INDEX, U32_MAX, Msr
from kvmprobe.model.behaviours import Behaviour, Kind
from kvmprobe.xstate.cpuid import (
    AMX_FEATURES,
    LEAF_EXTENDED_FEATURES,
    LEAF_FEATURES,
    LEAF_XSTATE,
    OSPKE_BIT,
    OSXSAVE_BIT,
    PKU_BIT,
    XSAVE_BIT,
    CpuidEntry,
    CpuidTable,
)
from kvmprobe.xstate.features import CET

if TYPE_CHECKING:
    from kvmprobe.model.host import HostProfile


class Profile(Enum):
    """What is known about the host for which a program is written."""

    ASSUMED = "components and their offsets; other features and MSRs may differ"
    EXAMINED = "exactly this CPU and KVM"


# Behaviours of another vendor module (kvm_pvm), which are not those of another kernel version.
_OF_VENDORS = frozenset(
    {
        Behaviour.VENDOR_OWNS_CR4,
        Behaviour.VENDOR_OWNS_PAT,
        Behaviour.VENDOR_REWRITES_CPUID,
        Behaviour.HIDES_XSAVE_FEATURES,
    }
)
_VERSIONS = tuple(b for b in Behaviour if b.kind is Kind.VARIANT and b not in _OF_VENDORS)
_ANOTHER_LEAF = CpuidEntry(0, 0, 0, 0x20, 0, 0, 0)
# Their sizes: SDM vol.1 §13.5.9 "CET State"; ECX[0]: supervisor state.
_CET_COMPONENTS = (
    CpuidEntry(LEAF_XSTATE, 11, KVM_CPUID_FLAG_SIGNIFICANT_INDEX, 16, 0, 1, 0),
    CpuidEntry(LEAF_XSTATE, 12, KVM_CPUID_FLAG_SIGNIFICANT_INDEX, 24, 0, 1, 0),
)
_OTHER_MSRS = frozenset({Msr.IA32_XSS, Msr.IA32_U_CET, Msr.IA32_S_CET, Msr.IA32_PL3_SSP})
# Bits on which XSTATE depends, by leaf: FXSR, SSE, SSE2, PAE; XSAVE, AVX; AVX2, AVX-512; PKU; AMX.
_KEPT = {
    LEAF_FEATURES: (
        ("ecx", 1 << XSAVE_BIT | 1 << OSXSAVE_BIT | 1 << 28),
        ("edx", 1 << 24 | 1 << 25 | 1 << 26 | 1 << 6),
    ),
    LEAF_EXTENDED_FEATURES: (
        ("ebx", 1 << 5 | 1 << 16),
        ("ecx", 1 << PKU_BIT | 1 << OSPKE_BIT),
        ("edx", AMX_FEATURES),
    ),
}


def featured(host: HostProfile, profile: Profile) -> list[tuple[str, HostProfile]]:
    """Return hosts with other features than this one, each with a text about the difference."""
    if profile is Profile.EXAMINED:
        return []
    richer = replace(
        host,
        cpu=_other_table(host.cpu),
        supported=_other_table(host.supported),
        msrs=host.msrs ^ _OTHER_MSRS,
    )
    return [("the features and MSRs that CPU and KVM have", richer)]


def versions(host: HostProfile) -> list[tuple[str, HostProfile]]:
    """Return the host with other kernels, each with the name of the inverted behaviour."""
    behaviours = host.behaviours
    return [(v.name, replace(host, behaviours=behaviours ^ {v})) for v in _VERSIONS]


def _other_table(table: CpuidTable) -> CpuidTable:
    for leaf, registers in _KEPT.items():
        entry = table.at(leaf, 0)
        flipped = {name: getattr(entry, name) ^ U32_MAX & ~kept for name, kept in registers}
        table = table.replaced(leaf, 0, **flipped)
    xss = table.at(LEAF_XSTATE, 1).ecx ^ CET
    table = table.replaced(LEAF_XSTATE, 1, ecx=xss)
    sizes = tuple(e for e in _CET_COMPONENTS if table.find(LEAF_XSTATE, e.subleaf) is None)
    return CpuidTable((_ANOTHER_LEAF, *table.entries, *sizes))
