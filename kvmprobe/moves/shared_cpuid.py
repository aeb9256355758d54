"""The largest CPUID of XSTATE that two hosts can give a guest, as changes of what KVM supports.

Leaves 0xD, 0x1D and 0x1E, and the features in leaves 1 and 7; other leaves are not looked at.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from kvmprobe.abi.numbers import KVM_CPUID_FLAG_SIGNIFICANT_INDEX, U32_MAX
from kvmprobe.model.xcr import legal_xcr0
from kvmprobe.scenarios.ops.literal import changed
from kvmprobe.xstate.cpuid import (
    LEAF_EXTENDED_FEATURES,
    LEAF_FEATURES,
    LEAF_TILE,
    LEAF_TMUL,
    LEAF_XSTATE,
    XSAVES_BIT,
    Register,
    halves,
)
from kvmprobe.xstate.features import AVX512, CET, FPSSE, MPX, XTILE, XFeature, numbers
from kvmprobe.xstate.gated import GATED, Place

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kvmprobe.model.host import HostProfile
    from kvmprobe.scenarios.literal_fields import CpuidChange
    from kvmprobe.xstate.cpuid import CpuidTable

_EAX, _EBX, _ECX, _EDX = Register.EAX, Register.EBX, Register.ECX, Register.EDX
_SETS = (XTILE, AVX512, XFeature.YMM.bit, MPX, XFeature.PKRU.bit, XFeature.APX.bit)
_FEATURES: tuple[Place, ...] = (
    (LEAF_FEATURES, 0, _ECX),
    (LEAF_EXTENDED_FEATURES, 0, _EBX),
    (LEAF_EXTENDED_FEATURES, 0, _ECX),
    (LEAF_EXTENDED_FEATURES, 0, _EDX),
    (LEAF_EXTENDED_FEATURES, 1, _EAX),
    (LEAF_EXTENDED_FEATURES, 1, _EDX),
    (LEAF_XSTATE, 1, _EAX),
)


@dataclass(frozen=True, slots=True)
class SharedCpuid:
    """What both hosts can give.

    :ivar changes: of what KVM supports on either host
    :ivar moved: components that have another place or size on the other host
    """

    xcr0: int
    xss: int
    changes: tuple[CpuidChange, ...]
    moved: int

    def table(self, host: HostProfile) -> CpuidTable:
        """Return the table on one of the hosts."""
        return changed(host.supported, self.changes)


def shared_cpuid(one: HostProfile, other: HostProfile) -> SharedCpuid:
    """Return the largest CPUID that both hosts can give.

    :see: SDM vol.1 §13.2 "Enumeration of CPU Support for XSAVE Instructions and XSAVE-Supported
        Features"
    """
    tables = one.supported, other.supported
    moved = _moved(*tables)
    xcr0 = _legal(one.kvm_xcr0 & other.kvm_xcr0 & ~moved)
    xsaves = all(table.at(LEAF_XSTATE, 1).eax >> XSAVES_BIT & 1 for table in tables)
    xss = one.kvm_xss & other.kvm_xss & ~moved if xsaves else 0
    if xss & CET != CET:
        xss &= ~CET
    changes = tuple(_changes(tables, xcr0, xss))
    return SharedCpuid(xcr0, xss, changes, moved & (one.kvm_xcr0 | one.kvm_xss))


def _moved(one: CpuidTable, other: CpuidTable) -> int:
    """Return the components of both whose size or offset differs; tiles, if their palettes do."""
    both = one.xcr0 & other.xcr0 & ~FPSSE | one.xss & other.xss
    places = {nr: (one.at(LEAF_XSTATE, nr), other.at(LEAF_XSTATE, nr)) for nr in numbers(both)}
    moved = sum(1 << nr for nr, (a, b) in places.items() if (a.eax, a.ebx) != (b.eax, b.ebx))
    palettes = [[table.at(LEAF_TILE, nr)[3:] for nr in (0, 1)] for table in (one, other)]
    return moved | (XTILE & both if palettes[0] != palettes[1] else 0)


def _legal(xcr0: int) -> int:
    """Return the largest legal XCR0 within a bitmap."""
    kept = FPSSE
    for components in reversed(_SETS):
        if components & xcr0 == components and legal_xcr0(kept | components, xcr0):
            kept |= components
    return kept | AVX512 if legal_xcr0(kept | AVX512, xcr0) else kept


def _changes(tables: tuple[CpuidTable, CpuidTable], xcr0: int, xss: int) -> Iterator[CpuidChange]:
    cleared = {place: _differing(tables, place) for place in _FEATURES}
    for components, gated in GATED.items():
        if components & (xcr0 | xss) != components:
            for leaf, subleaf, register, bits in gated:
                cleared[leaf, subleaf, register] |= bits
    cleared |= dict(_of_components(tables, xcr0, xss))
    changes = {place: (bits, 0) for place, bits in cleared.items()}
    changes[LEAF_XSTATE, 0, _ECX] = (U32_MAX, tables[0].standard_size(xcr0))
    for (leaf, subleaf, register), (bits, value) in sorted(changes.items()):
        present = [getattr(table.at(leaf, subleaf), register) & bits for table in tables]
        if present != [value, value]:
            yield leaf, subleaf, _flags(leaf), register, bits, value


def _of_components(
    tables: tuple[CpuidTable, CpuidTable], xcr0: int, xss: int
) -> Iterator[tuple[Place, int]]:
    """Yield the bits to clear in leaves 0xD, 0x1D and 0x1E."""
    user, supervisor = (_either(tables, name) for name in ("xcr0", "xss"))
    (eax, edx), (ecx, upper) = halves(user & ~xcr0), halves(supervisor & ~xss)
    yield (LEAF_XSTATE, 0, _EAX), eax
    yield (LEAF_XSTATE, 0, _EDX), edx
    yield (LEAF_XSTATE, 1, _ECX), ecx
    yield (LEAF_XSTATE, 1, _EDX), upper
    gone = [(LEAF_XSTATE, nr) for nr in numbers((user | supervisor) & ~(xcr0 | xss | FPSSE))]
    if not xcr0 & XTILE:
        gone += [(leaf, nr) for leaf in (LEAF_TILE, LEAF_TMUL) for nr in (0, 1)]
    for leaf, subleaf in gone:
        yield from (((leaf, subleaf, register), U32_MAX) for register in Register)


def _either(tables: tuple[CpuidTable, CpuidTable], bitmap: str) -> int:
    one, other = (getattr(table, bitmap) for table in tables)
    return int(one | other)


def _differing(tables: tuple[CpuidTable, CpuidTable], place: Place) -> int:
    leaf, subleaf, register = place
    one, other = (getattr(table.at(leaf, subleaf), register) for table in tables)
    return int(one ^ other)


def _flags(leaf: int) -> int:
    return 0 if leaf == LEAF_FEATURES else KVM_CPUID_FLAG_SIGNIFICANT_INDEX
