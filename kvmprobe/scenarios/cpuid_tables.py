"""CPUID tables for a vCPU: what KVM supports, with one change."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING

from kvmprobe.abi.numbers import KVM_CPUID_FLAG_SIGNIFICANT_INDEX, U32_MAX
from kvmprobe.xstate.cpuid import (
    AMX_FEATURES,
    IBT_BIT,
    LEAF_ADDRESS_SIZES,
    LEAF_EXTENDED_FEATURES,
    LEAF_FEATURES,
    LEAF_SGX,
    LEAF_TILE,
    LEAF_TMUL,
    LEAF_XSTATE,
    OSXSAVE_BIT,
    PKU_BIT,
    SHSTK_BIT,
    TSC_DEADLINE_BIT,
    X2APIC_BIT,
    XFD_BIT,
    XSAVE_BIT,
    XSAVEC_BIT,
    XSAVES_BIT,
    CpuidEntry,
    CpuidTable,
    halves,
)
from kvmprobe.xstate.features import CET, FPSSE, XTILE, XFeature

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from kvmprobe.model.host import HostProfile

_INDEXED = KVM_CPUID_FLAG_SIGNIFICANT_INDEX
_ZERO = CpuidEntry(0, 0, 0, 0, 0, 0, 0)
_MOST_ENTRIES = 256
# No processor has linear addresses of 40 bits (SDM vol.2 CPUID 80000008H: 48, 57; 32 as 0).
_BAD_ADDRESS_SIZES = 0x2830
_FLIPPED = 1 << 8


class Table(StrEnum):
    """A variant, named after the change; the first two are outputs of earlier calls."""

    SUPPORTED = "supported"
    READ_BACK = "read-back"
    FULL = "full"
    NO_AMX = "no-amx"
    TILE_CFG_ALONE = "tile-cfg-alone"
    TILE_DATA_ALONE = "tile-data-alone"
    ALL_XCR0 = "all-xcr0"
    ALL_BUT_TILE_DATA = "all-but-tile-data"
    LEGACY = "legacy"
    EMPTY = "empty"
    ONE_LEAF = "one-leaf"
    NO_XSTATE_LEAF = "no-xstate-leaf"
    NO_XSAVE = "no-xsave"
    NO_XSAVES = "no-xsaves"
    NO_XSAVEC = "no-xsavec"
    NO_COMPACTION = "no-compaction"
    NO_PKU = "no-pku"
    NO_XFD = "no-xfd"
    NO_XSS = "no-xss"
    NO_SHSTK = "no-shstk"
    NO_IBT = "no-ibt"
    NO_CET = "no-cet"
    CET = "cet"
    REVERSED = "reversed"
    ONE_REGISTER = "one-register"
    ONE_FLAG = "one-flag"
    ONE_FEWER = "one-fewer"
    RUNTIME_FIELDS = "runtime-fields"
    PADDED = "padded"
    FILLED = "filled"
    BAD_ADDRESS_SIZES = "bad-address-sizes"
    PLAIN = "plain"
    INDEXED = "indexed"
    ENCLAVES = "enclaves"
    TSC_DEADLINE = "tsc-deadline"


CAPTURED = frozenset({Table.SUPPORTED, Table.READ_BACK})


def table(host: HostProfile, variant: Table) -> CpuidTable:
    """Return a variant of what KVM supports on a host with all permissions."""
    return _VARIANTS[variant](host.supported)


def version_1(host: HostProfile, variant: Table) -> CpuidTable:
    """Return the part of a variant that ``struct kvm_cpuid`` can hold: subleaf 0, without flags."""
    return _plain(table(host, variant))


def _same(full: CpuidTable) -> CpuidTable:
    return full


def _with_xcr0(full: CpuidTable, xcr0: int) -> CpuidTable:
    low, high = halves(xcr0)
    return full.replaced(LEAF_XSTATE, 0, eax=low, edx=high)


def _without_leaves(full: CpuidTable, *leaves: int) -> CpuidTable:
    return CpuidTable(tuple(entry for entry in full.entries if entry.leaf not in leaves))


def _without_features(full: CpuidTable, bits: int) -> CpuidTable:
    eax = full.at(LEAF_XSTATE, 1).eax & ~bits
    return full.replaced(LEAF_XSTATE, 1, eax=eax)


def _no_amx(full: CpuidTable) -> CpuidTable:
    edx = full.at(LEAF_EXTENDED_FEATURES, 0).edx & ~AMX_FEATURES
    plain = _with_xcr0(full, full.xcr0 & ~XTILE).replaced(LEAF_EXTENDED_FEATURES, 0, edx=edx)
    return _without_leaves(plain, LEAF_TILE, LEAF_TMUL)


def _tile_cfg_alone(full: CpuidTable) -> CpuidTable:
    return _with_xcr0(full, full.xcr0 & ~XTILE | XFeature.XTILE_CFG.bit)


def _tile_data_alone(full: CpuidTable) -> CpuidTable:
    return _with_xcr0(full, full.xcr0 & ~XTILE | XFeature.XTILE_DATA.bit)


def _all_xcr0(full: CpuidTable) -> CpuidTable:
    return _with_xcr0(full, (1 << 64) - 1)


def _all_but_tile_data(full: CpuidTable) -> CpuidTable:
    return _with_xcr0(full, ~XFeature.XTILE_DATA.bit & (1 << 64) - 1)


def _legacy(full: CpuidTable) -> CpuidTable:
    return _with_xcr0(full, FPSSE)


def _empty(full: CpuidTable) -> CpuidTable:  # noqa: ARG001
    return CpuidTable(())


def _one_leaf(full: CpuidTable) -> CpuidTable:  # noqa: ARG001
    return CpuidTable((CpuidEntry(LEAF_XSTATE, 0, _INDEXED, FPSSE, 0, 0, 0),))


def _no_xstate_leaf(full: CpuidTable) -> CpuidTable:
    return _without_leaves(full, LEAF_XSTATE)


def _no_xsave(full: CpuidTable) -> CpuidTable:
    ecx = full.at(LEAF_FEATURES, 0).ecx & ~(1 << XSAVE_BIT)
    return full.replaced(LEAF_FEATURES, 0, ecx=ecx)


def _no_xsaves(full: CpuidTable) -> CpuidTable:
    return _without_features(full, 1 << XSAVES_BIT)


def _no_xsavec(full: CpuidTable) -> CpuidTable:
    return _without_features(full, 1 << XSAVEC_BIT)


def _no_compaction(full: CpuidTable) -> CpuidTable:
    return _without_features(full, 1 << XSAVES_BIT | 1 << XSAVEC_BIT)


def _no_pku(full: CpuidTable) -> CpuidTable:
    ecx = full.at(LEAF_EXTENDED_FEATURES, 0).ecx & ~(1 << PKU_BIT)
    without = _with_xcr0(full, full.xcr0 & ~XFeature.PKRU.bit)
    return without.replaced(LEAF_EXTENDED_FEATURES, 0, ecx=ecx)


def _no_xfd(full: CpuidTable) -> CpuidTable:
    return _without_features(full, 1 << XFD_BIT)


def _no_xss(full: CpuidTable) -> CpuidTable:
    return full.replaced(LEAF_XSTATE, 1, ecx=0, edx=0)


def _no_shstk(full: CpuidTable) -> CpuidTable:
    ecx = full.at(LEAF_EXTENDED_FEATURES, 0).ecx & ~(1 << SHSTK_BIT)
    return _no_amx(full).replaced(LEAF_EXTENDED_FEATURES, 0, ecx=ecx)


def _no_ibt(full: CpuidTable) -> CpuidTable:
    plain = _no_amx(full)
    edx = plain.at(LEAF_EXTENDED_FEATURES, 0).edx & ~(1 << IBT_BIT)
    return plain.replaced(LEAF_EXTENDED_FEATURES, 0, edx=edx)


def _no_cet(full: CpuidTable) -> CpuidTable:
    return _no_shstk(_no_ibt(full))


def _cet(full: CpuidTable) -> CpuidTable:
    """Add CET, and PT, which KVM does not give to guests."""
    return full.replaced(LEAF_XSTATE, 1, ecx=CET | XFeature.PT.bit, edx=0)


def _reversed(full: CpuidTable) -> CpuidTable:
    return CpuidTable(full.entries[::-1])


def _one_register(full: CpuidTable) -> CpuidTable:
    last = [entry._replace(edx=entry.edx ^ _FLIPPED) for entry in full.entries[-1:]]
    return CpuidTable((*full.entries[:-1], *last))


def _one_flag(full: CpuidTable) -> CpuidTable:
    last = [entry._replace(flags=entry.flags ^ _INDEXED) for entry in full.entries[-1:]]
    return CpuidTable((*full.entries[:-1], *last))


def _one_fewer(full: CpuidTable) -> CpuidTable:
    return CpuidTable(full.entries[:-1])


def _runtime_fields(full: CpuidTable) -> CpuidTable:
    ecx = full.at(LEAF_FEATURES, 0).ecx ^ 1 << OSXSAVE_BIT
    turned = full.replaced(LEAF_FEATURES, 0, ecx=ecx).replaced(LEAF_XSTATE, 0, ebx=1)
    return turned.replaced(LEAF_XSTATE, 1, ebx=1)


def _padded(full: CpuidTable) -> CpuidTable:
    return CpuidTable((*full.entries, _ZERO, _ZERO, _ZERO))


def _filled(full: CpuidTable) -> CpuidTable:
    return CpuidTable((*full.entries, *(_ZERO,) * (_MOST_ENTRIES - len(full.entries))))


def _bad_address_sizes(full: CpuidTable) -> CpuidTable:
    return full.replaced(LEAF_ADDRESS_SIZES, 0, eax=_BAD_ADDRESS_SIZES, flags=_INDEXED)


def _plain(full: CpuidTable) -> CpuidTable:
    first = (entry for entry in full.entries if not entry.subleaf)
    return CpuidTable(tuple(entry._replace(flags=0) for entry in first))


def _indexed(full: CpuidTable) -> CpuidTable:
    return CpuidTable(tuple(e._replace(flags=e.flags | _INDEXED) for e in full.entries))


def _tsc_deadline(full: CpuidTable) -> CpuidTable:
    """Add x2APIC and the timer mode that KVM_GET_SUPPORTED_CPUID of older kernels leaves out."""
    plain = _no_amx(full)
    ecx = plain.at(LEAF_FEATURES, 0).ecx | 1 << X2APIC_BIT | 1 << TSC_DEADLINE_BIT
    return plain.replaced(LEAF_FEATURES, 0, ecx=ecx)


def _enclaves(full: CpuidTable) -> CpuidTable:
    xfrm = CpuidEntry(LEAF_SGX, 1, _INDEXED, 0, 0, U32_MAX, U32_MAX)
    avx = _with_xcr0(_one_leaf(full), FPSSE | XFeature.YMM.bit)
    return CpuidTable((*avx.entries, xfrm))


_VARIANTS: Mapping[Table, Callable[[CpuidTable], CpuidTable]] = {
    Table.FULL: _same,
    Table.NO_AMX: _no_amx,
    Table.TILE_CFG_ALONE: _tile_cfg_alone,
    Table.TILE_DATA_ALONE: _tile_data_alone,
    Table.ALL_XCR0: _all_xcr0,
    Table.ALL_BUT_TILE_DATA: _all_but_tile_data,
    Table.LEGACY: _legacy,
    Table.EMPTY: _empty,
    Table.ONE_LEAF: _one_leaf,
    Table.NO_XSTATE_LEAF: _no_xstate_leaf,
    Table.NO_XSAVE: _no_xsave,
    Table.NO_XSAVES: _no_xsaves,
    Table.NO_XSAVEC: _no_xsavec,
    Table.NO_COMPACTION: _no_compaction,
    Table.NO_PKU: _no_pku,
    Table.NO_XFD: _no_xfd,
    Table.NO_XSS: _no_xss,
    Table.NO_SHSTK: _no_shstk,
    Table.NO_IBT: _no_ibt,
    Table.NO_CET: _no_cet,
    Table.CET: _cet,
    Table.REVERSED: _reversed,
    Table.ONE_REGISTER: _one_register,
    Table.ONE_FLAG: _one_flag,
    Table.ONE_FEWER: _one_fewer,
    Table.RUNTIME_FIELDS: _runtime_fields,
    Table.PADDED: _padded,
    Table.FILLED: _filled,
    Table.BAD_ADDRESS_SIZES: _bad_address_sizes,
    Table.PLAIN: _plain,
    Table.INDEXED: _indexed,
    Table.ENCLAVES: _enclaves,
    Table.TSC_DEADLINE: _tsc_deadline,
}
LITERAL = tuple(_VARIANTS)
