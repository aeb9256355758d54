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
    AMX_FEATURES,
    IBT_BIT,
    LEAF_EXTENDED_FEATURES,
    LEAF_FEATURES,
    LEAF_TILE,
    LEAF_TMUL,
    LEAF_XSTATE,
    PKU_BIT,
    SHSTK_BIT,
    XFD_BIT,
    XSAVES_BIT,
    Register,
    halves,
)
from kvmprobe.xstate.features import AVX512, CET, FPSSE, MPX, XTILE, XFeature, numbers

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from kvmprobe.model.host import HostProfile
    from kvmprobe.scenarios.literal_fields import CpuidChange
    from kvmprobe.xstate.cpuid import CpuidTable

_EAX, _EBX, _ECX, _EDX = Register.EAX, Register.EBX, Register.ECX, Register.EDX
_Register = tuple[int, int, Register]
_SETS = (XTILE, AVX512, XFeature.YMM.bit, MPX, XFeature.PKRU.bit, XFeature.APX.bit)
_FEATURES: tuple[_Register, ...] = (
    (LEAF_FEATURES, 0, _ECX),
    (LEAF_EXTENDED_FEATURES, 0, _EBX),
    (LEAF_EXTENDED_FEATURES, 0, _ECX),
    (LEAF_EXTENDED_FEATURES, 0, _EDX),
    (LEAF_EXTENDED_FEATURES, 1, _EAX),
    (LEAF_EXTENDED_FEATURES, 1, _EDX),
    (LEAF_XSTATE, 1, _EAX),
)


def _bits(*positions: int) -> int:
    return sum(1 << position for position in positions)


# What needs a component (SDM vol.2 CPUID; vol.1 §13.5 "XSAVE-Enabled Features"): leaf, sub-leaf,
# register, bits.  Of leaf 7: AVX-512 and AVX10; AVX2, VAES, VPCLMULQDQ and the later AVX features.
_GATED: Mapping[int, tuple[tuple[int, int, Register, int], ...]] = {
    XTILE: (
        (7, 0, _EDX, AMX_FEATURES),
        (7, 1, _EAX, _bits(21)),
        (7, 1, _EDX, _bits(8)),
        (0xD, 1, _EAX, _bits(XFD_BIT)),
    ),
    AVX512: (
        (7, 0, _EBX, _bits(16, 17, 21, 26, 27, 28, 30, 31)),
        (7, 0, _ECX, _bits(1, 6, 11, 12, 14)),
        (7, 0, _EDX, _bits(2, 3, 8, 23)),
        (7, 1, _EAX, _bits(5)),
        (7, 1, _EDX, _bits(19)),
    ),
    XFeature.YMM.bit: (
        (1, 0, _ECX, _bits(12, 28, 29)),
        (7, 0, _EBX, _bits(5)),
        (7, 0, _ECX, _bits(9, 10)),
        (7, 1, _EAX, _bits(0, 1, 2, 4, 23)),
        (7, 1, _EDX, _bits(4, 5, 10)),
    ),
    MPX: ((7, 0, _EBX, _bits(14)),),
    XFeature.PKRU.bit: ((7, 0, _ECX, _bits(PKU_BIT)),),
    XFeature.APX.bit: ((7, 1, _EDX, _bits(21)),),
    CET: ((7, 0, _ECX, _bits(SHSTK_BIT)), (7, 0, _EDX, _bits(IBT_BIT))),
}


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
    for components, gated in _GATED.items():
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
) -> Iterator[tuple[_Register, int]]:
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


def _differing(tables: tuple[CpuidTable, CpuidTable], place: _Register) -> int:
    leaf, subleaf, register = place
    one, other = (getattr(table.at(leaf, subleaf), register) for table in tables)
    return int(one ^ other)


def _flags(leaf: int) -> int:
    return 0 if leaf == LEAF_FEATURES else KVM_CPUID_FLAG_SIGNIFICANT_INDEX
