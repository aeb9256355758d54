"""A Sapphire Rapids host: to list, explain and test scenarios without one at hand."""

from __future__ import annotations

from kvmprobe.abi.numbers import KVM_CPUID_FLAG_SIGNIFICANT_INDEX, Msr
from kvmprobe.model.host import HostProfile
from kvmprobe.xstate.cpuid import CpuidEntry, CpuidTable
from kvmprobe.xstate.features import XFeature
from kvmprobe.xstate.layout import Component, Layout

# Number, offset and size in bytes, and 0xD.n:ECX (bit 1: aligned to 64, bit 2: XFD applies).
_PLACES = (
    (XFeature.YMM, 576, 256, 0),
    (XFeature.OPMASK, 1088, 64, 0),
    (XFeature.ZMM_HI256, 1152, 512, 0),
    (XFeature.HI16_ZMM, 1664, 1024, 0),
    (XFeature.PKRU, 2688, 8, 0),
    (XFeature.XTILE_CFG, 2752, 64, 0b10),
    (XFeature.XTILE_DATA, 2816, 8192, 0b110),
)
_INDEXED = KVM_CPUID_FLAG_SIGNIFICANT_INDEX
_SIZE = 11008
_COMPACTED_SIZE = 10752
# VMX, XSAVE, FXSR, SSE, SSE2 and AVX in leaf 1; PKU, AVX-512 and AMX in leaf 7; NX and long mode.
_LEAF_1_ECX, _LEAF_1_EDX = 1 << 5 | 1 << 26 | 1 << 28, 1 << 24 | 1 << 25 | 1 << 26 | 1 << 6
_OTHER_LEAVES = (
    CpuidEntry(0x1, 0, 0, 0x806F8, 0, _LEAF_1_ECX, _LEAF_1_EDX),
    CpuidEntry(0x7, 0, _INDEXED, 0, 1 << 5 | 1 << 16, 1 << 3, 1 << 22 | 1 << 24 | 1 << 25),
    CpuidEntry(0x1D, 0, _INDEXED, 1, 0, 0, 0),
    CpuidEntry(0x1D, 1, _INDEXED, 0x0400_2000, 0x0008_0040, 16, 0),
    CpuidEntry(0x1E, 0, _INDEXED, 0, 0x4010, 0, 0),
    CpuidEntry(0x8000_0001, 0, 0, 0, 0, 1, 1 << 20 | 1 << 29),
    CpuidEntry(0x8000_0008, 0, 0, 0x302E, 0, 0, 0),
)


def sapphire_rapids() -> HostProfile:
    """Return its profile.

    :see: SDM vol.1 §13.5 "XSAVE-Enabled Features"; CPUID 0xD of that processor
    """
    layout = Layout.of(Component(*place[:3]) for place in _PLACES)
    table = _table(layout.bitmap)
    return HostProfile(
        user_features=layout.bitmap,
        kvm_xcr0=layout.bitmap,
        mxcsr_mask=0xFFFF,
        layout=layout,
        behaviours=frozenset(),
        cpu=table,
        supported=table,
        msrs=frozenset({Msr.IA32_XFD, Msr.IA32_XFD_ERR}),
    )


def _table(xcr0: int) -> CpuidTable:
    leaves = [
        CpuidEntry(0xD, 0, _INDEXED, xcr0, _SIZE, _SIZE, 0),
        CpuidEntry(0xD, 1, _INDEXED, 0b11111, _COMPACTED_SIZE, 0, 0),
        *(
            CpuidEntry(0xD, nr, _INDEXED, size, offset, flags, 0)
            for nr, offset, size, flags in _PLACES
        ),
    ]
    ordered = sorted([*leaves, *_OTHER_LEAVES], key=lambda entry: entry[:2])
    return CpuidTable(tuple(ordered))
